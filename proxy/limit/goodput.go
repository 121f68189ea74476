package limit

import (
	"math"
	"time"
)

// goodput is how much a provider lets through, as far as it is known: what was sent but for what it has refused. It is counted over the last second, which a fixed window of a second
// makes exact; where that holds too few, over the last twenty or so.
type goodput struct {
	slots [goodputSlots + 1]int64
	slot  int64  // that of now
	all   uint64 // that were ever sent
	start mark   // when it began to count after a quiet time

	mean  float64 // of what was sent, weighted by age
	first int64   // since when
	last  int64
}

const (
	goodputSlots = 8
	goodputSlot  = int64(time.Second) / goodputSlots
	// goodputSure is what a second must hold to be taken for what is let through.
	goodputSure  = 10
	goodputOf    = 20 // requests, in the mean
	goodputLeast = 3  // seconds, of the mean
	goodputMost  = 60
	goodputQuiet = 5 * time.Minute // after which the mean begins anew
	// goodputShort seconds are the least that a pace is taken from.
	goodputShort = .1
)

// turn makes the slot of now the last. The mean ages by it, which is exact enough and spares most requests that.
func (g *goodput) turn(at int64, rate float64) {
	s := at / goodputSlot
	if s == g.slot {
		return
	}
	g.mean *= math.Exp(-seconds(at-g.last) / g.memory(rate))
	g.last = at
	if s < g.slot || s-g.slot > goodputSlots {
		clear(g.slots[:])
		g.slot, g.start = s, g.mark(at)
		return
	}
	for g.slot < s {
		g.slot++
		g.slots[g.slot%int64(len(g.slots))] = 0
	}
}

// memory is the mean's, in seconds, where so many are sent a second.
func (g *goodput) memory(rate float64) float64 {
	return min(max(goodputLeast, goodputOf/max(rate, trialLeast)), goodputMost)
}

// add counts one that is sent.
func (g *goodput) add(at int64, rate float64) {
	if g.first == 0 || at-g.last > int64(goodputQuiet) {
		g.first, g.last, g.mean = at, at, 0
	}
	g.turn(at, rate)
	g.slots[g.slot%int64(len(g.slots))]++
	g.all++
	g.mean += 1 / g.memory(rate)
}

// drop takes one back that was let go at a time and never sent.
func (g *goodput) drop(sentAt int64, rate float64) {
	g.all -= min(g.all, 1)
	if s := sentAt / goodputSlot; s <= g.slot && g.slot-s <= goodputSlots {
		slot := &g.slots[s%int64(len(g.slots))]
		*slot = max(*slot-1, 0)
	}
	g.mean = max(g.mean-1/g.memory(rate), 0)
}

// refuse takes one that was sent at a time out of the mean. In the last second it stays: what was sent with it may have been refused, too, and nobody knows yet.
func (g *goodput) refuse(at, sentAt int64, rate float64) {
	g.turn(at, rate)
	memory := g.memory(rate)
	g.mean = max(g.mean-math.Exp(-seconds(max(at-sentAt, 0))/memory)/memory, 0)
}

// lately is how many a second were sent within the last second, refused or not, and whether it has counted for as long.
func (g *goodput) lately(at int64, rate float64) (n float64, whole bool) {
	g.turn(at, rate)
	for _, c := range g.slots {
		n += float64(c)
	}
	oldest := g.slots[(g.slot+1)%int64(len(g.slots))]
	n -= float64(oldest) * float64(at%goodputSlot) / float64(goodputSlot)
	passed := seconds(at - g.start.at)
	if n <= goodputSure { // of few it matters that the one of now ends that second
		n = max(n-1, 1)
	}
	return n / min(max(passed, goodputShort), 1), passed >= 1
}

// rate is how many a second are let through at a rate, as of the moment when one is refused.
func (g *goodput) rate(at int64, rate float64) float64 {
	if n, _ := g.lately(at, rate); n > goodputSure {
		return n - 1
	}
	if sure := 1 - math.Exp(-seconds(at-g.first)/g.memory(rate)); sure > 0 {
		return g.mean / sure
	}
	return rate
}

// mark is what was sent up to a moment.
type mark struct {
	at  int64
	all uint64
}

func (g *goodput) mark(at int64) mark { return mark{at, g.all} }

// rate is how many a second were sent from one mark to a later one.
func (m mark) rate(now mark) float64 {
	return float64(max(now.all, m.all)-m.all) / max(seconds(now.at-m.at), goodputShort)
}
