package proxy

import (
	"time"

	"llm-auto-optimizer/analysis"
	"llm-auto-optimizer/analysis/ghost"
	"llm-auto-optimizer/proxy/policy"
)

// CacheView is what is known of the cache of a route: what caches of other sizes and times to live would do, and how often its answers change.
type CacheView struct {
	Route   string
	Entry   float64       // mean bytes of an answer as it is kept; 0: not known
	Memory  int64         // bytes for the answers of all routes: in memory or, where that is more, on disk
	TTL     time.Duration // that the longest-lived class has in force
	Sizes   ghost.Curve   // of all classes, by size and time to live; without points: too little has come
	Classes [policy.Classes]CacheClassView
}

// CacheClassView is the same of a class.
type CacheClassView struct {
	TTL    time.Duration   // in force
	Curve  ghost.Curve     // by time to live, for the memory that there is; without points: too little has come
	Hazard analysis.Hazard // how often answers change
}

// CacheViews are the views of all routes that keep answers, in the order of the configuration. It is safe for concurrent use, and no request waits for it but for
// moments.
func (p *Proxy) CacheViews(now time.Time) (all []CacheView) {
	s, params := p.settings.Load(), p.policy.Load()
	for _, r := range s.routes.list {
		of := r.answers
		if of == nil {
			continue
		}
		g := of.counts.ghosts.Load()
		v := CacheView{Route: r.name, Entry: g.entry(), Memory: g.memory, Sizes: curve(&g.route, now)}
		tuned := params.Routes[r.name].Cache
		for k := range v.Classes {
			one := &v.Classes[k]
			one.TTL = secondsOr(tuned.TTL[k], of.rules.TTL)
			one.Curve = curve(&g.classes[k], now)
			one.Hazard = of.counts.revalidations.hazard(class(k)) //nolint:gosec // three
			v.TTL = max(v.TTL, one.TTL)
		}
		all = append(all, v)
	}
	return all
}
