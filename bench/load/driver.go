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
	precise   bool   // wait for intended times by the best clock there is
	close     func() // lets go of the transport
	leave     context.CancelFunc
	exchanges context.Context // done when the clients of all exchanges leave

	mu    sync.Mutex
	start time.Time
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
	d.exchanges, d.leave = context.WithCancel(context.Background())
	sum := 0.0
	for i := range d.kinds {
		k := &d.kinds[i]
		if err := k.Check(); err != nil {
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
		d.transport, d.close, d.precise = t, t.CloseIdleConnections, true
	}
	return d, nil
}

const dialTimeout = 10 * time.Second

// Run sends the load until the arrivals end or ctx is done, lets the exchanges under way finish within the drain time, and
// returns when all have ended. It must be called once.
func (d *Driver) Run(ctx context.Context) {
	defer d.close()
	defer d.leave()
	wait, done := waitTimer, func() {}
	if d.precise {
		wait, done = preciseWait(ctx)
	}
	defer done()
	var running sync.WaitGroup
	sending, stop := context.WithCancel(ctx)
	defer stop()
	ahead := make(chan request, maxAhead)
	running.Go(func() { d.prepare(sending, ahead) })
	first, some := <-ahead
	start := time.Now() // not before there is something to send
	d.begun(start)
	for r, more := first, some; more; r, more = <-ahead {
		intended := start.Add(r.at)
		if !wait(ctx, intended) || !d.admit(ctx) {
			break
		}
		running.Go(func() {
			d.exchange(&r, intended)
			<-d.slots
		})
	}
	stop()
	d.allSent()
	defer time.AfterFunc(d.drain, d.leave).Stop()
	running.Wait()
	d.finished()
}

// maxAhead is how many requests are made before their time: a burst of long prompts takes a while to make.
const maxAhead = 32

// prepare makes the requests of all arrivals, and closes ahead when they end or ctx is done.
func (d *Driver) prepare(ctx context.Context, ahead chan<- request) {
	defer close(ahead)
	n := uint64(0)
	for a := range d.arrivals {
		select {
		case ahead <- d.request(n, &a):
			n++
		case <-ctx.Done():
			return
		}
	}
}

// Leave makes the clients of all exchanges under way leave at once, and those of any to come.
func (d *Driver) Leave() { d.leave() }

// admit takes a slot when one is free. It returns false when ctx is done first.
func (d *Driver) admit(ctx context.Context) bool {
	if ctx.Err() != nil { // goes before a slot that is free
		return false
	}
	select {
	case d.slots <- struct{}{}:
		return true
	default:
	}
	d.delayed()
	select {
	case d.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}
