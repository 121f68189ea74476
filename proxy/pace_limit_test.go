package proxy

import (
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// pacingPhase is the length of a phase: PACING=1m makes the figures that docs/pacing.md has.
func pacingPhase(t *testing.T) (phase time.Duration, long bool) {
	t.Helper()
	if text := os.Getenv("PACING"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		return d, true
	}
	return 1500 * time.Millisecond, false
}

// A limit that goes 100, 60, 100 requests a second while half as many again are wanted is used up, and hardly run into; a target beside it serves what it has no room for.
func TestPacing_HiddenLimit(t *testing.T) {
	t.Parallel()
	phase, long := pacingPhase(t)
	check := func(name string, s *strict, beside bool, used, refused float64) {
		t.Run(name, func(t *testing.T) {
			if !long {
				t.Parallel()
			}
			s.rate, s.ttft = 100, 100*time.Millisecond
			urls, other := []string{newStrict(t, s)}, &strict{rate: 1e6, ttft: 20 * time.Millisecond}
			if beside {
				urls = append(urls, newStrict(t, other))
			}
			g := start(t, pacedRoute(urls...))
			c := newPaceClient(t, g)
			var mu sync.Mutex
			statuses, by := map[int]int{}, map[string]int{}
			var wg sync.WaitGroup
			s.begin()
			for _, rate := range []float64{100, 60, 100} {
				s.to(rate)
				c.offer(&wg, "m", 1.5*rate, phase, func(resp *http.Response, _ []byte) {
					mu.Lock()
					defer mu.Unlock()
					statuses[resp.StatusCode]++
					by[resp.Header.Get("x-llmopt-target")]++
				})
			}
			u, r, sent := s.counts()
			wg.Wait()
			t.Logf("%5.1f %% of the limit used, %.3f %% of %d sent refused; answers %v by %v", 100*u, 100*r, sent, statuses, by)
			if u < used || r > refused {
				t.Errorf("%.3f used and %.4f refused, want %v and %v", u, r, used, refused)
			}
			if beside && statuses[http.StatusOK] != statuses[http.StatusOK]+statuses[http.StatusTooManyRequests] {
				t.Errorf("with another target beside it: %v", statuses)
			}
			if !strings.Contains(g.metricsText(), metricPacingWaits) {
				t.Error("no metrics")
			}
		})
	}
	if long {
		check("headers", &strict{told: true}, false, .97, .003) // none on a machine that does nothing else
		check("headers and another target", &strict{told: true}, true, .95, .003)
		check("no headers", &strict{}, false, .95, .005)
		check("no headers and another target", &strict{}, true, .95, .005)
		return
	}
	check("headers", &strict{told: true}, false, .7, .1) // without pacing a third is refused
	check("headers and another target", &strict{told: true}, true, .7, .1)
	check("no headers", &strict{}, false, .5, .2)
	check("no headers and another target", &strict{}, true, .5, .2)
}
