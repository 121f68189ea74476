package alert

import (
	"fmt"
	"time"

	"llm-auto-optimizer/optimizer"
)

// ForBudget is the alert of a budget, to be raised while it is Acting. It is critical when the budget is used up.
func ForBudget(f *optimizer.BudgetForecast) Alert {
	what := "budget of all traffic"
	switch {
	case f.Limit != "":
		what = "limit " + f.Limit
	case f.Name != "":
		what = "budget of route " + f.Name
	}
	a := Alert{
		Key: BudgetKey(f.Name, f.Limit, f.Period), Severity: Warning, Title: fmt.Sprintf("The %s is likely to be used up before its %s ends", what, f.Period), Text: f.String() + ".",
	}
	if f.Spent >= f.Dollars {
		a.Severity, a.Title = Critical, fmt.Sprintf("The %s for this %s is used up", what, f.Period)
	}
	add := func(name, format string, v ...any) {
		a.Fields = append(a.Fields, Field{name, fmt.Sprintf(format, v...)})
	}
	if f.Name != "" {
		add("route", "%s", f.Name)
	}
	if f.Limit != "" {
		add("limit", "%s", f.Limit)
	}
	add("budget", "$%.2f a %s", f.Dollars, f.Period)
	add("spent", "$%.2f", f.Spent)
	add("probability", "%.2f", f.P)
	for i, q := range [...]string{"p10", "p50", "p90"} {
		if at := f.Exhausted[i]; !at.IsZero() {
			add("exhausted_"+q, "%s", at.Format(time.RFC3339))
		}
	}
	add("expected", "$%.2f ($%.2f to $%.2f)", f.Total[1], f.Total[0], f.Total[2])
	add("period_ends", "%s", f.End.Format(time.RFC3339))
	return a
}

// BudgetKey is the key of the alert of a route's budget, or that of all traffic (an empty name), or of a limit in dollars.
func BudgetKey(route, limit, period string) string {
	switch {
	case limit != "":
		return "limit/" + limit + "/" + period
	case route != "":
		return "budget/" + route
	}
	return "budget"
}

// ForDrift is the alert of a target that becomes slower, to be raised while it does (LatencyDrift.Worse).
func ForDrift(d *optimizer.LatencyDrift) Alert {
	return Alert{
		Key: "drift/" + d.Target, Severity: Warning, Title: fmt.Sprintf("%s becomes slower", d.Target), Text: d.String() + ".",
		Fields: []Field{
			{"target", d.Target},
			{"change", fmt.Sprintf("%+.0f %% (%+.0f to %+.0f %%)", 100*d.Change, 100*d.Low, 100*d.High)},
			{"span", fmt.Sprintf("%.0f hours", d.Span.Hours())},
			{"median", fmt.Sprintf("%.3f s", d.Level)},
			{"p_value", fmt.Sprintf("%.2g", d.P)},
		},
	}
}
