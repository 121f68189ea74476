package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"llm-auto-optimizer/proxy/ledger"
)

// versions is a provider that answers with the number of the call.
func versions(t *testing.T, answer func(w http.ResponseWriter, n int64)) (url string, calls *atomic.Int64) {
	t.Helper()
	var n atomic.Int64
	url, calls = counted(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, n.Add(1)) })
	return url, calls
}

func plainVersion(w http.ResponseWriter, n int64) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, strings.Replace(plainAnswer, `"content":"`, fmt.Sprintf(`"content":"version %d, `, n), 1))
}

func versionOf(t *testing.T, body string) (n int64) {
	t.Helper()
	_, rest, found := strings.Cut(body, "version ")
	if _, err := fmt.Sscan(strings.TrimSuffix(strings.Fields(rest + " ")[0], ","), &n); !found || err != nil {
		t.Fatalf("no version in %q", body)
	}
	return n
}

const refreshBody = `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"what is new"}]}`

// Past its time an answer is given out at once, while one call fetches the next: streams and bodies, on a route and outside.
func TestRefresh_StaleWhileRevalidate(t *testing.T) {
	t.Parallel()
	for _, streamed := range []bool{false, true} {
		t.Run(fmt.Sprint("streamed ", streamed), func(t *testing.T) {
			t.Parallel()
			gate := make(chan struct{})
			up, calls := versions(t, func(w http.ResponseWriter, n int64) {
				if n == 2 {
					<-gate
				}
				if !streamed {
					plainVersion(w, n)
					return
				}
				w.Header().Set("Content-Type", "text/event-stream")
				fmt.Fprint(w, strings.Replace(gatedEvent(0), "word 0 ", fmt.Sprintf("version %d, ", n), 1)+gatedTail)
			})
			body := refreshBody
			if streamed {
				body = strings.Replace(body, "{", `{"stream":true,`, 1)
			}
			c := cachingConfig(up)
			c.Cache.TTL, c.Cache.StaleWhileRevalidate = 20*time.Millisecond, time.Hour
			kept := &mapCache{}
			var log syncBuffer
			g := startCached(t, c, kept, nil, &log)
			if a := ask(context.Background(), t, g.addr, "k", body); a.result != "miss" || versionOf(t, a.body) != 1 {
				t.Fatalf("%+v", a)
			}
			settledFlights(t, g.p)
			until(t, "it does not age", func() bool { return !kept.young(25 * time.Millisecond) })
			const n = 20
			for _, a := range crowd(t, n, g.addr, body)() {
				if a.status != 200 || a.result != "updating" || versionOf(t, a.body) != 1 {
					t.Errorf("%+v", a)
				}
			}
			if calls.Load() > 2 {
				t.Errorf("%d calls", calls.Load())
			}
			close(gate)
			settledFlights(t, g.p)
			if a := ask(context.Background(), t, g.addr, "k", body); versionOf(t, a.body) < 2 { // it may be past its time again
				t.Errorf("afterwards: %+v", a)
			}
			counts := g.p.books.cache.book(directRoute).all()
			if fetched, saved := counts.Results["refresh"], counts.Saved; fetched < 1 || saved <= 0 {
				t.Errorf("%d fetched anew, %d saved", fetched, saved)
			}
			settledFlights(t, g.p)
			g.stop()
			use, sum := g.p.CacheUse()[0], ledger.Sums{}
			g.p.ledger.Collect(time.Now(), func(_ int64, _ ledger.Key, s *ledger.Sums) { sum.Add(s) })
			if sum.RefreshNanoUSD != int64(use.Spent) || sum.SavedNanoUSD != int64(use.Saved) || sum.RefreshNanoUSD == 0 || sum.RefreshNanoUSD >= sum.CostNanoUSD || sum.Cached < n {
				t.Errorf("ledger: %+v, want what is counted: %+v", sum, use)
			}
			if lines := log.String(); !strings.Contains(lines, `"cache":"refresh"`) || strings.Count(lines, `"cache":"updating"`) < n {
				t.Errorf("access log: %s", lines)
			}
		})
	}
}

