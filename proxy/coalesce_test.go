package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A thousand at once cost one call, and each gets the stream as it came: those who come late from its beginning.
func TestCoalesce_Streams(t *testing.T) {
	t.Parallel()
	up := newGated(t)
	var log syncBuffer
	g := startCached(t, cachingConfig(up.url), &mapCache{}, nil, &log)
	n := 1000
	if raceEnabled {
		n = 100
	}
	leader := crowd(t, 1, g.addr, gatedBody)
	<-up.halves
	rest := crowd(t, n-1, g.addr, gatedBody)
	until(t, "not all follow", func() bool { return g.p.flights.Followers() == n-1 })
	close(up.gate)
	results := map[string]int{}
	for i, a := range append(leader(), rest()...) {
		results[a.result]++
		if a.err != nil || a.status != 200 || a.body != up.whole() {
			t.Fatalf("client %d: %d %v %q", i, a.status, a.err, a.body)
		}
	}
	if up.calls.Load() != 1 || results["miss"] != 1 || results["coalesced"] != n-1 {
		t.Errorf("%d calls, %v", up.calls.Load(), results)
	}
	settledFlights(t, g.p)
	if saved := int64(g.p.books.cache.book(directRoute).all().Saved); saved <= 0 || saved%int64(n-1) != 0 {
		t.Errorf("saved %d: want the call's cost for each of %d", saved, n-1)
	}
	if a := ask(context.Background(), t, g.addr, "k", gatedBody); a.result != "hit" || a.body != up.whole() {
		t.Errorf("afterwards: %s %q", a.result, a.body)
	}
	g.stop()
	if lines := strings.Count(log.String(), `"cache":"coalesced"`); lines != n-1 {
		t.Errorf("%d lines of the access log", lines)
	}
}

// The same for answers that are no streams; another form of the same request, another caller and who wants a new answer go their own way.
func TestCoalesce_Bodies(t *testing.T) {
	t.Parallel()
	gate, begun := make(chan struct{}), make(chan struct{}, 10)
	up, calls := counted(t, func(w http.ResponseWriter, _ *http.Request) {
		begun <- struct{}{}
		<-gate
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, plainAnswer)
	})
	g := startCached(t, cachingConfig(up), &mapCache{}, nil, io.Discard)
	const body = `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"tell me"}]}`
	leader := crowd(t, 1, g.addr, body)
	<-begun
	rest := crowd(t, 50, g.addr, " "+body)
	until(t, "not all follow", func() bool { return g.p.flights.Followers() == 50 })
	var others sync.WaitGroup
	others.Go(func() { ask(context.Background(), t, g.addr, "another", body) })
	others.Go(func() { ask(context.Background(), t, g.addr, "k", strings.Replace(body, "{", `{"stream":true,`, 1)) })
	others.Go(func() {
		if status, result, _ := askCached(t, g.addr, "", body, "Authorization", "Bearer k", "Cache-Control", "no-cache"); status != 200 || result != "miss" {
			t.Errorf("no-cache: %d %s", status, result)
		}
	})
	for range 3 {
		<-begun
	}
	close(gate)
	for i, a := range append(leader(), rest()...) {
		if a.err != nil || a.status != 200 || a.body != plainAnswer || (a.result == "coalesced") != (i > 0) {
			t.Fatalf("client %d: %+v", i, a)
		}
	}
	others.Wait()
	if n := calls.Load(); n != 4 {
		t.Errorf("%d calls", n)
	}
	settledFlights(t, g.p)
}

