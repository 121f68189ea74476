package simulate

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/bench/load"
	"llm-auto-optimizer/bench/sim"
)

// begin is when virtual time begins.
var begin = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// world is one run under way: a clock, what is going to happen, and the targets as they are.
type world struct {
	*Scenario
	now       time.Duration
	queue     events
	sequence  uint64
	targets   []targetState
	providers []providerState
	strategy  strategy
	result    *Run
	luck      *rand.Rand // of the strategy; that of the world is in the requests
	seed      uint64
	watched   float64                          // part of the sessions that is on the operator's settings unseen; 0 but in Measure
	limits    *limits                          // nil: none
	note      func(*request, *window.Exchange) // who follows single exchanges with the optimizer; nil: nobody
}

// newWorld is a run that is about to begin.
func newWorld(s *Scenario, seed uint64, result *Run) *world {
	w := &world{Scenario: s, seed: seed, luck: rand.New(rand.NewPCG(seed, 2)), result: result}
	for t := range s.Targets {
		w.targets = append(w.targets, targetState{Target: &s.Targets[t], errors: s.Targets[t].Errors, slower: 1, price: 1})
	}
	for p := range s.Providers {
		w.providers = append(w.providers, providerState{Provider: &s.Providers[p], account: sim.NewAccount(s.Providers[p].Quota)})
	}
	return w
}

// targetState is a target at the moment.
type targetState struct {
	*Target
	inFlight int
	errors   float64
	slower   float64
	price    float64 // factor
	quota    float64 // a minute; 0: none
	tokens   float64 // of the quota's bucket
	filled   time.Duration
	black    bool
	hang     bool
	drip     bool
	cache    promptCache
}

// timed is something that is going to happen.
type timed struct {
	at  time.Duration
	seq uint64
	do  func()
}

type events []timed

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(timed)) } //nolint:forcetypeassert // nothing else is pushed
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	old[len(old)-1] = timed{}
	*e = old[:len(old)-1]
	return last
}

func (w *world) at(d time.Duration, do func()) {
	w.sequence++
	heap.Push(&w.queue, timed{d, w.sequence, do})
}

func (w *world) time() time.Time { return begin.Add(w.now) }

// request is what a client asks for, with its luck at each target and attempt.
type request struct {
	at            time.Duration
	input, output int
	seed          uint64
	session       uint64
	blocks        []uint64
	caller        int
}

// luckOf are the draws of an attempt: the same for every strategy that makes the same attempt.
func (r *request) luckOf(target, attempt int) *rand.Rand {
	return rand.New(rand.NewPCG(r.seed, uint64(target)<<8|uint64(attempt))) //nolint:gosec // small
}

// play runs the world to its end.
func (w *world) play() error {
	w.schedule()
	next, stop, err := w.arrivals()
	if err != nil {
		return err
	}
	defer stop()
	r, more := next()
	for {
		if more && r.at < w.For && (len(w.queue) == 0 || r.at <= w.queue[0].at) {
			if w.limits.passed(w.result) {
				return errPassed
			}
			w.now = r.at
			arrived := r
			w.arrive(&arrived)
			r, more = next()
			continue
		}
		if len(w.queue) == 0 {
			return nil
		}
		e := heap.Pop(&w.queue).(timed) //nolint:forcetypeassert // nothing else is pushed
		w.now = e.at
		e.do()
	}
}

// schedule plans the incidents, and the strategy's glances at the clock.
func (w *world) schedule() {
	for i := range w.targets {
		t := &w.targets[i]
		t.errors, t.slower, t.price = t.Errors, 1, 1
	}
	for i := range w.Events {
		e := &w.Events[i]
		t := &w.targets[e.Target]
		w.at(e.At, func() { t.apply(e, w.now) })
		if e.For > 0 {
			w.at(e.At+e.For, func() { t.undo(e) })
		}
	}
	w.scheduleSteps()
	const glance = 250 * time.Millisecond
	var tick func()
	tick = func() {
		w.strategy.tick(w.time())
		if w.now < w.For {
			w.at(w.now+glance, tick)
		}
	}
	w.at(glance, tick)
}

func (t *targetState) apply(e *Event, now time.Duration) {
	switch e.What {
	case "errors":
		t.errors = e.Value
	case "ttft":
		t.slower = e.Value
	case "price":
		t.price = e.Value
	case "quota":
		t.quota, t.tokens, t.filled = e.Value, e.Value/60, now
	case "blackhole":
		t.black = true
	case "hang":
		t.hang = true
	case "drip":
		t.drip = true
	}
}

func (t *targetState) undo(e *Event) {
	switch e.What {
	case "errors":
		t.errors = t.Errors
	case "ttft":
		t.slower = 1
	case "price":
		t.price = 1
	case "quota":
		t.quota = 0
	case "blackhole":
		t.black = false
	case "hang":
		t.hang = false
	case "drip":
		t.drip = false
	}
}

// arrivals are the requests in the order of their times.
func (w *world) arrivals() (next func() (request, bool), stop func(), err error) {
	t := &w.Traffic
	if t.Trace != "" {
		return w.traced()
	}
	draw, sessions := rand.New(rand.NewPCG(w.seed, 1)), w.newSessions()
	at, changing, caller := 0., w.changing(), 0
	return func() (request, bool) {
		if changing == nil {
			at += draw.ExpFloat64() / t.Rate
		} else {
			at, caller = changing.next(draw)
		}
		s := sessions.next()
		return request{
			caller:  caller,
			at:      time.Duration(at * float64(time.Second)),
			input:   sessions.sized(draw, t.Input, t.InputSigma, s.input),
			output:  sessions.sized(draw, t.Output, t.OutputSigma, s.output),
			seed:    draw.Uint64(),
			session: s.hash,
		}, true
	}, func() {}, nil
}

func lognormal(draw *rand.Rand, median, sigma float64) int {
	return int(min(max(math.Round(median*math.Exp(sigma*draw.NormFloat64())), 1), 1e7))
}

// traced are the requests of a trace; those of a scale below 1 are drawn, above 1 each comes several times.
func (w *world) traced() (next func() (request, bool), stop func(), err error) {
	t := &w.Traffic
	trace, err := load.OpenTrace(t.Trace, "", w.seed)
	if err != nil {
		return nil, nil, err
	}
	speed, scale := t.Speed, t.Scale
	if speed == 0 {
		speed = 1
	}
	if scale == 0 {
		scale = 1
	}
	pull, stop := pullOf(trace.Arrivals(0, speed))
	draw, sessions := rand.New(rand.NewPCG(w.seed, 1)), w.newSessions()
	var last load.Arrival
	left := 0
	return func() (request, bool) {
		for left == 0 {
			var ok bool
			if last, ok = pull(); !ok {
				return request{}, false
			}
			left = int(scale)
			if draw.Float64() < scale-math.Floor(scale) {
				left++
			}
		}
		left--
		input, output := last.Input, last.Output
		if input == 0 {
			input = lognormal(draw, max(t.Input, 800), max(t.InputSigma, 1))
		}
		if output == 0 {
			output = lognormal(draw, max(t.Output, 200), max(t.OutputSigma, .8))
		}
		return request{at: last.At, input: input, output: output, seed: draw.Uint64(), session: sessions.next().hash, blocks: last.Blocks}, true
	}, stop, nil
}
