package proxy

import (
	"bytes"
	"runtime"
	"sync"
	"testing"
	"time"
)

// After a shutdown with a crowd that waits for room nothing goes on that hands room out.
//
//nolint:paralleltest // it looks at all goroutines
func TestPacing_ShutdownLeavesNothing(t *testing.T) {
	serving := func() int {
		all := make([]byte, 8<<20)
		return bytes.Count(all[:runtime.Stack(all, true)], []byte("pacing.(*Pace).serve("))
	}
	cfg := pacedRoute(newStrict(t, &strict{rate: 1e6}))
	a := cfg.Providers["a"]
	a.Pacing.MaxWait = 20 * time.Second
	cfg.Providers["a"] = a
	g, c := slowedWith(t, cfg, 2)
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 30 {
		wg.Go(func() { _, _, _ = c.ask("sk", "m") })
	}
	pace := g.onlyPace()
	eventually(t, "they wait", func() bool { return pace.State(time.Now()).Waiting > 20 })
	if n := serving(); n != 1 {
		t.Errorf("%d hand room out", n)
	}
	g.stop()
	eventually(t, "nothing hands room out", func() bool { return serving() == 0 })
	eventually(t, "nobody waits", func() bool { return pace.State(time.Now()).Waiting == 0 })
}
