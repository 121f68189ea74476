package optimizer

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

// session is whose turn it is; known is false where exchanges are single ones.
func (s *stand) session(draw *rand.Rand) (hash uint64, known bool) {
	const atOnce = 400
	hash = draw.Uint64()
	if s.turns == 0 {
		return hash, false
	}
	if len(s.talking) > 0 && draw.IntN(s.turns) > 0 {
		return s.talking[draw.IntN(len(s.talking))], true
	}
	if s.talking = append(s.talking, hash); len(s.talking) > atOnce {
		s.talking = s.talking[1:]
	}
	return hash, true
}

const testSalt = 7

func trialOf(objective float64) *trial {
	t := &trial{Trials: DefaultTrials, salt: testSalt, share: .01, sessions: newTrialSessions(), stageAt: noon}
	t.decision.Expires = noon.Add(t.Longest)
	if objective > 0 {
		t.over = newSessionBet(objective)
	}
	return t
}

func (t *trial) take(at time.Time, arm policy.Arm, session uint64, failed bool) {
	t.observe(&window.Exchange{At: at, Arm: uint8(arm), Trial: testSalt, Session: session, Failed: failed, Violation: failed, Input: 100, Output: 10, CostNanoUSD: 1000})
}

// One session that repeats what fails a thousand times is one session: it ends no trial, and one that fails never is no proof that a change is good.
func TestTrial_ChattySessionIsOne(t *testing.T) {
	t.Parallel()
	x := trialOf(.02)
	at := noon
	for i := range uint64(200) {
		x.take(at, policy.Control, 1000+i, false)
		x.take(at, policy.Trial, 2000+i, false)
	}
	for range 1000 {
		at = at.Add(time.Second)
		x.take(at, policy.Trial, 1, true)
	}
	x.settle(at)
	if why := x.harmful(at); why != "" {
		t.Errorf("given up for one session: %s", why)
	}
	x = trialOf(.02)
	x.stageAt = noon.Add(-time.Hour)
	for i := range 1000 {
		x.take(at, policy.Control, 1, false)
		x.take(at, policy.Trial, 2, false)
		x.take(at, policy.Control, uint64(10+i%5), false)
		x.take(at, policy.Trial, uint64(20+i%5), false)
	}
	if x.passed(at, .02) {
		t.Errorf("passed by a few sessions: %v", x.report())
	}
	if _, _, ok := x.ratio(); ok {
		t.Error("a few sessions tell what it costs")
	}
	for i := range uint64(600) {
		x.take(at, policy.Control, 100+i, false)
		x.take(at, policy.Trial, 1000+i, false)
	}
	if !x.passed(at, .02) {
		t.Errorf("not passed by many: %v", x.report())
	}
	if _, _, ok := x.ratio(); !ok {
		t.Error("many sessions do not tell what it costs")
	}
}

// Sessions that fail as a whole, as often in both arms, hardly ever end a trial; one that harms only what comes later in a conversation is ended all the same.
func TestTrial_SessionsAreAlike(t *testing.T) {
	t.Parallel()
	run := func(seed uint64, turns int, trouble [2]float64, from int) (at time.Duration, why string) {
		x := trialOf(0)
		draw := rand.New(rand.NewPCG(seed, 8))
		for second := range 2 * 3600 { // a session in each arm every four seconds
			now := noon.Add(time.Duration(second) * time.Second)
			if second%4 == 0 {
				for arm, of := range []policy.Arm{policy.Control, policy.Trial} {
					session, bad := draw.Uint64(), draw.Float64() < trouble[arm]
					for turn := range turns {
						x.take(now, of, session, bad && turn >= from)
					}
				}
			}
			if second%10 == 0 {
				x.settle(now)
				if why := x.harmful(now); why != "" {
					return now.Sub(noon), why
				}
			}
		}
		return 0, ""
	}
	const seeds = 100
	ended := 0
	for seed := range uint64(seeds) {
		if _, why := run(seed, 20, [2]float64{.01, .01}, 0); why != "" {
			ended++
		}
	}
	t.Logf("%d of %d trials of harmless changes ended", ended, seeds)
	if ended > seeds*4/100 {
		t.Errorf("%d of %d trials of harmless changes ended", ended, seeds)
	}
	late := 0
	for seed := range uint64(10) {
		if took, _ := run(seed, 20, [2]float64{.01, .2}, 5); took == 0 || took > 20*time.Minute {
			late++
		}
	}
	if late > 0 {
		t.Errorf("%d of 10 changes that harm later exchanges are not ended within 20 minutes", late)
	}
}

// A session counts once however many there are, and memory is bounded; both arms are sampled alike.
func TestTrial_SessionsAreBounded(t *testing.T) {
	t.Parallel()
	x := trialOf(0)
	const n = 4 * mostSessions
	for i := range uint64(n) {
		at := noon.Add(time.Duration(i) * 10 * time.Millisecond)
		x.take(at, policy.Control, 2*i+1, false)
		x.take(at, policy.Trial, 2*i+2, false)
		if i%4 == 3 {
			x.take(at, policy.Trial, 2*(i/2)+2, true) // again
		}
		if len(x.sessions.known) > mostSessions || len(x.sessions.under) > 2*n {
			t.Fatalf("%d sessions are known", len(x.sessions.known))
		}
	}
	x.settle(noon.Add(time.Hour))
	if len(x.sessions.under) != 0 {
		t.Errorf("%d sessions are under way for ever", len(x.sessions.under))
	}
	control, tried := x.arms[0].sessions, x.arms[1].sessions
	if control < mostSessions/2 || math.Abs(control-tried) > .05*control {
		t.Errorf("%v and %v sessions count", control, tried)
	}
	met := map[uint64]int{}
	for hash := range x.sessions.known {
		met[hash]++
		if hash > x.sessions.sample {
			t.Fatal("one outside of the sample is known")
		}
	}
	_, _, _, told := x.fails.whole.Rates()
	if told > tried {
		t.Errorf("%v sessions were told of, %v there are", told, tried)
	}
}

// A change that adds failures is rolled back as fast as sessions allow, where an exchange is one of several of a session.
func TestTrial_BadChangeInSessions(t *testing.T) {
	t.Parallel()
	var took []time.Duration
	for seed := range uint64(10) {
		d, harmed, _, _, _ := badChange(t, seed, 300, 4)
		took = append(took, d)
		if harmed > .005 {
			t.Errorf("seed %d: %.2f %% of the exchanges were harmed", seed, 100*harmed)
		}
	}
	slices.Sort(took)
	t.Log(took)
	if took[8] > 4*time.Minute {
		t.Errorf("rolled back after %v", took)
	}
}

func TestTrialReport_TellsSessions(t *testing.T) {
	t.Parallel()
	r := TrialReport{Share: .05, Exchanges: [2]float64{410, 398}, Sessions: [2]float64{80, 78}}
	if s := r.String(); !strings.Contains(s, "398 exchanges against 410, of 78 sessions against 80: ") {
		t.Error(s)
	}
	r.Sessions = r.Exchanges
	if s := r.String(); strings.Contains(s, "of 398") {
		t.Error(s)
	}
}