// A leader that leaves hands over: the others get the whole answer, which is also kept. When all have left, the call ends.
func TestCoalesce_LeaderLeaves(t *testing.T) {
	t.Parallel()
	for _, stay := range []int{3, 0} {
		t.Run(fmt.Sprint(stay, " stay"), func(t *testing.T) {
			t.Parallel()
			up := newGated(t)
			var log syncBuffer
			g := startCached(t, cachingConfig(up.url), &mapCache{}, nil, &log)
			leading, leave := context.WithCancel(context.Background())
			leader := make(chan answered, 1)
			go func() { leader <- ask(leading, t, g.addr, "k", gatedBody) }()
			<-up.halves
			following, leaveToo := context.WithCancel(context.Background())
			defer leaveToo()
			var visitors sync.WaitGroup
			for range 2 {
				visitors.Go(func() { ask(following, t, g.addr, "k", gatedBody) })
			}
			rest := crowd(t, stay, g.addr, gatedBody)
			until(t, "not all follow", func() bool { return g.p.flights.Followers() == stay+2 })
			leave()
			if a := <-leader; a.err == nil {
				t.Fatalf("the leader has not left: %+v", a)
			}
			leaveToo()
			visitors.Wait()
			until(t, "they still follow", func() bool { return g.p.flights.Followers() == stay })
			if stay == 0 {
				until(t, "the call goes on though nobody wants it", func() bool { return up.cut.Load() == 1 })
				settledFlights(t, g.p)
				return
			}
			close(up.gate)
			for _, a := range rest() {
				if a.err != nil || a.body != up.whole() || a.result != "coalesced" {
					t.Errorf("%v: %s %d bytes: %s", a.err, a.result, len(a.body), a.body[max(0, len(a.body)-300):])
				}
			}
			settledFlights(t, g.p)
			if a := ask(context.Background(), t, g.addr, "k", gatedBody); a.result != "hit" || a.body != up.whole() || up.calls.Load() != 1 || up.cut.Load() != 0 {
				t.Errorf("afterwards: %s, %d calls, %d cut", a.result, up.calls.Load(), up.cut.Load())
			}
			g.stop()
			if lines := log.String(); strings.Count(lines, `"error":"client_closed"`) != 3 || strings.Count(lines, `"cache":"coalesced"`) != stay+2 {
				t.Errorf("access log: %s", lines)
			}
		})
	}
}

// A leader that takes nothing keeps nobody waiting: neither who follows its stream, nor who comes when its answer is there.
func TestCoalesce_SlowLeader(t *testing.T) {
	t.Parallel()
	gate, half := make(chan struct{}), make(chan struct{}, 1)
	const events = 100
	event := strings.Replace(gatedEvent(0), "word 0 ", strings.Repeat("x", 100_000), 1) // in all more than the buffers of a connection hold
	up, calls := counted(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, event)
		_ = http.NewResponseController(w).Flush()
		half <- struct{}{}
		<-gate
		for range events {
			fmt.Fprint(w, event)
		}
		fmt.Fprint(w, gatedTail)
	})
	c := cachingConfig(up)
	c.Cache.MaxEntry = 64 << 20
	g := startCached(t, c, &mapCache{}, nil, io.Discard)
	slow, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	_ = slow.(*net.TCPConn).SetReadBuffer(64 << 10)
	fmt.Fprintf(slow, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\nContent-Length: %d\r\n\r\n%s", len(gatedBody), gatedBody)
	<-half
	rest := crowd(t, 3, g.addr, gatedBody)
	until(t, "not all follow", func() bool { return g.p.flights.Followers() == 3 })
	close(gate)
	want := strings.Repeat(event, events+1) + gatedTail
	for _, a := range rest() {
		if a.err != nil || a.body != want {
			t.Errorf("%d bytes of %d: %v", len(a.body), len(want), a.err)
		}
	}
	until(t, "the others' exchanges go on", func() bool { return g.p.flights.Followers() == 0 })
	if n := g.p.metrics.inFlight.Load(); n < 1 {
		t.Errorf("%d exchanges under way: the slow one takes %d bytes that it has not read", n, len(want))
	}
	_ = slow.(*net.TCPConn).SetReadBuffer(4 << 20)
	got, err := http.ReadResponse(bufio.NewReader(slow), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if b, err := io.ReadAll(got.Body); err != nil || !bytes.Equal(b, []byte(want)) {
		t.Errorf("the slow one: %d bytes, %v", len(b), err)
	}
	if calls.Load() != 1 {
		t.Errorf("%d calls", calls.Load())
	}
}

// A leader that has failed is retried once for all who follow: what that brings is theirs. A request that is itself at fault is not.
func TestCoalesce_LeaderFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		statuses []int // of the calls
		want     int
	}{
		{"once", []int{503, 200}, 200},
		{"again", []int{503, 500, 200}, 500},
		{"at fault", []int{400, 200}, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			gate, begun := make(chan struct{}, 10), make(chan struct{}, 10)
			var at atomic.Int64
			up, calls := counted(t, func(w http.ResponseWriter, _ *http.Request) {
				begun <- struct{}{}
				<-gate
				w.Header().Set("Content-Type", "application/json")
				if status := c.statuses[at.Add(1)-1]; status != 200 {
					w.WriteHeader(status)
					fmt.Fprintf(w, `{"error":{"message":"status %d","type":"x"}}`, status)
					return
				}
				fmt.Fprint(w, plainAnswer)
			})
			g := startCached(t, cachingConfig(up), &mapCache{}, nil, io.Discard)
			const body = `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"tell me"}]}`
			leader := crowd(t, 1, g.addr, body)
			<-begun
			const n = 30
			rest := crowd(t, n, g.addr, body)
			until(t, "not all follow", func() bool { return g.p.flights.Followers() == n })
			gate <- struct{}{}
			if a := leader()[0]; a.status != c.statuses[0] {
				t.Errorf("leader: %+v", a)
			}
			want, second := 1, c.want != 400
			if second {
				<-begun
				until(t, "not all follow the second", func() bool { return g.p.flights.Followers() == n-1 })
				gate <- struct{}{}
				want = 2
			}
			for i, a := range rest() {
				text := plainAnswer
				if c.want != 200 {
					text = fmt.Sprintf(`{"error":{"message":"status %d","type":"x"}}`, c.want)
				}
				if a.err != nil || a.status != c.want || a.body != text {
					t.Errorf("client %d: %+v", i, a)
				}
			}
			if n := calls.Load(); n != int64(want) {
				t.Errorf("%d calls, want %d", n, want)
			}
			settledFlights(t, g.p)
		})
	}
}

