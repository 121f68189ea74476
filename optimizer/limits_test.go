package optimizer

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/proxy/policy"
)

// limitedRoute is under limits with which all is well; change may say otherwise.
func limitedRoute(change func(e *RouteEvidence)) *RouteEvidence {
	in := policy.Parameters{
		Limits:  policy.Limits{Output: 1, Wait: 2, PaceWait: 2},
		Targets: map[string]policy.Target{"a": {Weights: [classes]float64{1, 1, 1}, Pace: .97}, "b": {Weights: [classes]float64{1, 1, 1}, Pace: .97}},
	}
	calm := Waited{Exchanges: 1000, Granted: 200, Late: 20, Refused: 5}
	e := &RouteEvidence{
		Name: "chat", InForce: in, Static: in,
		Targets: []TargetEvidence{{Name: "a", Pace: PaceEvidence{Attempts: 1000}}, {Name: "b", Pace: PaceEvidence{Attempts: 1000}}},
		Limits:  &LimitEvidence{Output: Reserved{Answers: 1000, Longer: 100, Tokens: 3e5, Used: 1e5, Exchanges: 1000}, Own: calm, Paced: calm},
	}
	e.Static.Targets = map[string]policy.Target{"a": in.Targets["a"], "b": in.Targets["b"]}
	if change != nil {
		change(e)
	}
	return e
}

// setPace sets the share of a target that is in force.
func setPace(e *RouteEvidence, target string, share float64) {
	k := e.InForce.Targets[target]
	k.Pace = share
	e.InForce.Targets[target] = k
}

