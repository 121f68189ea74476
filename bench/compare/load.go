package compare

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Sample is one turn of one contender in one scenario.
type Sample struct {
	Seconds  float64 `json:"seconds"`            // of the measurement
	Count    int64   `json:"count"`              // requests, streams or chunks in it
	CPU      float64 `json:"cpu_us,omitempty"`   // CPU time of the contender per unit, in microseconds
	Sim      float64 `json:"sim_cpu_us"`         // of the simulator
	Driver   float64 `json:"driver_cpu_us"`      // of the driver
	RSS      int64   `json:"rss_bytes,omitzero"` // of the contender under this load
	P50      float64 `json:"p50_us,omitzero"`    // latency from the intended sending to the answer's end
	P99      float64 `json:"p99_us,omitzero"`
	FirstP50 float64 `json:"first_p50_us,omitzero"` // from the intended sending to the body's first byte
	FirstP99 float64 `json:"first_p99_us,omitzero"`
}

// turn is a load while it runs.
type turn struct {
	s       *scenario
	addr    string
	want    int // length of an answer
	count   atomic.Int64
	open    atomic.Int64 // streams that have begun
	stop    chan struct{}
	measure atomic.Bool // latencies are wanted

	mu     sync.Mutex
	err    error // the first
	whole  []time.Duration
	firsts []time.Duration
}

// fail notes why the turn can't be counted, and ends it.
func (t *turn) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = err
		close(t.stop)
	}
}

func (t *turn) stopped() bool {
	select {
	case <-t.stop:
		return true
	default:
		return false
	}
}

// play sends the load until done, which gets it once it is under way.
func (t *turn) play(ctx context.Context, done func(ctx context.Context) error) error {
	t.stop = make(chan struct{})
	request := t.s.request()
	var clients []*client
	closeAll := func() {
		for _, c := range clients {
			c.close()
		}
	}
	defer closeAll()
	for range t.s.conns {
		c, err := dial(t.addr, request, t.want)
		if err != nil {
			return err
		}
		clients = append(clients, c)
	}
	var wg sync.WaitGroup
	begin := time.Now()
	for i, c := range clients {
		wg.Go(func() {
			switch {
			case t.s.paced:
				t.pacedStream(c, begin.Add(time.Duration(i)*t.s.settle/2/time.Duration(len(clients))))
			default:
				t.repeat(c, begin, i)
			}
		})
	}
	err := done(ctx)
	t.mu.Lock()
	failed := t.err
	if failed == nil {
		t.err = context.Canceled // nothing that happens from here on counts
		close(t.stop)
	}
	t.mu.Unlock()
	if t.s.paced { // these streams do not end by themselves
		closeAll()
	}
	wg.Wait()
	if failed != nil {
		return failed
	}
	return err
}

// repeat sends requests one after the other, each at its time where the load has a rate.
func (t *turn) repeat(c *client, begin time.Time, i int) {
	gap := time.Duration(0)
	intended := begin
	if t.s.rate > 0 {
		gap = time.Duration(float64(t.s.conns) / t.s.rate * float64(time.Second))
		intended = begin.Add(gap * time.Duration(i) / time.Duration(t.s.conns))
	}
	var whole, firsts []time.Duration
	for !t.stopped() {
		late := time.Duration(0)
		if gap > 0 {
			time.Sleep(time.Until(intended))
			late = time.Since(intended)
		}
		sent := time.Now()
		a, err := c.exchange(nil)
		if err != nil {
			t.fail(err)
			break
		}
		t.count.Add(1)
		if gap > 0 && t.measure.Load() {
			whole, firsts = append(whole, late+time.Since(sent)), append(firsts, late+a.first)
		}
		intended = intended.Add(gap)
	}
	t.mu.Lock()
	t.whole, t.firsts = append(t.whole, whole...), append(t.firsts, firsts...)
	t.mu.Unlock()
}

// pacedStream opens one stream and counts its events until its connection is closed.
func (t *turn) pacedStream(c *client, at time.Time) {
	time.Sleep(time.Until(at))
	first := true
	_, err := c.exchange(func(events int) {
		if first {
			first = false
			t.open.Add(1)
		}
		t.count.Add(int64(events))
	})
	if !t.stopped() {
		t.fail(cmpErr(err, "a paced stream ended before it was to"))
	}
}

// quantile of durations in microseconds; 0 where there are none.
func quantile(d []time.Duration, q float64) float64 {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return float64(d[min(len(d)-1, int(q*float64(len(d))))].Nanoseconds()) / 1e3
}

// probe sends one request and tells how long the answer is.
func probe(addr string, s *scenario) (answer, error) {
	c, err := dial(addr, s.request(), 0)
	if err != nil {
		return answer{}, err
	}
	defer c.close()
	a, err := c.exchange(nil)
	if err == nil && s.stream && a.events < 3 {
		err = fmt.Errorf("a stream of %d events", a.events)
	}
	return a, err
}
