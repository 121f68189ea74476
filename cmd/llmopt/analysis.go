package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/optimizer/alert"
	"llm-auto-optimizer/optimizer/state"
	"llm-auto-optimizer/proxy/ledger"
	"llm-auto-optimizer/proxy/pick"
)

// analyst looks at what takes hours and days to see: what budgets come to, and whether targets become slower. What it finds goes to the optimizer, and to
// whoever wants to be alerted.
type analyst struct {
	g         *gateway
	mu        sync.Mutex
	watches   map[string]*optimizer.BudgetWatch // by the key of the alert
	spent     map[int64]map[string]float64      // US dollars by hour and route
	read      int64                             // hour up to which spent is complete
	drifted   time.Time                         // when drift was last looked for
	drifting  map[string]bool                   // targets that an alert was raised for
	forecasts atomic.Pointer[map[string]optimizer.BudgetForecast]
}

const (
	// analystBack is how far back spend is looked at: a month, and what forecasts learn from.
	analystBack = 40 * 24 * time.Hour
	// driftEvery is how often the drift of targets is looked at.
	driftEvery = time.Hour
)

// everything is the name of the budget of all traffic.
const everything = ""

func newAnalyst(g *gateway) *analyst {
	return &analyst{g: g, watches: map[string]*optimizer.BudgetWatch{}, spent: map[int64]map[string]float64{}, drifting: map[string]bool{}}
}

// run looks once.
func (a *analyst) run(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	c := a.g.reload.current.Load()
	terms := a.terms(c)
	for key := range a.watches {
		if _, still := terms[key]; !still {
			a.g.alerts.Resolve(key)
			delete(a.watches, key)
		}
	}
	var err error
	if len(terms) > 0 {
		err = a.readSpend(ctx, now)
	}
	found := map[string]optimizer.BudgetForecast{}
	for key, t := range terms {
		w := a.watches[key]
		if w == nil || !sameTerms(&w.BudgetTerms, &t) {
			w = optimizer.NewBudgetWatch(t, optimizer.DefaultBudget)
			a.watches[key] = w
		}
		if f, known := w.Step(now, a.history(t.Name, now)); known {
			found[key] = f
			a.g.alerts.Settle(alert.ForBudget(&f), f.Acting)
		}
	}
	a.forecasts.Store(&found)
	if now.Sub(a.drifted) >= driftEvery {
		a.drifted = now
		a.drift(now)
	}
	return err
}

func sameTerms(a, b *optimizer.BudgetTerms) bool {
	return a.Name == b.Name && a.Limit == b.Limit && a.Dollars == b.Dollars && a.Period == b.Period && a.Zone.String() == b.Zone.String()
}

// terms are the budgets that the settings state, and the limits in dollars that are for all callers, by the keys of their alerts. What single callers and targets spend is not
// known by the hour, nor does what rolls have an end.
func (*analyst) terms(c *config.Config) map[string]optimizer.BudgetTerms {
	terms := map[string]optimizer.BudgetTerms{}
	add := func(name string, b *config.Budget) {
		if b.Limit() <= 0 {
			return
		}
		period, err := optimizer.ParsePeriod(b.Period)
		if err != nil {
			panic("BUG: period was checked: " + err.Error())
		}
		terms[alert.BudgetKey(name, "", b.Period)] = optimizer.BudgetTerms{Name: name, Dollars: float64(b.Limit()) / 1e9, Period: period, Zone: b.Zone()}
	}
	add(everything, &c.Budget)
	for name, r := range c.Routes {
		add(name, &r.Budget)
	}
	for _, l := range c.LimitList() {
		if l.Observe || l.Rolling || l.Caller != config.ScopeAll || l.Target != config.ScopeAll || l.Route == config.ScopeEach {
			continue
		}
		route := l.Route
		if route == config.ScopeAll {
			route = everything
		}
		for period, amount := range map[optimizer.Period]string{optimizer.Day: l.USDPerDay, optimizer.Month: l.USDPerMonth} {
			if amount != "" {
				terms[alert.BudgetKey(route, l.Name, period.String())] = optimizer.BudgetTerms{
					Name: route, Limit: l.Name, Dollars: float64(config.Money(amount)) / 1e9, Period: period, Zone: l.Zone(),
				}
			}
		}
	}
	return terms
}

// readSpend brings what is known of the spend by hour up to date: from what is stored, else from the windows, which keep a week.
func (a *analyst) readSpend(ctx context.Context, now time.Time) error {
	hour := now.Unix() / 3600
	oldest := hour - int64(analystBack/time.Hour)
	spent := map[int64]map[string]float64{}
	keepUntil := func(from int64) {
		for h, of := range a.spent {
			if h >= oldest && h < from {
				spent[h] = of
			}
		}
	}
	if d := a.g.durable; d != nil && d.store.Health() == nil {
		from := max(oldest, a.read)
		keepUntil(from)
		err := d.store.Totals(ctx, from, hour+1, func(t state.Total) error {
			var k ledger.Key
			var s ledger.Sums
			if err := errors.Join(k.UnmarshalBinary(t.Key), s.UnmarshalBinary(t.Data)); err != nil {
				return fmt.Errorf("read what was spent: %w", err)
			}
			add(spent, t.Hour, k.Route, s.CostNanoUSD)
			return nil
		})
		if err != nil {
			return err
		}
		a.spent, a.read = spent, hour
		return nil
	}
	span := window.Last(now, 7*24*time.Hour)
	keepUntil(span.From().Unix()/3600 + 1)
	for _, s := range a.g.windows.Select(nil) {
		for _, step := range a.g.windows.Steps(span, time.Hour, s) {
			add(spent, step.To.Add(-time.Nanosecond).Unix()/3600, s.Key().Route, step.Cost().Sum())
		}
	}
	a.spent, a.read = spent, 0
	return nil
}

