package proxy

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestMemory_NewExchangesAreRefusedWhileItIsShort(t *testing.T) {
	t.Parallel()
	c := testConfig(fixed(t, chatAnswer("gpt-4o-mini")))
	c.Server.MemoryLimit = 1 << 40
	g := start(t, c)
	send := func() (*http.Response, []byte) {
		return g.send(post("/v1/chat/completions", `{"model":"gpt-4o-mini"}`))
	}
	if resp, _ := send(); resp.StatusCode != 200 {
		t.Fatalf("status %d", resp.StatusCode)
	}
	before := g.p.memory.threshold
	g.p.memory.over.Store(true) // as the next look would find it
	ctx, cancel := context.WithCancel(t.Context())
	held := make(chan struct{})
	go func() { // and go on finding it
		defer close(held)
		for ctx.Err() == nil {
			g.p.memory.over.Store(true)
			wait()
		}
	}()
	resp, body := send()
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" || !strings.Contains(string(body), `"code":"gateway_overloaded"`) {
		t.Errorf("status %d, %v, %s", resp.StatusCode, resp.Header, body)
	}
	cancel()
	<-held
	eventually(t, "exchanges are taken again", func() bool { return !g.p.memory.over.Load() })
	if resp, _ := send(); resp.StatusCode != 200 {
		t.Errorf("then: status %d", resp.StatusCode)
	}
	if text := g.metricsText(); !strings.Contains(text, "llmopt_overload_refused_total 1\n") || !strings.Contains(text, "llmopt_memory_limit_bytes 1099511627776\n") {
		t.Errorf("metrics: %s", text)
	}
	refused := 0
	for _, line := range g.lines(3) { // in the order in which they were recorded, which is after their answers
		if line["error"] == "gateway_overloaded" && line["outcome"] == "refused" {
			refused++
		}
	}
	if refused != 1 || before == 0 {
		t.Errorf("%d refusals in the log: %v", refused, g.lines(3))
	}
}

// A body that is still being sent when its request is refused does not hold the answer back.
func TestMemory_RefusesBeforeTheBody(t *testing.T) {
	t.Parallel()
	c := testConfig(fixed(t, chatAnswer("gpt-4o-mini")))
	c.Server.MemoryLimit = 1 // always short
	g := start(t, c)
	eventually(t, "memory is short", g.p.memory.over.Load)
	conn := g.dial()
	_, _ = io.WriteString(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Length: 1000000\r\n\r\n"+strings.Repeat("x", prefetched))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != 503 || !resp.Close {
		t.Errorf("got %v, %v", resp, err)
	}
}

func TestMemoryGuard_Look(t *testing.T) {
	t.Parallel()
	check := func(limit int64, was, want bool) {
		t.Helper()
		g := newMemoryGuard(limit, .5)
		g.over.Store(was)
		g.look(memorySamples())
		if g.over.Load() != want || g.used.Load() < 1<<20 {
			t.Errorf("limit %d: over %v, used %d", limit, g.over.Load(), g.used.Load())
		}
	}
	check(1<<50, true, false)
	check(1, false, true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	g := newMemoryGuard(1, 1)
	g.run(ctx)
	if !g.over.Load() {
		t.Error("run did not look")
	}
}
