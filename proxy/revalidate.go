package proxy

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"llm-auto-optimizer/analysis"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/cache"
)

// How often the answers of a route change is measured by asking for some of them again: a share of the hits, one in a hundred by default, is fetched anew in the
// background, and compared with what the client was given. Answers that are fetched anyway while the old one is at hand count too.
const (
	// revalidateMost is how many may be on their way at once, of a route.
	revalidateMost = 2
	// revalidateSpend is what they may cost, as a part of what hits have saved, in times of the share.
	revalidateSpend = 2
	// hazardMemory is how many comparisons what is known is about.
	hazardMemory = 2000
)

// revalidations are what was learned of a route's answers. They outlive reloads.
type revalidations struct {
	underWay atomic.Int32
	spent    atomic.Int64 // nano-dollars

	mu      sync.Mutex
	subject string // what they are about: the targets, and what the classes are
	hazards [classes]analysis.Hazard
	results [classes]revalidated
}

// revalidated counts comparisons.
type revalidated struct{ same, changed, unknown uint64 }

// Begin tells whether a hit is to be fetched anew in the background now: it is one of the share that is drawn for it, few enough are on their way, and what they have
// cost is little beside what hits have saved. draw is uniform in [0, 1). After true End must be called, once.
func (r *revalidations) Begin(draw, share float64, saved config.NanoUSD) bool {
	if draw >= share || float64(r.spent.Load()) > revalidateSpend*share*float64(saved) {
		return false
	}
	if r.underWay.Add(1) > revalidateMost {
		r.underWay.Add(-1)
		return false
	}
	return true
}

// End says what a fetch has cost that Begin has allowed.
func (r *revalidations) End(cost config.NanoUSD) {
	r.spent.Add(int64(cost))
	r.underWay.Add(-1)
}

// about says what answers are about from now on. It tells whether that is something else than before, of which nothing is known.
func (r *revalidations) about(subject string) (anew bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if anew = r.subject != subject; anew {
		r.subject, r.hazards = subject, [classes]analysis.Hazard{}
	}
	return anew
}

// observeRevalidation takes in that an answer was fetched anew when it had that age.
func (r *revalidations) observeRevalidation(k class, age time.Duration, old, fresh *cache.Entry, c *cache.Comparer) {
	same, known := c.Same(old, fresh)
	r.mu.Lock()
	defer r.mu.Unlock()
	n, h := &r.results[k], &r.hazards[k]
	switch {
	case !known:
		n.unknown++
		return
	case same:
		n.same++
	default:
		n.changed++
	}
	if all, _ := h.Count(); all >= hazardMemory {
		h.Forget(1 - 1./hazardMemory)
	}
	h.Add(age, !same)
}

// hazard is what is known of a class's answers.
func (r *revalidations) hazard(k class) analysis.Hazard {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hazards[k]
}

// compareWithOld learns from an answer that has come while the one before it was still at hand, whoever has fetched it: caching.before is that one. Answers that
// differ each time they are asked for tell nothing.
func (x *Exchange) compareWithOld(fresh *cache.Entry, t *cacheTools) {
	c := &x.cache
	if c.before == nil || !c.steady || c.of.route == "" || cache.Decode(&t.entry, &c.key, c.before) != nil {
		return
	}
	c.of.counts.revalidations.observeRevalidation(x.class, t.entry.Age(fresh.Created), &t.entry, fresh, &t.comparer)
}

const metricRevalidated = "llmopt_cache_revalidations_total" // route, class, result

// writeRevalidations prints how often answers had changed.
func (b *cacheBooks) writeRevalidations(w io.Writer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for name := range b.of {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		r := &b.of[name].revalidations
		r.mu.Lock()
		results := r.results
		r.mu.Unlock()
		for k := range results {
			for _, one := range []struct {
				result string
				count  uint64
			}{{"same", results[k].same}, {"changed", results[k].changed}, {"unknown", results[k].unknown}} {
				if one.count > 0 {
					metrics.WriteCounterUint64(w, fmt.Sprintf("%s{route=%q,class=%q,result=%q}", metricRevalidated, name, class(k).String(), one.result), one.count) //nolint:gosec // three
				}
			}
		}
	}
}
