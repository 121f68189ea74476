package optimizer

import (
	"math/rand/v2"
	"testing"
	"time"
)

// One window that is used up refuses many at once, and is one sign; windows that are used up again and again are many, at whatever rate attempts are made.
func TestLimits_EpisodesCount(t *testing.T) {
	t.Parallel()
	check := func(what string, want float64, p PaceEvidence) {
		t.Helper()
		got := 0.
		for _, c := range DefaultLimits.Propose(limitedRoute(func(e *RouteEvidence) { e.Targets[0].Pace = p })).Changes {
			got = c.To
		}
		if got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	check("40 in one episode", 0, PaceEvidence{Attempts: 1000, Limited: 40, Episodes: 1, Burst: 40})
	check("40 in two", 0, PaceEvidence{Attempts: 1000, Limited: 40, Episodes: 2, Burst: 20})
	check("40 in 40", .95, PaceEvidence{Attempts: 1000, Limited: 40, Episodes: 40, Burst: 1})
	check("a twentieth of 100 a second, each minute", .95, PaceEvidence{Attempts: 18_000, Limited: 900, Episodes: 3, Burst: 300})
	check("few of many, in bursts", 0, PaceEvidence{Attempts: 1e6, Limited: 600, Episodes: 30, Burst: 20}) // .0006, which may be .0005
	check("not told apart", .95, PaceEvidence{Attempts: 1000, Limited: 10})
	check("none of late, held back", .975, PaceEvidence{Attempts: 30_000, Held: 900})
	check("bursts of 20 before", 0, PaceEvidence{Attempts: 30_000, Held: 900, Burst: 20})
	check("which would have been seen", .975, PaceEvidence{Attempts: 600_000, Held: 9000, Burst: 20})
	check("more episodes than 429s", 0, PaceEvidence{Attempts: 1000, Limited: 10, Episodes: 11})
}

// Looking each ten seconds errs seldom at the bound itself, though what is refused comes in bursts.
func TestPaceEvidence_BurstsAreNoProof(t *testing.T) {
	t.Parallel()
	const runs, looks, each = 200, 1000, 500
	for _, size := range []int{1, 20} {
		draw, high, low, naive := rand.New(rand.NewPCG(9, uint64(size))), 0, 0, 0
		for range runs {
			s, k := paceSums{}, KnownPace{}
			s.evidence(noon, k, .97)
			s.bursts.limited, s.bursts.episodes = 10*float64(size), 10
			wasHigh, wasLow, wasNaive := false, false, false
			between := func() float64 { return draw.ExpFloat64() * float64(size) / DefaultLimits.Limited } // attempts, until the next episode
			next := between()
			for i := range looks {
				k.Attempts += each
				for ; next < float64(k.Attempts); next += between() {
					k.Limited, k.Episodes = k.Limited+uint64(size), k.Episodes+1
				}
				e := s.evidence(noon.Add(time.Duration(i+1)*10*time.Second), k, .97)
				hits, outcomes := e.often()
				wasHigh = wasHigh || hits >= leastCounted && surelyAbove(hits, outcomes, DefaultLimits.Limited)
				wasNaive = wasNaive || e.Limited >= leastCounted && surelyAbove(e.Limited, e.Attempts, DefaultLimits.Limited)
				hits, outcomes = e.seldom()
				wasLow = wasLow || surelyBelow(hits, outcomes, DefaultLimits.Limited)
			}
			for n, is := range map[*int]bool{&high: wasHigh, &low: wasLow, &naive: wasNaive} {
				if is {
					*n++
				}
			}
		}
		t.Logf("bursts of %d: %d too high, %d too low, %d were each a sign", size, high, low, naive)
		if most := int(runs * .05 * 1.5); high > most || low > most || size > 1 && naive < runs/2 {
			t.Errorf("bursts of %d: %d and %d of %d wrong; %d if each were a sign", size, high, low, runs, naive)
		}
	}
}

// 429s after a look without any are an episode, though another route with the same key has met it first.
func TestPaceEvidence_EpisodesThatOthersMetFirst(t *testing.T) {
	t.Parallel()
	s, at := paceSums{}, noon
	look := func(k KnownPace) PaceEvidence {
		at = at.Add(10 * time.Second)
		return s.evidence(at, k, .97)
	}
	look(KnownPace{})
	look(KnownPace{Attempts: 100, Limited: 5, Episodes: 1})
	look(KnownPace{Attempts: 200, Limited: 8, Episodes: 1}) // the same
	look(KnownPace{Attempts: 300, Limited: 8, Episodes: 1})
	if e := look(KnownPace{Attempts: 400, Limited: 14, Episodes: 1}); e.Episodes != 2 || e.Burst != 7 || e.Limited != 14 {
		t.Errorf("%+v", e)
	}
	if e := s.evidence(at, KnownPace{Attempts: 400, Limited: 14, Episodes: 1}, .95); e != (PaceEvidence{Burst: 7, TooHigh: .97}) {
		t.Errorf("another share: %+v", e)
	}
	for range 20 { // days without any
		at = at.Add(limitFade)
		s.evidence(at, KnownPace{Attempts: 400, Limited: 14, Episodes: 1}, .95)
	}
	if e := s.evidence(at, KnownPace{Attempts: 400, Limited: 14, Episodes: 1}, .95); e != (PaceEvidence{}) {
		t.Errorf("days later: %+v", e)
	}
}

// A share that was lowered comes back once a day has passed without refusals, step by step: also where nothing lacks room, up to the operator's own.
func TestLimits_LoweredShareComesBack(t *testing.T) {
	t.Parallel()
	check := func(what string, held uint64, end float64) {
		t.Helper()
		s := newLimitsStand()
		l := s.loop()
		now, last, lowered, first := noon, .97, time.Time{}, time.Time{}
		l.Step(now)
		for i := range 4 * 24 * 60 {
			now = now.Add(time.Minute)
			s.paced.Attempts += 1200
			s.paced.Held += held
			if i >= 5 && i < 10 { // for five minutes
				s.paced.Limited, s.paced.Episodes = s.paced.Limited+12, s.paced.Episodes+4
			}
			l.Step(now)
			share := s.in.Targets["a"].Pace
			switch d := share - last; {
			case d < 0:
				lowered = now
			case d > .005+1e-9:
				t.Errorf("%s: from %v to %v at once", what, last, share)
			case d > 0 && now.Sub(lowered) > limitRue && first.IsZero():
				first = now
			case d > 0 && first.IsZero() && (held == 0 || share >= last+.02):
				t.Errorf("%s: to %v %v after it was lowered", what, share, now.Sub(lowered))
			}
			last = share
		}
		if lowered.IsZero() || first.IsZero() || last != end {
			t.Errorf("%s: lowered at %v, higher from %v, in the end %v", what, lowered, first, last)
		}
	}
	check("work waits", 60, .995)
	check("nothing waits", 0, .97)
}
