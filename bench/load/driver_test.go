package load

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llm-auto-optimizer/analysis/window"
)

// scripted answers every request after a time, without a network.
type scripted struct {
	takes  time.Duration
	answer reply

	mu           sync.Mutex
	now, highest int
	sent         []time.Time
}

func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.sent = append(s.sent, time.Now())
	s.now++
	s.highest = max(s.highest, s.now)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.now--
		s.mu.Unlock()
	}()
	select {
	case <-time.After(s.takes):
		return s.answer.response()
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// reply is an error or an answer, whose body is read in these pieces.
type reply struct {
	err    error
	status int
	header http.Header
	body   []string
}

func (r *reply) response() (*http.Response, error) {
	if r.err != nil {
		return nil, r.err
	}
	var pieces []io.Reader
	for _, p := range r.body {
		pieces = append(pieces, strings.NewReader(p))
	}
	return &http.Response{StatusCode: r.status, Header: r.header, Body: io.NopCloser(io.MultiReader(pieces...))}, nil
}

var fine = reply{status: 200, header: http.Header{"X-Llmopt-Overhead-Us": {"70"}}, body: []string{"{}"}}

func at(ms ...int) Arrivals {
	return func(yield func(Arrival) bool) {
		for _, t := range ms {
			if !yield(Arrival{At: time.Duration(t) * time.Millisecond}) {
				return
			}
		}
	}
}

// times are when arrivals come.
func times(arrivals Arrivals) (all []time.Duration) {
	for a := range arrivals {
		all = append(all, a.At)
	}
	return all
}

// plain is the simplest kind.
var plain = Kind{API: Chat, BaseURL: "http://provider.test/v1", Model: "m", Weight: 1, Prompt: Size{Median: 10}}

func newDriver(t *testing.T, o Options) *Driver {
	t.Helper()
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDriver_SendsAtTheIntendedTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{takes: time.Second, answer: fine}
		d := newDriver(t, Options{Arrivals: at(0, 3, 500, 501), Kinds: []Kind{plain}, MaxInFlight: 10, Drain: time.Minute, Transport: s})
		start := time.Now()
		d.Run(t.Context())
		var got []time.Duration
		for _, at := range s.sent {
			got = append(got, at.Sub(start))
		}
		if want := times(at(0, 3, 500, 501)); !slices.Equal(got, want) {
			t.Errorf("sent at %v, want %v", got, want)
		}
		st := d.Stats()
		if st.Sent != 4 || st.InFlight != 0 || st.Outcomes[window.OK] != 4 || s.highest != 4 {
			t.Errorf("got %d sent, %d in flight, outcomes %v, %d at a time", st.Sent, st.InFlight, st.Outcomes, s.highest)
		}
		if st.Latency.Max() != time.Second || st.Overhead.Max() != 70*time.Microsecond || st.Overhead.Count() != 4 {
			t.Errorf("got latency %v, overhead %v", st.Latency.Max(), st.Overhead.Max())
		}
	})
}

func TestDriver_LatencyCountsFromTheIntendedTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{takes: 100 * time.Millisecond, answer: fine}
		d := newDriver(t, Options{Arrivals: at(0, 10, 20), Kinds: []Kind{plain}, MaxInFlight: 1, Drain: time.Minute, Transport: s})
		d.Run(t.Context())
		st := d.Stats()
		// The third waits for two others: it is done at 300 ms and should have been sent at 20 ms.
		if s.highest != 1 || st.Latency.Max() != 280*time.Millisecond {
			t.Errorf("got %d at a time and a latency of %v, want 1 and 280ms", s.highest, st.Latency.Max())
		}
	})
}

func TestDriver_ClientsLeaveWhenTheDrainTimeIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{takes: time.Hour, answer: fine}
		d := newDriver(t, Options{Arrivals: at(0, 100), Kinds: []Kind{plain}, MaxInFlight: 10, Drain: time.Second, Transport: s})
		start := time.Now()
		d.Run(t.Context())
		if took := time.Since(start); took != 1100*time.Millisecond {
			t.Errorf("took %v, want 1.1s", took)
		}
		if st := d.Stats(); st.Outcomes[window.Canceled] != 2 || st.InFlight != 0 || st.Latency.Count() != 0 {
			t.Errorf("got outcomes %v, %d in flight, %d latencies", st.Outcomes, st.InFlight, st.Latency.Count())
		}
	})
}

