package optimizer

import (
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

// attempts are the sums behind the evidence of the same name.
type attempts struct {
	sums    Attempts
	targets map[string]*waits // by the target that was chosen first
	bounds  attemptBounds     // that they are of
	since   time.Time         // these are in force; zero: nothing is known
	refused uint64            // at the last cycle
	faded   float64           // exchanges since the sums were halved
}

// attemptBounds are the parameters that bound attempts beside the first.
type attemptBounds struct{ retries, factor, hedges float64 }

func boundsOf(p *policy.Parameters) attemptBounds {
	return attemptBounds{p.RetryShare, p.FirstByteFactor, p.HedgeShare}
}

// attemptMemory is how many exchanges the sums are of before they are halved.
const attemptMemory = 1 << 15

func (a *attempts) observe(x *window.Exchange) {
	if a.faded++; a.faded > attemptMemory/2 && a.sums.Count >= attemptMemory {
		a.halve()
	}
	s := &a.sums
	s.Count++
	if x.Violation {
		s.Violations++
	}
	if x.CostNanoUSD > 0 && !x.Unpriced {
		s.Cost, s.Lost = s.Cost+float64(x.CostNanoUSD)/1e9, s.Lost+float64(max(x.LostNanoUSD, 0))/1e9
	}
	own := int(x.Attempts) - 1 // repetitions
	if x.Hedged {
		s.Hedged++
		own--
	}
	rescued := x.Rescued && !x.HedgeWon && !x.Failed
	if own > 0 || rescued {
		s.Repeated++
	}
	if rescued {
		s.Rescued++
	}
	a.wait(x)
}

// wait takes in how long an exchange has waited. One that has failed says nothing of that, unless its attempt was given up.
func (a *attempts) wait(x *window.Exchange) {
	if a.targets == nil {
		a.targets = map[string]*waits{}
	}
	w := a.targets[x.Target]
	if w == nil {
		w = &waits{}
		a.targets[x.Target] = w
	}
	switch bin := waitBin(x.Wait); {
	case x.Late:
		w.gaveUp++
		if x.Violation {
			w.broken++
		}
	case x.Wait <= 0 || x.Failed:
	case x.Violation: // also where a hedge has won: without it, content would have come later still
		w.late[bin]++
	case x.HedgeWon:
		w.won[bin]++
	default:
		w.kept[bin]++
	}
}

func (a *attempts) halve() {
	a.faded = 0
	s := &a.sums
	for _, v := range []*float64{&s.Count, &s.Violations, &s.Cost, &s.Repeated, &s.Rescued, &s.Refused, &s.Hedged, &s.Lost} {
		*v /= 2
	}
	for _, w := range a.targets {
		w.halve()
	}
}

// evidence is what is known now. What was seen under other parameters is dropped. scratch is memory to work in.
func (a *attempts) evidence(now time.Time, k *Known, scratch *[]tally) Attempts {
	switch b := boundsOf(&k.InForce); {
	case a.since.IsZero():
		a.bounds, a.since, a.refused = b, now, k.Refused
	case b != a.bounds:
		*a = attempts{bounds: b, since: now, refused: k.Refused}
	}
	if k.Refused > a.refused { // it counts from 0 again after a restart
		a.sums.Refused += float64(k.Refused - a.refused)
	}
	a.refused = k.Refused
	e := a.sums
	e.Age = now.Sub(a.since)
	var all tally
	tallies := append((*scratch)[:0], make([]tally, len(k.Targets))...)
	*scratch = tallies
	for i := range k.Targets {
		if w := a.targets[k.Targets[i].Name]; w != nil {
			tallies[i].add(w)
			all.add(w)
			saved, doubt := w.saved()
			e.Saved, e.Doubt = e.Saved+saved, e.Doubt+doubt // the doubts have a common cause, if any
			e.Late, e.LateKept = e.Late+float64(w.gaveUp), e.LateKept+float64(w.gaveUp-w.broken)
		}
	}
	if k.Objective.TTFT <= 0 || e.Count == 0 {
		return e
	}
	for _, factor := range deadlineFactors {
		if f := a.bounds.factor; f <= 0 || factor < f { // what a later bound would have seen is not known
			e.Deadlines = append(e.Deadlines, Deadline{Factor: factor})
		}
	}
	for i := range k.Targets {
		if w := a.targets[k.Targets[i].Name]; w != nil {
			w.expect(&e, &tallies[i], &all, k.Objective.TTFT)
		}
	}
	return e
}

// deadlineFactors are those of the bounds that are tried on what was seen.
var deadlineFactors = [...]float64{1.5, 2, 2.5, 3, 4, 5, 6, 8, 10}

// leastDeadline mirrors the picker's.
const leastDeadline = time.Second

// expect adds what second attempts of this target's exchanges would have come to, if they wait as long as all exchanges of the route.
func (w *waits) expect(e *Attempts, own, all *tally, objective time.Duration) {
	if after := own.quantile(.97); after > 0 {
		e.Hedgeable += (own[waitBin(after)+1].late + float64(w.broken)) * (1 - all.beyond(objective-after))
	}
	p99 := own.quantile(.99)
	if p99 == 0 {
		return
	}
	for i := range e.Deadlines {
		d := &e.Deadlines[i]
		after := max(time.Duration(d.Factor*float64(p99)), leastDeadline)
		cut := own[waitBin(after)+1]
		given := cut.all + float64(w.gaveUp)
		d.Late += given
		d.Violations += given*all.beyond(objective-after) - cut.late - float64(w.broken)
		d.Most = max(d.Most, (cut.all-cut.late)/own[0].all)
	}
}