func add(spent map[int64]map[string]float64, hour int64, route string, nano int64) {
	if nano == 0 {
		return
	}
	of := spent[hour]
	if of == nil {
		of = map[string]float64{}
		spent[hour] = of
	}
	of[everything] += float64(nano) / 1e9
	of[route] += float64(nano) / 1e9
}

// history is the spend of a route by hour.
func (a *analyst) history(name string, now time.Time) (h optimizer.SpendHistory) {
	hour := now.Unix() / 3600
	first := hour
	for at := range a.spent {
		first = min(first, at)
	}
	h.Start = time.Unix(first*3600, 0).UTC()
	for at := first; at < hour; at++ {
		h.Hourly = append(h.Hourly, a.spent[at][name])
	}
	h.Current = a.spent[hour][name]
	return h
}

// drift looks for targets that become slower from day to day.
func (a *analyst) drift(now time.Time) {
	span := window.Last(now, 7*24*time.Hour)
	by := map[string][]*window.Series{}
	for _, s := range a.g.windows.Select(nil) {
		k := s.Key()
		name := k.Target
		if k.Route != "" && k.Route != "direct" {
			name = k.Route + "/" + k.Target
		}
		by[name] = append(by[name], s)
	}
	for name := range a.drifting {
		if by[name] == nil {
			a.g.alerts.Resolve("drift/" + name)
			delete(a.drifting, name)
		}
	}
	for name, series := range by {
		var hourly []float64
		for _, step := range a.g.windows.Steps(span, time.Hour, series...) {
			v := math.NaN()
			if q, ok := step.TTFT().Quantile(.5); ok {
				v = q.Seconds()
			}
			hourly = append(hourly, v)
		}
		d, known := optimizer.DefaultDrift.Drift(name, hourly)
		on := known && d.Worse()
		if on || a.drifting[name] {
			d.Target = name
			a.g.alerts.Settle(alert.ForDrift(&d), on)
			a.drifting[name] = on
		}
	}
}

// budgets are the forecasts that concern a route.
func (a *analyst) budgets(route string) (out []optimizer.BudgetForecast) {
	all := a.forecasts.Load()
	if all == nil {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(*all)) {
		if f := (*all)[key]; f.Name == everything || f.Name == route {
			out = append(out, f)
		}
	}
	return out
}

// watchTargets alerts of targets that are out, and of state that is not stored.
func (g *gateway) watchTargets() {
	listed := map[string]bool{}
	for _, v := range g.proxy.Routes() {
		for _, t := range v.Route.Targets() {
			s := t.Status(time.Now())
			out := s.State == pick.Out || s.State == pick.KeyRefused
			key := "target/" + s.Route + "/" + s.Target
			listed[key] = true
			g.alerts.Settle(alert.Alert{
				Key: key, Severity: alert.Warning, Title: fmt.Sprintf("Target %s/%s is %s", s.Route, s.Target, s.State), Text: s.Reason,
				Fields: []alert.Field{{Name: "route", Value: s.Route}, {Name: "target", Value: s.Target}, {Name: "state", Value: s.State.String()}},
			}, out)
		}
	}
	for key := range g.watched {
		if !listed[key] {
			g.alerts.Resolve(key) // there is no such target any more
		}
	}
	g.watched = listed
	if d := g.durable; d != nil {
		err := d.store.Health()
		text := ""
		if err != nil {
			text = err.Error()
		}
		g.alerts.Settle(alert.Alert{Key: "storage", Severity: alert.Critical, Title: "State is not stored", Text: text}, err != nil)
	}
}

// alertOf is the alert that a decision is worth, if any.
func alertOf(d *optimizer.Decision) (a alert.Alert, worth bool) {
	a = alert.Alert{Key: "decision/" + d.Route + "/" + d.Tuner + "/" + string(d.Verdict) + "/" + d.ID, Severity: alert.Warning, Text: d.String(), Event: true}
	switch d.Verdict {
	case optimizer.Fenced:
		a.Title = "Tuner " + d.Tuner + " has failed, and is left out"
	case optimizer.RolledBack:
		a.Title = "A change of route " + d.Route + " was rolled back"
		if d.Tuner == "loop" {
			a.Severity = alert.Critical
		}
	default:
		return a, false
	}
	a.Fields = []alert.Field{{Name: "route", Value: d.Route}, {Name: "tuner", Value: d.Tuner}, {Name: "decision", Value: d.ID}}
	return a, true
}
