package optimizer

import (
	"fmt"
	"math"
	"strings"
	"time"

	"llm-auto-optimizer/analysis"
	"llm-auto-optimizer/analysis/trend"
)

// Budget is the tuner of what is spent. Shares have one owner, the routing tuner: this one changes no parameter, but says how hard budgets press, which
// routing takes into account where this tuner's mode is canary or auto. Its own decisions are holds, of which the reason is the forecast.
type Budget struct {
	Enter float64 // probability of exhaustion before the period's end above which it acts
	Leave float64 // and below which it stops to
}

// DefaultBudget are the budget tuner's settings.
var DefaultBudget = Budget{Enter: .5, Leave: .5 / 3}

// Name implements Tuner.
func (Budget) Name() string { return budgetName }

const budgetName = "budget"

// Owns implements Tuner.
func (Budget) Owns(string) bool { return false }

// Propose implements Tuner.
func (b Budget) Propose(e *RouteEvidence) Proposal {
	if len(e.Budgets) == 0 {
		return Proposal{Reason: "there is no budget, or too little is known of what is spent"}
	}
	worst := 0
	for i := range e.Budgets {
		if e.Budgets[i].P > e.Budgets[worst].P {
			worst = i
		}
	}
	f := &e.Budgets[worst]
	p := Proposal{Reason: "no budget is likely to be used up before its period ends", Evidence: f.Reason(b.Enter)}
	var acting []string
	for i := range e.Budgets {
		if e.Budgets[i].Acting {
			acting = append(acting, e.Budgets[i].String())
		}
	}
	if len(acting) > 0 {
		p.Reason = strings.Join(acting, ", ") + ": a cheaper mix is called for"
	}
	return p
}

// BudgetWatch keeps the forecast of a budget up to date, and remembers whether it acts. It is not safe for concurrent use.
type BudgetWatch struct {
	BudgetTerms
	tuner  Budget
	model  *trend.Forecast // of the hours before hour
	hour   time.Time
	at     time.Time // of last; zero: none yet
	last   BudgetForecast
	known  bool
	acting time.Time // end of the period in which it acts; zero: it does not
}

// NewBudgetWatch returns a watch over a budget, for a tuner with these settings.
func NewBudgetWatch(terms BudgetTerms, tuner Budget) *BudgetWatch {
	return &BudgetWatch{BudgetTerms: terms, tuner: tuner}
}

// forecastEvery is how long a forecast stands: it is of hours and days.
const forecastEvery = 5 * time.Minute

// Due tells whether Step would make a new forecast, for which it needs the history.
func (w *BudgetWatch) Due(now time.Time) bool {
	return w.at.IsZero() || now.Sub(w.at) >= forecastEvery || now.Before(w.at)
}

// Step is the forecast at the moment; false where nothing can be told. It may be called every cycle: a new forecast is made every five minutes (a model every
// hour, some 30 ms each), and the history is looked at only then.
func (w *BudgetWatch) Step(now time.Time, h SpendHistory) (BudgetForecast, bool) {
	if !w.Due(now) {
		return w.last, w.known
	}
	w.at = now
	w.last, w.known = BudgetForecast{}, false
	if !h.Start.After(now) {
		if full := h.until(now); !full.hour().Equal(w.hour) {
			w.hour = full.hour()
			w.model, _ = trend.NewForecast(full.Start, full.Hourly)
		}
		w.last, w.known = w.forecastWith(now, h, w.model)
	}
	if !w.known {
		w.acting = time.Time{}
		return w.last, false
	}
	switch {
	case w.last.P > w.tuner.Enter:
		w.acting = w.last.End
	case w.last.P < w.tuner.Leave || !w.acting.Equal(w.last.End): // a new period begins anew
		w.acting = time.Time{}
	}
	w.last.Acting = !w.acting.IsZero()
	return w.last, true
}

// Pressure is how far a budget has routing prefer a lower cost: by what it expects, an objective is still kept.
type Pressure struct {
	Part float64 `json:"part"` // in (0, 1]; 1: a mix may be expected to use the violations that are allowed in full, without a margin for doubt
	Why  string  `json:"why"`
}

