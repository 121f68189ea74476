package optimizer

import (
	"fmt"
	"math"
	"time"

	"llm-auto-optimizer/analysis"
	"llm-auto-optimizer/analysis/anomaly"
	"llm-auto-optimizer/analysis/regime"
	"llm-auto-optimizer/analysis/window"
)

// Regime is a lasting change of how a target serves.
type Regime struct {
	At     time.Time       `json:"at"`
	What   string          `json:"what"`   // time to first token, cost
	Factor float64         `json:"factor"` // after, by before
	Reason analysis.Reason `json:"reason"`
}

const (
	whatWait = "time to first token"
	whatCost = "cost"
	whatList = "stated price" // of which nothing has to be inferred

	// regimeFalseEvery is how many exchanges of a target there are between two false alarms of one detector: a month at four a second.
	regimeFalseEvery = 1e7
	leastSlower      = 1.25                  // factor of the time to first token from which on a change counts
	leastLater       = 20 * time.Millisecond // of the time to first token, that a change must come to: what is less nobody notices
	leastDearer      = 1.03                  // and of the cost of a token of work
	// mostWatched is how many targets are watched: 64 KB each.
	mostWatched = 500
)

// watch finds lasting changes of a target, exchange by exchange: FOCuS on normal scores, of times that are freed of what the size of the input explains and of
// costs by work (see [regime.Shift]).
type watch struct {
	size       *anomaly.Normaliser
	wait, cost *regime.Shift
}

func newWatch() *watch {
	return &watch{anomaly.NewNormaliser(), regime.NewShift(regime.Requests, regimeFalseEvery), regime.NewShift(regime.Requests, regimeFalseEvery)}
}

// observe takes in an exchange that the target has served alone; expected is what it was to cost, in US dollars, 0 where that is not known.
func (w *watch) observe(x *window.Exchange, expected float64) (found []Regime) {
	note := func(what string, c regime.Change, least float64) {
		factor := math.Exp(c.After - c.Before)
		if !c.Alarm || factor < least && factor > 1/least {
			return
		}
		if typical, ok := w.size.Typical(x.Input); what == whatWait && ok && math.Abs(factor-1)*float64(typical) < float64(leastLater) {
			return
		}
		found = append(found, Regime{x.At, what, factor, c.Reason()})
	}
	if residual, ok := w.size.TTFT(x.Wait, x.Input); ok {
		note(whatWait, w.wait.Step(residual), leastSlower)
	}
	if expected > 0 && x.CostNanoUSD > 0 && !x.Unpriced {
		note(whatCost, w.cost.Step(math.Log(float64(x.CostNanoUSD)/1e9/expected)), leastDearer)
	}
	return found
}

// String is the change as a sentence.
func (r *Regime) String() string {
	word := "rose to %.2g times"
	if r.Factor < 1 {
		word = "fell to %.2g times"
	}
	if r.What == whatList {
		return fmt.Sprintf("%s "+word, r.What, r.Factor)
	}
	return fmt.Sprintf("%s "+word+" (%s %.0f, %.0f is an alarm)", r.What, r.Factor, r.Reason.Method, r.Reason.Value, r.Reason.Threshold)
}

// follow has the detectors of a target look at an exchange, and forgets what is about a regime that is over.
func (c *Collector) follow(x *window.Exchange, t *targetSums, class int) {
	if x.Attempts > 1 || x.Forced || x.Failed || t.isAway(x.At) {
		return
	}
	if t.watch == nil {
		if c.watched >= mostWatched {
			return
		}
		c.watched++
		t.watch = newWatch()
	}
	for _, r := range t.watch.observe(x, t.cells[class].price(float64(x.Input), float64(x.Output))) {
		switch r.What {
		case whatWait:
			c.Forget(x.Route, x.Target)
		case whatCost:
			for i := range t.cells {
				t.cells[i].forgetPrices()
			}
		}
		t.regime = &r
		c.changed = append(c.changed, Changed{x.Route, x.Target, r})
	}
}

// Price is what is stated of what a target charges, in US dollars per token. The zero value: nothing is.
type Price struct{ Input, Output float64 }

// of is what so many tokens cost.
func (p Price) of(input, output float64) float64 { return p.Input*input + p.Output*output }

// listed takes in what is stated of a target's price. Where that has changed, what exchanges have cost before says nothing any more.
func (c *Collector) listed(now time.Time, route, target string, t *targetSums, price Price) {
	before := t.price
	t.price = price
	input, output := 0., 0.
	for class := range c.route(route).classes {
		l := c.route(route).classes[class]
		input, output = input+l.input, output+l.output
	}
	old := before.of(input, output)
	if price == before || price == (Price{}) || !(old > 0) {
		return
	}
	for i := range t.cells {
		t.cells[i].work, t.cells[i].cost, t.cells[i].prices = 0, 0, priceSums{}
	}
	if t.watch != nil {
		t.watch.cost.Reset()
	}
	t.regime = &Regime{At: now, What: whatList, Factor: price.of(input, output) / old}
	c.changed = append(c.changed, Changed{route, target, *t.regime})
}

// oldPrices is what is left of what was known of prices when they have changed.
const oldPrices = .02

func (s *cellSums) forgetPrices() {
	s.work, s.cost = s.work*oldPrices, s.cost*oldPrices
	p := &s.prices
	p.ii, p.io, p.oo, p.ic, p.oc = p.ii*oldPrices, p.io*oldPrices, p.oo*oldPrices, p.ic*oldPrices, p.oc*oldPrices
}

// price is what an exchange is expected to cost, in US dollars; 0: not known.
func (s *cellSums) price(input, output float64) float64 {
	if in, out := s.prices.of(); out > 0 {
		return in*input + out*output
	}
	if s.work > 0 {
		return s.cost / s.work * work(input, output)
	}
	return 0
}

// Changed is a change of regime of a target.
type Changed struct {
	Route, Target string
	Regime
}

// Changed are the changes of regime since the last call.
func (c *Collector) Changed() []Changed {
	out := c.changed
	c.changed = nil
	return out
}

// Alarmed tells whether there are some.
func (c *Collector) Alarmed() bool { return len(c.changed) > 0 }

// regimeNew is how long a change of regime is told with what is decided.
const regimeNew = 30 * time.Minute
