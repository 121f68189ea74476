package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"llm-auto-optimizer/proxy/flight"
	"llm-auto-optimizer/proxy/provider"
	"llm-auto-optimizer/storage"
)

const faultBody = `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"tell me"}]}`

// What a provider says of one caller is not said to another who shares its answers.
func TestCoalesce_AnothersKey(t *testing.T) {
	t.Parallel()
	gate, begun := make(chan struct{}), make(chan struct{}, 10)
	up, calls := counted(t, func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		w.Header().Set("Content-Type", "application/json")
		if strings.Contains(r.Header.Get("Authorization"), "bad") {
			<-gate
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":{"message":"Incorrect API key provided: b*d"}}`)
			return
		}
		fmt.Fprint(w, plainAnswer)
	})
	c := cachingConfig(up)
	c.Cache.Shared = true
	g := startCached(t, c, &mapCache{}, nil, io.Discard)
	bad := make(chan answered, 1)
	go func() { bad <- ask(context.Background(), t, g.addr, "bad", faultBody) }()
	<-begun
	rest := crowd(t, 5, g.addr, faultBody)
	until(t, "not all follow", func() bool { return g.p.flights.Followers() == 5 })
	close(gate)
	if a := <-bad; a.status != http.StatusUnauthorized {
		t.Errorf("the bad key: %+v", a)
	}
	for _, a := range rest() {
		if a.status != 200 || a.body != plainAnswer {
			t.Errorf("a good key: %+v", a)
		}
	}
	if n := calls.Load(); n != 2 {
		t.Errorf("%d calls", n)
	}
	settledFlights(t, g.p)
}

// Errors that are relayed as they come reach all whole, and leave the connections in order.
func TestCoalesce_LongError(t *testing.T) {
	t.Parallel()
	long := `{"error":{"message":"` + strings.Repeat("x", 2*holdLimit) + `"}}`
	for _, c := range []struct{ kind, body string }{{"application/json", long}, {"text/event-stream", "data: " + long + "\n\n"}} {
		t.Run(c.kind, func(t *testing.T) {
			t.Parallel()
			gate, begun := make(chan struct{}), make(chan struct{}, 10)
			up, _ := counted(t, func(w http.ResponseWriter, _ *http.Request) {
				begun <- struct{}{}
				<-gate
				w.Header().Set("Content-Type", c.kind)
				w.Header().Set("Content-Length", fmt.Sprint(len(c.body)))
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = io.WriteString(w, c.body[:1000])
				_ = http.NewResponseController(w).Flush()
				time.Sleep(20 * time.Millisecond)
				_, _ = io.WriteString(w, c.body[1000:])
			})
			g := startCached(t, cachingConfig(up), &mapCache{}, nil, io.Discard)
			leader := crowd(t, 1, g.addr, gatedBody)
			<-begun
			rest := crowd(t, 4, g.addr, gatedBody)
			until(t, "not all follow", func() bool { return g.p.flights.Followers() == 4 })
			close(gate)
			for i, a := range append(leader(), rest()...) {
				if a.err != nil || a.status != http.StatusServiceUnavailable || a.body != c.body {
					t.Errorf("client %d: %d, %d bytes of %d, %v", i, a.status, len(a.body), len(c.body), a.err)
				}
			}
			settledFlights(t, g.p)
		})
	}
}

// Who sets options of the route for itself neither leads nor follows.
func TestCoalesce_OwnOptions(t *testing.T) {
	t.Parallel()
	gate, begun := make(chan struct{}), make(chan struct{}, 10)
	up, calls := counted(t, func(w http.ResponseWriter, _ *http.Request) {
		begun <- struct{}{}
		<-gate
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, plainAnswer)
	})
	g := startCached(t, cachingConfig(up), &mapCache{}, nil, io.Discard)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			if status, _, _ := askCached(t, g.addr, "", faultBody, "Authorization", "Bearer k", "x-llmopt-route-options", "attempts=1"); status != 200 {
				t.Errorf("status %d", status)
			}
		})
		<-begun
	}
	close(gate)
	all.Wait()
	if calls.Load() != 2 {
		t.Errorf("%d calls", calls.Load())
	}
}