func TestDriver_ContextEndsTheSending(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{takes: 300 * time.Millisecond, answer: fine}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		d := newDriver(t, Options{Arrivals: at(0, 900, 2000), Kinds: []Kind{plain}, MaxInFlight: 10, Drain: time.Minute, Transport: s})
		start := time.Now()
		d.Run(ctx)
		if took := time.Since(start); took != 1200*time.Millisecond {
			t.Errorf("took %v, want 1.2s: what was under way finishes", took)
		}
		if st := d.Stats(); st.Outcomes[window.OK] != 2 {
			t.Errorf("got outcomes %v", st.Outcomes)
		}
		// One that waits for a slot ends, too.
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		d = newDriver(t, Options{
			Arrivals: at(0, 1), Kinds: []Kind{plain}, MaxInFlight: 1, Transport: &scripted{takes: time.Hour, answer: fine},
		})
		d.Run(ctx)
		if st := d.Stats(); st.Sent != 1 || st.Outcomes[window.Canceled] != 1 {
			t.Errorf("got %d sent, outcomes %v", st.Sent, st.Outcomes)
		}
	})
}

func TestDriver_Outcomes(t *testing.T) {
	t.Parallel()
	streamed := plain
	streamed.Stream = true
	check := func(k Kind, want window.Outcome, answer reply) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			t.Helper()
			d := newDriver(t, Options{Arrivals: at(0), Kinds: []Kind{k}, MaxInFlight: 1, Drain: time.Minute, Transport: &scripted{answer: answer}})
			d.Run(t.Context())
			st := d.Stats()
			if got := slices.Index(st.Outcomes, 1); window.Outcome(got) != want {
				t.Errorf("got outcomes %v, want one %v", st.Outcomes, want)
			}
		})
	}
	fails := func(err error) reply { return reply{err: err} }
	status := func(code int) reply { return reply{status: code, body: []string{"{}"}} }
	says := func(pieces ...string) reply {
		return reply{status: 200, header: http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}}, body: pieces}
	}
	check(plain, window.OK, status(200))
	check(plain, window.RateLimited, status(429))
	check(plain, window.ClientError, status(404))
	check(plain, window.UpstreamError, status(529))
	check(streamed, window.RateLimited, status(429))
	check(streamed, window.StreamError, status(200)) // no stream
	check(plain, window.Connect, fails(&net.OpError{Op: "dial", Err: errors.New("refused")}))
	check(plain, window.Broken, fails(io.ErrUnexpectedEOF))
	const word, done = `data: {"choices":[{"delta":{"content":"hello"}}]}` + "\n\n", "data: [DONE]\n\n"
	check(streamed, window.OK, says(word, word, done))
	check(streamed, window.Broken, says(word, word))
	check(streamed, window.StreamError, says(word, `data: {"error":{"message":"overloaded"}}`+"\n\n"))
	leaver := streamed
	leaver.Leave = 1
	check(leaver, window.Canceled, says(word, word, word, word, word, word, word, word, word))
	check(leaver, window.OK, says(word+word+word+word+word+word+word+word+done)) // it was complete before the client could leave
}

func TestNew_RefusesWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	good := Options{Arrivals: at(), Kinds: []Kind{plain}, MaxInFlight: 1}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	check := func(field string, change func(o *Options, k *Kind)) {
		t.Helper()
		o, k := good, plain
		change(&o, &k)
		if len(o.Kinds) > 0 {
			o.Kinds = []Kind{k}
		}
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("got %v, want an error that names %s", err, field)
		}
	}
	check("arrivals", func(o *Options, _ *Kind) { o.Arrivals = nil })
	check("kinds", func(o *Options, _ *Kind) { o.Kinds = nil })
	check("MaxInFlight", func(o *Options, _ *Kind) { o.MaxInFlight = 0 })
	check("Drain", func(o *Options, _ *Kind) { o.Drain = -1 })
	check("API", func(_ *Options, k *Kind) { k.API = apisEnd })
	check("BaseURL", func(_ *Options, k *Kind) { k.BaseURL = "http://x/" })
	check("BaseURL", func(_ *Options, k *Kind) { k.BaseURL = "x" })
	check("Model", func(_ *Options, k *Kind) { k.Model = `a"b` })
	check("Weight", func(_ *Options, k *Kind) { k.Weight = 0 })
	check("Stream", func(_ *Options, k *Kind) { k.API, k.Stream = Embeddings, true })
	check("Steady", func(_ *Options, k *Kind) { k.API, k.Steady = Embeddings, true })
	check("Prompt.Median", func(_ *Options, k *Kind) { k.Prompt.Median = 0 })
	check("Prompt.Sigma", func(_ *Options, k *Kind) { k.Prompt.Sigma = -1 })
	check("Prefixes", func(_ *Options, k *Kind) { k.Prefixes = -1 })
	check("PrefixTokens", func(_ *Options, k *Kind) { k.Prefixes = 1 })
	check("MaxTokens", func(_ *Options, k *Kind) { k.API = Messages })
	check("Usage", func(_ *Options, k *Kind) { k.Usage = true })
	check("Leave", func(_ *Options, k *Kind) { k.Leave = 1.5 })
}
