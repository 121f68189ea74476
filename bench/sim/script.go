package sim

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
)

// Script is a list of steps, each of which says what the next so many calls get.
type Script struct{ steps []step }

type step struct {
	operation string // empty: any
	count     int64
	d         Directives
}

// ParseScript reads "3*fault=429,retry-after=1s; chat/1*fault=stall-head": steps parted by ';', each a number of calls
// and the directives they get, with an operation (as in [Stats].Calls) before a '/' if it is for that one alone.
// Every call uses up one count of the first step that fits it and is not used up yet.
func ParseScript(s string) (Script, error) {
	var script Script
	for item := range strings.SplitSeq(s, ";") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		head, directives, ok := strings.Cut(item, "*")
		if !ok {
			return Script{}, fmt.Errorf("script step %q: want [operation/]N*directives", item)
		}
		var st step
		if op, n, ok := strings.Cut(head, "/"); ok {
			st.operation, head = op, n
			if operationByName(op) == opNone {
				return Script{}, fmt.Errorf("script step %q: unknown operation %q", item, op)
			}
		}
		n, err := strconv.ParseUint(head, 10, 31)
		if err != nil {
			return Script{}, fmt.Errorf("script step %q: %w", item, err)
		}
		st.count = int64(n)
		if st.d, err = ParseDirectives(directives); err != nil {
			return Script{}, fmt.Errorf("script step %q: %w", item, err)
		}
		script.steps = append(script.steps, st)
	}
	return script, nil
}

// MustScript is ParseScript for constants: it panics on a mistake.
func MustScript(s string) Script {
	script, err := ParseScript(s)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return script
}

// player is a script on its way. Safe for concurrent use.
type player struct {
	steps []step
	used  []atomic.Int64 // calls that asked a step, at most a few more than its count
}

func newPlayer(s Script) *player {
	return &player{steps: s.steps, used: make([]atomic.Int64, len(s.steps))}
}

// next returns what the script says to a call of op; nil when it says nothing more.
func (p *player) next(op operation) *Directives {
	for i := range p.steps {
		st := &p.steps[i]
		if st.operation != "" && st.operation != op.String() || p.used[i].Load() >= st.count {
			continue
		}
		if p.used[i].Add(1) <= st.count {
			return &st.d
		}
	}
	return nil
}
