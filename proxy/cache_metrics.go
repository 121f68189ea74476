package proxy

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"

	"llm-auto-optimizer/proxy/cache"
)

// The names of the metrics of what the cache does for exchanges.
const (
	metricCacheResults = "llmopt_cache_requests_total"      // route, class, result
	metricCacheUSD     = "llmopt_cache_saved_usd_total"     // route, class
	metricCacheSeconds = "llmopt_cache_saved_seconds_total" // route, class
	metricCacheServed  = "llmopt_cache_served_bytes_total"  // route, class
	metricCacheStored  = "llmopt_cache_stored_total"        // route
	metricCacheRefused = "llmopt_cache_not_stored_total"    // route, reason
	metricCacheDamaged = "llmopt_cache_damaged_total"       // route
	metricCacheSpent   = "llmopt_cache_refresh_usd_total"   // route, class
	metricFollowers    = "llmopt_cache_followers"
)

// cacheCounts are what the cache did for a route. They outlive reloads.
type cacheCounts struct {
	of              [classes]classCounts
	stored, damaged atomic.Uint64

	revalidations revalidations
	ghosts        atomic.Pointer[ghosts] // nil outside of routes

	mu      sync.Mutex
	refused map[cache.Refusal]uint64
}

func (n *cacheCounts) refuse(why cache.Refusal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refused == nil {
		n.refused = map[cache.Refusal]uint64{}
	}
	n.refused[why]++
}

// classCounts are those of a class of exchanges.
type classCounts struct {
	results                  [cacheResults]atomic.Uint64
	savedNanoUSD, savedNanos atomic.Int64
	spentNanoUSD             atomic.Int64 // to fetch answers anew
	served                   atomic.Int64 // bytes of bodies that no target was asked for
}

// cacheBooks are the counts by route.
type cacheBooks struct {
	mu sync.Mutex
	of map[string]*cacheCounts
}

func (b *cacheBooks) book(route string) *cacheCounts {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.of == nil {
		b.of = map[string]*cacheCounts{}
	}
	if b.of[route] == nil {
		b.of[route] = &cacheCounts{}
	}
	return b.of[route]
}

// write prints the metrics of routes for which the cache has done something.
func (b *cacheBooks) write(w io.Writer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for name := range b.of {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		n := b.of[name]
		for k := range classes {
			n.of[k].write(w, fmt.Sprintf("route=%q,class=%q", name, k.String()))
		}
		label := fmt.Sprintf("{route=%q}", name)
		metrics.WriteCounterUint64(w, metricCacheStored+label, n.stored.Load())
		metrics.WriteCounterUint64(w, metricCacheDamaged+label, n.damaged.Load())
		n.mu.Lock()
		for why, count := range n.refused {
			metrics.WriteCounterUint64(w, fmt.Sprintf("%s{route=%q,reason=%q}", metricCacheRefused, name, string(why)), count)
		}
		n.mu.Unlock()
	}
}

// write prints the metrics of a class to which exchanges have come.
func (n *classCounts) write(w io.Writer, labels string) {
	came := false
	for r := cacheBypass; r < cacheResults; r++ {
		if count := n.results[r].Load(); count > 0 {
			came = true
			metrics.WriteCounterUint64(w, fmt.Sprintf("%s{%s,result=%q}", metricCacheResults, labels, r.String()), count)
		}
	}
	if !came {
		return
	}
	labels = "{" + labels + "}"
	metrics.WriteCounterFloat64(w, metricCacheUSD+labels, float64(n.savedNanoUSD.Load())/1e9)
	metrics.WriteCounterFloat64(w, metricCacheSpent+labels, float64(n.spentNanoUSD.Load())/1e9)
	metrics.WriteCounterFloat64(w, metricCacheSeconds+labels, float64(n.savedNanos.Load())/1e9)
	metrics.WriteCounterUint64(w, metricCacheServed+labels, uint64(n.served.Load())) //nolint:gosec // not negative
}
