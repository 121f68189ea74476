package simulate

import (
	"math"
	"math/rand/v2"
	"time"

	"llm-auto-optimizer/analysis"
	"llm-auto-optimizer/analysis/ghost"
	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/proxy/policy"
)

// CacheDemand are questions of a class, that are asked again and whose answers change.
type CacheDemand struct {
	Questions int     `json:"questions"`
	Zipf      float64 `json:"zipf"` // exponent of how often they are asked
	Rate      float64 `json:"rate"` // of all, a second
	Change    float64 `json:"change_hz"`
	Worth     float64 `json:"worth"` // US dollars an answer
	Noise     float64 `json:"noise"` // part of the answers that is another one each time, and as good
}

// CacheRun is a route whose answers are kept, in virtual time: the production's tuner, loop, guard, ghosts and hazards, over a cache that has room for all.
type CacheRun struct {
	Seed    uint64
	Demands [policy.Classes]CacheDemand
	TTL     time.Duration // that the operator has set
	Length  time.Duration
	Judged  time.Duration // at the end, by which the run is judged
}

// NewCacheRun draws a route: of each class questions that are asked once in minutes to weeks, and answers that change once in an hour to three months. Where it is
// noisy, up to a fifth of the answers of half of the classes is another one each time.
func NewCacheRun(seed uint64, noisy bool) *CacheRun {
	draw := rand.New(rand.NewPCG(seed, 0xcac4e))
	logUniform := func(from, to float64) float64 { return from * math.Pow(to/from, draw.Float64()) }
	r := &CacheRun{Seed: seed, TTL: time.Hour, Length: 4 * 24 * time.Hour, Judged: 2 * 24 * time.Hour}
	for class := range r.Demands {
		r.Demands[class] = CacheDemand{
			Questions: int(logUniform(200, 5000)), Zipf: .6 + .6*draw.Float64(), Rate: logUniform(.5, 4),
			Change: 1 / logUniform(time.Hour.Seconds(), (90*24*time.Hour).Seconds()), Worth: logUniform(.0001, .02),
		}
	}
	for class := range r.Demands {
		if noisy {
			r.Demands[class].Noise = max(0, .4*draw.Float64()-.2)
		}
	}
	return r
}

// CacheClassResult is how a class has ended.
type CacheClassResult struct {
	CacheDemand
	TTL   float64 `json:"ttl_s"`      // in force at the end
	Best  float64 `json:"best_ttl_s"` // that saves most
	Net   float64 `json:"net"`        // what was saved, less what stale hits cost, as a part of what the best would have
	Stale float64 `json:"stale"`      // part of the hits that was, in the time that is judged
	Hits  float64 `json:"hits"`       // part of the requests, the same
}

// CacheResult is what a run has come to.
type CacheResult struct {
	Seed      uint64                           `json:"seed"`
	Net       float64                          `json:"net"`   // of all classes, as a part of what the best times to live would have
	Fixed     float64                          `json:"fixed"` // the same of the operator's own time
	Stale     float64                          `json:"stale"` // part of all hits
	Classes   [policy.Classes]CacheClassResult `json:"classes"`
	Decisions []string                         `json:"decisions,omitempty"`
}

// question is one with its answer in the cache.
type question struct {
	hash            uint64
	rate            float64
	created         time.Duration // when the answer was stored
	kept            bool
	changed, change time.Duration // when the true answer has changed last, and will next
}

// cacheSim is a run under way. It is the loop's plant.
type cacheSim struct {
	*CacheRun
	draw      *rand.Rand
	start     time.Time
	params    policy.Route
	loop      *optimizer.Loop
	questions [policy.Classes][]question
	sums      [policy.Classes][]float64 // of the rates
	ghosts    [policy.Classes]*ghost.Curves
	hazards   [policy.Classes]analysis.Hazard
	counted   [policy.Classes]struct{ asked, hits, stale, saved float64 }
	decisions []string
}

const (
	simCacheMemory = 1 << 40 // there is room for all
	simEntry       = 4 << 10
	simRevalidated = .01
	simCacheCycle  = time.Minute
)

var simTTLs = []time.Duration{
	30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour, 8 * time.Hour, 24 * time.Hour, 72 * time.Hour, 168 * time.Hour,
}

// Play runs it.
func (r *CacheRun) Play() *CacheResult {
	s := &cacheSim{CacheRun: r, draw: rand.New(rand.NewPCG(r.Seed, 1)), start: time.Unix(1_750_000_000, 0)}
	for class := range s.questions {
		d, sum := &r.Demands[class], 0.
		s.questions[class] = make([]question, d.Questions)
		for i := range s.questions[class] {
			q := &s.questions[class][i]
			q.hash, q.rate = s.draw.Uint64(), math.Pow(float64(i+1), -d.Zipf)
			q.change = s.after(0, d.Change)
			sum += q.rate
			s.sums[class] = append(s.sums[class], sum)
		}
		for i := range s.questions[class] {
			s.questions[class][i].rate *= d.Rate / sum
		}
		s.ghosts[class] = ghost.New(ghost.Options{Sizes: []int64{simCacheMemory}, TTLs: simTTLs, Samples: 2048}, s.start)
		s.params.Cache.TTL[class] = r.TTL.Seconds()
	}
	s.params.Targets = map[string]policy.Target{"t": {Weights: [policy.Classes]float64{1, 1, 1}}}
	static := s.params.Parameters
	s.params.Static = &static
	caching := optimizer.DefaultCaching
	s.loop = optimizer.New(s, optimizer.Settings{
		Bounds: optimizer.DefaultBounds, Trials: optimizer.DefaultTrials, Modes: map[string]optimizer.Mode{caching.Name(): optimizer.Auto},
	}, caching)
	s.run()
	return s.result(&caching)
}

