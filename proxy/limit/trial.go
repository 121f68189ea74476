package limit

import "time"

// trial finds out how fast requests may be sent where nobody says so: it sends ever faster until the provider refuses, and then backs off. It knows what was let through until
// then: up to near there it comes back quickly, goes on slowly from there, and ever faster after a while without a refusal, as the limit must have been raised (as CUBIC does,
// RFC 9438). While everything is refused it sends next to nothing. Rates are in requests a second.
type trial struct {
	found
	was     found // as it was when it was last seen that it was no longer shut: for where it was
	refusal int64 // the last
	grown   int64 // when the rate was last raised
	wanted  bool  // somebody had to wait since: only then it says anything that nobody refuses
	level   float64
	filled  int64
	passed  goodput
	shut    shut
}

// found is what was found out.
type found struct {
	rate    float64 // 0: never refused, nothing is known
	ceiling float64 // what was let through when it was refused last
	floor   float64 // below which one episode of refusals does not cut
	cutAt   int64   // when the refusals began that the rate was cut for
	opened  mark    // when it was last no longer shut
	early   bool    // it was first refused so early that the ceiling is a guess
}

const (
	trialCut     = .85         // at the first refusal
	trialMore    = .91         // at each further one
	trialEpisode = time.Second // from the first refusal: what is under way then is refused as well
	trialFloor   = .55         // of where it was: lower it does not go for one episode
	trialLeast   = .05         // requests a second
	trialStep    = 2           // requests whose time growth counts, where that is more than a second
	trialNear    = .96         // of the ceiling: so far it comes back quickly
	trialBack    = .08         // of the ceiling, a second
	trialProbe   = .004        // of the rate, a second, beyond that
	trialCalm    = 9           // seconds without a refusal, after which it grows by more: (1 + (t / trialSwift)²) times that, t seconds later
	trialSwift   = 2.3
	trialMost    = .06 // of the rate, a second
	trialIdle    = 2   // times what is sent is less than the rate: one refusal alone says nothing of it
	// trialBrisk requests a second, and fewer, are raised more slowly: one refusal is as much of them as many of more.
	trialBrisk  = 20
	trialSlowly = .2 // of the pace of others, at the least
	trialMemory = 10 * time.Minute
	trialForget = time.Hour // without a request that it was asked for, after which nothing is known
	// trialCycle is the longest time from one time that it was open again to the next that says what a window holds: of longer ones nobody knows who wanted what.
	trialCycle = 5 * time.Minute
)

// sent counts a request. asked tells that it has waited for its turn here: what is sent by the provider's own numbers is not owed.
func (t *trial) sent(at int64, serial uint64, asked bool) {
	if t.rate > 0 && asked {
		t.level = max(t.level-1, -max(t.rate*seconds(burstTime), 1))
	}
	t.passed.add(at, t.rate)
	t.shut.sent(at, serial, asked)
}

func seconds(ns int64) float64 { return float64(ns) / float64(time.Second) }

// wait is how long the next request has to wait.
func (t *trial) wait(at int64) time.Duration {
	if t.rate > 0 && at-t.filled > int64(trialForget) {
		t.rate = 0
		t.shut.forget()
	}
	if t.rate == 0 {
		return 0
	}
	t.level = min(t.level+t.rate*seconds(max(at-t.filled, 0)), max(t.rate*seconds(burstTime), 1))
	t.filled = at
	switch hold, probe := t.shut.hold(at); {
	case hold > 0:
		t.wanted, t.level = true, 0
		return hold
	case probe:
		return 0
	}
	if t.shut.over(at) {
		t.reopen(t.shut.until)
	}
	if t.level < 1-1e-9 {
		t.wanted = true
		return max(time.Duration((1-t.level)/t.rate*float64(time.Second)), time.Microsecond)
	}
	return 0
}

// reopen is told since when requests are let through again. Where it was shut for long the limit is by windows longer than the second that was counted: what one window holds is about what
// was sent since the one before. No more than one episode may, this cuts.
func (t *trial) reopen(at int64) {
	now := t.passed.mark(at)
	t.was = t.found
	if t.opened.at > 0 && (t.early || t.shut.long) && at-t.opened.at < int64(trialCycle) {
		least := max(trialFloor*t.rate, trialLeast)
		t.ceiling = max(min(t.ceiling, t.opened.rate(now)), least)
		t.rate = max(min(t.rate, trialNear*t.ceiling), least)
	}
	t.opened, t.early = now, false
}

