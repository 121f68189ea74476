package optimizer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

// What obeyed a decision while it was on trial is no part of what was before it, nor of what came of the one before.
func TestEffect_LeavesTrialsOut(t *testing.T) {
	t.Parallel()
	p := NewProof()
	session := uint64(0)
	play := func(from time.Duration, cost map[policy.Arm]int64) {
		for i := range 4000 {
			session++
			arm := []policy.Arm{policy.Treated, policy.Holdback, policy.Trial, policy.Trial}[i%4]
			if cost[arm] == 0 {
				continue
			}
			c := cost[arm] + int64(scatter(session)%1000)
			p.Observe(&window.Exchange{At: noon.Add(from + time.Duration(i)*100*time.Millisecond), Route: "chat", Session: session, Arm: uint8(arm), CostNanoUSD: c})
		}
	}
	p.Mark("chat", "d1", noon)
	play(0, map[policy.Arm]int64{policy.Treated: 10e6, policy.Holdback: 10e6, policy.Trial: 6e6}) // d2 is on trial
	p.Mark("chat", "d2", noon.Add(10*time.Minute))
	play(10*time.Minute, map[policy.Arm]int64{policy.Treated: 6e6, policy.Holdback: 10e6, policy.Trial: 1e6}) // d3 is
	m := p.Effect("chat", "d2")
	if !m.Cost.Known || m.Cost.Value > -3.9e-3 || m.Cost.Value < -4.1e-3 {
		t.Errorf("%+v: want it to save $.004", m.Cost)
	}
	if m := p.Effect("chat", "d1"); !m.Cost.Known || m.Cost.Excludes(0) {
		t.Errorf("%+v: want it to save nothing", m.Cost)
	}
	before := p.Savings(noon, time.Time{}).Routes[0]
	if before.Optimized.Exchanges != 6000 || before.Holdback.Exchanges != 2000 {
		t.Errorf("%+v: trials are saved by too", before)
	}
	b, _ := p.MarshalBinary()
	again := NewProof()
	if err := again.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	if got := again.Effect("chat", "d2"); got != m && got.Cost != p.Effect("chat", "d2").Cost {
		t.Errorf("stored and read: %+v", got)
	}
}

// What was stored before trials were apart is still read.
func TestProof_ReadsTheFormatBefore(t *testing.T) {
	t.Parallel()
	e := encoder{b: []byte{proofFormerly}}
	e.count(1)
	e.text("chat")
	e.whole(3)
	e.count(0)
	e.count(1)
	s := &span{from: noon, to: noon.Add(time.Minute), decision: "d1"}
	s.add(&window.Exchange{At: noon, CostNanoUSD: 5e9}, 4)
	e.time(s.from)
	e.time(s.to)
	e.text(s.decision)
	e.flag(false)
	e.classes(&s.sums[treated])
	e.classes(&s.sums[holdback])
	e.harm(&harmWatch{})
	p := NewProof()
	if err := p.UnmarshalBinary(e.b); err != nil {
		t.Fatal(err)
	}
	r := p.routes["chat"]
	if r.single != 3 || len(r.spans) != 1 || r.spans[0].decision != "d1" || r.spans[0].total(treated).cost != 5 || r.spans[0].tried != nil {
		t.Errorf("%+v", r)
	}
}

// Hundreds of routes have their proof; beyond that it is said that there is none.
func TestProof_ManyRoutes(t *testing.T) {
	t.Parallel()
	p := NewProof()
	for i := range proofRoutes + 3 {
		name := fmt.Sprintf("r%d", i)
		p.Mark(name, "d1", noon)
		p.Observe(&window.Exchange{At: noon, Route: name, Session: 1})
		p.Reset(name, noon, "edited")
	}
	s := p.Savings(noon, time.Time{})
	if len(s.Routes) != proofRoutes || s.Unproven != 3 || !strings.Contains(s.Text(), "3 routes have no proof") {
		t.Errorf("%d routes, %d without a proof", len(s.Routes), s.Unproven)
	}
	for i := range 100 {
		p.Mark("r1", fmt.Sprint(i), noon.Add(time.Duration(i)*time.Hour))
		p.Observe(&window.Exchange{At: noon.Add(time.Duration(i) * time.Hour), Route: "r1", Session: 1})
	}
	if n := len(p.routes["r1"].spans); n != leastSpans {
		t.Errorf("%d stretches of time of one route of many", n)
	}
	p.Forget("r0")
	p.Observe(&window.Exchange{At: noon, Route: fmt.Sprintf("r%d", proofRoutes), Session: 1})
	if p.Unproven() != 2 {
		t.Errorf("%d without a proof after one has gone", p.Unproven())
	}
}

