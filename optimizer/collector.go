package optimizer

import (
	"math"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

// Collector adds exchanges up to evidence. It is not safe for concurrent use.
type Collector struct {
	routes  map[string]*routeSums
	watched int       // targets whose regimes are watched
	changed []Changed // since Changed was last called
	tallies []tally   // memory to work in
}

// NewCollector returns one that knows nothing.
func NewCollector() *Collector { return &Collector{routes: map[string]*routeSums{}} }

type routeSums struct {
	classes [classes]demandSums
	targets map[string]*targetSums
	hazards [classes]hazardEstimate
	limits  limitSums
	attempts
}

// loadSums fade with rateTau.
type loadSums struct {
	count, input, output float64
	at                   time.Time
}

type targetSums struct {
	cells    [classes]cellSums
	sent     loadSums
	perToken float64   // seconds, EWMA
	usual    float64   // the same while not busy: falls at once, rises slowly
	seen     float64   // answers that perToken is of
	healthy  float64   // highest rate that it has carried well, fading
	capacity float64   // exchanges a second; 0: no limit was met yet
	met      int       // times that the capacity was met again after it had grown
	slow     int       // looks at which it has been slow
	judged   time.Time // the last look
	faded    time.Time // when outcomes last were
	away     time.Time
	pacing   paceSums
	price    Price   // that was stated when last looked at
	watch    *watch  // nil: there are too many
	regime   *Regime // the last change; nil: none
}

type cellSums struct {
	outcomeSums
	work, cost float64
	prices     priceSums
}

const (
	rateTau     = 30 * time.Second
	costMemory  = 100  // exchanges: a price is nearly the same each time
	tokenMemory = 32   // answers
	usualMemory = 2000 // answers
)

// Observe takes an exchange in.
func (c *Collector) Observe(x *window.Exchange) {
	r := c.route(x.Route)
	class := min(int(x.Class), classes-1)
	input, output := float64(max(x.Input, 0)), float64(max(x.Output, 0))
	r.classes[class].add(x.At, input, output)
	r.limits.observe(x)
	if policy.Arm(x.Arm) == policy.Treated {
		r.attempts.observe(x)
	}
	t := r.target(x.Target)
	t.sent.add(x.At, 1, 0, 0)
	if x.PerToken > 0 {
		t.pace(x.PerToken.Seconds())
	}
	c.follow(x, t, class)
	cell := &t.cells[class]
	if x.CostNanoUSD > 0 && !x.Unpriced && output > 0 {
		keep := 1 - 1./costMemory
		cell.work, cell.cost = cell.work*keep+work(input, output), cell.cost*keep+float64(x.CostNanoUSD)/1e9
		if x.Attempts <= 1 { // what others charged for repetitions is no price of this one
			cell.prices.add(keep, input, output, float64(x.CostNanoUSD)/1e9)
		}
	}
	if x.Forced || t.isAway(x.At) { // incidents are the reflexes' business
		return
	}
	cell.add(x.Violation)
}

// ObserveRefused takes in an exchange that limits of the gateway have refused: no target has a part in it.
func (c *Collector) ObserveRefused(x *window.Exchange) { c.route(x.Route).limits.observe(x) }

// isAway tells whether the target is out, or has just come back.
func (t *targetSums) isAway(at time.Time) bool {
	return !t.away.IsZero() && at.Sub(t.away) < settleDown
}

func (t *targetSums) pace(seconds float64) {
	t.seen++
	if t.seen == 1 {
		t.perToken, t.usual = seconds, seconds
		return
	}
	t.perToken += (seconds - t.perToken) / min(t.seen, tokenMemory)
	if t.usual += (t.perToken - t.usual) / min(t.seen, usualMemory); t.perToken < t.usual && t.seen > tokenMemory {
		t.usual = t.perToken
	}
}

func (l *loadSums) add(at time.Time, count, input, output float64) {
	l.fade(at)
	l.count, l.input, l.output = l.count+count, l.input+input, l.output+output
}

func (l *loadSums) fade(at time.Time) {
	if l.at.IsZero() {
		l.at = at
	}
	switch d := at.Sub(l.at); {
	case d > 0:
		keep := math.Exp(-float64(d) / float64(rateTau))
		l.count, l.input, l.output, l.at = l.count*keep, l.input*keep, l.output*keep, at
	case d < -rateTau: // the clock was set back: exchanges that are told late are no more than seconds late
		l.at = at
	}
}

func (l *loadSums) load(at time.Time) Load {
	l.fade(at)
	if l.count == 0 {
		return Load{}
	}
	return Load{Rate: l.count / rateTau.Seconds(), Input: l.input / l.count, Output: l.output / l.count}
}

func (c *Collector) route(name string) *routeSums {
	r := c.routes[name]
	if r == nil {
		r = &routeSums{targets: map[string]*targetSums{}}
		c.routes[name] = r
	}
	return r
}

func (r *routeSums) target(name string) *targetSums {
	t := r.targets[name]
	if t == nil {
		t = &targetSums{}
		r.targets[name] = t
	}
	return t
}

// Forget drops what is known of how well a target serves: it is about a regime that is over.
func (c *Collector) Forget(route, target string) {
	t := c.route(route).target(target)
	for i := range t.cells {
		t.cells[i].outcomeSums = outcomeSums{}
	}
	t.usual, t.perToken, t.seen = 0, 0, 0
	delete(c.route(route).attempts.targets, target)
}

// Drop forgets all of a route.
func (c *Collector) Drop(route string) {
	if r := c.routes[route]; r != nil {
		for _, t := range r.targets {
			if t.watch != nil {
				c.watched--
			}
		}
	}
	delete(c.routes, route)
}

// Known is what the owner of the routes says of one, for its evidence.
type Known struct {
	Name            string
	Budgets         []BudgetForecast // of the route and of all traffic
	Objective       Objective
	InForce, Static policy.Parameters
	Holdback        float64
	Canary          *policy.Canary
	Targets         []KnownTarget
	Refused         uint64 // repetitions that there was no budget for, of all time
	Cache           *KnownCache
}

// KnownTarget is a target at the moment.
type KnownTarget struct {
	Name      string
	Available bool    // it takes traffic as usual
	Returning bool    // it does again, little by little
	Quality   float64 // as the operator judges it; 0: not known
	Price     Price   // that is stated
	Like      string  // the same for targets with the same model, price and quality where prefix affinity decides which serves; empty: like no other
	Paced     KnownPace
}

const (
	slowFrom   = 1.2              // slowness from which on a target is at the end of its capacity
	slowFor    = 2                // looks at which it must have been so
	judgeEvery = 8 * time.Second  // between two looks: cycles come every ten seconds, and in between where something happens
	leastPace  = .001             // seconds per output token: what is faster is at the end of nothing, and varies with the machine that looks
	easyBelow  = 1.1              // and below which it is not
	lessLoad   = .85              // of what it got when it became slow
	wellKnown  = .9               // of what it has carried well, from which on slowness may come of load
	fading     = .998             // of that, each look
	growth     = .02              // of a capacity, each look at which it is used and not slow; less after each time that it was met again, see trying
	mostMet    = 6                // times that count
	goneFor    = 15 * time.Second // that a target was there, for its going to be news: more than a cycle
	settleDown = 90 * time.Second // after an ejection, until a target counts as usual
)

// Evidence is what is known now. It is to be called once a cycle: capacities are judged by it.
func (c *Collector) Evidence(now time.Time, known *Known) RouteEvidence {
	r := c.route(known.Name)
	e := RouteEvidence{Name: known.Name, Objective: known.Objective, InForce: known.InForce, Static: known.Static}
	e.Cache = known.Cache.evidence(now, &known.InForce, &r.hazards)
	e.Limits = r.limits.evidence(now, &known.InForce)
	e.Attempts = r.attempts.evidence(now, known, &c.tallies)
	for class := range e.Classes {
		e.Classes[class] = r.classes[class].demand(now)
	}
	for _, k := range known.Targets {
		t := r.target(k.Name)
		notAfter(now, &t.away, &t.judged)
		c.listed(now, known.Name, k.Name, t, k.Price)
		if !k.Available {
			if t.away.IsZero() || now.Sub(t.away) > goneFor { // it has just gone
				t.overrun(t.sent.load(now).Rate)
			}
			t.away = now
			t.perToken = t.usual // what it was like meanwhile says nothing of its capacity
		}
		te := TargetEvidence{Name: k.Name, Available: k.Available, Usual: k.Available && (t.away.IsZero() || now.Sub(t.away) > settleDown), Rate: t.sent.load(now).Rate, Quality: k.Quality, Like: k.Like}
		te.Pace = t.pacing.evidence(now, k.Paced, known.InForce.Targets[k.Name].Pace)
		if t.seen > tokenMemory && t.usual > 0 {
			te.Slowness = t.perToken / t.usual
		}
		if te.Usual {
			t.judge(now, &te)
		}
		te.Capacity = t.capacity
		passed := t.passed(now, te.Usual)
		if t.regime != nil && now.Sub(t.regime.At) < regimeNew {
			te.Regime = t.regime
		}
		for class := range te.Cells {
			s := &t.cells[class]
			s.fade(passed)
			s.settle()
			te.Cells[class].Count, te.Cells[class].Violations = s.known()
			if s.work > 0 {
				te.Cells[class].Unit = s.cost / s.work
				te.Cells[class].In, te.Cells[class].Out = s.prices.of()
			}
		}
		e.Targets = append(e.Targets, te)
	}
	return e
}

// notAfter has what was done at a time that a clock which was set back has not reached again be done now: nobody is to wait until then.
func notAfter(now time.Time, done ...*time.Time) {
	for _, at := range done {
		if at.After(now) {
			*at = now
		}
	}
}

// passed is how much time outcomes have to fade for. While nothing is learned of them they do not: they have to for all of that afterwards.
func (t *targetSums) passed(now time.Time, usual bool) (d time.Duration) {
	switch {
	case t.faded.IsZero():
		t.faded = now
	case usual:
		d, t.faded = now.Sub(t.faded), now
	}
	return d
}

// judge learns how much load the target takes.
func (t *targetSums) judge(now time.Time, e *TargetEvidence) {
	if now.Sub(t.judged) < judgeEvery || t.perToken < leastPace {
		return // cycles that an alarm or an operator has brought come too soon for another look
	}
	t.judged = now
	t.healthy *= fading
	if e.Slowness < slowFrom {
		t.slow = 0
	} else {
		t.slow++
	}
	switch {
	case t.slow >= slowFor && e.Rate > t.healthy*wellKnown: // else it is slow whatever it gets
		t.limit(e.Rate * t.margin())
	case e.Slowness > 0 && e.Slowness < easyBelow:
		t.healthy = max(t.healthy, e.Rate)
		if t.capacity > 0 && e.Rate > t.capacity*lessLoad {
			t.capacity *= 1 + growth*t.trying()
		}
	}
}

// trying is how fast it is tried whether there is more, as a part of the first time: half as fast after each of the first four meetings, which are over within an hour,
// and then a sixteenth, so that it takes two hours, and then a day. Each try is two decisions, and slow answers.
func (t *targetSums) trying() float64 { return math.Exp2(-float64(t.met + 3*max(0, t.met-4))) }

// margin is the part of the load under which it became slow that it takes. Each time that it was met again the load is known better, and less has to be left free.
func (t *targetSums) margin() float64 {
	if t.capacity == 0 {
		return lessLoad
	}
	return 1 - (1-lessLoad)/(1+float64(t.met+1)/2)
}

// limit notes that a target takes no more than that. The nearer that is to what was known, the more is believed of it, and the more slowly it is tried whether
// there is more by now: trying means slow answers.
func (t *targetSums) limit(rate float64) {
	switch {
	case t.capacity == 0 || rate < t.capacity*lessLoad*lessLoad:
		t.capacity, t.met = rate, 0
	default:
		t.capacity = min(t.capacity, rate)
		if t.slow <= slowFor { // for as long as it stays slow, it is the same time
			t.met = min(t.met+1, mostMet)
		}
	}
}

// overrun learns of a target that is taken out of service while it is slow under as much load as it ever had: that was too much.
func (t *targetSums) overrun(rate float64) {
	if t.seen > tokenMemory && t.usual > 0 && t.perToken/t.usual >= slowFrom && rate > t.healthy*wellKnown {
		t.limit(rate * t.margin())
	}
}

// room is the share of a route's traffic that a target takes as far as is known; 1 where no limit is.
func (c *Collector) room(route, target string, now time.Time) float64 {
	r := c.route(route)
	total := 0.
	for class := range r.classes {
		total += r.classes[class].load(now).Rate
	}
	if t := r.target(target); t.capacity > 0 && total > 0 {
		return min(1, t.capacity/total)
	}
	return 1
}
