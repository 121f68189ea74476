package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/pick"
)

// The first attempt may learn that marks are refused in the moment in which its rival begins. What that shows is the race detector.
func TestHedge_RivalBeginsWhileMarksAreRefused(t *testing.T) {
	t.Parallel()
	g := start(t, promptRoutes("5m", "http://127.0.0.1:1"))
	r := g.p.settings.Load().routes.list[0]
	x := newExchange()
	x.p, x.route, x.target = g.p, r, &target{}
	var both sync.WaitGroup
	both.Go(x.giveUpMarks)
	both.Go(func() { x.double() })
	both.Wait()
	if d := x.double(); d.marksRefused == 0 {
		t.Error("the next rival does not know")
	}
}

// What the rival was refused is not tried again at the next target, where neither of the two has an answer.
func TestHedge_RefusedMarksAreRememberedOfTheRival(t *testing.T) {
	t.Parallel()
	const failed = "HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n"
	refusal := `{"type":"error","error":{"type":"invalid_request_error","message":"cache_control: not permitted"}}`
	refused := fmt.Sprintf("HTTP/1.1 400 no\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(refusal), refusal)
	var late atomic.Bool // the first target is
	marks := make(chan int, 100)
	rivalOver := make(chan struct{})
	answering := func(answer func(marks int) string) string {
		return raw(t, func(c *net.TCPConn, r *bufio.Reader) {
			for {
				m, err := readMessage(r)
				if err != nil {
					return
				}
				if _, err := io.WriteString(c, answer(countMarks(m))); err != nil {
					return
				}
			}
		})
	}
	first := answering(func(n int) string {
		if !late.Load() {
			marks <- n
			return answerWith(0, 0)
		}
		<-rivalOver
		return failed
	})
	second := answering(func(n int) string {
		switch {
		case !late.Load():
			return answerWith(0, 0)
		case n > 0:
			return refused
		}
		close(rivalOver)
		return failed
	})
	third, got := mirror(t)
	c := promptRoutes("5m", first, second, third)
	r := c.Routes["r"]
	r.Hedge, r.Attempts = 1, 9
	c.Routes["r"] = r
	g := start(t, c)
	target := g.p.settings.Load().routes.list[0].pick.Targets()[0]
	for range 256 { // until it knows its times
		lease := target.Begin(time.Now(), &pick.Query{})
		lease.Settle(time.Now(), &pick.Result{Outcome: pick.Good, Took: 50 * time.Millisecond})
	}
	session := 0 // none of the control's
	for g.send(post("/v1/messages", promptBody(session))); <-marks == 0; g.send(post("/v1/messages", promptBody(session))) {
		session++
	}
	late.Store(true)
	resp, _ := g.send(post("/v1/messages", promptBody(session)))
	if resp.StatusCode != 200 || resp.Header.Get("x-llmopt-target") != "t2" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	select {
	case m := <-got:
		if n := countMarks(m); n != 0 {
			t.Errorf("the next target got %d marks", n)
		}
	case <-time.After(10 * time.Second):
		t.Error("nothing came to the next target")
	}
}

// A bug in making a hedge costs the hedge alone.
func TestHedge_BugInItsBegin(t *testing.T) {
	t.Parallel()
	g := startCached(t, hedging(pacedRoute(newStrict(t, &strict{rate: 1e6, ttft: 200 * time.Millisecond}), "http://127.0.0.1:1")), nil, nil, io.Discard)
	hedgesAfter(g, 20*time.Millisecond)
	g.p.settings.Load().routes.list[0].targets[1].own = nil
	if resp, body := newPaceClient(t, g).mustAsk(t, "k", "m"); resp.StatusCode != http.StatusOK || resp.Header.Get("x-llmopt-target") != "a" {
		t.Errorf("%d by %s: %s", resp.StatusCode, resp.Header.Get("x-llmopt-target"), body)
	}
	if n := g.p.metrics.panics.Get(); n != 1 {
		t.Errorf("%d panics", n)
	}
	g.p.metrics.panics.Set(0)
}

// A rival that has to send its request once more has no room for that where it would have to wait: it has lost then, and does not hold up the exchange.
func TestHedge_RivalDoesNotWait(t *testing.T) {
	t.Parallel()
	refusal := `{"type":"error","error":{"type":"invalid_request_error","message":"cache_control: not permitted"}}`
	refused, once := make(chan struct{}), sync.Once{}
	var late atomic.Bool // the first target is, and fails in the end
	marks := make(chan int, 100)
	first := raw(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			m, err := readMessage(r)
			if err != nil {
				return
			}
			if !late.Load() {
				marks <- countMarks(m)
				_, _ = io.WriteString(c, answerWith(0, 0))
				continue
			}
			<-refused
			_, _ = io.WriteString(c, "HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n")
		}
	})
	second := raw(t, func(c *net.TCPConn, r *bufio.Reader) {
		if _, err := readMessage(r); err == nil {
			_, _ = fmt.Fprintf(c, "HTTP/1.1 400 no\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(refusal), refusal)
			once.Do(func() { close(refused) })
		}
	})
	third := raw(t, func(c *net.TCPConn, r *bufio.Reader) {
		if _, err := readMessage(r); err == nil {
			_, _ = io.WriteString(c, answerWith(0, 0))
		}
	})
	c := promptRoutes("5m", first, second, third)
	r := c.Routes["r"]
	r.Hedge, r.Attempts = 1, 9
	c.Routes["r"] = r
	c.Limits = map[string]config.Limit{"l": {Name: "l", Timezone: "UTC", Caller: config.ScopeAll, Route: config.ScopeAll, Target: "t1", RequestsPerMinute: 1, Smooth: time.Minute}}
	g := start(t, c)
	hedgesAfter(g, 50*time.Millisecond)
	session := 0 // none of the control's
	for g.send(post("/v1/messages", promptBody(session))); <-marks == 0; g.send(post("/v1/messages", promptBody(session))) {
		session++
	}
	late.Store(true)
	begin := time.Now()
	resp, _ := g.send(post("/v1/messages", promptBody(session)))
	if took := time.Since(begin); resp.StatusCode != 200 || resp.Header.Get("x-llmopt-target") != "t2" || took > 20*time.Second {
		t.Errorf("%d by %s after %v", resp.StatusCode, resp.Header.Get("x-llmopt-target"), took)
	}
}

// What an exchange has waited for limits of providers stays such where its rival wins.
func TestHedge_WaitStaysOfTheProvider(t *testing.T) {
	t.Parallel()
	g := start(t, testConfig("http://127.0.0.1:1"))
	x := g.p.begin(&fasthttp.RequestHeader{}, &clientConn{})
	x.settled, x.queued, x.pace.waited = true, time.Second, time.Second
	x.limited.refuse(window.ByProvider, time.Second) // as one that was woken while it waited
	rival := x.double()
	(&race{x: x, rival: rival}).adopt(nil, true)
	if x.pace.waited != time.Second || x.waitedForOwn() != 0 || x.limited.refused != window.NotRefused {
		t.Errorf("%v of %v, refused %v", x.pace.waited, x.queued, x.limited.refused)
	}
	g.p.metrics.inFlight.Add(-1)
	g.p.release(x)
}
