package proxy

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/admission"
	"llm-auto-optimizer/proxy/flight"
	"llm-auto-optimizer/proxy/limit"
)

// sharingConfig has all callers share answers. It counts the calls of the provider.
func sharingConfig(t *testing.T) (c *config.Config, calls *atomic.Int64) {
	t.Helper()
	up, calls := counted(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, plainAnswer)
	})
	c = cachingConfig(up)
	c.Cache.Shared = true
	return c, calls
}

// Who asks what another caller's request asks that waits for a limit of its own does not wait with it; one of the same caller does, and takes nothing of the limit.
func TestCoalesce_LeaderIsHeldUp(t *testing.T) {
	t.Parallel()
	c, calls := sharingConfig(t)
	c.Callers = map[string]config.Caller{"slow": {Name: "slow", Credential: config.NewSecret("k")}}
	c.Limits = map[string]config.Limit{"l": {Name: "l", Timezone: "UTC", Caller: "slow", Route: config.ScopeAll, Target: config.ScopeAll, Concurrent: 1}}
	c.Admission.MaxWait, c.Admission.Waiters = time.Minute, 100
	g := startCached(t, c, &mapCache{}, nil, io.Discard)
	pass, refusal := g.p.gate.TryEnter(&limit.Request{Caller: limit.Name("slow"), Part: limit.Exchange})
	if refusal.Refused() {
		t.Fatal("there is no room")
	}
	held := crowd(t, 3, g.addr, faultBody)
	until(t, "one waits, the others follow it", func() bool { return g.p.gate.Waiting() == 1 && g.p.flights.Followers() == 2 })
	if a := ask(t.Context(), t, g.addr, "other", faultBody); a.err != nil || a.status != 200 || a.body != plainAnswer || a.result != "miss" {
		t.Errorf("another caller: %+v", a)
	}
	if g.p.gate.Waiting() != 1 || g.p.flights.Followers() != 2 {
		t.Errorf("%d wait, %d follow", g.p.gate.Waiting(), g.p.flights.Followers())
	}
	g.p.gate.Cancel(&pass)
	results := map[string]int{}
	for _, a := range held() {
		if a.status != 200 || a.body != plainAnswer {
			t.Errorf("%+v", a)
		}
		results[a.result]++
	}
	if results["miss"] != 1 || results["coalesced"] != 2 || calls.Load() != 2 {
		t.Errorf("%v of %d calls", results, calls.Load())
	}
	settledFlights(t, g.p)
}

// One that has stepped in for another keeps those who follow it, also where its own caller is over a limit.
func TestCoalesce_OneStepsIn(t *testing.T) {
	t.Parallel()
	c, calls := sharingConfig(t)
	c.Limits = map[string]config.Limit{}
	c.Callers = map[string]config.Caller{}
	for _, name := range []string{"a", "b", "c"} {
		c.Callers[name] = config.Caller{Name: name, Credential: config.NewSecret("k-" + name)}
		c.Limits[name] = config.Limit{Name: name, Timezone: "UTC", Caller: name, Route: config.ScopeAll, Target: config.ScopeAll, Concurrent: 1}
	}
	c.Admission.MaxWait, c.Admission.Waiters = time.Minute, 100
	g := startCached(t, c, &mapCache{}, nil, io.Discard)
	var passes []admission.Pass
	for _, name := range []string{"a", "b", "c"} {
		pass, _ := g.p.gate.TryEnter(&limit.Request{Caller: limit.Name(name), Part: limit.Exchange})
		passes = append(passes, pass)
	}
	var wg sync.WaitGroup
	send := func(name string) {
		wg.Go(func() {
			if a := ask(t.Context(), t, g.addr, "k-"+name, faultBody); a.status != 200 {
				t.Errorf("%s: %+v", name, a)
			}
		})
	}
	for i, name := range []string{"a", "b"} {
		send(name)
		until(t, name+" does not wait on its own", func() bool { return g.p.gate.Waiting() == int64(i)+1 })
	}
	for i, name := range []string{"c", "a", "b"} {
		send(name)
		until(t, name+" does not follow", func() bool { return g.p.flights.Followers() == i+1 })
	}
	for i := range passes {
		g.p.gate.Cancel(&passes[i])
	}
	wg.Wait()
	if n := calls.Load(); n != 2 {
		t.Errorf("%d calls", n)
	}
	settledFlights(t, g.p)
}

// The same holds for the limits of a target that had room at first, until that was given back because the provider had none.
func TestCoalesce_LeaderIsHeldUpByWhatItGaveBack(t *testing.T) {
	t.Parallel()
	c := limitedRoute("http://127.0.0.1:1", config.Limit{Caller: config.ScopeEach, Target: config.ScopeEach, Concurrent: 1})
	c.Admission.MaxWait = time.Minute
	g := startCached(t, c, nil, nil, io.Discard)
	x := g.p.begin(&fasthttp.RequestHeader{}, &clientConn{})
	x.who, x.provider, x.request.Model = limit.Name("slow"), x.settings.providers["a"], []byte("m")
	x.limits = x.limitsOf("a")
	f, _ := g.p.flights.Join(flight.ID{}, nil, 0)
	_, follower := g.p.flights.Join(flight.ID{}, nil, 0)
	x.cache.flight = f

	if retry := x.enterTarget(); retry != 0 || !x.pace.pass.Held() {
		t.Fatalf("no room: %v", retry)
	}
	g.p.gate.Cancel(&x.pace.pass)
	q := x.targetNeed()
	other, _ := g.p.gate.TryEnter(&q)
	done := make(chan error, 1)
	go func() { done <- x.waitForTarget() }()
	until(t, "it does not wait", func() bool { return g.p.gate.Waiting() == 1 })
	if _, news := follower.HeadOrEnd(); news.Held != uint64(x.who) {
		t.Errorf("held up by %d", news.Held)
	}
	g.p.gate.Cancel(&other)
	if err := <-done; err != nil || !x.pace.pass.Held() {
		t.Errorf("%v, room %v", err, x.pace.pass.Held())
	}
	if _, news := follower.HeadOrEnd(); news.Held != 0 {
		t.Errorf("held up by %d yet", news.Held)
	}
	if v := g.p.LimitsView(time.Now(), 1)[0]; v.Met != 1 {
		t.Errorf("met %d times", v.Met)
	}
	g.p.gate.Cancel(&x.pace.pass)

	if err := x.waitForTarget(); err != nil || !x.pace.pass.Held() { // nobody has taken it
		t.Errorf("%v, room %v", err, x.pace.pass.Held())
	}
	follower.Leave()
	x.settled = true
	x.dropTurn(time.Now())
	x.cache.flight = nil
	f.Land(0)
	g.p.metrics.inFlight.Add(-1)
	g.p.release(x)
}
