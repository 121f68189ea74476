package optimizer

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/analysis"
	"llm-auto-optimizer/analysis/ghost"
	"llm-auto-optimizer/proxy/policy"
)

const cacheMemory = 64 << 20

// curveOf is the curve of 1,000 answers that are each asked for so often a second, and cost a cent each.
func curveOf(rate float64) ghost.Curve {
	const keys, nano = 1000, 1e7
	c := ghost.Curve{Accesses: keys * rate, Sampled: 1e5, Keys: keys, Rate: 1, Span: time.Hour}
	for _, ttl := range []time.Duration{30 * time.Second, 10 * time.Minute, time.Hour, 8 * time.Hour, 24 * time.Hour, 168 * time.Hour} {
		ratio := rate * ttl.Seconds() / (1 + rate*ttl.Seconds())
		c.Points = append(c.Points, ghost.Point{Size: cacheMemory, TTL: ttl, HitRatio: ratio, Hits: ratio * c.Accesses, NanoUSD: ratio * c.Accesses * nano})
	}
	return c
}

// hazardOf are comparisons at all ages up to the one given, of which those are told that were found changed.
func hazardOf(n int, changed func(i int) bool, ttl time.Duration) (h analysis.Hazard) {
	for i := range n {
		h.Add(time.Duration(float64(i%100+1)/100*float64(ttl)), changed(i))
	}
	return h
}

func never(int) bool { return false }

// cachedRoute keeps light answers for an hour that are asked for once in ten minutes and never change; change may say otherwise.
func cachedRoute(change func(k *KnownCache, p *policy.Parameters)) *RouteEvidence {
	in := policy.Parameters{Cache: policy.Cache{TTL: [classes]float64{3600, 3600, 3600}}}
	static := in
	k := &KnownCache{Memory: cacheMemory, Entry: 4096}
	k.TTLs[0] = curveOf(1. / 600)
	k.Hazards[0] = hazardOf(2000, never, time.Hour)
	if change != nil {
		change(k, &in)
	}
	all := []Known{{InForce: in, Cache: k}}
	priceMemory(all)
	return &RouteEvidence{Name: "faq", InForce: in, Static: static, Cache: k.evidence(noon, &in, new([classes]hazardEstimate)), Classes: [classes]Load{{Rate: .3}}}
}

