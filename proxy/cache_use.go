package proxy

import (
	"maps"
	"slices"
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/cache"
)

// CacheUse is what the cache did for a route since the start.
type CacheUse struct {
	Route   string
	Results map[string]uint64 // exchanges by result, without those that there were none of
	Stored  uint64
	Refused map[string]uint64 // answers that were not kept, by reason
	Damaged uint64
	Saved   config.NanoUSD // what the answers of hits had cost
	Sooner  time.Duration  // that hits came than their answers had
}

// CacheUse is what the cache did for each route that keeps answers or did since the start, by name. It is safe for concurrent use.
func (p *Proxy) CacheUse() (out []CacheUse) {
	p.books.cache.mu.Lock()
	of := maps.Clone(p.books.cache.of)
	p.books.cache.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(of)) {
		out = append(out, of[name].use(name))
	}
	return out
}

func (n *cacheCounts) use(route string) CacheUse {
	u := CacheUse{
		Route: route, Results: map[string]uint64{}, Stored: n.stored.Load(), Refused: map[string]uint64{}, Damaged: n.damaged.Load(),
		Saved: config.NanoUSD(n.savedNanoUSD.Load()), Sooner: time.Duration(n.savedNanos.Load()),
	}
	for r := cacheBypass; r < cacheResults; r++ {
		if count := n.results[r].Load(); count > 0 {
			u.Results[r.String()] = count
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for why, count := range n.refused {
		u.Refused[string(why)] = count
	}
	return u
}

// CacheRules are the settings in force by which a route keeps answers; false: it keeps none, or is gone. Answers of requests that no route matches are
// those of "direct". It is safe for concurrent use.
func (p *Proxy) CacheRules(route string) (rules cache.Settings, keeps bool) {
	s := p.settings.Load()
	of := s.direct
	if route != directRoute {
		of = nil
		for _, r := range s.routes.list {
			if r.name == route {
				of = r.answers
			}
		}
	}
	if of == nil {
		return cache.Settings{}, false
	}
	return of.rules, true
}
