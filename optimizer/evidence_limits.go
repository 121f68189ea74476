package optimizer

import (
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

// LimitEvidence is what a cycle knows of a route's exchanges and the limits that they are under: of those that obey the policy in force, since the parameter that they say
// something of was last changed. Counts are of exchanges where nothing else is said, and fade.
type LimitEvidence struct {
	Output Reserved `json:"output"`
	Own    Waited   `json:"own"`   // for limits of the gateway
	Paced  Waited   `json:"paced"` // for those of providers
}

// Reserved is how output was reserved at limits, and whether that has kept others out.
type Reserved struct {
	Answers   float64 `json:"answers"` // whole ones for which it was
	Longer    float64 `json:"longer"`  // of them, that had more tokens
	Tokens    float64 `json:"tokens"`  // that were reserved
	Used      float64 `json:"used"`    // and that came
	Exchanges float64 `json:"exchanges"`
	ByOutput  float64 `json:"by_output"`         // of them, that had to wait, or were refused, at a limit of output tokens
	ByTokens  float64 `json:"by_tokens"`         // the same, of input and output together
	ByDollars float64 `json:"by_dollars"`        // the same, of dollars
	TooLow    float64 `json:"too_low,omitempty"` // the factor that was given up last for a higher one; 0: none of late
}

// Waited is how exchanges have waited for room.
type Waited struct {
	Exchanges float64 `json:"exchanges"`
	Granted   float64 `json:"granted"`  // have waited, and got room
	Late      float64 `json:"late"`     // of them, in the last third of the longest wait
	Refused   float64 `json:"refused"`  //
	Vain      float64 `json:"vain"`     // of them, after the longest wait
	Near      float64 `json:"near"`     // of them, at once, as there was to be room only in up to half as long again
	TooLong   float64 `json:"too_long"` // seconds: the wait that was given up last for a shorter one; 0: none of late
}

// PaceEvidence is how attempts at a target have fared with the limits that its provider tells of, where these were kept to. Counts are of attempts where nothing else is said, and fade.
type PaceEvidence struct {
	Attempts float64 `json:"attempts"`
	Limited  float64 `json:"limited"`            // of them, answered by 429
	Episodes float64 `json:"episodes,omitempty"` // that those came in: a window that is used up refuses many at once. 0 beside 429s: they were not told apart
	Burst    float64 `json:"burst,omitempty"`    // 429s in an episode, also before the share was changed last; 0: not known
	Held     float64 `json:"held"`               // that found no room at first
	TooHigh  float64 `json:"too_high,omitempty"` // the share that was given up last for a lower one; 0: none of late
}

// often is what a test of how often attempts are answered by 429 takes for hits and for outcomes. 429s of one episode are no independent signs, so an episode is one hit; and as many
// attempts are one outcome as an episode has 429s, so that the part of hits stays that of 429s. The likelihood ratio of so many hits is that of episodes of one size that begin at random,
// with which the tests of sure.go are martingales. Where episodes differ in size it is about that (the sizes seen take the place of the mean), and their number is what bounds what is sure.
func (p *PaceEvidence) often() (hits, outcomes float64) {
	if p.Episodes <= 0 {
		return p.Limited, p.Attempts
	}
	return p.Episodes, p.Attempts * p.Episodes / max(p.Limited, p.Episodes)
}

// seldom is the same for a test that they are answered so seldom: of episodes of which none has come yet it has to be believed that they are as large as those before.
func (p *PaceEvidence) seldom() (hits, outcomes float64) {
	hits, outcomes = p.often()
	return hits, min(outcomes, p.Attempts/max(p.Burst, 1))
}

// KnownPace are those of them that are counted, since the target was set up: they only grow.
type KnownPace struct{ Attempts, Limited, Held, Episodes uint64 }

const (
	limitMemory = 1 << 14       // exchanges or attempts, after which what is known is halved
	limitFade   = 6 * time.Hour // after which it is in any case
	limitRue    = 24 * time.Hour
	learnFor    = time.Minute // from when lengths of answers are learned from, until what is reserved by them is judged
	// waitStep is by how many times a longest wait is made longer or shorter: with a third less, those in its last third would have been refused.
	waitStep = 1.5
	timedOut = .9 // of the longest wait, from which on who is refused has waited in vain
)

// followed is a parameter that sums are of.
type followed struct {
	value float64
	faded time.Time // last
	rued  float64   // what it was before it was last made more careful
	since time.Time // then
}

// step notes the parameter's value. anew: what is known is of another one. halve: it is to fade. careful is 1 where higher values are more careful, else -1.
func (f *followed) step(now time.Time, value, count, careful float64) (anew, halve bool) {
	notAfter(now, &f.faded, &f.since)
	switch before := f.value; {
	case f.faded.IsZero():
		f.value, f.faded = value, now
		return true, false
	case value != before:
		if f.value = value; careful*(value-before) > 0 {
			f.rued, f.since = before, now
		}
		f.faded = now
		return true, false
	case count >= limitMemory || now.Sub(f.faded) >= limitFade:
		f.faded = now
		return false, true
	}
	return false, false
}

// regretted is the value that has proved to be too bold of late; 0: none.
func (f *followed) regretted(now time.Time) float64 {
	if now.Sub(f.since) < limitRue {
		return f.rued
	}
	return 0
}

// limitSums are the sums behind LimitEvidence.
type limitSums struct {
	all               LimitEvidence
	output, own, pace followed
	guessed           [classes]time.Time // when an answer last came for which it was
}

// obeys tells whether an exchange obeys the policy in force.
func obeys(x *window.Exchange) bool {
	return policy.Arm(x.Arm) == policy.Treated || policy.Arm(x.Arm) == policy.Control
}

func (s *limitSums) observe(x *window.Exchange) {
	if !obeys(x) {
		return
	}
	l, o := &x.Limited, &s.all.Output
	o.Exchanges++
	count(&o.ByOutput, (l.Met|l.Lacked)&window.MetOutput != 0)
	count(&o.ByTokens, (l.Met|l.Lacked)&window.MetTokens != 0)
	count(&o.ByDollars, (l.Met|l.Lacked)&window.MetSpend != 0)
	if l.Reserved > 0 && x.Output > 0 && s.learned(x) {
		o.Answers++
		o.Tokens, o.Used = o.Tokens+float64(l.Reserved), o.Used+float64(x.Output)
		count(&o.Longer, x.Output > int64(l.Reserved))
	}
	s.all.Own.observe(s.own.value, l.Queued, l.Met != 0, l.Refused == window.ByGateway || l.Refused == window.ByTarget, l.Short)
	s.all.Paced.observe(s.pace.value, l.Paced, l.Lacked != 0, l.Refused == window.ByProvider, l.Short)
}

// learned tells whether what was reserved for an answer was learned from those before it. Those that come first are the short ones, so that learnFor is left out besides.
func (s *limitSums) learned(x *window.Exchange) bool {
	guessed := &s.guessed[min(int(x.Class), classes-1)]
	if x.Limited.Guessed {
		*guessed = x.At
		return false
	}
	return guessed.IsZero() || x.At.Sub(*guessed).Abs() >= learnFor
}

func count(n *float64, is bool) {
	if is {
		*n++
	}
}

// observe takes in an exchange that has waited, where it met a limit, for at most so many seconds as there are in longest.
func (w *Waited) observe(longest float64, waited time.Duration, met, refused bool, short time.Duration) {
	w.Exchanges++
	if longest <= 0 || !met {
		return
	}
	s := waited.Seconds()
	switch {
	case refused:
		w.Refused++
		count(&w.Vain, s >= timedOut*longest)
		count(&w.Near, s < timedOut*longest && short.Seconds() > longest && short.Seconds() <= waitStep*longest)
	case s > 0:
		w.Granted++
		count(&w.Late, s > longest/waitStep)
	}
}

func (w *Waited) halve() {
	for _, v := range []*float64{&w.Exchanges, &w.Granted, &w.Late, &w.Refused, &w.Vain, &w.Near} {
		*v /= 2
	}
}

// evidence is what is known now; nil: there are no limits.
func (s *limitSums) evidence(now time.Time, p *policy.Parameters) *LimitEvidence {
	o := &s.all.Output
	switch anew, halve := s.output.step(now, p.Limits.Output, o.Exchanges, 1); {
	case anew:
		*o = Reserved{}
	case halve:
		for _, v := range []*float64{&o.Answers, &o.Longer, &o.Tokens, &o.Used, &o.Exchanges, &o.ByOutput, &o.ByTokens, &o.ByDollars} {
			*v /= 2
		}
	}
	for _, w := range []struct {
		f     *followed
		sums  *Waited
		value float64
	}{{&s.own, &s.all.Own, p.Limits.Wait}, {&s.pace, &s.all.Paced, p.Limits.PaceWait}} {
		switch anew, halve := w.f.step(now, w.value, w.sums.Exchanges, -1); {
		case anew:
			*w.sums = Waited{}
		case halve:
			w.sums.halve()
		}
		w.sums.TooLong = w.f.regretted(now)
	}
	if p.Limits == (policy.Limits{}) {
		return nil
	}
	e := s.all
	e.Output.TooLow = s.output.regretted(now)
	return &e
}

func (e *LimitEvidence) clone() *LimitEvidence {
	if e == nil {
		return nil
	}
	own := *e
	return &own
}

// paceSums are the sums behind PaceEvidence.
type paceSums struct {
	all     PaceEvidence
	last    KnownPace
	limited bool // there were 429s at the last look
	follow  followed
	bursts  struct { // with whatever share
		limited, episodes float64
		faded             time.Time
	}
}

// leastBursts is of how many episodes, as far as they have not faded, it must be known how large they were: what a few say is forgotten after two days without any.
const leastBursts = .01

// known is what the sums say.
func (s *paceSums) known() PaceEvidence {
	e := s.all
	if s.bursts.episodes >= leastBursts {
		e.Burst = s.bursts.limited / s.bursts.episodes
	}
	return e
}

// evidence is what is known now of a target.
func (s *paceSums) evidence(now time.Time, k KnownPace, share float64) PaceEvidence {
	a, b := &s.all, &s.bursts
	known := s.known()
	_, outcomes := known.seldom() // as many attempts are remembered as are needed for so many
	anew, halve := s.follow.step(now, share, outcomes, -1)
	switch {
	case anew:
		*a, s.limited = PaceEvidence{}, false
	case halve:
		for _, v := range []*float64{&a.Attempts, &a.Limited, &a.Episodes, &a.Held} {
			*v /= 2
		}
	}
	notAfter(now, &b.faded)
	if now.Sub(b.faded) >= limitFade {
		b.limited, b.episodes, b.faded = b.limited/2, b.episodes/2, now
	}
	if before := s.last; !anew && k.Attempts >= before.Attempts && k.Limited >= before.Limited && k.Held >= before.Held && k.Episodes >= before.Episodes { // else it was set up anew
		limited, episodes := float64(k.Limited-before.Limited), float64(k.Episodes-before.Episodes)
		if limited > 0 && !s.limited { // after a look without any it is another episode, also where what others sent with the same key has met it first
			episodes = max(episodes, 1)
		}
		s.limited = limited > 0
		a.Attempts, a.Limited, a.Episodes, a.Held = a.Attempts+float64(k.Attempts-before.Attempts), a.Limited+limited, a.Episodes+episodes, a.Held+float64(k.Held-before.Held)
		b.limited, b.episodes = b.limited+limited, b.episodes+episodes
	}
	s.last = k
	e := s.known()
	e.TooHigh = s.follow.regretted(now)
	return e
}