func TestCaching_EachDirection(t *testing.T) {
	t.Parallel()
	check := func(what, name string, to float64, reason string, change func(k *KnownCache, p *policy.Parameters)) {
		t.Helper()
		p := DefaultCaching.Propose(cachedRoute(change))
		got, value := changeOf(t, p)
		if got != name || math.Abs(value-to) > 1e-9 || !strings.Contains(p.Reason, reason) {
			t.Errorf("%s: %s becomes %v, want %s %v; %q, want %q", what, got, value, name, to, p.Reason, reason)
		}
		if name != "" && (p.Evidence.Method == "" || !p.Evidence.Fired()) {
			t.Errorf("%s: evidence %+v", what, p.Evidence)
		}
	}
	// 2,000 comparisons at half an hour on average without a change: once in 26 days at most with 80 %, so that the square-root rule gives 4.6 hours.
	check("answers don't change", "cache_ttl/light", 4*3600, "keep answers longer, light ones for 4h in place of 1h: they change so seldom", nil)
	check("no longer than is sure", "cache_ttl/light", 5400, "longer", func(k *KnownCache, p *policy.Parameters) {
		p.Cache.TTL[0] = 3000
		k.Hazards[0] = hazardOf(420, never, time.Hour)
	})
	changing := func(every int) func(k *KnownCache, p *policy.Parameters) {
		return func(k *KnownCache, _ *policy.Parameters) {
			k.Hazards[0] = hazardOf(2000, func(i int) bool { return i/100%(every) == 0 && i%100 > 50 }, time.Hour)
		}
	}
	check("answers change", "cache_ttl/light", 240, "more of the hits are stale than the 1 % that may be", changing(4))
	check("few changes", "", 0, "too few answers", func(k *KnownCache, _ *policy.Parameters) {
		k.Hazards[0] = hazardOf(60, func(i int) bool { return i > 55 }, time.Hour)
	})
	check("as it should be", "", 0, "the time to live is what it should be, as far as is known (light)", func(k *KnownCache, p *policy.Parameters) {
		p.Cache.TTL[0] = 4 * 3600
		k.Hazards[0] = hazardOf(500, never, 4*time.Hour)
	})
	check("nothing was compared", "", 0, "too few answers were fetched anew", func(k *KnownCache, _ *policy.Parameters) { k.Hazards[0] = analysis.Hazard{} })
	check("only young ones were", "", 0, "too few answers were fetched anew", func(k *KnownCache, _ *policy.Parameters) { k.Hazards[0] = hazardOf(2000, never, 10*time.Minute) })
	check("answers differ always", "", 0, "differ however young", func(k *KnownCache, _ *policy.Parameters) {
		k.Hazards[0] = hazardOf(2000, func(i int) bool { return i/100%3 > 0 }, time.Hour)
	})
	check("a third of them differs always", "", 0, "what it should be, as far as is known (light)", func(k *KnownCache, _ *policy.Parameters) {
		k.Hazards[0] = hazardOf(2000, func(i int) bool { return i/100%3 == 0 }, time.Hour)
	})
	check("no traffic", "", 0, "too few requests", func(k *KnownCache, _ *policy.Parameters) { k.TTLs[0] = ghost.Curve{} })
	check("no cache", "", 0, "keeps no answers", func(_ *KnownCache, p *policy.Parameters) { p.Cache = policy.Cache{} })
	check("poison", "", 0, "damaged", func(k *KnownCache, _ *policy.Parameters) { k.TTLs[0].Points[2].NanoUSD = math.NaN() })
	check("more poison", "", 0, "damaged", func(k *KnownCache, _ *policy.Parameters) { k.TTLs[0].Accesses = math.Inf(1) })
	check("a bound was lowered", "cache_ttl/light", 7*24*3600, "none may live longer than 7d", func(_ *KnownCache, p *policy.Parameters) { p.Cache.TTL[0] = 30 * 24 * 3600 })
}

// What the cache could save more is too little beside what the rest of the route costs.
func TestCaching_GainIsAPartOfTheCost(t *testing.T) {
	t.Parallel()
	e := cachedRoute(nil)
	if p := DefaultCaching.Propose(e); len(p.Changes) != 1 || p.Expected.Relative > -.1 {
		t.Errorf("%+v", p)
	}
	e.Attempts = Attempts{Count: 1000, Cost: 1e6}
	if p := DefaultCaching.Propose(e); len(p.Changes) > 0 || !strings.Contains(p.Reason, "would save too little (light)") {
		t.Errorf("%+v", p)
	}
}

// One proposal is about all classes that need the same, and what is stale goes first.
func TestCaching_ClassesTogether(t *testing.T) {
	t.Parallel()
	e := cachedRoute(func(k *KnownCache, _ *policy.Parameters) {
		k.TTLs[1], k.TTLs[2] = k.TTLs[0], k.TTLs[0]
		k.Hazards[1] = k.Hazards[0]
		k.Hazards[2] = hazardOf(2000, func(i int) bool { return i/100%4 == 0 && i%100 > 50 }, time.Hour)
	})
	p := DefaultCaching.Propose(e)
	if len(p.Changes) != 1 || p.Changes[0].Name != "cache_ttl/heavy" || p.Expected.Cost <= 0 || p.Expected.Relative <= 0 {
		t.Fatalf("%+v", p)
	}
	e.InForce, _ = apply(e.InForce, p.Changes)
	p = DefaultCaching.Propose(e)
	if len(p.Changes) != 2 || p.Changes[0].Name != "cache_ttl/light" || p.Changes[1].Name != "cache_ttl/medium" || p.Expected.Cost >= 0 || p.Expected.Relative >= 0 {
		t.Errorf("%+v", p)
	}
	d := Decision{ID: "d1", Route: "faq", Tuner: "caching", Verdict: Applied, Proposal: p}
	if s := d.Sentence(); !strings.HasPrefix(s, "faq now keeps answers longer, light ones for 4h in place of 1h, medium ones for 4h in place of 1h: they change so seldom") {
		t.Error(s)
	}
}

