package proxy

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/provider"
)

// The names of the metrics of the providers' prompt caches, on routes that mark prompts for them.
const (
	metricPromptRequests  = "llmopt_prompt_cache_requests_total" // route, arm
	metricPromptTokens    = "llmopt_prompt_cache_tokens_total"   // route, arm, type
	metricPromptSaved     = "llmopt_prompt_cache_saved_usd"      // route, arm: may fall
	metricPromptRefused   = "llmopt_prompt_cache_refused_total"  // route
	metricPromptSuspended = "llmopt_prompt_cache_suspended"      // route
)

// promptCounts is what marking prompts has brought on a route. It outlives reloads.
type promptCounts struct {
	arms    [promptArms]promptSums
	refused atomic.Uint64
}

// promptSums are sums over attempts.
type promptSums struct{ attempts, input, read, written, savedNanoUSD atomic.Int64 }

func (s *promptSums) add(u *provider.Usage, saved config.NanoUSD) {
	s.attempts.Add(1)
	s.input.Add(uncached(u))
	s.read.Add(u.CacheRead)
	s.written.Add(u.CacheWrite5m + u.CacheWrite1h)
	s.savedNanoUSD.Add(int64(saved))
}

// promptRoute is what a route whose prompts are marked needs to know for that.
type promptRoute struct {
	counts *promptCounts
	effect *promptEffect
	hour   bool // what is written is to live for an hour
}

// promptBooks are the routes whose prompts are marked, or were, by the settings in force.
type promptBooks struct {
	mu sync.Mutex
	of map[string]*promptBook
}

type promptBook struct {
	lifetime time.Duration // as configured; 0: prompts are not marked any more
	route    *promptRoute
}

// book is what a route needs that is to come into force; nil where its prompts are not to be marked. What they bring is judged anew where the lifetime is another,
// or they were not marked meanwhile. Nothing changes before install.
func (b *promptBooks) book(r *config.Route) *promptRoute {
	b.mu.Lock()
	defer b.mu.Unlock()
	life, known := r.PromptCacheLifetime(), b.of[r.Name]
	switch {
	case life == 0:
		return nil
	case known == nil:
		return newPromptRoute(life, &promptCounts{})
	case life != known.lifetime:
		return newPromptRoute(life, known.route.counts)
	}
	return known.route
}

func newPromptRoute(life time.Duration, counts *promptCounts) *promptRoute {
	return &promptRoute{counts: counts, effect: newPromptEffect(life), hour: life == time.Hour}
}

// install takes in the routes that have come into force. Of those that are gone the counts stay.
func (b *promptBooks) install(routes []*routeState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, known := range b.of {
		known.lifetime = 0
	}
	for _, r := range routes {
		if r.prompts == nil {
			continue
		}
		if b.of == nil {
			b.of = map[string]*promptBook{}
		}
		b.of[r.name] = &promptBook{lifetime: r.config.PromptCacheLifetime(), route: r.prompts}
	}
}

// write prints the metrics of the routes.
func (b *promptBooks) write(w io.Writer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for _, name := range slices.Sorted(maps.Keys(b.of)) {
		r := b.of[name].route
		label := fmt.Sprintf("route=%q", name)
		for arm := promptMarked; arm < promptArms; arm++ {
			s, labels := &r.counts.arms[arm], fmt.Sprintf("%s,arm=%q", label, arm.String())
			metrics.WriteCounterUint64(w, metricPromptRequests+"{"+labels+"}", uint64(s.attempts.Load())) //nolint:gosec // not negative
			for i, n := range [...]int64{s.input.Load(), s.read.Load(), s.written.Load()} {
				metrics.WriteCounterUint64(w, fmt.Sprintf("%s{%s,type=%q}", metricPromptTokens, labels, promptTokenTypes[i]), uint64(max(0, n))) //nolint:gosec // not negative
			}
			metrics.WriteGaugeFloat64(w, metricPromptSaved+"{"+labels+"}", float64(s.savedNanoUSD.Load())/1e9)
		}
		metrics.WriteCounterUint64(w, metricPromptRefused+"{"+label+"}", r.counts.refused.Load())
		suspended := uint64(0)
		if b.of[name].lifetime > 0 && r.effect.suspended(now) {
			suspended = 1
		}
		metrics.WriteGaugeUint64(w, metricPromptSuspended+"{"+label+"}", suspended)
	}
}

// promptTokenTypes are the values of the label type: read afresh, from the provider's cache, and afresh and written to it.
var promptTokenTypes = [...]string{"input", "read", "write"}

// PromptUse is what marking prompts for the providers' caches has brought on a route since the start.
type PromptUse struct {
	Route                      string
	Marked, Unmarked           int64          // attempts whose prompt was marked, and those left unmarked to be compared with
	MarkedSaved, UnmarkedSaved config.NanoUSD // what they cost less than without a cache; below 0: more
}

// PromptUse is what marking has brought on each route whose prompts are marked, or were, by name. It is safe for concurrent use.
func (p *Proxy) PromptUse() (out []PromptUse) {
	b := &p.books.prompts
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(b.of)) {
		arms := &b.of[name].route.counts.arms
		marked, control := &arms[promptMarked], &arms[promptControl]
		out = append(out, PromptUse{
			name, marked.attempts.Load(), control.attempts.Load(), config.NanoUSD(marked.savedNanoUSD.Load()), config.NanoUSD(control.savedNanoUSD.Load()),
		})
	}
	return out
}
