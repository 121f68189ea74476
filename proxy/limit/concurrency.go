package limit

import (
	"math"
	"sync"
)

// ConcurrencyOptions of a Concurrency.
type ConcurrencyOptions struct {
	Least, Most int // attempts at a time; 0: leastConcurrent, and no bound
	// Open lets all through until the first sign of a crowd, and begins with what is then under way: a gateway must not hold back what its target has served well before.
	Open bool
	// Gradient follows the time to first token as well, brought to one size of prompt: it is slower to say how much is too much, but says so before anything fails.
	Gradient bool
}

const (
	// leastConcurrent is as few as it goes down to: with one at a time nothing is learned of whether two would do.
	leastConcurrent = 2
	// firstConcurrent is where it begins.
	firstConcurrent = 20
	concurrentCut   = .9
	// Of the gradient (Netflix's concurrency-limits, Gradient2): how much longer than usual is all right, how much of a change is made at once, and over how many
	// samples what is usual is a mean.
	gradientTolerance = 1.5
	gradientSmoothing = .2
	gradientLong      = 600
	gradientShort     = 10
	gradientCrowd     = 256 // times that long it takes for long times to count as usual while the target is in full use
	gradientWarm      = 10  // samples before it says anything
)

// Concurrency finds out how many attempts at a time suit a target: one more for each round of good ones while all are in use, a tenth less when one is refused or is later
// than its SLO (AIMD). How long an answer takes in all says nothing, as long answers are no congestion.
type Concurrency struct {
	o ConcurrencyOptions

	mu          sync.Mutex
	limit       float64 // 0: open
	flying      int
	serial      uint64
	cut         uint64 // what had begun when it was cut: what becomes of that is no news
	short, long float64
	samples     int
}

// NewConcurrency makes a limiter that knows nothing.
func NewConcurrency(o ConcurrencyOptions) *Concurrency {
	c := &Concurrency{o: o.usable()}
	if !o.Open {
		c.limit = float64(min(max(firstConcurrent, c.o.Least), c.o.Most))
	}
	return c
}

func (o ConcurrencyOptions) usable() ConcurrencyOptions {
	if o.Least <= 0 {
		o.Least = leastConcurrent
	}
	if o.Most <= 0 {
		o.Most = math.MaxInt32
	}
	o.Least = min(o.Least, o.Most)
	return o
}

// Use puts other options in force. What was learned stays, within the new bounds.
func (c *Concurrency) Use(o ConcurrencyOptions) {
	o = o.usable()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.o != o {
		c.o = o
		c.bound()
	}
}

// bound keeps a known limit within its bounds. c.mu is held.
func (c *Concurrency) bound() {
	if c.limit > 0 {
		c.limit = min(max(c.limit, float64(c.o.Least)), float64(c.o.Most))
	}
}

// most is how many may be under way. c.mu is held.
func (c *Concurrency) most() int {
	if c.limit == 0 {
		return c.o.Most
	}
	return int(c.limit)
}

// Start is an attempt that has begun.
type Start struct {
	serial uint64
	flying int  // with it
	full   bool // the limit was used
}

// Begin lets an attempt begin, unless as many as suit the target are under way. One that has begun has to End.
func (c *Concurrency) Begin() (Start, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flying >= c.most() {
		return Start{}, false
	}
	c.flying++
	c.serial++
	return Start{serial: c.serial, flying: c.flying, full: c.limit == 0 || 2*c.flying >= int(c.limit)}, true
}

// Sign is what the end of an attempt says of its target's load.
type Sign uint8

// The signs.
const (
	Good     Sign = iota // in time
	Crowded              // refused by 429, or later than the SLO of its time to first token
	NoMatter             // it failed otherwise, was canceled, or has no time to first token
)

// End ends an attempt. ttft is its time to first token divided by what is usual for a prompt of its size (1: as usual); 0 where it is not known.
func (c *Concurrency) End(s Start, sign Sign, ttft float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case sign == Crowded && s.serial > c.cut:
		if c.limit == 0 {
			c.limit = float64(max(s.flying, c.flying))
		}
		c.limit, c.cut = c.limit*concurrentCut, c.serial
	case sign == Good && s.full && s.serial > c.cut && !c.o.Gradient && c.limit > 0:
		c.limit += 1 / c.limit
	}
	if c.o.Gradient && sign == Good && ttft > 0 && !math.IsInf(ttft, 0) {
		c.gradient(ttft, s.full, max(s.flying, c.flying))
	}
	c.flying--
	c.bound()
}

// gradient moves the limit by how the times of late compare with the usual ones, or finds a first one while so many are under way. c.mu is held.
func (c *Concurrency) gradient(ttft float64, full bool, flying int) {
	c.samples++
	c.short += max(1/float64(c.samples), 1./gradientShort) * (ttft - c.short)
	weight := max(1/float64(c.samples), 1./gradientLong)
	if full && ttft > c.long && c.samples > gradientWarm { // a crowd must not become what is usual
		weight = 1. / gradientLong / gradientCrowd
	}
	c.long += weight * (ttft - c.long)
	if c.long > 2*c.short { // after a bad time
		c.long *= .95
	}
	if c.samples < gradientWarm || !full {
		return
	}
	g := min(max(gradientTolerance*c.long/c.short, .5), 1)
	if c.limit == 0 {
		if g < 1 {
			c.limit = g * float64(flying)
		}
		return
	}
	next := c.limit*g + math.Sqrt(c.limit)
	c.limit += gradientSmoothing * (next - c.limit) / max(c.limit, 1)
}

// Limit is how many may be under way, 0 where nothing is held back yet, and how many are.
func (c *Concurrency) Limit() (limit, flying int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.limit), c.flying
}
