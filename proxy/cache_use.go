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
	Route string
	CacheSums
	Classes []ClassCacheUse // those of exchanges that there were any of
	Stored  uint64
	Refused map[string]uint64 // answers that were not kept, by reason
	Damaged uint64
}

// ClassCacheUse is what the cache did for the exchanges of a class.
type ClassCacheUse struct {
	Class string // light, medium or heavy
	CacheSums
}

// CacheSums are sums over exchanges.
type CacheSums struct {
	Results map[string]uint64 // exchanges by result, without those that there were none of
	Saved   config.NanoUSD    // what the answers of hits had cost
	Spent   config.NanoUSD    // to fetch answers anew in the background
	Sooner  time.Duration     // that hits came than their answers had
	Served  int64             // bytes of bodies that no target was asked for
}

func (s *CacheSums) add(o *CacheSums) {
	for result, count := range o.Results {
		s.Results[result] += count
	}
	s.Saved += o.Saved
	s.Spent += o.Spent
	s.Sooner += o.Sooner
	s.Served += o.Served
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
	u := CacheUse{Route: route, CacheSums: n.all(), Stored: n.stored.Load(), Refused: map[string]uint64{}, Damaged: n.damaged.Load()}
	for k := range classes {
		if s := n.of[k].sums(); len(s.Results) > 0 {
			u.Classes = append(u.Classes, ClassCacheUse{k.String(), s})
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for why, count := range n.refused {
		u.Refused[string(why)] = count
	}
	return u
}

// all are the sums of all classes.
func (n *cacheCounts) all() CacheSums {
	all := CacheSums{Results: map[string]uint64{}}
	for k := range n.of {
		s := n.of[k].sums()
		all.add(&s)
	}
	return all
}

// saved is what all classes have saved.
func (n *cacheCounts) saved() (sum config.NanoUSD) {
	for k := range n.of {
		sum += config.NanoUSD(n.of[k].savedNanoUSD.Load())
	}
	return sum
}

func (n *classCounts) sums() CacheSums {
	s := CacheSums{
		Results: map[string]uint64{}, Saved: config.NanoUSD(n.savedNanoUSD.Load()), Spent: config.NanoUSD(n.spentNanoUSD.Load()),
		Sooner: time.Duration(n.savedNanos.Load()), Served: n.served.Load(),
	}
	for r := cacheBypass; r < cacheResults; r++ {
		if count := n.results[r].Load(); count > 0 {
			s.Results[r.String()] = count
		}
	}
	return s
}

// CachePurged is to be called before answers are taken out of the cache. What comes of exchanges that are under way is not kept, and an answer that they have found
// does not stand in for a failure any more. It is safe for concurrent use.
func (p *Proxy) CachePurged() {
	p.purges.Add(1)
	p.flights.Forget()
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