func TestLimits_EachRule(t *testing.T) {
	t.Parallel()
	check := func(what, name string, to float64, reason string, change func(e *RouteEvidence)) {
		t.Helper()
		p := DefaultLimits.Propose(limitedRoute(change))
		got, value := "", 0.
		if len(p.Changes) > 0 {
			got, value = p.Changes[0].Name, p.Changes[0].To
		}
		if got != name || math.Abs(value-to) > 1e-9 || !strings.Contains(p.Reason, reason) {
			t.Errorf("%s: %s becomes %v, want %s %v; %q, want %q", what, got, value, name, to, p.Reason, reason)
		}
		if name != "" && !p.Evidence.Fired() {
			t.Errorf("%s: evidence %+v", what, p.Evidence)
		}
	}
	const well = "limits are kept to as they should be, as far as is known"
	check("all is well", "", 0, well, nil)
	check("no limits", "", 0, "there are no limits to keep to", func(e *RouteEvidence) {
		e.Limits, e.InForce.Limits = nil, policy.Limits{}
		setPace(e, "a", 0)
		setPace(e, "b", 0)
	})

	longer := func(n float64) func(e *RouteEvidence) { return func(e *RouteEvidence) { e.Limits.Output.Longer = n } }
	check("answers are longer", "limit_output", 1.25, "reserve 1.25 times the output that answers are thought not to exceed, in place of 1: more of them are longer", longer(200))
	check("some are", "", 0, well, longer(160))
	check("as much as may be", "", 0, "answers are longer than what is reserved, which is as much as may be", func(e *RouteEvidence) {
		e.InForce.Limits.Output, e.Limits.Output.Longer = 4, 300
	})
	check("up to the bound", "limit_output", 4, "in place of 3.8", func(e *RouteEvidence) { e.InForce.Limits.Output, e.Limits.Output.Longer = 3.8, 300 })
	check("shorter, and nobody lacks room", "", 0, well, longer(10))
	lacking := func(e *RouteEvidence) { e.Limits.Output.Longer, e.Limits.Output.ByTokens = 10, 100 }
	check("shorter, and exchanges lack room", "limit_output", .8, "reserve 0.8 times the output that answers are thought not to exceed, in place of 1: 3 times of what comes is reserved, and that keeps others out at limits of tokens", lacking)
	check("at a limit of dollars", "limit_output", .8, "limits of dollars", func(e *RouteEvidence) { lacking(e); e.Limits.Output.ByDollars = 200 })
	check("few lack it", "", 0, well, func(e *RouteEvidence) { lacking(e); e.Limits.Output.ByTokens = 5 })
	check("too little before", "", 0, "0.8 times the output that is expected has proved to be too little to reserve", func(e *RouteEvidence) { lacking(e); e.Limits.Output.TooLow = .8 })
	check("as little as may be", "", 0, "as little output is reserved as may be", func(e *RouteEvidence) { lacking(e); e.InForce.Limits.Output = .25 })

	limited := func(n float64) func(e *RouteEvidence) {
		return func(e *RouteEvidence) { e.Targets[0].Pace.Limited = n }
	}
	check("429s though limits are kept to", "pace/a", .95, "use 95 % of the limits that a tells of in place of 97 %: requests are answered by 429 though what it tells is kept to", limited(10))
	check("two are chance", "", 0, well, limited(2))
	check("as little as may be", "", 0, "the provider of a refuses more than it tells, but as little of its limits is used as may be", func(e *RouteEvidence) {
		limited(10)(e)
		setPace(e, "a", .8)
	})
	check("the operator's own is a bound", "pace/a", .6, "use 60 %", func(e *RouteEvidence) {
		limited(10)(e)
		setPace(e, "a", .61)
		e.Static.Targets["a"] = policy.Target{Pace: .6}
	})
	held := func(e *RouteEvidence) { e.Targets[1].Pace = PaceEvidence{Attempts: 30_000, Limited: 0, Held: 900} }
	check("no 429s, and work waits", "pace/b", .975, "use 97.5 % of the limits that b tells of in place of 97 %: requests lack room there, and hardly any is answered by 429", held)
	check("and does not wait", "", 0, well, func(e *RouteEvidence) { held(e); e.Targets[1].Pace.Held = 100 })
	check("it has proved to be too much", "", 0, well, func(e *RouteEvidence) { held(e); e.Targets[1].Pace.TooHigh = .975 })
	check("as much as may be", "", 0, well, func(e *RouteEvidence) { held(e); setPace(e, "b", .995) })
	lowered := func(e *RouteEvidence) {
		e.Targets[0].Pace = PaceEvidence{Attempts: 30_000}
		setPace(e, "a", .95)
	}
	check("below the operator's own for a day", "pace/a", .955, "use 95.5 % of the limits that a tells of in place of 95 %: it is long ago that this was too much, and hardly any is", lowered)
	check("each for its own reason", "pace/a", .955, "use 95.5 % of the limits that a tells of in place of 95 %, 97.5 % of the limits that b tells of in place of 97 %: "+
		"requests lack room at b, it is long ago that this was too much at a, and hardly any is answered by 429", func(e *RouteEvidence) { lowered(e); held(e) })
	check("none for that of one that stays", "pace/b", .975, "97 %: requests lack room there, and", func(e *RouteEvidence) {
		lowered(e)
		held(e)
		e.Targets[0].Pace.Held, e.Targets[0].Pace.TooHigh = 900, .955
	})
	check("nor for that of one that may not have more", "pace/b", .975, "97 %: requests lack room there, and", func(e *RouteEvidence) {
		held(e)
		e.Targets[0].Pace = PaceEvidence{Attempts: 30_000}
		e.Static.Targets["a"] = policy.Target{Pace: .97004}
	})
	check("not yet sure", "", 0, well, func(e *RouteEvidence) { held(e); e.Targets[1].Pace.Attempts, e.Targets[1].Pace.Held = 2000, 100 })

	// Of those who wait for more than 1.33 s of 2 s, one part in 1 + .67/10 would have to get room; nearly none does.
	vain := func(late, vain float64) func(e *RouteEvidence) {
		return func(e *RouteEvidence) {
			e.Limits.Own = Waited{Exchanges: 1000, Granted: 300, Late: late, Refused: vain, Vain: vain}
		}
	}
	check("waits in vain", "limit_wait", 1.33, "have requests over a limit wait for up to 1.33s in place of 2s: most that wait for longer do so in vain", vain(2, 300))
	check("enough of them get room", "", 0, well, vain(60, 300))
	check("where the objective is a second, a wait is worth more", "limit_wait", 1.33, "in vain", func(e *RouteEvidence) { vain(60, 300)(e); e.Objective.TTFT = time.Second })
	check("the shortest", "", 0, well, func(e *RouteEvidence) { vain(0, 300)(e); e.InForce.Limits.Wait = .1 })
	near := func(e *RouteEvidence) { e.Limits.Paced = Waited{Exchanges: 1000, Granted: 100, Refused: 100, Near: 80} }
	check("nearly got room", "pace_wait", 3, "have requests over a provider's limit wait for up to 3s in place of 2s: most that are refused might get room by then", near)
	check("no longer than the objective", "pace_wait", 2.5, "2.5s", func(e *RouteEvidence) { near(e); e.Objective.TTFT = 2500 * time.Millisecond })
	check("the objective is less", "", 0, well, func(e *RouteEvidence) { near(e); e.Objective.TTFT = time.Second })
	check("room is used up anyway", "", 0, well, func(e *RouteEvidence) { near(e); e.Limits.Paced.Granted = 600 })
	check("most lack more", "", 0, well, func(e *RouteEvidence) { near(e); e.Limits.Paced.Near = 40 })
	check("it was too long", "", 0, "most that are refused over a provider's limit might get room within 3s, but most have waited for that long in vain", func(e *RouteEvidence) { near(e); e.Limits.Paced.TooLong = 3 })
	check("nobody may wait", "", 0, well, func(e *RouteEvidence) { near(e); e.InForce.Limits.PaceWait = 0 })

	for what, poison := range map[string]func(e *RouteEvidence){
		"NaN":                func(e *RouteEvidence) { e.Limits.Own.Vain = math.NaN() },
		"below 0":            func(e *RouteEvidence) { e.Limits.Output.Longer = -1 },
		"infinite":           func(e *RouteEvidence) { e.Limits.Paced.Exchanges = math.Inf(1) },
		"more than all":      func(e *RouteEvidence) { e.Limits.Output.Longer = 2000 },
		"429s":               func(e *RouteEvidence) { e.Targets[1].Pace.Limited = 2000 },
		"a share above 1":    func(e *RouteEvidence) { setPace(e, "a", 1.2) },
		"a wait of weeks":    func(e *RouteEvidence) { e.InForce.Limits.Wait = 1e7 },
		"an absurd setting":  func(e *RouteEvidence) { e.Static.Limits.Output = math.NaN() },
		"late without room":  func(e *RouteEvidence) { e.Limits.Own.Late = 300 },
		"a share that is no": func(e *RouteEvidence) { e.Targets[0].Pace.TooHigh = math.NaN() },
	} {
		check(what, "", 0, "damaged", func(e *RouteEvidence) { limited(10)(e); poison(e) })
	}
}

