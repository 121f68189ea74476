package optimizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/policy"
)

// limitsStand is a plant whose route is under limits.
type limitsStand struct {
	*stand
	paced KnownPace // of target a
}

func newLimitsStand() *limitsStand {
	s := &limitsStand{stand: newStand()}
	s.in.Limits = policy.Limits{Output: 1, Wait: 2, PaceWait: 2}
	s.in.Targets["a"] = policy.Target{Weights: [classes]float64{1, 1, 1}, Pace: .97}
	s.static = s.in
	return s
}

func (s *limitsStand) Known(now time.Time) []Known {
	known := s.stand.Known(now)
	known[0].Targets[0].Paced = s.paced
	return known
}

func (s *limitsStand) loop() *Loop {
	return New(s, Settings{Bounds: DefaultBounds, Trials: DefaultTrials, Holdback: .02, Modes: map[string]Mode{"limits": Auto}}, DefaultLimits)
}

// Loop, guard, orders and journal take the tuner as any other.
func TestLimits_GoThroughTheLoop(t *testing.T) {
	t.Parallel()
	s := newLimitsStand()
	l := s.loop()
	l.Step(noon)
	s.paced = KnownPace{Attempts: 1000, Limited: 10, Held: 200, Episodes: 10}
	d := l.Step(noon.Add(10 * time.Second))
	if len(d) != 1 || d[0].Verdict != Applied || s.in.Targets["a"].Pace != .95 || s.static.Targets["a"].Pace != .97 {
		t.Fatalf("%v; %v", d, s.in.Targets)
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
	again.Evidence.Targets[0].Pace.Limited, again.Evidence.Targets[0].Pace.Episodes = 1, 1
	if differs, err := Replay(&again); differs == "" || err != nil {
		t.Errorf("other evidence: %q, %v", differs, err)
	}
	now := noon.Add(time.Hour)
	for _, o := range []Order{
		{Action: Pin, Parameter: "limit_wait", Value: 700}, {Action: Pin, Parameter: "limit_wait"}, {Action: Pin, Parameter: "limit_output"}, {Action: Pin, Parameter: "pace/a", Value: 1.1},
		{Action: Pin, Parameter: "pace/b", Value: .9},
	} {
		o.Route = "r"
		if _, err := l.Order(now, o); !errors.Is(err, ErrOrder) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	order(t, l, now, Order{Action: Pin, Route: "r", Parameter: "limit_wait", Value: 5})
	order(t, l, now, Order{Action: Undo, Route: "r", Decision: d[0].ID})
	if s.in.Limits.Wait != 5 || s.in.Targets["a"].Pace != .97 {
		t.Errorf("%+v", s.in)
	}
	order(t, l, now, Order{Action: Reset, Route: "r"})
	if s.in.Limits != s.static.Limits {
		t.Errorf("reset: %+v", s.in.Limits)
	}
	if _, err := l.Order(now, Order{Action: SetMode, Route: "r", Tuner: "limits", Mode: Canary}); err == nil || !strings.Contains(err.Error(), "all arms share what limits hold") {
		t.Errorf("canary: %v", err)
	}
}

// What exchanges say of limits adds up: those that obey the policy in force, until the parameter that they are of is another.
func TestCollector_Limits(t *testing.T) {
	t.Parallel()
	s := newLimitsStand()
	l := s.loop()
	l.Step(noon)
	known := s.Known(noon)[0]
	see := func(n int, x window.Exchange) {
		x.At, x.Route, x.Attempts = noon, "r", 1
		if x.Limited.Refused != window.ByGateway {
			x.Target = "a"
		}
		for range n {
			l.Observe(&x)
		}
	}
	see(10, window.Exchange{Output: 100, Limited: window.Limited{Reserved: 100}})
	see(4, window.Exchange{Output: 300, Limited: window.Limited{Reserved: 100, Met: window.MetTokens, Queued: time.Second}})
	see(3, window.Exchange{Output: 50, Limited: window.Limited{Met: window.MetSpend, Queued: 1500 * time.Millisecond}})
	see(5, window.Exchange{Failed: true, Limited: window.Limited{Met: window.MetOutput, Queued: 1900 * time.Millisecond, Refused: window.ByGateway}})
	see(6, window.Exchange{Failed: true, Limited: window.Limited{Met: 1, Short: 2500 * time.Millisecond, Refused: window.ByTarget}})
	see(7, window.Exchange{Failed: true, Limited: window.Limited{Met: 1, Short: 4 * time.Second, Refused: window.ByGateway}})
	see(8, window.Exchange{Failed: true, Limited: window.Limited{Lacked: 1, Paced: 2 * time.Second, Short: 2500 * time.Millisecond, Refused: window.ByProvider}})
	see(9, window.Exchange{Arm: uint8(policy.Holdback), Output: 100, Limited: window.Limited{Reserved: 1, Met: 1, Queued: time.Second}})
	e := l.Evidence(noon, &known)
	want := LimitEvidence{
		Output: Reserved{Answers: 14, Longer: 4, Tokens: 1400, Used: 2200, Exchanges: 43, ByOutput: 5, ByTokens: 4, ByDollars: 3},
		Own:    Waited{Exchanges: 43, Granted: 7, Late: 3, Refused: 18, Vain: 5, Near: 6}, Paced: Waited{Exchanges: 43, Refused: 8, Vain: 8},
	}
	if e.Limits == nil || *e.Limits != want {
		t.Errorf("\n got %+v\nwant %+v", e.Limits, want)
	}
	if p := l.Proof; p != nil && l.routes["r"].held { // refused before anything was chosen, they are no exchanges of a target
		if n := e.Classes[0].Rate * rateTau.Seconds(); math.Abs(n-(43-12+9)) > 1e-6 {
			t.Errorf("%v exchanges", n)
		}
	}

	known.InForce.Limits.Wait = 1.33 // a more careful one
	e = l.Evidence(noon.Add(time.Minute), &known)
	if got := e.Limits.Own; got != (Waited{TooLong: 2}) || e.Limits.Output != want.Output {
		t.Errorf("another wait: %+v", e.Limits)
	}
	if e = l.Evidence(noon.Add(25*time.Hour), &known); e.Limits.Own.TooLong != 0 || e.Limits.Output.Answers != 7 {
		t.Errorf("a day later: %+v", e.Limits)
	}
	known.InForce.Limits = policy.Limits{}
	if e = l.Evidence(noon.Add(26*time.Hour), &known); e.Limits != nil {
		t.Errorf("without limits: %+v", e.Limits)
	}

	pace := func(at time.Duration, share float64, k KnownPace, want PaceEvidence) {
		t.Helper()
		known.Targets[0].Paced, known.InForce.Targets = k, map[string]policy.Target{"a": {Pace: share}}
		if got := l.Evidence(noon.Add(at), &known).Targets[0].Pace; got != want {
			t.Errorf("after %v: got %+v, want %+v", at, got, want)
		}
	}
	pace(27*time.Hour, .95, KnownPace{Attempts: 100, Limited: 5, Held: 7}, PaceEvidence{TooHigh: .97})
	pace(28*time.Hour, .95, KnownPace{Attempts: 200, Limited: 6, Held: 9}, PaceEvidence{Attempts: 100, Limited: 1, Episodes: 1, Burst: 1, Held: 2, TooHigh: .97})
	pace(29*time.Hour, .95, KnownPace{Attempts: 50, Limited: 1, Held: 1}, PaceEvidence{Attempts: 100, Limited: 1, Episodes: 1, Burst: 1, Held: 2, TooHigh: .97}) // it was set up anew
	pace(30*time.Hour, .96, KnownPace{Attempts: 90, Limited: 1, Held: 1}, PaceEvidence{Burst: 1, TooHigh: .97})
	pace(52*time.Hour, .96, KnownPace{Attempts: 100, Limited: 1, Held: 1}, PaceEvidence{Attempts: 10, Burst: 1})
}

// overstated is a provider that lets real of told requests a minute through, and tells of all of them.
type overstated struct {
	told, real int
	sent       int // in the window
	from       time.Time
}

func (o *overstated) ask(now time.Time) (through bool) {
	if begin := now.Truncate(time.Minute); begin.After(o.from) {
		o.from, o.sent = begin, 0
	}
	if o.sent >= o.real {
		return false
	}
	o.sent++
	return true
}

func (o *overstated) headers(now time.Time) *limit.Headers {
	h := &limit.Headers{}
	h.Add([]byte("x-ratelimit-limit-requests"), fmt.Append(nil, o.told), now)
	h.Add([]byte("x-ratelimit-remaining-requests"), fmt.Append(nil, o.told-o.sent), now)
	h.Add([]byte("x-ratelimit-reset-requests"), fmt.Append(nil, o.from.Add(time.Minute).Sub(now).Round(time.Millisecond)), now)
	return h
}

// A provider allows 5 % less than it tells: the share that is used comes down until there are no 429s any more, and stays there; of what it does allow nearly all is used.
func TestLimits_OverstatedLimit(t *testing.T) {
	t.Parallel()
	s := newLimitsStand()
	l := s.loop()
	p := &overstated{told: 600, real: 570}
	now := noon.Truncate(time.Minute)
	pacer, draw := limit.NewPacer(now), rand.New(rand.NewPCG(3, 4))
	var answered struct{ through, limited int }
	arrival, step, changes, waiting := now, now, 0, 0
	shares := []float64{}
	for end := now.Add(3 * time.Hour); now.Before(end); {
		if now = now.Add(20 * time.Millisecond); !now.Before(step) {
			step = now.Add(10 * time.Second)
			for _, d := range l.Step(now) {
				if d.Verdict == Applied {
					changes++
				}
			}
			shares = append(shares, s.in.Targets["a"].Pace)
			if now.Before(end.Add(-time.Hour)) {
				answered.through, answered.limited = 0, 0 // the last hour counts
			}
		}
		for ; arrival.Before(now); arrival = arrival.Add(time.Duration(draw.ExpFloat64() / 15 * float64(time.Second))) {
			waiting = min(waiting+1, 20)
		}
		for waiting > 0 {
			sent, wait := pacer.Take(now, limit.Need{Input: 100, Output: 100}, s.in.Targets["a"].Pace)
			if wait > 0 {
				s.paced.Held++
				break
			}
			waiting--
			if sent.Told() {
				s.paced.Attempts++
			}
			verdict := limit.Through
			if p.ask(now) {
				answered.through++
			} else {
				verdict = limit.Limited
				answered.limited++
			}
			first := pacer.Answered(now, sent, verdict, p.headers(now), 0, draw.Float64())
			if verdict == limit.Limited && sent.Told() {
				s.paced.Limited++
				if first == limit.Episode {
					s.paced.Episodes++
				}
			}
		}
	}
	used, refused := float64(answered.through)/(60*float64(p.real)), float64(answered.limited)/float64(answered.limited+answered.through)
	t.Logf("%d changes, share %.3f, %.1f %% of what is allowed is used, %.3f %% refused", changes, shares[len(shares)-1], 100*used, 100*refused)
	if used < .97 || refused > .0005 {
		t.Errorf("%.3f used, %.5f refused", used, refused)
	}
	turns, way := 0, -1.
	for i := 1; i < len(shares); i++ {
		if d := shares[i] - shares[i-1]; d*way < 0 {
			turns, way = turns+1, d
		}
	}
	if end := shares[len(shares)-1]; changes > 10 || turns > 3 || end < .9 || end > .93 {
		t.Errorf("%d changes, %d turns, in the end %v", changes, turns, end)
	}
}

// With the same answers and the same waits day for day there is one value for each parameter, and not two that take turns.
func TestLimits_DoNotOscillate(t *testing.T) {
	t.Parallel()
	s := newLimitsStand()
	l := s.loop()
	draw := rand.New(rand.NewPCG(5, 6))
	changed := map[string]int{}
	now := noon
	for end := now.Add(20 * time.Hour); now.Before(end); now = now.Add(10 * time.Second) {
		for range 5 {
			length := 1000 * math.Exp(draw.NormFloat64()) // a p90 of 3602, which is taken for three times as much
			reserved := s.in.Limits.Output * 3 * 3602
			x := window.Exchange{At: now, Route: "r", Target: "a", Attempts: 1, Output: int64(length), Limited: window.Limited{Reserved: int32(reserved)}}
			need := draw.ExpFloat64() // seconds until there is room
			if draw.IntN(5) == 0 {
				x.Limited.Met, x.Limited.Queued = window.MetTokens, time.Duration(need*float64(time.Second))
				switch longest := s.in.Limits.Wait; {
				case need > 2*longest:
					x.Limited = window.Limited{Met: window.MetTokens, Queued: time.Duration(longest * float64(time.Second)), Refused: window.ByGateway, Short: time.Second}
				case need > longest:
					x.Limited = window.Limited{Met: window.MetTokens, Refused: window.ByGateway, Short: time.Duration(need * float64(time.Second))}
				}
			}
			l.Observe(&x)
		}
		for _, d := range l.Step(now) {
			if d.Verdict == Applied {
				for _, c := range d.Changes {
					changed[c.Name]++
				}
			}
		}
	}
	t.Logf("%v, in the end %+v", changed, s.in.Limits)
	if f := s.in.Limits.Output * 3 * 3602; f < 2000 || f > 8000 {
		t.Errorf("reserved %v where 5 to 15 %% are longer than 3036 to 5181", f)
	}
	if w := s.in.Limits.Wait; w < 3 || w > 10 {
		t.Errorf("waits of %v s: a second more would serve most of those that are refused", w)
	}
	for name, n := range changed {
		if n > 5 {
			t.Errorf("%s was changed %d times", name, n)
		}
	}
}

// What was reserved before the lengths of a route's answers were learned says nothing of the reservations that are tuned.
func TestLimitSums_GuessesAreLeftOut(t *testing.T) {
	t.Parallel()
	var s limitSums
	for range 50 {
		s.observe(&window.Exchange{At: noon, Output: 300, Limited: window.Limited{Reserved: 100, Guessed: true}})
	}
	s.observe(&window.Exchange{At: noon.Add(50 * time.Second), Output: 500, Limited: window.Limited{Reserved: 100}})          // it was among the first, and is long
	s.observe(&window.Exchange{At: noon.Add(10 * time.Second), Class: 1, Output: 40, Limited: window.Limited{Reserved: 100}}) // of which lengths are never told
	s.observe(&window.Exchange{At: noon.Add(time.Minute), Output: 50, Limited: window.Limited{Reserved: 100}})
	if o := &s.all.Output; o.Exchanges != 53 || o.Answers != 2 || o.Longer != 0 {
		t.Errorf("%+v", o)
	}
}