// The cache may take a moment until it serves what it has taken: nobody who comes meanwhile pays again.
func TestCoalesce_RealCache(t *testing.T) {
	t.Parallel()
	up, calls := counted(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, plainAnswer)
	})
	kept, err := storage.NewCache(storage.CacheOptions{Memory: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kept.Close() })
	g := startCached(t, cachingConfig(up), kept, nil, io.Discard)
	const n = 300
	for i := range n {
		body := strings.Replace(faultBody, "tell me", fmt.Sprint("tell me ", i), 1)
		if status, result, _ := askCached(t, g.addr, "", body, "Authorization", "Bearer k"); status != 200 || result != "miss" {
			t.Fatal(status, result)
		}
		if status, result, text := askCached(t, g.addr, "", body, "Authorization", "Bearer k"); status != 200 || result == "miss" || text != plainAnswer {
			t.Fatal(status, result, text)
		}
	}
	if calls.Load() != n {
		t.Errorf("%d calls", calls.Load())
	}
}

// A target that breaks a stream has failed, though the client has left for which it was asked. A crowd in which leaders and followers come and go leaves nothing
// behind.
func TestCoalesce_ComingAndGoing(t *testing.T) {
	t.Parallel()
	up := newGated(t)
	var log syncBuffer
	url, _ := counted(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 5 {
			fmt.Fprint(w, gatedEvent(i))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(time.Millisecond)
		}
		fmt.Fprint(w, gatedTail)
	})
	c := cachingConfig(url)
	c.Cache.TTL = time.Nanosecond // each time anew
	g := startCached(t, c, &mapCache{}, nil, &log)
	var wg sync.WaitGroup
	for i := range 400 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%9)*time.Millisecond+100*time.Microsecond)
		wg.Go(func() {
			defer cancel()
			ask(ctx, t, g.addr, "k", gatedBody)
		})
		if i%20 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	wg.Wait()
	settledFlights(t, g.p)

	g = startCached(t, cachingConfig(up.url), &mapCache{}, nil, &log)
	leading, leave := context.WithCancel(context.Background())
	defer leave()
	leader := make(chan answered, 1)
	go func() { leader <- ask(leading, t, g.addr, "k", gatedBody) }()
	<-up.halves
	rest := crowd(t, 1, g.addr, gatedBody)
	until(t, "nobody follows", func() bool { return g.p.flights.Followers() == 1 })
	leave()
	<-leader
	up.abort.Store(true)
	close(up.gate)
	if a := rest()[0]; !strings.Contains(a.body, "upstream_broken") {
		t.Errorf("%+v", a)
	}
	settledFlights(t, g.p)
	g.stop()
	if lines := log.String(); strings.Count(lines, `"outcome":"broken"`) != 2 { // the follower's, and that of who has left
		t.Errorf("access log: %s", lines)
	}
}

// Who asks again once a bad answer is out starts afresh, though the exchange that brought it is not quite over.
func TestCoalesce_BadAnswerIsNotJoined(t *testing.T) {
	t.Parallel()
	for body, joins := range map[string]bool{
		`{"error":{"message":"overloaded","type":"server_error"}}`:                                                           false,
		`{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`: true,
	} {
		group := newFlights()
		id := flight.ID{Form: 1}
		x := &Exchange{status: 200, operation: provider.ChatCompletions, meter: &provider.Meter{}}
		x.meter.Reset(x.operation, provider.Plain)
		x.meter.Write([]byte(body))
		x.meter.Close()
		x.cache.of = &routeCache{}
		x.cache.flight, _ = group.Join(id, func() {}, 0)
		x.endFlight(nil)
		if _, reader := group.Join(id, func() {}, 0); (reader != nil) != joins {
			t.Errorf("after %s: joined %t", body, reader != nil)
		}
	}
}
