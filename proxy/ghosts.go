package proxy

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"llm-auto-optimizer/analysis/ghost"
	"llm-auto-optimizer/config"
)

// ghosts say what caches of other sizes and times to live would have done for a route. They are made when they are first needed.
type ghosts struct {
	memory  int64                                 // of the cache in bytes
	route   atomic.Pointer[ghost.Curves]          // by size
	classes [classes]atomic.Pointer[ghost.Curves] // by time to live, with all the memory
	count   atomic.Int64
	bytes   atomic.Int64 // of all that came
}

const (
	// ghostSamples is how many keys are followed: all of a route with few of them, and 1 % of a route with 200,000. Each costs up to 250 bytes.
	ghostSamples = 2048
	// ghostOverhead is what an answer occupies in memory beside itself.
	ghostOverhead = 400
)

// ghostTTLs are followed for each class, and some of them for each size.
var (
	ghostTTLs = []time.Duration{
		time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour, 8 * time.Hour, 24 * time.Hour, 72 * time.Hour, 168 * time.Hour,
	}
	ghostSizeTTLs = []time.Duration{10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 168 * time.Hour}
)

// ghostSizes are the sizes that are followed, of a cache of that memory. The fifth is the cache itself.
func ghostSizes(memory int64) []int64 {
	memory = max(memory, 32)
	return []int64{memory / 32, memory / 8, memory / 4, memory / 2, memory, 2 * memory}
}

// room is how many bytes there are for the answers of all routes.
func (n *cacheCounts) room() int64 { return n.ghosts.Load().memory }

// begin makes the curves of one place, unless somebody else has just done so.
func begin(at *atomic.Pointer[ghost.Curves], sizes []int64, ttls []time.Duration, now time.Time) *ghost.Curves {
	at.CompareAndSwap(nil, ghost.New(ghost.Options{Sizes: sizes, TTLs: ttls, Samples: ghostSamples}, now))
	return at.Load()
}

// access takes an exchange in whose answer can be kept.
func (g *ghosts) access(k class, hash uint64, bytes int, worth config.NanoUSD, took time.Duration, now time.Time) {
	millis := float64(took) / float64(time.Millisecond)
	bytes += ghostOverhead
	g.count.Add(1)
	g.bytes.Add(int64(bytes))
	all, own := g.route.Load(), g.classes[k].Load()
	if all == nil {
		all = begin(&g.route, ghostSizes(g.memory), ghostSizeTTLs, now)
	}
	if own == nil {
		own = begin(&g.classes[k], []int64{max(g.memory, 1)}, ghostTTLs, now)
	}
	all.Access(hash, bytes, int64(worth), millis, now)
	own.Access(hash, bytes, int64(worth), millis, now)
}

// entry is the mean size of an answer, in bytes; 0: not known.
func (g *ghosts) entry() float64 { return float64(g.bytes.Load()) / max(float64(g.count.Load()), 1) }

// curve is what is known at one place; without points where that is too little.
func curve(at *atomic.Pointer[ghost.Curves], now time.Time) (c ghost.Curve) {
	if of := at.Load(); of != nil {
		c, _ = of.Curve(now)
	}
	return c
}

// followCache has the ghosts of a route follow an exchange that the cache had a part in, and whose answer there is.
func (x *Exchange) followCache(now time.Time) {
	c := &x.cache
	if c.of == nil || c.of.route == "" || c.size == 0 || c.result == cacheBypass || c.result == cacheRefresh {
		return
	}
	c.of.counts.ghosts.Load().access(x.class, binary.LittleEndian.Uint64(c.key[8:]), c.size, c.worth, c.took, now)
}

// The names of the metrics of ghosts.
const (
	metricGhostRatio = "llmopt_cache_ghost_hit_ratio"            // route, class, ttl, size
	metricGhostUSD   = "llmopt_cache_ghost_saved_usd_per_second" // route, class, ttl, size
)

// shownTTLs are those that metrics tell of each class.
var shownTTLs = []time.Duration{10 * time.Minute, time.Hour, 24 * time.Hour, 168 * time.Hour}

// writeGhosts prints what other caches would do: for each class other times to live with the memory as it is, for the route other sizes with its own time.
func (p *Proxy) writeGhosts(w io.Writer) {
	write := func(route, class string, size int64, q ghost.Point) {
		label := fmt.Sprintf("{route=%q,class=%q,ttl=%q,size=%q}", route, class, config.FormatDuration(q.TTL), config.Size(size).String())
		metrics.WriteGaugeFloat64(w, metricGhostRatio+label, q.HitRatio)
		metrics.WriteGaugeFloat64(w, metricGhostUSD+label, q.NanoUSD/1e9)
	}
	for _, v := range p.CacheViews(time.Now()) {
		for k := range v.Classes {
			of := &v.Classes[k]
			ttls := shownTTLs
			if !slices.Contains(ttls, of.TTL) {
				ttls = append(ttls[:len(ttls):len(ttls)], of.TTL)
			}
			for _, ttl := range ttls {
				if q, known := of.Curve.At(max(v.Memory, 1), ttl); known {
					write(v.Route, class(k).String(), v.Memory, q)
				}
			}
		}
		for _, size := range ghostSizes(v.Memory) {
			if q, known := v.Sizes.At(size, v.TTL); known {
				write(v.Route, "all", size, q)
			}
		}
	}
}