// crowd is a plant of which routes come and go.
type crowd struct {
	*stand
	names []string
}

func (c *crowd) Known(now time.Time) (all []Known) {
	for _, name := range c.names {
		k := c.stand.Known(now)[0]
		k.Name, k.Holdback = name, .02
		all = append(all, k)
	}
	return all
}

func (*crowd) Publish(map[string]policy.Route) error { return nil }

// Nothing is kept of a route that is no more, but what it has saved; one that is missed for a moment stays.
func TestLoop_DropsRemovedRoutes(t *testing.T) {
	t.Parallel()
	c := &crowd{newStand(), []string{"r", "s"}}
	c.propose = func(*RouteEvidence) Proposal { return Proposal{Reason: "nothing"} }
	l := New(c, Settings{Bounds: DefaultBounds, Trials: DefaultTrials, Holdback: .02, Modes: map[string]Mode{"stand": Auto}}, c)
	l.Step(noon)
	for _, o := range []Order{{Action: Freeze, Route: "s"}, {Action: SetMode, Route: "s", Tuner: "stand", Mode: Auto}, {Action: Pin, Route: "s", Parameter: "weights/a/light", Value: .5}} {
		o.By = "ann"
		if _, err := l.Order(noon, o); err != nil {
			t.Fatal(err)
		}
	}
	for i := range uint64(4000) {
		arm := policy.Treated
		if i%2 == 0 {
			arm = policy.Holdback
		}
		l.Observe(&window.Exchange{At: noon, Route: "s", Target: "a", Arm: uint8(arm), Session: i + 1, CostNanoUSD: int64(1e6 * (1 + 9*(1-i%2)))})
	}
	before := l.Proof.Savings(noon, time.Time{}).Saved
	if !before.Known || before.Value < 1 {
		t.Fatalf("%+v", before)
	}
	c.names = []string{"r"}
	l.Step(noon.Add(time.Minute))
	if l.routes["s"] == nil {
		t.Error("dropped at once")
	}
	c.names = []string{"r", "s"}
	l.Step(noon.Add(2 * time.Minute))
	c.names = []string{"r"}
	for i := range 12 {
		l.Step(noon.Add(time.Duration(3+i) * time.Minute))
		l.Observe(&window.Exchange{At: noon, Route: "s", Target: "a", Unpriced: true})
	}
	l.Step(noon.Add(16 * time.Minute))
	frozen, pins, modes, _ := l.Standing(noon)
	if l.routes["s"] != nil || l.Collector.routes["s"] != nil || l.Proof.routes["s"] != nil || len(frozen)+len(pins)+len(modes) > 0 {
		t.Errorf("kept: %v, %v, %v, %v, %v, %v", l.routes["s"], l.Collector.routes["s"], l.Proof.routes["s"], frozen, pins, modes)
	}
	s := l.Proof.Savings(noon, time.Time{})
	if s.Saved != before || s.Gone == nil || !strings.Contains(s.Text(), "routes that are no more: saved $") {
		t.Errorf("%+v, was %+v\n%s", s.Saved, before, s.Text())
	}
	b, err := l.Proof.MarshalBinary()
	again := NewProof()
	if err != nil || again.UnmarshalBinary(b) != nil || again.Savings(noon, time.Time{}).Saved != before {
		t.Errorf("stored and read: %v", err)
	}
}
