package main

import (
	"time"

	"llm-auto-optimizer/optimizer"
)

// knownCaches is what the optimizer is told of the answers of routes in the cache, by route.
func (g *gateway) knownCaches(now time.Time) map[string]*optimizer.KnownCache {
	views := g.proxy.CacheViews(now)
	if len(views) == 0 {
		return nil
	}
	stats := g.cache.Stats()
	out := make(map[string]*optimizer.KnownCache, len(views))
	for i := range views {
		v := &views[i]
		k := &optimizer.KnownCache{
			Memory: v.Memory, Used: stats.Memory.Bytes, Held: g.cache.HeldBy(v.Route), Divided: stats.Disk == nil, Entry: v.Entry, Sizes: v.Sizes,
		}
		for class := range v.Classes {
			k.TTLs[class], k.Hazards[class] = v.Classes[class].Curve, v.Classes[class].Hazard
		}
		out[v.Route] = k
	}
	return out
}
