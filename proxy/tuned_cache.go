package proxy

import (
	"time"

	"llm-auto-optimizer/proxy/cache"
	"llm-auto-optimizer/proxy/policy"
)

// tunedCache is what the policy says of the cache to the exchange's arm; nothing outside of routes.
func (x *Exchange) tunedCache() policy.Cache {
	if x.cache.of.route == "" {
		return policy.Cache{}
	}
	r := x.policy.Routes[x.cache.of.route]
	return r.Of(x.arm).Cache
}

// cacheRules are the settings that the exchange obeys: those of the configuration with the time to live of its arm and class.
func (x *Exchange) cacheRules() cache.Settings {
	rules := x.cache.of.rules
	tuned := x.tunedCache()
	rules.TTL = secondsOr(tuned.TTL[x.class], rules.TTL)
	return rules
}

func secondsOr(seconds float64, or time.Duration) time.Duration {
	if seconds > 0 {
		return time.Duration(seconds * float64(time.Second))
	}
	return or
}

// stateOf is what the exchange may do with an entry. All arms share one store, so its age counts and not what the arm that stored it made of that: who obeys a
// shorter time to live finds it too old, and who obeys a longer one may have it for longer. One whose request has set its time keeps that.
func (x *Exchange) stateOf(e *cache.Entry, now time.Time) cache.State {
	rules := x.cacheRules()
	if !e.OwnTTL {
		e.Expires = e.Created.Add(cache.Jittered(&x.cache.key, rules.TTL))
	}
	return e.State(now, &rules, &x.cache.asked)
}

// longestTTL is how long any arm may give the answer out.
func (x *Exchange) longestTTL() time.Duration {
	c := &x.cache
	if c.own || c.of.route == "" {
		return c.ttl
	}
	r := x.policy.Routes[c.of.route]
	longest := c.of.rules.TTL
	for arm := range policy.Arms {
		longest = max(longest, secondsOr(r.Of(arm).Cache.TTL[x.class], 0))
	}
	return max(c.ttl, cache.Jittered(&c.key, longest))
}

// cacheIsTuned tells whether arms of the route differ in what they do with the cache: what the cache has answered is a part of their difference then.
func (x *Exchange) cacheIsTuned() bool {
	r := x.policy.Routes[x.route.name]
	for arm := range policy.Arms {
		if r.Of(arm).Cache != r.Parameters.Cache {
			return true
		}
	}
	return false
}

// worthKeeping tells whether an answer has cost enough for its size.
func (x *Exchange) worthKeeping(e *cache.Entry) bool {
	worth := x.tunedCache().Worth
	return worth <= 0 || e.Unpriced || float64(e.Cost)/1e9 >= worth*float64(e.Size())/(1<<20)
}

// routeMemory is how many bytes the route's answers may occupy in memory; 0: any.
func (x *Exchange) routeMemory() int64 {
	share := x.tunedCache().Share
	if share <= 0 {
		return 0
	}
	return int64(share * float64(x.cache.of.counts.room()))
}