// What ends harm goes first, for all targets at once, and is urgent.
func TestLimits_HarmFirst(t *testing.T) {
	t.Parallel()
	p := DefaultLimits.Propose(limitedRoute(func(e *RouteEvidence) {
		e.Targets[0].Pace.Limited, e.Targets[1].Pace.Limited = 10, 20
		setPace(e, "b", .9)
		e.Limits.Output.Longer = 300
	}))
	if want := []Change{{"pace/a", .97, .95}, {"pace/b", .9, .88}}; !reflect.DeepEqual(p.Changes, want) || !p.Urgent {
		t.Errorf("%+v", p)
	}
	for _, c := range p.Changes {
		if !DefaultLimits.Owns(c.Name) || (Caching{}).Owns(c.Name) || (Routing{}).Owns(c.Name) {
			t.Errorf("owner of %s", c.Name)
		}
	}
}

// Whatever the evidence, what is proposed is one step within the bounds that can be obeyed, and stored evidence gives it again.
func FuzzLimits(f *testing.F) {
	f.Add(uint64(1), .97, 1., 2.)
	f.Add(uint64(2), math.NaN(), -1., math.Inf(1))
	for seed := range uint64(300) {
		f.Add(100+seed, .5+float64(seed%50)/100, .1*float64(seed%50), .05*float64(seed))
	}
	f.Fuzz(func(t *testing.T, seed uint64, share, output, wait float64) {
		draw := rand.New(rand.NewPCG(seed, 1))
		n := func() float64 { return math.Floor(math.Exp(draw.Float64() * 11)) }
		e := limitedRoute(func(e *RouteEvidence) {
			setPace(e, "a", share)
			e.InForce.Limits = policy.Limits{Output: output, Wait: wait, PaceWait: wait / 3}
			e.Objective.TTFT = time.Duration(draw.IntN(3)) * time.Second
			for i := range e.Targets {
				e.Targets[i].Pace = PaceEvidence{Attempts: n(), Held: n()}
				e.Targets[i].Pace.Limited = math.Floor(e.Targets[i].Pace.Attempts * draw.Float64() * draw.Float64() * .01)
			}
			o := &e.Limits.Output
			o.Answers, o.Exchanges = n(), n()
			o.Longer, o.ByTokens = math.Floor(o.Answers*draw.Float64()*.4), math.Floor(o.Exchanges*draw.Float64())
			for _, w := range []*Waited{&e.Limits.Own, &e.Limits.Paced} {
				w.Exchanges = n()
				w.Granted = math.Floor(w.Exchanges * draw.Float64())
				w.Refused = w.Exchanges - w.Granted
				w.Late, w.Vain = math.Floor(w.Granted*draw.Float64()*.3), math.Floor(w.Refused*draw.Float64())
				w.Near = w.Refused - w.Vain
			}
		})
		p := DefaultLimits.Propose(e)
		if p.Reason == "" {
			t.Error("no reason")
		}
		if why := impossible(&e.InForce, &e.Static, &p); why != "" {
			t.Errorf("%+v can't be obeyed: %s", p, why)
		}
		for _, c := range p.Changes {
			ratio := c.To / c.From
			switch {
			case c.To == c.From || !DefaultLimits.Owns(c.Name):
				t.Errorf("%+v", c)
			case strings.HasPrefix(c.Name, paceShare):
				if c.To < c.From-.02-1e-4 || c.To > c.From+.005+1e-4 || c.To < c.From && c.To < .8-1e-9 || c.To > c.From && c.To > .995+1e-9 {
					t.Errorf("%+v", c)
				}
			case c.Name == limitOutput:
				if ratio > 1.251 || ratio < .799 || c.To < c.From && c.To < .25 || c.To > c.From && c.To > 4 {
					t.Errorf("%+v", c)
				}
			case ratio > 1.5+.01/c.From || ratio < 1/1.5-.01/c.From || c.To > c.From && c.To > DefaultLimits.worth(e)+.005 || c.To < c.From && c.To < .1:
				t.Errorf("%+v", c)
			}
		}
		if stored, err := json.Marshal(e); err == nil {
			var again RouteEvidence
			if err := json.Unmarshal(stored, &again); err != nil {
				t.Fatal(err)
			}
			if q := DefaultLimits.Propose(&again); !reflect.DeepEqual(p, q) {
				t.Errorf("%+v\n%+v", p, q)
			}
		}
	})
}