// Known implements optimizer.Plant.
func (s *cacheSim) Known(now time.Time) []optimizer.Known {
	k := &optimizer.KnownCache{Memory: simCacheMemory, Entry: simEntry, Hazards: s.hazards}
	for class := range s.ghosts {
		k.TTLs[class], _ = s.ghosts[class].Curve(now)
	}
	return []optimizer.Known{{Name: "r", InForce: s.params.Parameters, Static: *s.params.Static, Targets: []optimizer.KnownTarget{{Name: "t", Available: true}}, Cache: k}}
}

// Publish implements optimizer.Plant.
func (s *cacheSim) Publish(routes map[string]policy.Route) error {
	s.params = routes["r"]
	return nil
}

// after is when the next event of a Poisson process comes.
func (s *cacheSim) after(at time.Duration, rate float64) time.Duration {
	return at + time.Duration(min(s.draw.ExpFloat64()/rate, 1e9)*float64(time.Second))
}

func (s *cacheSim) run() {
	var next [policy.Classes]time.Duration
	for class := range next {
		next[class] = s.after(0, s.Demands[class].Rate)
	}
	cycle := simCacheCycle
	for {
		class := 0
		for other := range next {
			if next[other] < next[class] {
				class = other
			}
		}
		now := next[class]
		for ; cycle <= min(now, s.Length); cycle += simCacheCycle {
			for _, d := range s.loop.Step(s.start.Add(cycle)) {
				s.decisions = append(s.decisions, d.String())
			}
			if cycle > s.Length-s.Judged {
				for class := range s.counted {
					s.counted[class].saved += s.net(class, seconds(s.params.Cache.TTL[class])) * simCacheCycle.Seconds()
				}
			}
		}
		if now > s.Length {
			return
		}
		s.ask(class, now)
		next[class] = s.after(now, s.Demands[class].Rate)
	}
}

// ask is one request.
func (s *cacheSim) ask(class int, now time.Duration) {
	d := &s.Demands[class]
	sums := s.sums[class]
	q := &s.questions[class][searchSum(sums, s.draw.Float64()*sums[len(sums)-1])]
	for q.change <= now {
		q.changed, q.change = q.change, s.after(q.change, d.Change)
	}
	age := now - q.created
	hit := q.kept && age < seconds(s.params.Cache.TTL[class])
	stale := hit && q.changed > q.created
	at := s.start.Add(now)
	s.ghosts[class].Access(q.hash, simEntry, int64(d.Worth*1e9), 1000, at)
	if now > s.Length-s.Judged {
		c := &s.counted[class]
		c.asked++
		if hit {
			c.hits++
		}
		if stale {
			c.stale++
		}
	}
	if hit {
		if s.draw.Float64() < simRevalidated {
			s.hazards[class].Add(age, stale || s.draw.Float64() < d.Noise)
		}
		return
	}
	if q.kept = true; s.draw.Float64() < .1 { // what exchanges cost is known from a part of them
		s.loop.Observe(&window.Exchange{At: at, Route: "r", Target: "t", Class: uint8(class), Attempts: 1, Input: 100, Output: 100, CostNanoUSD: int64(d.Worth * 1e9)}) //nolint:gosec // three
	}
	q.created = now
}

// searchSum is the place of a draw in rising sums.
func searchSum(sums []float64, u float64) int {
	lo, hi := 0, len(sums)-1
	for lo < hi {
		if mid := (lo + hi) / 2; sums[mid] < u {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// net is what a time to live saves of a class in expectation, less what stale hits cost, in US dollars a second.
func (s *cacheSim) net(class int, ttl time.Duration) (sum float64) {
	d := &s.Demands[class]
	for i := range s.questions[class] {
		hits := s.questions[class][i].rate * ttl.Seconds()
		sum += s.questions[class][i].rate * hits / (1 + hits)
	}
	return sum * d.Worth * (1 - optimizer.DefaultCaching.StaleCost*analysis.StaleShare(d.Change, ttl))
}

// best is the time to live that saves most, where no more than the part of the hits is stale that may be: by trying all, knowing everything.
func (s *cacheSim) best(class int, t *optimizer.Caching) (best time.Duration) {
	most := math.Inf(-1)
	for ttl := float64(t.MinTTL); ttl <= float64(t.MaxTTL); ttl *= 1.01 {
		at := time.Duration(ttl)
		if at > t.MinTTL && analysis.StaleShare(s.Demands[class].Change, at) > t.MaxStale {
			break
		}
		if v := s.net(class, at); v > most {
			most, best = v, at
		}
	}
	return best
}

func (s *cacheSim) result(t *optimizer.Caching) *CacheResult {
	r := &CacheResult{Seed: s.Seed, Decisions: s.decisions}
	net, fixed, most, hits, stale := 0., 0., 0., 0., 0.
	for class := range r.Classes {
		c, best := &s.counted[class], s.best(class, t)
		could := s.net(class, best) * s.Judged.Seconds()
		r.Classes[class] = CacheClassResult{
			CacheDemand: s.Demands[class], TTL: s.params.Cache.TTL[class], Best: best.Seconds(), Net: c.saved / could, Stale: c.stale / max(c.hits, 1), Hits: c.hits / max(c.asked, 1),
		}
		net, fixed, most = net+c.saved, fixed+s.net(class, s.TTL)*s.Judged.Seconds(), most+could
		hits, stale = hits+c.hits, stale+c.stale
	}
	r.Net, r.Fixed, r.Stale = net/most, fixed/most, stale/max(hits, 1)
	return r
}
