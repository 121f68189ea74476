package optimizer

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

// cachingStand is a plant whose route keeps answers.
type cachingStand struct {
	*stand
	cache *KnownCache
}

func (s *cachingStand) Known(now time.Time) []Known {
	known := s.stand.Known(now)
	known[0].Cache = s.cache
	return known
}

// Loop, guard, orders and journal take the tuner as any other.
func TestCaching_GoesThroughTheLoop(t *testing.T) {
	t.Parallel()
	s := &cachingStand{stand: newStand(), cache: &KnownCache{Memory: cacheMemory, Entry: 4096}}
	s.in.Cache.TTL = [classes]float64{3600, 3600, 3600}
	s.static = s.in
	s.cache.TTLs[0], s.cache.Hazards[0] = curveOf(1./600), hazardOf(2000, never, time.Hour)
	l := New(s, Settings{Bounds: DefaultBounds, Trials: DefaultTrials, Holdback: .02, Modes: map[string]Mode{"caching": Auto}}, DefaultCaching)
	for range 100 {
		l.Observe(&window.Exchange{At: noon, Route: "r", Target: "a", Input: 100, Output: 100, CostNanoUSD: 1e7, Attempts: 1})
	}
	d := l.Step(noon)
	if len(d) != 1 || d[0].Verdict != Applied || s.in.Cache.TTL != [classes]float64{14400, 3600, 3600} || s.static.Cache.TTL[0] != 3600 {
		t.Fatalf("%v; %v", d, s.in.Cache)
	}
	stored, err := json.Marshal(d[0])
	if err != nil {
		t.Fatal(err)
	}
	var again Decision
	if err := json.Unmarshal(stored, &again); err != nil {
		t.Fatal(err)
	}
	if differs, err := Replay(&again); differs != "" || err != nil {
		t.Errorf("replayed: %s, %v", differs, err)
	}
	again.Evidence.Cache.Classes[0].Upper *= 100
	if differs, err := Replay(&again); differs == "" || err != nil {
		t.Errorf("other evidence: %q, %v", differs, err)
	}
	now := noon.Add(time.Hour)
	if d := l.Step(now); s.in.Cache.TTL[0] != 14400 || len(d) > 1 {
		t.Errorf("%v; %v", d, s.in.Cache)
	}
	order(t, l, now, Order{Action: Pin, Route: "r", Parameter: "cache_ttl/heavy", Value: 60})
	if s.in.Cache.TTL[2] != 60 {
		t.Errorf("pinned: %v", s.in.Cache)
	}
	if _, err := l.Order(now, Order{Action: Pin, Route: "r", Parameter: "cache_ttl/heavy"}); err == nil {
		t.Error("a time to live of 0 is taken")
	}
	order(t, l, now, Order{Action: Reset, Route: "r"})
	if s.in.Cache != s.static.Cache {
		t.Errorf("reset: %v", s.in.Cache)
	}
	s.in.Cache, s.static.Cache = policy.Cache{}, policy.Cache{}
	if _, err := l.Order(now, Order{Action: Pin, Route: "r", Parameter: "cache_ttl/heavy", Value: 60}); err == nil {
		t.Error("a route without a cache has times to live")
	}
}

// What is wanted further in the same direction is a decision of its own, which is told, and waits for its time.
func TestCaching_NextStepIsAnotherDecision(t *testing.T) {
	t.Parallel()
	s := &cachingStand{stand: newStand(), cache: &KnownCache{Memory: cacheMemory, Entry: 4096}}
	s.in.Cache.TTL = [classes]float64{600, 600, 600}
	s.static = s.in
	young := hazardOf(500, never, 5*time.Minute)
	s.cache.TTLs[0], s.cache.Hazards[0] = curveOf(1./600), hazardOf(2000, never, 4*time.Hour)
	s.cache.Hazards[0].Merge(&young)
	l := New(s, Settings{Bounds: DefaultBounds, Trials: DefaultTrials, Modes: map[string]Mode{"caching": Auto}}, DefaultCaching)
	for range 100 {
		l.Observe(&window.Exchange{At: noon, Route: "r", Target: "a", Input: 100, Output: 100, CostNanoUSD: 1e7, Attempts: 1})
	}
	check := func(after time.Duration, verdict Verdict, ttl float64) {
		t.Helper()
		d := l.Step(noon.Add(after))
		if len(d) != 1 || d[0].Verdict != verdict || verdict == Applied && d[0].ID == "" || s.in.Cache.TTL[0] != ttl {
			t.Errorf("after %v: %v, %v", after, d, s.in.Cache)
		}
	}
	check(0, Applied, 2400)
	check(10*time.Second, Held, 2400)
	check(DefaultBounds.CoolDown+time.Second, Applied, 9000)
}

// Where arms differ in what they do with the kept answers that all share, what exchanges come to is evidence about targets, and proves nothing.
func TestLoop_SharedAnswersProveNothing(t *testing.T) {
	t.Parallel()
	s := newStand()
	s.holdback = .5
	l := s.loop(Observe)
	l.Step(noon)
	draw := rand.New(rand.NewPCG(5, 6))
	for i := range 20000 {
		x := window.Exchange{
			At: noon.Add(time.Duration(i) * time.Millisecond), Route: "r", Target: "a", Session: draw.Uint64() | 1, Input: 1000, Output: 100, CostNanoUSD: 1e6, Attempts: 1,
			Arm: uint8(i % 2), Wait: time.Second,
		}
		if policy.Arm(x.Arm) == policy.Holdback && draw.IntN(2) == 0 { // what others keep longer is too old for it
			x.Shared, x.CostNanoUSD, x.Input = true, 10e6, 10_000
		}
		l.Observe(&x)
	}
	e := l.Evidence(noon.Add(20*time.Second), &Known{Name: "r", InForce: s.in, Static: s.static, Targets: []KnownTarget{{Name: "a", Available: true}}})
	if c := e.Targets[0].Cells[0]; c.Unit < 6.6e-7 || c.Unit > 1.1e-6 || e.Classes[0].Input < 3000 {
		t.Errorf("%+v, %+v", c, e.Classes[0])
	}
	if e := l.Proof.Savings(noon.Add(time.Minute), time.Time{}).Routes[0]; !e.Cost.Known || e.Part.Value < -.03 || e.Part.Value > .03 {
		t.Errorf("%+v", e)
	}
}

// Its changes can't be tried on a part of the traffic: who asks for that gets a recommendation, or an error.
func TestLoop_CachingIsNotTried(t *testing.T) {
	t.Parallel()
	s := newStand()
	l := New(s, Settings{Modes: map[string]Mode{"caching": Canary}}, DefaultCaching)
	if m := l.mode("r", "caching"); m != Recommend {
		t.Errorf("mode %v", m)
	}
	l.Step(noon)
	_, err := l.Order(noon, Order{Action: SetMode, Route: "r", Tuner: "caching", Mode: Canary})
	if !errors.Is(err, ErrOrder) || !strings.Contains(err.Error(), "all arms share the answers that are kept; there are observe, recommend and auto") {
		t.Errorf("%v", err)
	}
	if _, err := l.Order(noon, Order{Action: SetMode, Route: "r", Tuner: "caching", Mode: Auto}); err != nil || l.mode("r", "caching") != Auto {
		t.Errorf("%v, mode %v", err, l.mode("r", "caching"))
	}
}