// Of equal rates the goal is what the square-root rule with its cap says.
func TestCaching_IsTheSquareRootRule(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{1e-4, 1e-3, 1e-2, 1} {
		for _, change := range []float64{0, 1e-7, 1e-6, 1e-5, 1e-4} {
			c := curveOf(rate)
			got := DefaultCaching.best(&c, change, 3600)
			want := analysis.TTL(rate, change, DefaultCaching.StaleCost, DefaultCaching.MaxStale)
			net := func(ttl time.Duration) float64 { return DefaultCaching.net(&c, change, ttl) }
			if net(got) < .99*net(want) || analysis.StaleShare(change, got) > DefaultCaching.MaxStale*1.0001 && got > DefaultCaching.MinTTL {
				t.Errorf("rate %v, change %v: %v saves %v, %v saves %v", rate, change, got, net(got), want, net(want))
			}
		}
	}
}

// two routes share the memory: one's answers save a hundred times as much.
func twoRoutes(used int64, shares [2]float64) (e [2]*RouteEvidence) {
	var all []Known
	for i := range 2 {
		k := &KnownCache{Memory: cacheMemory, Used: used, Held: used / 2, Divided: true, Entry: 4096}
		worth := []float64{1e6, 1e8}[i]
		k.Sizes = ghost.Curve{Accesses: 10, Span: time.Hour}
		for _, part := range []float64{1. / 32, 1. / 8, .25, .5, 1, 2} {
			hits := 10 * math.Sqrt(part) / 2
			k.Sizes.Points = append(k.Sizes.Points, ghost.Point{Size: int64(part * cacheMemory), TTL: time.Hour, Hits: hits, NanoUSD: hits * worth, HitRatio: hits / 10})
		}
		k.TTLs[0] = curveOf(.01)
		k.Hazards[0] = hazardOf(2000, func(i int) bool { return i == 100 }, time.Hour)
		in := policy.Parameters{Cache: policy.Cache{TTL: [classes]float64{3600, 3600, 3600}, Share: shares[i]}}
		all = append(all, Known{Name: []string{"cheap", "dear"}[i], InForce: in, Cache: k})
	}
	priceMemory(all)
	for i := range all {
		static := all[i].InForce
		static.Cache.Share = 0
		e[i] = &RouteEvidence{Name: all[i].Name, InForce: all[i].InForce, Static: static, Cache: all[i].Cache.evidence(noon, &all[i].InForce, new([classes]hazardEstimate)), Classes: [classes]Load{{Rate: 5}}}
	}
	return e
}

func TestCaching_DividesMemory(t *testing.T) {
	t.Parallel()
	still := DefaultCaching
	still.MinGain = 1 // times to live stay
	e := twoRoutes(cacheMemory, [2]float64{})
	p := still.Propose(e[0])
	if name, to := changeOf(t, p); name != cacheShare || to > .05 || to < still.MinShare || p.Expected.Cost < 0 || !strings.Contains(p.Reason, "leave more of the memory to other routes") {
		t.Errorf("the cheap route: %+v", p)
	}
	if e[1].Cache.room() < .9*cacheMemory*.9 {
		t.Errorf("the dear route should have %v", e[1].Cache.room())
	}
	if p := still.Propose(e[1]); len(p.Changes) > 0 && p.Changes[0].Name == cacheShare {
		t.Errorf("the dear route: %+v", p)
	}
	if sum := e[0].Cache.room() + e[1].Cache.room(); math.Abs(sum-cacheMemory) > .01*cacheMemory {
		t.Errorf("both have %v of %v", sum, cacheMemory)
	}
	e = twoRoutes(cacheMemory/2, [2]float64{.03, 0})
	if p := still.Propose(e[0]); len(p.Changes) != 1 || p.Changes[0] != (Change{cacheShare, .03, 0}) || !strings.Contains(p.Reason, "enough for all") {
		t.Errorf("there is enough: %+v", p)
	}
}