// A stream that breaks is broken for all, who are told in their dialect.
func TestCoalesce_Broken(t *testing.T) {
	t.Parallel()
	gate, half := make(chan struct{}), make(chan struct{}, 1)
	up, calls := counted(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, gatedEvent(0))
		_ = http.NewResponseController(w).Flush()
		half <- struct{}{}
		<-gate
		panic(http.ErrAbortHandler)
	})
	g := startCached(t, cachingConfig(up), &mapCache{}, nil, io.Discard)
	leader := crowd(t, 1, g.addr, gatedBody)
	<-half
	rest := crowd(t, 5, g.addr, gatedBody)
	until(t, "not all follow", func() bool { return g.p.flights.Followers() == 5 })
	close(gate)
	all := append(leader(), rest()...)
	for i, a := range all {
		if !strings.HasPrefix(a.body, gatedEvent(0)) || !strings.Contains(a.body, "upstream_broken") || a.body != all[0].body {
			t.Errorf("client %d: %+v", i, a)
		}
	}
	if calls.Load() != 1 {
		t.Errorf("%d calls", calls.Load())
	}
	settledFlights(t, g.p)
}

// Who must not share an answer has one of its own: answers that differ from try to try are not kept, and so not shared either.
func TestCoalesce_Off(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		coalesce bool
		store    string
	}{{"by the setting", false, "all"}, {"not deterministic", true, "deterministic"}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			up := newGated(t)
			conf := cachingConfig(up.url)
			conf.Cache.Coalesce, conf.Cache.Store = c.coalesce, c.store
			g := startCached(t, conf, &mapCache{}, nil, io.Discard)
			answers := crowd(t, 2, g.addr, gatedBody)
			<-up.halves
			<-up.halves
			close(up.gate)
			for _, a := range answers() {
				if a.err != nil || a.body != up.whole() || a.result == "coalesced" {
					t.Errorf("%v: %s %d bytes: %s", a.err, a.result, len(a.body), a.body[max(0, len(a.body)-300):])
				}
			}
		})
	}
}
