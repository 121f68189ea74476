package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// gated is a provider whose streams stop in the middle until the gate opens.
type gated struct {
	url    string
	calls  *atomic.Int64
	gate   chan struct{}
	halves chan struct{} // gets one for each stream that has come to its middle
	cut    atomic.Int64  // streams whose client has left
	abort  atomic.Bool   // they break off in the middle
}

const gatedEvents = 20

func gatedEvent(i int) string {
	return fmt.Sprintf(`data: {"id":"chatcmpl-1","created":1700000000,"model":"gpt-4o-mini","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"word %d "},"finish_reason":null}]}`+"\n\n", i)
}

const gatedTail = `data: {"id":"chatcmpl-1","created":1700000000,"model":"gpt-4o-mini","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n" +
	`data: {"id":"chatcmpl-1","created":1700000000,"model":"gpt-4o-mini","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":5,"total_tokens":10}}` + "\n\ndata: [DONE]\n\n"

func newGated(t *testing.T) *gated {
	t.Helper()
	g := &gated{gate: make(chan struct{}), halves: make(chan struct{}, 100)}
	g.url, g.calls = counted(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range gatedEvents {
			if i == gatedEvents/2 {
				_ = http.NewResponseController(w).Flush()
				g.halves <- struct{}{}
				select {
				case <-g.gate:
					if g.abort.Load() {
						panic(http.ErrAbortHandler)
					}
				case <-r.Context().Done():
					g.cut.Add(1)
					return
				}
			}
			fmt.Fprint(w, gatedEvent(i))
		}
		fmt.Fprint(w, gatedTail)
	})
	return g
}

func (g *gated) whole() string {
	var s strings.Builder
	for i := range gatedEvents {
		s.WriteString(gatedEvent(i))
	}
	return s.String() + gatedTail
}

const gatedBody = `{"model":"gpt-4o-mini","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"tell me"}]}`

// answered is what a client got.
type answered struct {
	status int
	result string
	body   string
	err    error
}

// ask sends a chat request on a connection of its own, until ctx is done.
func ask(ctx context.Context, t *testing.T, addr, caller, body string) (a answered) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return a
	}
	r.Header.Set("Authorization", "Bearer "+caller)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, MaxConnsPerHost: 0}}
	resp, err := client.Do(r)
	if err != nil {
		return answered{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answered{resp.StatusCode, resp.Header.Get("x-llmopt-cache"), string(b), err}
}

// crowd has n ask the same, and gives their answers once they have them all.
func crowd(t *testing.T, n int, addr, body string) (answers func() []answered) {
	t.Helper()
	all := make([]answered, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { all[i] = ask(context.Background(), t, addr, "k", body) })
	}
	return func() []answered { wg.Wait(); return all }
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// settledFlights waits until no exchange has a part in a flight any more.
func settledFlights(t *testing.T, p *Proxy) {
	t.Helper()
	until(t, "flights are left over", func() bool {
		return p.flights.Len() == 0 && p.flights.Followers() == 0 && p.metrics.inFlight.Load() == 0
	})
}
