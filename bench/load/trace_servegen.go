package load

import (
	"bytes"
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"strconv"
	"time"
)

const servegenHeader = "client,seconds,rate,cv,family,p1,p2"

const (
	servegenStep = 600 * time.Second // what one row is about

	maxClientRate = 1e6 // requests per second: beyond it cannot be meant

	// Shapes of the distributions of gaps: wider than the published ones, from 0.007 to 45,000.
	minShape, maxShape = 1e-4, 1e6
)

// traceClient is one client, with its busy steps in ascending order.
type traceClient struct {
	number uint64
	steps  []traceStep
}

// traceStep is a client's traffic in a step.
type traceStep struct {
	start   time.Duration
	rate    float64 // requests per second
	shape   float64 // of the distribution of the gaps
	weibull bool    // instead of Gamma
}

// clientTable collects rows, which stand client by client.
type clientTable struct {
	clients []traceClient
	last    time.Duration // step of the row before
	busy    bool          // some client ever sends
	seen    map[uint64]bool
}

func (t *clientTable) add(line []byte) error {
	fields := bytes.Split(line, []byte(","))
	if len(fields) != 7 {
		return fmt.Errorf("%d fields: want 7, %s", len(fields), servegenHeader)
	}
	client, err := strconv.ParseUint(string(fields[0]), 10, 32)
	if err != nil {
		return fmt.Errorf("client is %.40q: want a number from 0 to %d", fields[0], uint32(math.MaxUint32))
	}
	seconds, err := strconv.ParseUint(string(fields[1]), 10, 32)
	if step := uint64(servegenStep / time.Second); err != nil || seconds%step != 0 || seconds > uint64(maxSpan/time.Second) {
		return fmt.Errorf("seconds is %.40q: want a multiple of %d up to %d", fields[1], step, maxSpan/time.Second)
	}
	s := traceStep{start: time.Duration(seconds) * time.Second}
	s.rate, err = strconv.ParseFloat(string(fields[2]), 64)
	if err != nil || !(s.rate >= 0 && s.rate <= maxClientRate) {
		return fmt.Errorf("rate is %.40q: want a number from 0 to %d", fields[2], int(maxClientRate))
	}
	if n := len(t.clients); n == 0 || t.clients[n-1].number != client {
		if t.seen[client] {
			return fmt.Errorf("client is %d again: want the rows of a client one below the other", client)
		}
		if t.seen == nil {
			t.seen = map[uint64]bool{}
		}
		t.seen[client] = true
		t.clients = append(t.clients, traceClient{number: client})
	} else if s.start <= t.last {
		return fmt.Errorf("seconds is %d: want more than in the row before", seconds)
	}
	t.last = s.start
	if s.rate == 0 {
		return nil
	}
	switch family := string(fields[4]); family {
	case "Gamma":
	case "Weibull":
		s.weibull = true
	default:
		return fmt.Errorf("family is %.40q: want Gamma or Weibull where the rate is not 0", family)
	}
	s.shape, err = strconv.ParseFloat(string(fields[5]), 64)
	if err != nil || !(s.shape >= minShape && s.shape <= maxShape) {
		return fmt.Errorf("p1 is %.40q: want a shape from %v to %d", fields[5], minShape, int(maxShape))
	}
	c := &t.clients[len(t.clients)-1]
	c.steps = append(c.steps, s)
	t.busy = true
	return nil
}

// drawClients draws the arrivals of clients and merges them. Each step of a client is a stationary renewal process of the
// step's rate, whose gaps have the fitted shape: the numbers of requests follow the rates, their burstiness the shapes. (The
// fitted scales don't: they give other rates than the table itself.) Steps that end before from are not drawn.
func drawClients(clients []traceClient, l *lengths, from time.Duration, seed uint64) Arrivals {
	return func(yield func(Arrival) bool) {
		var next clientHeap
		for i := range clients {
			steps := clients[i].steps
			first := sort.Search(len(steps), func(i int) bool { return steps[i].start+servegenStep > from })
			c := &clientDraw{steps: steps[first:], rng: rand.New(rand.NewPCG(seed+clients[i].number, streamClients))}
			if c.advance() {
				next = append(next, c)
			}
		}
		heap.Init(&next)
		rng := rand.New(rand.NewPCG(seed, streamLengths))
		for len(next) > 0 {
			c := next[0]
			a := Arrival{At: c.at}
			if l != nil {
				a.Input, a.Output = l.draw(a.At, rng)
			}
			if !yield(a) {
				return
			}
			if c.advance() {
				heap.Fix(&next, 0)
			} else {
				heap.Pop(&next)
			}
		}
	}
}

// clientDraw is where one client stands.
type clientDraw struct {
	steps  []traceStep // from the one in force
	within bool        // a request of the step in force has come
	at     time.Duration
	rng    *rand.Rand
}

// advance moves to the client's next request; false: there is none.
func (c *clientDraw) advance() bool {
	for len(c.steps) > 0 {
		s := &c.steps[0]
		if !c.within {
			c.at = s.start
		}
		seconds := s.gap(c.rng, c.within) / s.rate
		if seconds < (s.start + servegenStep - c.at).Seconds() {
			c.at += time.Duration(seconds * float64(time.Second))
			c.within = true
			return true
		}
		c.steps, c.within = c.steps[1:], false
	}
	return false
}

// gap draws what lies between two requests, with mean 1, or between any time and the request after it: a part of a gap,
// where longer gaps are met more often in proportion to their length (Cox, Renewal Theory, 1962, chapter 5).
func (s *traceStep) gap(rng *rand.Rand, between bool) float64 {
	part, shape := 1.0, s.shape
	if !between {
		part, shape = rng.Float64(), s.shape+1
	}
	if s.weibull { // as a power of an exponential, by logarithms: the power alone may be too large
		u := rng.ExpFloat64()
		if !between {
			u = gamma(1+1/s.shape, rng)
		}
		mean, _ := math.Lgamma(1 + 1/s.shape)
		return part * math.Exp(math.Log(u)/s.shape-mean)
	}
	return part * gamma(shape, rng) / s.shape
}

// gamma draws from the Gamma distribution with scale 1 (Marsaglia and Tsang, A Simple Method for Generating Gamma
// Variables, 2000; for shapes below 1 by their note at the end).
func gamma(shape float64, rng *rand.Rand) float64 {
	if shape < 1 {
		return gamma(shape+1, rng) * math.Pow(1-rng.Float64(), 1/shape)
	}
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := rng.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v *= v * v
		if math.Log(1-rng.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}

// clientHeap has the client whose request comes first on top; of several, it does not matter which.
type clientHeap []*clientDraw

func (h clientHeap) Len() int           { return len(h) }
func (h clientHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h clientHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *clientHeap) Push(x any)        { *h = append(*h, x.(*clientDraw)) }

func (h *clientHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