// What is asked for often is fetched anew before its time is over: it never goes missing.
func TestRefresh_Early(t *testing.T) {
	t.Parallel()
	up, calls := versions(t, func(w http.ResponseWriter, n int64) {
		time.Sleep(20 * time.Millisecond) // ten times that is how long ahead it is fetched, as a rule
		plainVersion(w, n)
	})
	c := cachingConfig(up)
	c.Cache.TTL, c.Cache.EarlyRefresh = time.Hour, 10
	kept := &mapCache{}
	g := startCached(t, c, kept, nil, io.Discard)
	if a := ask(context.Background(), t, g.addr, "k", refreshBody); a.result != "miss" {
		t.Fatalf("%+v", a)
	}
	settledFlights(t, g.p)
	for range 50 {
		if a := ask(context.Background(), t, g.addr, "k", refreshBody); a.result != "hit" || versionOf(t, a.body) != 1 {
			t.Fatalf("long before its time: %+v", a)
		}
	}
	settledFlights(t, g.p)
	if calls.Load() != 1 {
		t.Fatalf("%d calls long before its time", calls.Load())
	}
	c.Cache.TTL = time.Second
	g = startCached(t, c, kept, nil, io.Discard)
	kept.clear()
	if a := ask(context.Background(), t, g.addr, "k", refreshBody); a.result != "miss" {
		t.Fatalf("%+v", a)
	}
	settledFlights(t, g.p)
	last := time.Now()
	until(t, "not fetched anew before its time", func() bool {
		a := ask(context.Background(), t, g.addr, "k", refreshBody)
		if a.result != "hit" && time.Since(last) < 100*time.Millisecond { // else the machine has slept through the time in which it is fetched
			t.Fatalf("%+v", a)
		}
		last = time.Now()
		return g.p.books.cache.book(directRoute).all().Results["refresh"] > 0
	})
	settledFlights(t, g.p)
}

// A shutdown ends what is fetched for nobody, and a failure leaves the old answer where it is.
func TestRefresh_Ends(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	up, calls := versions(t, func(w http.ResponseWriter, n int64) {
		switch n {
		case 1:
			plainVersion(w, n)
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			<-hang
		}
	})
	t.Cleanup(func() { close(hang) })
	c := cachingConfig(up)
	c.Cache.TTL, c.Cache.StaleWhileRevalidate = time.Millisecond, time.Hour
	kept := &mapCache{}
	g := startCached(t, c, kept, nil, io.Discard)
	ask(context.Background(), t, g.addr, "k", refreshBody)
	settledFlights(t, g.p)
	until(t, "it does not age", func() bool { return !kept.young(2 * time.Millisecond) })
	begin := time.Now()
	asked := func() {
		t.Helper()
		if a := ask(context.Background(), t, g.addr, "k", refreshBody); a.result != "updating" || versionOf(t, a.body) != 1 {
			t.Errorf("%+v", a)
		}
	}
	asked()
	until(t, "not fetched", func() bool { return calls.Load() == 2 })
	settledFlights(t, g.p)
	until(t, "not fetched again", func() bool { asked(); return calls.Load() == 3 })
	if took := time.Since(begin); took < firstRest {
		t.Errorf("fetched again %v after it was fetched in vain", took)
	}
	g.stop()
	settledFlights(t, g.p)
}

// A kept stream goes out event by event where its route has a pace, byte for byte the same.
func TestReplay_Pace(t *testing.T) {
	t.Parallel()
	up := newGated(t)
	close(up.gate)
	c := cachingConfig(up.url)
	c.Cache.Pace = 2 * time.Millisecond
	g := startCached(t, c, &mapCache{}, nil, io.Discard)
	ask(context.Background(), t, g.addr, "k", gatedBody)
	settledFlights(t, g.p)
	start := time.Now()
	if a := ask(context.Background(), t, g.addr, "k", gatedBody); a.result != "hit" || a.body != up.whole() {
		t.Errorf("%s: %q", a.result, a.body)
	}
	if took := time.Since(start); took < (gatedEvents+2)*c.Cache.Pace {
		t.Errorf("%v for %d events", took, gatedEvents+3)
	}

	c.Cache.Pace = time.Minute
	g = startCached(t, c, &mapCache{}, nil, io.Discard)
	ask(context.Background(), t, g.addr, "k", gatedBody)
	settledFlights(t, g.p)
	ctx, leave := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer leave()
	if a := ask(ctx, t, g.addr, "k", gatedBody); a.err == nil {
		t.Errorf("%+v", a)
	}
	settledFlights(t, g.p) // long before the next event
}

func TestCutEvent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ stream, event string }{
		{"", ""}, {"data: a", "data: a"}, {"data: a\n\ndata: b\n\n", "data: a\n\n"}, {"data: a\r\n\r\ndata: b\n\n", "data: a\r\n\r\n"}, {"data: a\r\rb", "data: a\r\r"},
	} {
		if event, rest := cutEvent([]byte(c.stream)); string(event) != c.event || string(event)+string(rest) != c.stream {
			t.Errorf("%q: %q, %q", c.stream, event, rest)
		}
	}
}
