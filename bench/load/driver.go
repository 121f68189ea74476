package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"llm-auto-optimizer/analysis/window"
)

// Options describe a load.
type Options struct {
	// Arrivals are the intended send times. The load ends when they end.
	Arrivals Arrivals

	// Kinds is the mixture.
	Kinds []Kind

	// Seed makes other requests; with the same seed they are the same.
	Seed uint64

	// MaxInFlight bounds the requests under way, and with them connections, goroutines and memory. What should be sent
	// beyond it waits, and its latency counts from the time at which it should have been sent.
	MaxInFlight int

	// Drain is the time that the exchanges under way get to finish when nothing more is sent. Then their clients leave.
	Drain time.Duration

	// Transport makes the round trips. Nil: HTTP/1.1 connections of the driver's own, kept alive, without any proxy that
	// the environment names.
	Transport http.RoundTripper
}

// Driver sends one load. Its methods are safe for concurrent use.
type Driver struct {
	arrivals  Arrivals
	seed      uint64
	kinds     []Kind
	shares    []float64     // cumulated weights
	prefixes  [][][]byte    // system prompts, by kind
	urls      []string      // by kind
	headers   []http.Header // by kind; shared by all requests, never changed
	drain     time.Duration
	slots     chan struct{}
	transport http.RoundTripper
	close     func() // lets go of the transport

	mu    sync.Mutex
	stats Stats
}

// New makes a driver. It refuses options that contradict their documentation.
func New(o Options) (*Driver, error) {
	switch {
	case o.Arrivals == nil:
		return nil, errors.New("load: no arrivals")
	case len(o.Kinds) == 0:
		return nil, errors.New("load: no kinds")
	case o.MaxInFlight < 1:
		return nil, fmt.Errorf("load: MaxInFlight is %d: want 1 or more", o.MaxInFlight)
	case o.Drain < 0:
		return nil, fmt.Errorf("load: Drain is %v: want 0 or more", o.Drain)
	}
	d := &Driver{
		arrivals: o.Arrivals, seed: o.Seed, kinds: slices.Clone(o.Kinds), drain: o.Drain,
		slots: make(chan struct{}, o.MaxInFlight), transport: o.Transport, close: func() {},
	}
	sum := 0.0
	for i := range d.kinds {
		k := &d.kinds[i]
		if err := k.check(); err != nil {
			return nil, fmt.Errorf("load: kind %d: %w", i, err)
		}
		sum += k.Weight
		d.shares = append(d.shares, sum)
		d.prefixes = append(d.prefixes, k.prefixes(o.Seed+uint64(i)))
		d.urls = append(d.urls, k.url())
		d.headers = append(d.headers, k.header())
	}
	if d.transport == nil {
		t := &http.Transport{
			DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
			MaxIdleConnsPerHost: o.MaxInFlight,
			DisableCompression:  true,
		}
		d.transport, d.close = t, t.CloseIdleConnections
	}
	return d, nil
}

const dialTimeout = 10 * time.Second

// Run sends the load until the arrivals end or ctx is done, lets the exchanges under way finish within the drain time, and
// returns when all have ended. It must be called once.
func (d *Driver) Run(ctx context.Context) {
	defer d.close()
	exchanges, leave := context.WithCancel(context.WithoutCancel(ctx))
	defer leave()
	var running sync.WaitGroup
	start, n := time.Now(), uint64(0)
	for at := range d.arrivals {
		intended := start.Add(at)
		if !d.admit(ctx, intended) {
			break
		}
		r := d.request(n)
		n++
		running.Go(func() {
			d.exchange(exchanges, &r, intended)
			<-d.slots
		})
	}
	defer time.AfterFunc(d.drain, leave).Stop()
	running.Wait()
}

// admit waits for the time to come and for a free slot, which it takes. It returns false when ctx is done first.
func (d *Driver) admit(ctx context.Context, at time.Time) bool {
	if wait := time.Until(at); wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return false
		}
	}
	select {
	case <-ctx.Done(): // goes before a slot that is free, too
		return false
	default:
	}
	select {
	case d.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// Stats are the results of a load so far.
type Stats struct {
	Sent     int64
	InFlight int64

	// Outcomes by window.Outcome, as the clients saw them: Canceled are those that left, by plan or at the end of the load,
	// Connect could not be sent at all, Broken ended too early, StreamError said so itself.
	Outcomes []int64

	Latency  Histogram // from the intended sending to the end, whatever the outcome but Canceled
	TTFT     Histogram // from the intended sending to the first content, of streams that had any
	Overhead Histogram // that a gateway states in x-llmopt-overhead-us
}

// Stats returns the results so far.
func (d *Driver) Stats() *Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stats
	s.Outcomes = make([]int64, len(window.Outcomes()))
	copy(s.Outcomes, d.stats.Outcomes)
	return &s
}

func (d *Driver) begin() {
	d.mu.Lock()
	d.stats.Sent++
	d.stats.InFlight++
	d.mu.Unlock()
}

func (d *Driver) end(r *result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.stats
	s.InFlight--
	if s.Outcomes == nil {
		s.Outcomes = make([]int64, len(window.Outcomes()))
	}
	s.Outcomes[r.outcome]++
	if r.outcome != window.Canceled {
		s.Latency.Record(r.latency)
	}
	if r.hasContent {
		s.TTFT.Record(r.ttft)
	}
	if r.hasOverhead {
		s.Overhead.Record(r.overhead)
	}
}
