package limit

import (
	"cmp"
	"slices"
	"time"
)

// class holds the callers of one priority.
type class struct {
	priority int
	cost     int64 // of all that wait
	given    int64 // credit that every caller that waited all the time has got
	flows    map[ID]*flow
	active   []*flow // that have somebody waiting, of equals whose turn it is first
}

// flow is one caller's requests in a class.
type flow struct {
	caller ID
	class  *class
	credit int64  // tokens; below 0: it was let through with more than its turn
	left   int64  // what its class had given when it last was active
	passed uint64 // the round in which it was passed over
	cost   int64
	heap   []*Waiter // the earliest deadline first
}

const (
	// maxFlows is how many callers a class remembers that have nobody waiting but are in debt.
	maxFlows = 4096
	// maxDebt is how far beyond its turn a caller can get: a guess that was far off must not shut it out.
	maxDebt = 1 << 18
)

func (c *class) flow(caller ID) *flow {
	f := c.flows[caller]
	if f == nil {
		f = &flow{caller: caller, class: c, left: c.given}
		c.flows[caller] = f
	}
	return f
}

// forget drops a flow that has nobody waiting and no debt.
func (c *class) forget(f *flow) {
	if len(f.heap) == 0 && (f.credit >= 0 || len(c.flows) > maxFlows) {
		delete(c.flows, f.caller)
	}
}

// add puts a request into its flow. A debt is paid by what the others got meanwhile; nothing is saved up.
func (c *class) add(f *flow, w *Waiter) {
	if len(f.heap) == 0 {
		f.credit = min(plus(f.credit, minus(c.given, f.left)), 0)
		c.active = append(c.active, f)
	}
	f.cost, c.cost = plus(f.cost, w.Cost), plus(c.cost, w.Cost)
	w.place = len(f.heap)
	f.heap = append(f.heap, w)
	f.up(w.place)
}

// remove takes a request out of its flow.
func (c *class) remove(w *Waiter) {
	f, last := w.flow, len(w.flow.heap)-1
	place := w.place
	f.swap(place, last)
	f.heap[last] = nil
	f.heap = f.heap[:last]
	w.place = -1
	if place < last {
		f.down(place)
		f.up(place)
	}
	f.cost, c.cost = minus(f.cost, w.Cost), minus(c.cost, w.Cost)
	if last == 0 {
		f.left = c.given
		c.active = slices.DeleteFunc(c.active, func(o *flow) bool { return o == f })
		c.forget(f)
	}
}

// next is whose turn it is among the callers that are not passed over in this round: who can pay first when all are credited alike, and how much that takes.
func (c *class) next(round uint64) (_ *Waiter, need int64) {
	var best *flow
	for _, f := range c.active {
		if n := minus(f.heap[0].Cost, f.credit); f.passed != round && (best == nil || n < need) {
			best, need = f, n
		}
	}
	if best == nil {
		return nil, 0
	}
	return best.heap[0], max(need, 0)
}

// turn credits all that compete, and puts the one whose turn it was behind its equals. While it was tried others may have come and gone.
func (c *class) turn(f *flow, need int64, round uint64) {
	c.given = plus(c.given, need)
	for _, o := range c.active {
		if o.passed != round {
			o.credit = plus(o.credit, need)
		}
	}
	if i := slices.Index(c.active, f); i >= 0 {
		c.active = append(append(c.active[:i], c.active[i+1:]...), f)
	}
}

// pay takes tokens from a caller's credit.
func (f *flow) pay(tokens int64) { f.credit = max(minus(f.credit, tokens), -maxDebt) }

// largest is the caller that has the most work waiting.
func (c *class) largest() (most *flow) {
	for _, f := range c.active {
		if most == nil || f.cost > most.cost {
			most = f
		}
	}
	return most
}

// latest is the request with the latest deadline that is not being tried.
func (f *flow) latest() (last *Waiter) {
	for _, w := range f.heap {
		if !w.offered && (last == nil || w.after(last)) {
			last = w
		}
	}
	return last
}

// after is the order in a flow: by deadline, then as they came.
func (w *Waiter) after(o *Waiter) bool {
	return cmp.Or(cmp.Compare(w.deadline, o.deadline), cmp.Compare(w.serial, o.serial)) > 0
}

func (f *flow) swap(i, j int) {
	f.heap[i], f.heap[j] = f.heap[j], f.heap[i]
	f.heap[i].place, f.heap[j].place = i, j
}

func (f *flow) up(i int) {
	for i > 0 && f.heap[(i-1)/2].after(f.heap[i]) {
		f.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (f *flow) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(f.heap); child++ {
			if f.heap[least].after(f.heap[child]) {
				least = child
			}
		}
		if least == i {
			return
		}
		f.swap(i, least)
		i = least
	}
}

// pace is how fast a queue goes while somebody waits: a moving mean of tokens in a second.
type pace struct {
	begun   int64 // of the measurement; nanoseconds
	tokens  int64 // since
	rate    float64
	running bool
}

const (
	paceWindow = int64(250 * time.Millisecond)
	paceWeight = .3
)

// roll ends a measurement that has lasted long enough. busy tells that somebody has waited all the time since.
func (p *pace) roll(at int64, busy bool) {
	if took := minus(at, p.begun); p.running && took >= paceWindow {
		rate := float64(p.tokens) / (float64(took) / float64(time.Second))
		if p.rate == 0 {
			p.rate = rate
		}
		p.rate += min(paceWeight*float64(took)/float64(paceWindow), 1) * (rate - p.rate)
		p.running = false
	}
	if !busy || at < p.begun {
		p.running = false
	}
	if busy && !p.running {
		p.begun, p.tokens, p.running = at, 0, true
	}
}

func (p *pace) add(tokens int64) { p.tokens = plus(p.tokens, tokens) }

// lasts is how long so many tokens take; 0 where that is not known.
func (p *pace) lasts(tokens int64) time.Duration {
	if p.rate <= 0 {
		return 0
	}
	return time.Duration(min(float64(tokens)/p.rate, 1e6) * float64(time.Second))
}