// PressureOf is what the forecasts of a route's budgets, and of those of all traffic, come to; nil: none. From the moment that a budget acts the pressure is
// full until its probability falls to Enter, and less from there down to Leave, so that a mix is found that lasts, and not left again at once.
func (b Budget) PressureOf(budgets []BudgetForecast) *Pressure {
	var most *Pressure
	for i := range budgets {
		f := &budgets[i]
		part := min(1, (f.P-b.Leave)/(b.Enter-b.Leave))
		if f.Acting && part > 0 && (most == nil || part > most.Part) {
			most = &Pressure{Part: math.Round(part*10) / 10, Why: f.String()}
		}
	}
	if most == nil || most.Part == 0 {
		return nil
	}
	return most
}

// press notes how a route's budgets do, and how hard they press where there is a tuner of them and its mode lets it act.
func (l *Loop) press(e *RouteEvidence, budgets []BudgetForecast) {
	e.Budgets = budgets
	for _, t := range l.tuners {
		if b, ok := t.(Budget); ok && l.mode(e.Name, b.Name()) >= Canary {
			e.Pressure = b.PressureOf(e.Budgets)
		}
	}
}

// under is the routing tuner as it is under pressure: it bounds violations with less confidence, down to what is expected. To take smaller savings as well has
// made no difference in simulations.
func (t Routing) under(p *Pressure) Routing {
	if p == nil || !(p.Part > 0) {
		return t
	}
	part := min(p.Part, 1)
	t.Confidence -= part * max(0, t.Confidence-.5)
	return t
}

// aim is what a mix under pressure is chosen for.
func (p *Pressure) aim() string {
	switch {
	case p == nil || !(p.Part > 0):
		return "the cheapest mix within the objective"
	case p.Part >= 1:
		return p.Why + ": the cheapest mix at the full violations budget"
	default:
		return fmt.Sprintf("%s: the cheapest mix with %.0f %% of the slack of the violations budget", p.Why, 100*p.Part)
	}
}

// Reason is the forecast as evidence.
func (f *BudgetForecast) Reason(limit float64) analysis.Reason {
	return analysis.Reason{
		Method: f.Method, Statistic: "probability of exhaustion", Value: f.P, Threshold: limit,
		Effect:   fmt.Sprintf("%s of %s spent, %s (%s to %s) at the end", formatDollars(f.Spent), formatDollars(f.Dollars), formatDollars(f.Total[1]), formatDollars(f.Total[0]), formatDollars(f.Total[2])),
		Baseline: analysis.Baseline{Count: f.Hours},
	}
}

// String is the forecast in the words of a decision. It is rough, so that it does not become another one each time.
func (f *BudgetForecast) String() string {
	s := fmt.Sprintf("budget of %s a %s", formatDollars(f.Dollars), f.Period)
	if f.Limit != "" {
		s = fmt.Sprintf("limit %s of %s a %s", f.Limit, formatDollars(f.Dollars), f.Period)
	}
	if f.Name != "" {
		s += " for " + f.Name
	}
	layout := "15:04"
	if f.Period != Day.String() {
		layout = "Mon 2 Jan 15:04"
	}
	switch at := f.Exhausted[1]; {
	case f.Spent >= f.Dollars:
		return s + " was used up at " + at.Format(layout)
	case !at.IsZero():
		return fmt.Sprintf("%s ends at %s with p %s", s, at.Round(10*time.Minute).Format(layout), tenths(f.P))
	default:
		return fmt.Sprintf("%s ends before its %s with p %s", s, f.Period, tenths(f.P))
	}
}

// tenths writes a probability as .8, which stays below 1 and above 0 unless it is that.
func tenths(p float64) string {
	if p <= 0 || p >= 1 {
		return fmt.Sprintf("%.0f", p)
	}
	return fmt.Sprintf(".%.0f", max(1, min(9, math.Round(p*10))))
}

// formatDollars writes an amount of money for people.
func formatDollars(v float64) string {
	switch {
	case v == math.Trunc(v) && math.Abs(v) < 1e9:
		return fmt.Sprintf("$%.0f", v)
	case math.Abs(v) < .995:
		return fmt.Sprintf("$%.2g", v)
	default:
		return fmt.Sprintf("$%.2f", v)
	}
}