func TestCaching_Worth(t *testing.T) {
	t.Parallel()
	still := DefaultCaching
	still.MinGain, still.MinShare = 1, 1
	e := twoRoutes(cacheMemory, [2]float64{})[0]
	p := still.Propose(e)
	name, to := changeOf(t, p)
	mean := .01 / (4096. / mib) // a cent each
	if name != cacheWorth || to <= 0 || to > halfWorth*mean || !strings.Contains(p.Reason, "memory of 64MiB is short") {
		t.Errorf("%+v", p)
	}
	e.InForce.Cache.Worth = to
	if p := still.Propose(e); len(p.Changes) > 0 {
		t.Errorf("it does not stay: %+v", p)
	}
	e.Cache.Divided = false
	if p := still.Propose(e); len(p.Changes) != 1 || p.Changes[0].To != 0 || !strings.Contains(p.Reason, "whatever they have cost") {
		t.Errorf("%+v", p)
	}
}

// The memory's price is that of the last byte, and what is left goes to whom it is worth that.
func TestPriceMemory(t *testing.T) {
	t.Parallel()
	e := twoRoutes(cacheMemory, [2]float64{})
	last := math.Inf(1)
	for i := 1; i < len(e[0].Cache.Sizes); i++ {
		if s := slopeOf(e[0].Cache.Sizes[i-1], e[0].Cache.Sizes[i]); s > last {
			t.Errorf("sizes are not concave: %v", e[0].Cache.Sizes)
		} else {
			last = s
		}
	}
	if e[0].Cache.Price <= 0 || e[0].Cache.Price != e[1].Cache.Price {
		t.Errorf("prices %v and %v", e[0].Cache.Price, e[1].Cache.Price)
	}
	if e := twoRoutes(cacheMemory/2, [2]float64{}); e[0].Cache.Price != 0 || e[0].Cache.Divided {
		t.Errorf("memory is not short: %+v", e[0].Cache)
	}
	priceMemory([]Known{{}, {Cache: &KnownCache{Divided: true}}})
}

// Whatever the evidence, what is proposed is within the bounds, and stored evidence gives it again.
func FuzzCaching(f *testing.F) {
	f.Add(uint64(1), 3600., 3600., 1e-3, .01)
	f.Add(uint64(2), 1., 1e7, 1e3, 1e9)
	f.Add(uint64(3), math.Inf(1), 0., -1., math.NaN())
	for seed := range uint64(200) {
		f.Add(100+seed, 60*math.Pow(1.05, float64(seed)), 3600., math.Pow(.93, float64(seed%100)), .01)
	}
	f.Fuzz(func(t *testing.T, seed uint64, in, static, rate, worth float64) {
		draw := rand.New(rand.NewPCG(seed, 1))
		e := twoRoutes(cacheMemory, [2]float64{draw.Float64(), 0})[0]
		e.InForce.Cache.TTL, e.Static.Cache.TTL = [classes]float64{in, 3600, in / 2}, [classes]float64{static, 3600, static}
		for class := range classes {
			k := &e.Cache.Classes[class]
			k.Curve = curveOf(rate)
			h := hazardOf(draw.IntN(3000), func(int) bool { return draw.IntN(1000) < int(seed%7) }, time.Duration(draw.Float64()*1e13))
			k.Change, k.Upper, k.Noise, _ = h.EstimateNoisy(hazardConfidence)
			k.Compared.All, k.Compared.Changed = h.Count()
			k.Old = k.Compared
		}
		e.Cache.Entry = worth
		p := DefaultCaching.Propose(e)
		if p.Reason == "" {
			t.Error("no reason")
		}
		for _, c := range p.Changes {
			from, known := valueOf(&e.InForce, c.Name)
			if !known || c.From != from || c.To == from || !DefaultCaching.Owns(c.Name) || !(c.To >= 0) {
				t.Errorf("%+v of %v", c, from)
			}
			if class, ok := cutTTL(c.Name); ok {
				low, high := DefaultCaching.bounds(e.Static.Cache.TTL[class])
				if to := seconds(c.To); to < low || to > high || c.To > max(from*DefaultCaching.Step, low.Seconds()) {
					t.Errorf("%+v is outside of %v to %v, or no step", c, low, high)
				}
			}
			if c.Name == cacheShare && c.To > 1 {
				t.Errorf("%+v", c)
			}
		}
		if stored, err := json.Marshal(e); err == nil {
			var again RouteEvidence
			if err := json.Unmarshal(stored, &again); err != nil {
				t.Fatal(err)
			}
			if q := DefaultCaching.Propose(&again); !reflect.DeepEqual(p, q) {
				t.Errorf("%+v\n%+v", p, q)
			}
		}
	})
}

