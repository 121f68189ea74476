package main

import (
	"math/rand/v2"
	"net/http"
	"time"

	"llm-auto-optimizer/bench/load"
	"llm-auto-optimizer/bench/sim"
	"llm-auto-optimizer/config"
)

// The demo's second route keeps its answers, and has a provider of its own. Its questions repeat, and are of two kinds: what is true of the short ones changes now and
// then, what is true of the long ones stays. Nobody tells the optimizer.
const (
	demoCached   = "helpdesk"
	demoDesk     = "desk"                 // its only target
	demoKeptFor  = 10 * time.Second       // as configured
	demoTakes    = 100 * time.Millisecond // an answer of desk's, always
	demoCachedOf = 25                     // requests per second of each kind, at most
)

// demoDeskProvider answers as fast each time, so that it is known of what moment an answer is.
func demoDeskProvider() *demoProvider {
	return &demoProvider{name: demoDesk, answers: "ttft=60ms,tpot=1ms,tokens=40,chunk=5", price: demoPrice{1, 4}}
}

// demoCachedSettings are those of the route that keeps its answers. Of the optimizer's own the shortest time to live, and what may be stale, are those of a world that
// changes within seconds.
var demoCachedSettings = [][2]string{
	{"cache.enabled", "true"}, {"cache.ttl", config.FormatDuration(demoKeptFor)}, {"cache.revalidate", "0.2"}, {"cache.stale_if_error", "30s"}, {"classes.light_input", "100"},
	{"optimizer.routing", "observe"}, {"optimizer.timeouts", "observe"}, // it has one target
}

// demoQuestions is a kind of them.
type demoQuestions struct {
	class, size string
	stays       time.Duration // what is true of them; 0: always
	different
}

// demoAsked are the kinds of questions that the route is asked, in the order of their classes. In four hours of the day, but no faster than can be told, and no more slowly
// than in a day of two minutes, every answer to a short one has changed.
func demoAsked(day time.Duration) []demoQuestions {
	const fastest, slowest = 4 * time.Second, 20 * time.Second
	stays := min(max(4*day/demoHours, fastest), slowest).Truncate(time.Second)
	return []demoQuestions{
		{"light", "short", stays, different{prompts: 60, skew: .8, tokens: func(rng *rand.Rand) int { return 20 + rng.IntN(30) }}},
		{"medium", "long", 0, different{prompts: 240, skew: .8, tokens: func(rng *rand.Rand) int { return 250 + rng.IntN(150) }}},
	}
}

// cachedLoads are what asks them.
func (c *demoCmd) cachedLoads(asked []demoQuestions, proxy string, drain time.Duration) (loads []*load.Driver, err error) {
	for i := range asked {
		q, seed := &asked[i], c.Seed+uint64(i+1)<<32 //nolint:gosec // an index
		kind := load.Kind{
			API: load.Chat, Model: demoCached, BaseURL: proxy + "/v1", Key: "simulated", Stream: true, Steady: true, Weight: 1, Prompt: load.Size{Median: 1}, MaxTokens: demoAnswer,
		}
		if q.stays > 0 { // which the simulator is told
			kind.Header = http.Header{"X-Sim": {"change=" + q.stays.String()}}
		}
		one, err := load.New(load.Options{
			Arrivals: q.asked(load.Until(load.Poisson(min(c.Rate, demoCachedOf), seed), c.For-drain), seed), Kinds: []load.Kind{kind}, Seed: seed, MaxInFlight: demoMaxInFlight, Drain: drain,
		})
		if err != nil {
			return nil, err
		}
		loads = append(loads, one)
	}
	return loads, nil
}

// stale tells whether an answer to such a question, of so many tokens, is another one by now that was stored at a time.
func (q *demoQuestions) stale(stored, now time.Time, tokens int) bool {
	return q.stays > 0 && sim.Version(stored.Add(-demoTakes), q.stays, tokens) != sim.Version(now, q.stays, tokens)
}
