package proxy

import (
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"llm-auto-optimizer/proxy/pick"
)

// One caller's requests are refused for what they ask for. Once that is clear nobody else waits or goes elsewhere for it, though the provider says when to come again.
func TestPacing_RefusedAlone(t *testing.T) {
	t.Parallel()
	var refuse, after atomic.Int64
	url, calls := counted(t, func(w http.ResponseWriter, _ *http.Request) {
		if refuse.Load() == 0 {
			_, _ = io.WriteString(w, strictAnswer)
			return
		}
		if s := after.Load(); s > 0 {
			w.Header().Set("Retry-After", strconv.FormatInt(s, 10))
		}
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"error":{"message":"Too many searches.","type":"requests","code":"rate_limit_exceeded"}}`)
	})
	settings := pacedRoute(url)
	r := settings.Routes["r"]
	r.RetryOn = nil
	settings.Routes["r"] = r
	g := start(t, settings)
	c := newPaceClient(t, g)
	others := func(n int) {
		t.Helper()
		for range n {
			if resp, body := c.mustAsk(t, "sk-others", "m"); resp.StatusCode != http.StatusOK {
				t.Fatalf("%d %s", resp.StatusCode, body)
			}
		}
	}
	one := func() {
		t.Helper()
		refuse.Store(1)
		if resp, body := c.mustAsk(t, "sk-one", "m"); resp.StatusCode != http.StatusTooManyRequests || errorCode(body) != "rate_limit_exceeded" {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
		refuse.Store(0)
	}
	others(50)
	for range 5 {
		one()
		others(20)
	}
	after.Store(60)
	before := g.onlyPace().State(time.Now())
	for range 5 {
		one()
	}
	if s := g.onlyPace().State(time.Now()); s.Rate < before.Rate || s.Paused != 0 {
		t.Errorf("%.1f a second, left alone for %v; before %.1f", s.Rate, s.Paused, before.Rate)
	}
	if s := g.p.Target("r", "a").Status(time.Now()); s.State == pick.RateLimit {
		t.Errorf("%+v", s)
	}
	others(5)
	if n := calls.Load(); n != 50+5*21+10 {
		t.Errorf("%d calls", n)
	}
}