// retryIn is how long a request has to wait now, as far as can be told.
func (t *trial) retryIn(at int64) time.Duration {
	if t.rate == 0 {
		return 0
	}
	hold, _ := t.shut.hold(at)
	return max(hold, time.Duration((1-t.level)/t.rate*float64(time.Second))-time.Duration(at-t.filled))
}

// dropped takes back a request that was let go at a time and never sent. asked tells that it has waited for its turn here.
func (t *trial) dropped(sentAt int64, serial uint64, asked bool) {
	t.shut.dropped(serial)
	t.passed.drop(sentAt, t.rate)
	if t.rate > 0 && asked {
		t.level++
	}
}

// through is told that the provider has not refused a request for coming too soon.
func (t *trial) through(at int64, serial uint64) {
	t.shut.through(at, serial)
	if t.rate == 0 || at <= t.grown {
		return
	}
	if t.wanted {
		step := min(seconds(at-t.grown), 1)
		if near := trialNear * t.ceiling; t.rate < near {
			t.rate = min(t.rate+trialBack*t.ceiling*step, near)
		} else {
			pace := min(max(t.rate/trialBrisk, trialSlowly), 1)
			calm := max(pace*seconds(at-t.refusal)-trialCalm, 0) / trialSwift
			if calm > 0 { // of less than one a second each may count for more
				step = min(seconds(at-t.grown), max(1, trialStep/t.rate))
			}
			t.rate += min(trialProbe*(1+calm*calm), trialMost) * pace * t.rate * step
		}
		t.wanted = false
	}
	t.grown = at
}

// refused is told that the provider has refused one that was sent at a time.
func (t *trial) refused(at, sentAt int64, serial uint64) {
	t.passed.refuse(at, sentAt, t.rate)
	before, now, still := t.shut.closed(at, sentAt, serial)
	if still {
		t.found = t.was
	}
	if t.rate > 0 && !now && t.shut.lone(serial) && trialIdle*t.passed.rate(at, t.rate) < t.rate { // it was not sent too fast, as far as the rate goes (RFC 7661)
		return
	}
	switch {
	case t.rate == 0: // what was sent while nothing was known is not owed
		t.level, t.filled = 0, at
		from, whole := t.passed.lately(at, t.rate)
		if t.early = !whole; t.early {
			t.opened = t.passed.start
		}
		t.cut(at, from)
	case !before && sentAt > t.cutAt && at-t.cutAt >= int64(trialEpisode):
		t.early = false
		t.cut(at, t.rate)
	default:
		if sentAt <= t.cutAt && sentAt > t.cutAt-int64(time.Second) && t.ceiling > goodputSure { // it was counted as let through
			t.ceiling--
		}
		if !now && (sentAt > t.cutAt || at-t.cutAt < int64(trialEpisode)) { // else it says nothing of how fast is too fast
			t.rate = max(t.rate*trialMore, min(t.rate, t.floor))
		}
	}
	t.rate, t.refusal, t.grown, t.level = max(t.rate, trialLeast), at, at, min(t.level, 0)
}

// begin is told that the provider has refused one that was not sent by trial. What was sent so far is not owed, and where it begins, unless it was found out of late.
func (t *trial) begin(at int64) {
	now, _ := t.passed.lately(at, t.rate)
	if t.rate > 0 && at-t.cutAt < int64(trialMemory) {
		t.rate, t.cutAt = min(t.rate, now), at // what is under way was not sent by it
		t.floor = t.rate * trialFloor
	} else {
		t.cut(at, now)
	}
	t.rate, t.refusal, t.grown, t.level, t.filled = max(t.rate, trialLeast), at, at, 0, at
}

// cut backs off from a rate that was too high.
func (t *trial) cut(at int64, from float64) {
	t.ceiling = max(min(from, t.passed.rate(at, from)), trialLeast)
	t.floor, t.rate, t.cutAt = from*trialFloor, from*trialCut, at
}

// episodes has refusals that come at once count as one.
type episodes struct {
	begun int64
	any   bool
}

func (e *episodes) begins(at int64) bool {
	if e.any && at-e.begun < int64(trialEpisode) {
		return false
	}
	*e = episodes{at, true}
	return true
}