// Answers that cost nothing are kept for as long as they may be stale, and not as shortly as can be.
func TestCaching_WithoutAPrice(t *testing.T) {
	t.Parallel()
	priced, free := cachedRoute(nil), cachedRoute(nil)
	for i := range free.Cache.Classes {
		points := slices.Clone(free.Cache.Classes[i].Curve.Points)
		for j := range points {
			points[j].NanoUSD = 0
		}
		free.Cache.Classes[i].Curve.Points = points
	}
	change := 1.26e-5
	a, b := DefaultCaching.best(&priced.Cache.Classes[0].Curve, change, 3600), DefaultCaching.best(&free.Cache.Classes[0].Curve, change, 3600)
	if most := seconds(2 * DefaultCaching.MaxStale / change); b < a || b > most {
		t.Errorf("priced %v, free %v, at most %v", a, b, most)
	}
}

func TestReport_OfTheCache(t *testing.T) {
	t.Parallel()
	e := cachedRoute(nil)
	p := DefaultCaching.Propose(e)
	text := Report([]Decision{{ID: "d1", At: noon, Route: "faq", Tuner: "caching", Verdict: Recommended, Proposal: p, Evidence: e}}, time.UTC)
	for _, want := range []string{
		"light  1h            1.67/s    85.7 %  $1.23e+03    2000          0        –             ", "cache_ttl/light  1h → 4h",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// BenchmarkCaching_Propose is what the tuner takes for a route, in each cycle.
func BenchmarkCaching_Propose(b *testing.B) {
	e := cachedRoute(func(k *KnownCache, _ *policy.Parameters) {
		for class := range classes {
			k.TTLs[class], k.Hazards[class] = curveOf(.01), hazardOf(2000, func(i int) bool { return i%400 == 399 }, time.Hour)
		}
	})
	b.ReportAllocs()
	for b.Loop() {
		DefaultCaching.Propose(e)
	}
}

// What is known of changes is estimated anew when a tenth more is known, or what it is about is something else, and every five minutes else.
func TestHazardEstimate_FollowsWhatComes(t *testing.T) {
	t.Parallel()
	var e hazardEstimate
	check := func(what string, after time.Duration, h analysis.Hazard, want bool) {
		t.Helper()
		before := e.at
		e.update(noon.Add(after), &h)
		if got := e.at != before; got != want {
			t.Errorf("%s: estimated anew %v, want %v", what, got, want)
		}
		if want {
			if change, _, _, _ := h.EstimateNoisy(hazardConfidence); e.change != change {
				t.Errorf("%s: %v changes a second, want %v", what, e.change, change)
			}
		}
	}
	often := func(i int) bool { return i%4 == 0 }
	check("the first ones", time.Second, hazardOf(10, often, time.Hour), true)
	check("a tenth more", 3*time.Second, hazardOf(11, often, time.Hour), true)
	check("the same", time.Hour, hazardOf(11, often, time.Hour), false)
	check("many more", 2*time.Hour, hazardOf(1000, often, time.Hour), true)
	check("a few more", 2*time.Hour+time.Second, hazardOf(1090, often, time.Hour), false)
	check("a few more for five minutes", 2*time.Hour+estimateEvery, hazardOf(1090, never, time.Hour), true)
	check("another model's", 2*time.Hour+estimateEvery+time.Second, hazardOf(20, often, time.Hour), true)
	check("none of it", 2*time.Hour+estimateEvery+2*time.Second, analysis.Hazard{}, true)
}

// BenchmarkHazard_Estimate is what a class takes whenever a tenth more is known, and every five minutes once much is.
func BenchmarkHazard_Estimate(b *testing.B) {
	h := hazardOf(2000, func(i int) bool { return i/100%5 == 0 || i%400 == 399 }, time.Hour)
	for b.Loop() {
		h.EstimateNoisy(hazardConfidence)
	}
}