// Every change is told as a sentence, and explained with what it follows from.
func TestLimits_SentencesAndReport(t *testing.T) {
	t.Parallel()
	check := func(verdict Verdict, want string, change func(e *RouteEvidence), report ...string) {
		t.Helper()
		e := limitedRoute(change)
		d := Decision{ID: "d7", At: noon, Route: "chat", Tuner: "limits", Verdict: verdict, Proposal: DefaultLimits.Propose(e), Evidence: e}
		if got := d.Sentence(); got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
		text := Report([]Decision{d}, time.UTC)
		for _, want := range report {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
	}
	check(Applied, "chat now uses 95 % of the limits that a tells of in place of 97 %: requests are answered by 429 though what it tells is kept to "+
		"(part of the attempts that is answered by 429 0.01 > 0.0005)", func(e *RouteEvidence) { e.Targets[0].Pace.Limited = 10 },
		"a       97 %  1000      10               1.00 %  0", "pace/a  0.97 → 0.95")
	check(Recommended, "chat should have requests over a limit wait for up to 1.33s in place of 2s: most that wait for longer do so in vain "+
		"(part of those who wait longer that does so in vain 0.993 > 0.937); expected cost 0.0 %, violations +0.20 %; approve d7", func(e *RouteEvidence) {
		e.Limits.Own = Waited{Exchanges: 1000, Granted: 300, Late: 2, Refused: 300, Vain: 300}
	}, "over a limit             2s         1000       300       2     300      300      0", "limit_wait  2s → 1.33s")
	check(Applied, "chat now reserves 0.8 times the output that answers are thought not to exceed, in place of 1: 3 times of what comes is reserved, and that keeps others out at limits of "+
		"output tokens (part of the answers that is longer 0.01 < 0.05)", func(e *RouteEvidence) { e.Limits.Output.Longer, e.Limits.Output.ByOutput = 10, 100 }, "1       1000     10      1.00 %  3 ")
	check(Held, "chat stays as it is: limits are kept to as they should be, as far as is known", nil)
}
