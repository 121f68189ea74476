package proxy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/cache"
)

// routeCache is what a route, or the traffic outside of routes, has of the cache.
type routeCache struct {
	key    string // of the route and its targets, in the keys of answers; empty outside of routes: the provider's takes its place
	rules  cache.Settings
	counts *cacheCounts

	coalesce bool          // who asks the same at the same time shares an answer
	pace     time.Duration // between two events of a kept stream

	revalidate float64 // share of the hits that are fetched anew to see whether they have changed
	route      string  // empty outside of routes
	about      string  // what the answers' statistics are about: others' tell nothing
}

// newRouteCache is nil where nothing is kept.
func newRouteCache(c *config.CacheRules, route, key string, books *cacheBooks) (*routeCache, error) {
	if !c.Enabled {
		return nil, nil //nolint:nilnil // there is none
	}
	rules, err := rulesOf(c)
	of := &routeCache{key: key, rules: rules, counts: books.book(route), coalesce: c.Coalesce, pace: c.Pace, revalidate: float64(c.Revalidate)}
	if route != directRoute {
		of.route = route
	}
	return of, err
}

// follow has ghosts follow a route, with so much room for the answers of all. It may be called while requests use the cache.
func (c *routeCache) follow(memory int64) {
	if c == nil {
		return
	}
	anew := c.counts.revalidations.about(c.about)
	if g := c.counts.ghosts.Load(); g == nil || g.memory != memory || anew {
		c.counts.ghosts.Store(&ghosts{memory: memory})
	}
}

// cacheKeyOf tells routes apart, and a route from what it was before it had other targets: their answers are not the new ones'.
func cacheKeyOf(r *config.Route, providers map[string]*providerState) string {
	h := sha256.New()
	for _, t := range r.TargetList() {
		fmt.Fprintf(h, "%q %q\n", providers[t.Provider].cacheKey, t.Model)
	}
	return "route:" + r.Name + " " + hex.EncodeToString(h.Sum(nil))
}

// cacheKeyOfProvider tells providers apart, and a provider from one of the same name at another address.
func cacheKeyOfProvider(c *config.Provider) string { return "provider:" + c.Name + " " + c.BaseURL }

// rulesOf are a route's settings as the core knows them.
func rulesOf(c *config.CacheRules) (cache.Settings, error) {
	store, known := cache.ParseStore(c.Store)
	if !known {
		return cache.Settings{}, fmt.Errorf("cache.store: %q is neither deterministic nor all", c.Store)
	}
	s := cache.Settings{
		Enabled: c.Enabled, TTL: c.TTL, Idle: c.Idle, WhileNew: c.StaleWhileRevalidate, OnError: c.StaleIfError, EarlyBeta: c.EarlyRefresh, Store: store, Shared: c.Shared, MaxEntry: int(c.MaxEntry),
		KeyHeader: c.Overrides, TTLHeader: c.Overrides, MaxTTL: c.MaxTTL,
	}
	if len(c.Finish) > 0 {
		s.Finish = c.Finish
	}
	return s, nil
}
