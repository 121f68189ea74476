package simulate

import (
	"container/heap"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/proxy/limit"
)

// gated is a gate in a world of its own, and what came of those that asked for room.
type gated struct {
	*gate
	passes []pass
	said   []string // name and when
}

func newGated(t *testing.T, limits string) *gated {
	t.Helper()
	s := parse(t, strings.NewReplacer("caller few times 2 load 2 limit 20/s", "caller few times 2 load 2 "+limits, "wait 1s", "wait 2s").Replace(limitsText))
	return &gated{gate: newGate(newWorld(s, 1, &Run{}))}
}

// ask asks for room at a time.
func (g *gated) ask(at time.Duration, name string, caller int) {
	g.w.at(at, func() {
		say := func(what string) {
			g.said = append(g.said, fmt.Sprintf("%s %s %.1f", name, what, g.w.now.Seconds()))
		}
		id := callerID(caller)
		g.enter(&waiting{Ticket: limit.Ticket{Caller: id, Cost: 1}, request: limit.Request{Caller: id, Part: limit.Exchange, Input: 1}}, func(p pass) {
			g.passes = append(g.passes, p)
			say("in")
		}, func() { say("out") })
	})
}

// leave gives the n-th pass back.
func (g *gated) leave(at time.Duration, n int, counts bool) {
	g.w.at(at, func() { g.passes[n].leave(g.w.time(), limit.Usage{}, counts) })
}

func (g *gated) run(t *testing.T, want ...string) {
	t.Helper()
	for len(g.w.queue) > 0 && g.w.now < time.Minute {
		e := heap.Pop(&g.w.queue).(timed) //nolint:forcetypeassert // nothing else is pushed
		g.w.now = e.at
		e.do()
	}
	if !slices.Equal(g.said, want) {
		t.Errorf("%q, want %q", g.said, want)
	}
}

const tenth = 100 * time.Millisecond

// The gate holds up, lets in and turns away as the proxy does.
func TestGate_AsTheProxy(t *testing.T) {
	t.Parallel()
	g := newGated(t, "concurrent 1") // one after the other, and nobody else's limit
	g.ask(0, "a", 0)
	g.ask(tenth, "b", 0)
	g.ask(2*tenth, "c", 0)
	g.ask(3*tenth, "other", 1)
	g.leave(5*tenth, 0, true)
	g.run(t, "a in 0.0", "other in 0.3", "b in 0.5", "c out 2.2")

	g = newGated(t, "limit 60/min") // what has come to nothing takes nothing
	for range 60 {
		g.ask(0, "a", 0)
	}
	g.ask(0, "b", 0)
	g.leave(5*tenth, 0, false)
	g.leave(6*tenth, 1, true)
	g.ask(7*tenth, "c", 0)
	want := slices.Repeat([]string{"a in 0.0"}, 60)
	g.run(t, append(want, "b in 0.5", "c in 1.0")...)

	g = newGated(t, "limit 1/min") // a minute is waited for by nobody
	g.ask(0, "a", 0)
	g.ask(tenth, "b", 0)
	g.run(t, "a in 0.0", "b out 0.1")
}
