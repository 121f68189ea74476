package pick

import (
	"math"
	"sync/atomic"
	"time"
)

// loadBound is how far above its part of the load affinity may fill a target (Mirrokni, Thorup, Zadimoghaddam, "Consistent hashing
// with bounded loads", SODA 2018).
const loadBound = 1.25

// Prefix is what a prompt begins with: hashes of its first part, of that and the second, and so on, the longest last. Prompts that begin alike have equal
// hashes as far as they do. The zero value wants no affinity.
type Prefix struct {
	hash [MaxPrefix]uint64
	n    int
}

// MaxPrefix is the number of parts that are told apart.
const MaxPrefix = 4

// Add appends the hash of a longer part; beyond MaxPrefix it does nothing.
func (p *Prefix) Add(hash uint64) {
	if p.n < MaxPrefix {
		p.hash[p.n] = hash
		p.n++
	}
}

// memory knows which targets have seen which prefixes lately: a table of fixed size in which newer entries take the place of older ones. Entries that
// race may mix, which only sends a prompt to a target that does not know it.
type memory struct{ entries [memorySize]memoryEntry }

type memoryEntry struct {
	tag     atomic.Uint64 // upper bits of the hash, and when it was last seen
	targets atomic.Uint64 // set
}

const (
	memorySize  = 1 << 16
	memoryAge   = time.Hour // after which no provider's cache has a prompt any more
	memoryTick  = 16 * time.Second
	memoryStamp = 1<<20 - 1 // half a year of ticks
)

func stampOf(now int64) uint64 { return uint64(now/int64(memoryTick)) & memoryStamp } //nolint:gosec // times are after the epoch

// find is the set of targets that have seen a prefix.
func (m *memory) find(hash uint64, now int64) set {
	e := &m.entries[hash%memorySize]
	tag := e.tag.Load()
	age := (stampOf(now) - tag) & memoryStamp
	if tag == 0 || (tag^hash)&^memoryStamp != 0 || age > uint64(memoryAge/memoryTick) {
		return 0
	}
	return set(e.targets.Load())
}

// note remembers that a target gets a prompt.
func (m *memory) note(p *Prefix, target int, now int64) {
	for _, hash := range p.hash[:p.n] {
		e := &m.entries[hash%memorySize]
		known := m.find(hash, now)
		known.add(target)
		e.targets.Store(uint64(known))
		e.tag.Store(hash&^memoryStamp | stampOf(now))
	}
}

// affine is the target that is likely to have the prompt's begin in its cache: the lightest loaded of those that have seen the longest part, within the bound;
// -1 where there is none. known tells whether any has. What nobody has seen goes to the lightest of all, so that loads stay even and homes are rarely full. Among equally loaded ones
// weighted rendezvous decides (Thaler and Ravishankar 1998; Schindelhauer and Schomaker 2005), so that several gateways agree where they can.
func (r *Route) affine(c *candidates, p *plan, q *Query, now int64) (target int, known bool) {
	running := int64(1)
	for _, i := range c.list[:c.n] {
		running += r.targets[i].inFlight.Load()
	}
	per := loadBound * float64(running) / c.total
	fits := set(0)
	for _, i := range c.list[:c.n] {
		if float64(r.targets[i].inFlight.Load()) < per*c.share[i] { // one more is not above the bound, rounded up
			fits.add(int(i))
		}
	}
	seen := set(0)
	for at := q.Prefix.n - 1; at >= 0 && seen == 0 && r.memory != nil; at-- {
		seen = r.memory.find(q.Prefix.hash[at], now) & fits
	}
	if known = seen != 0; !known {
		seen = fits
	}
	best, lowest := -1, 0.
	for _, i := range c.list[:c.n] {
		if !seen.has(int(i)) {
			continue
		}
		load := float64(r.targets[i].inFlight.Load()+1) / c.share[i]
		if best < 0 || load < lowest || load == lowest && r.before(q, p, i, uint8(best)) { //nolint:gosec // below MaxTargets
			best, lowest = int(i), load
		}
	}
	return best, known && best >= 0
}

// before tells which of two targets comes first in the rendezvous of a prefix: in proportion to their weights.
func (r *Route) before(q *Query, p *plan, i, j uint8) bool {
	a, b := mix(q.Prefix.hash[0]^r.targets[i].hash), mix(q.Prefix.hash[0]^r.targets[j].hash)
	weights := p.weights[q.Class]
	if weights[i] == weights[j] {
		return a > b
	}
	const whole = 1 << 53
	return -math.Log(float64(a>>11+1)/whole)/weights[i] < -math.Log(float64(b>>11+1)/whole)/weights[j]
}
