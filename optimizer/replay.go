package optimizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// registered are the tuners there are, by name: what a decision was made with can be read again.
var registered = map[string]func(settings []byte) (Tuner, error){
	Routing{}.Name():  read[Routing],
	Timeouts{}.Name(): read[Timeouts],
	Budget{}.Name():   read[Budget],
	Caching{}.Name():  read[Caching],
	Limits{}.Name():   read[Limits],
}

func read[T Tuner](settings []byte) (Tuner, error) {
	var t T
	err := json.Unmarshal(settings, &t)
	return t, err
}

// ErrNoReplay says that a decision can't be computed again: it is no tuner's, or without evidence.
var ErrNoReplay = errors.New("no tuner's decision with its evidence")

// Replay computes a decision again from its evidence. differs says where the result is another one; empty: it is the same.
func Replay(d *Decision) (differs string, err error) {
	if d.Evidence == nil || d.Settings == nil {
		return "", ErrNoReplay
	}
	again, known := registered[d.Tuner]
	if !known {
		return "", fmt.Errorf("%w: tuner %q", ErrNoReplay, d.Tuner)
	}
	t, err := again(d.Settings)
	if err != nil {
		return "", fmt.Errorf("settings of tuner %s: %w", d.Tuner, err)
	}
	p, failed := propose(t, d.Evidence)
	p = p.without(d.Pinned)
	switch {
	case failed != "":
		return failed, nil
	case p.Reason != d.Reason:
		return fmt.Sprintf("reason %q in place of %q", p.Reason, d.Reason), nil
	case len(p.Changes) != len(d.Changes):
		return fmt.Sprintf("%d changes in place of %d", len(p.Changes), len(d.Changes)), nil
	case !near(p.Expected.Cost, d.Expected.Cost) || !near(p.Expected.Violations, d.Expected.Violations):
		return fmt.Sprintf("expects %+v in place of %+v", p.Expected, d.Expected), nil
	}
	for i, c := range p.Changes {
		if c.Name != d.Changes[i].Name || !near(c.From, d.Changes[i].From) || !near(c.To, d.Changes[i].To) {
			return fmt.Sprintf("change %+v in place of %+v", c, d.Changes[i]), nil
		}
	}
	if d.Guard == nil || d.Bounds == nil {
		return "", nil
	}
	g := guard{*d.Bounds, *d.Guard.clone()}
	why := g.check(d.At, &d.Evidence.InForce, &d.Evidence.Static, &p)
	if refused := d.Verdict == Refused; refused && why != d.Why || !refused && why != "" {
		return fmt.Sprintf("the guard says %q in place of %q", why, d.Why), nil
	}
	return "", nil
}

// near allows for processors that round otherwise.
func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(1, math.Abs(a), math.Abs(b)) }
