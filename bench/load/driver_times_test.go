package load

import (
	"context"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"llm-auto-optimizer/analysis/window"
)

func TestDriver_TellsHowLateItSends(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{takes: 100 * time.Millisecond, answer: fine}
		d := newDriver(t, Options{Arrivals: at(0, 10, 20, 400), Kinds: []Kind{plain}, MaxInFlight: 1, Drain: time.Minute, Transport: s})
		d.Run(t.Context())
		st := d.Stats()
		if lag := &st.SendLag; st.Delayed != 2 || lag.Count() != 4 || lag.Max() != 180*time.Millisecond || lag.Quantile(.5) != 0 {
			t.Errorf("got %d delayed, %d lags, the longest %v, the median %v; want 2, 4, 180ms and 0", st.Delayed, lag.Count(), lag.Max(), lag.Quantile(.5))
		}
		if st.Sending != 400*time.Millisecond || st.Elapsed != 500*time.Millisecond {
			t.Errorf("sent for %v, took %v; want 400ms and 500ms", st.Sending, st.Elapsed)
		}
	})
}

func TestDriver_LeaveEndsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{takes: time.Hour, answer: fine}
		ctx, cancel := context.WithCancel(t.Context())
		d := newDriver(t, Options{Arrivals: at(0, 100, 1000), Kinds: []Kind{plain}, MaxInFlight: 10, Drain: time.Minute, Transport: s})
		time.AfterFunc(500*time.Millisecond, func() {
			cancel()
			d.Leave()
		})
		start := time.Now()
		d.Run(ctx)
		if st := d.Stats(); time.Since(start) != 500*time.Millisecond || st.Sent != 2 || st.Outcomes[window.Canceled] != 2 || st.Cut != 2 {
			t.Errorf("after %v: %d sent, outcomes %v, %d cut", time.Since(start), st.Sent, st.Outcomes, st.Cut)
		}
	})
}

// paced gives pieces of a body, each after a pause.
type paced struct {
	pause  time.Duration
	pieces []string
}

func (p *paced) Read(b []byte) (int, error) {
	if len(p.pieces) == 0 {
		return 0, io.EOF
	}
	time.Sleep(p.pause)
	n := copy(b, p.pieces[0])
	p.pieces = p.pieces[1:]
	return n, nil
}

func (p *paced) Close() error { return nil }

func (p *paced) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: p}, nil
}

func TestDriver_GapsAreBetweenPiecesOfContent(t *testing.T) {
	t.Parallel()
	const word, done = `data: {"choices":[{"delta":{"content":"hello"}}]}` + "\n\n", "data: [DONE]\n\n"
	synctest.Test(t, func(t *testing.T) {
		k := plain
		k.Stream = true
		body := &paced{pause: 30 * time.Millisecond, pieces: []string{": wait\n\n", word, word[:20], word[20:], word + word, ": wait\n\n", word + done}}
		d := newDriver(t, Options{Arrivals: at(0), Kinds: []Kind{k}, MaxInFlight: 1, Drain: time.Minute, Transport: body})
		d.Run(t.Context())
		st := d.Stats()
		// Content at 60, 120, twice at 150 and at 210 ms.
		if g := &st.Gap; st.Chunks != 5 || g.Count() != 4 || g.Quantile(0) != 0 || g.Max() != 60*time.Millisecond || g.Mean() != 37500*time.Microsecond {
			t.Errorf("got %d chunks; %d gaps from %v to %v, mean %v", st.Chunks, g.Count(), g.Quantile(0), g.Max(), g.Mean())
		}
		if st.TTFT.Max() != 60*time.Millisecond || st.Statuses[200] != 1 {
			t.Errorf("got a first token after %v, statuses %v", st.TTFT.Max(), st.Statuses)
		}
	})
}

func TestPreciseWait_IsNeitherEarlyNorDeaf(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	wait, done := preciseWait(ctx)
	defer done()
	for _, d := range []time.Duration{-time.Second, 0, 1, 300 * time.Microsecond, 2 * time.Millisecond} {
		at := time.Now().Add(d)
		if !wait(ctx, at) || time.Now().Before(at) {
			t.Errorf("a wait of %v ended early", d)
		}
	}
	time.AfterFunc(time.Millisecond, cancel)
	if wait(ctx, time.Now().Add(time.Hour)) || wait(ctx, time.Now()) {
		t.Error("it waited for its time although the context ended")
	}
}
