package ghost

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Options say what is followed.
type Options struct {
	Sizes []int64         // bytes, rising; at most 16
	TTLs  []time.Duration // rising; 0 stands for no limit and comes last; at most 16, each up to a year
	// Rate is the share of keys that is followed at first, in (0, 1]; 0: 1. It falls when there are more than Samples of them: to 1 % where some
	// 800,000 keys are within the reach of the largest cache. A lower rate costs less, and the curves of traffic with few keys their accuracy: it
	// takes a thousand of them.
	Rate float64
	// Samples is how many keys are followed at most; 0: 8,192.
	Samples int
	// Period is how long accesses count, up to twice; 0: an hour.
	Period time.Duration
}

const (
	defaultRate    = 1
	defaultSamples = 8192
	maxGrid        = 16
	shards         = 16
	// grain is how exact times of storing are.
	grain = 10 * time.Millisecond
)

// Curves follows accesses. It is safe for concurrent use. An access to a key that is not in the sample costs some 20 ns; one that is, some 300 ns, under
// a lock. Memory is bounded: for each key of the sample some 80 bytes and 4 for each size and time, that is 8,192 keys × 272 bytes = 2.2 MB
// for 8 sizes × 6 times.
type Curves struct {
	sizes  []int64
	ttls   []uint32 // in grains; maximum: no limit
	limits []time.Duration
	most   int
	period time.Duration

	threshold atomic.Uint64 // keys are followed whose mixed hash is below it
	shards    [shards]shard // of all accesses

	mu       sync.Mutex // of what follows
	start    time.Time  // times count from here
	latest   time.Time  // of an access
	stack    stack
	keys     map[uint64]int32 // by mixed hash: the place in samples
	samples  []sample
	spare    []int32 // places in samples that are free
	stored   []uint32
	current  account
	previous account
}

// sample is a key that is followed.
type sample struct {
	hash  uint64
	place int32 // in the stack
	bytes int64
}

// The measures of an access.
const (
	byCount = iota
	byMoney // nano-dollars
	byTime  // milliseconds
	measures
)

// shard sums up all accesses of some keys: what the sample stands for.
type shard struct {
	count, money, micros atomic.Int64
	_                    [104]byte // shards do not share cache lines
}

// account is what came in a period. Sums of the sample are scaled to the rate that holds now.
type account struct {
	began   time.Time
	all     [measures]float64
	sampled [measures]float64
	hits    [][measures]float64 // by size, then by time
}

// New returns curves of no accesses, that begin at now. It panics when sizes or times are missing, too many, or out of order.
func New(o Options, now time.Time) *Curves {
	c := &Curves{sizes: o.Sizes, limits: o.TTLs, most: o.Samples, period: o.Period, start: now, keys: map[uint64]int32{}}
	if n := len(o.Sizes); n == 0 || n > maxGrid || len(o.TTLs) == 0 || len(o.TTLs) > maxGrid {
		panic("BUG: ghost: 1 to 16 sizes and times")
	}
	for i, size := range o.Sizes {
		if size <= 0 || i > 0 && size <= o.Sizes[i-1] {
			panic("BUG: ghost: sizes rise")
		}
	}
	for _, ttl := range o.TTLs {
		limit := uint32(math.MaxUint32)
		if ttl > 0 {
			limit = uint32(ttl / grain)
		}
		if n := len(c.ttls); n > 0 && limit <= c.ttls[n-1] {
			panic("BUG: ghost: times rise")
		}
		c.ttls = append(c.ttls, limit)
	}
	if c.most <= 0 {
		c.most = defaultSamples
	}
	if c.period <= 0 {
		c.period = time.Hour
	}
	rate := o.Rate
	if rate <= 0 {
		rate = defaultRate
	}
	c.threshold.Store(thresholdOf(rate))
	c.stack.places = make([]int32, 0, 2*c.most+2)
	c.stack.sums = make([]int64, 2*c.most+3)
	c.current, c.previous = c.newAccount(now), c.newAccount(now)
	return c
}

func (c *Curves) newAccount(now time.Time) account {
	return account{began: now, hits: make([][measures]float64, len(c.sizes)*len(c.ttls))}
}

func thresholdOf(rate float64) uint64 {
	if rate >= 1 {
		return math.MaxUint64
	}
	return uint64(rate * (1 << 63) * 2)
}

func rateOf(threshold uint64) float64 {
	return (float64(threshold) + 1) / (1 << 63) / 2
}

// mix makes all bits of a hash depend on all others: the sample must not depend on what else the hash is used for.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// Access takes an access to a key, whether it was answered from a cache or not: the size of the answer in bytes, and what a hit saves. Accesses come
// about in the order of now.
func (c *Curves) Access(keyHash uint64, bytes int, valueNanoUSD int64, valueMillis float64, now time.Time) {
	h := mix(keyHash)
	s := &c.shards[h%shards]
	s.count.Add(1)
	s.money.Add(valueNanoUSD)
	s.micros.Add(int64(valueMillis * 1000))
	if h <= c.threshold.Load() {
		c.follow(h, int64(max(bytes, 0)), [measures]float64{1, float64(valueNanoUSD), valueMillis}, now)
	}
}

// follow takes an access to a key of the sample.
func (c *Curves) follow(h uint64, bytes int64, worth [measures]float64, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h > c.threshold.Load() { // it has just fallen
		return
	}
	if now.Before(c.latest) {
		now = c.latest
	}
	c.latest = now
	c.turn(now)
	at := uint32(max(now.Sub(c.start), 0)/grain) + 1
	i, known := c.keys[h]
	distance := int64(math.MaxInt64)
	if known {
		// The bytes of other keys since the last access, for the whole traffic, and those of the key itself.
		distance = int64(float64(c.stack.above(c.samples[i].place))/rateOf(c.threshold.Load())) + bytes
		c.stack.remove(c.samples[i].place, c.samples[i].bytes)
	} else {
		i = c.enter(h)
	}
	for m, w := range worth {
		c.current.sampled[m] += w
	}
	c.judge(i, known, distance, at, &worth)
	c.samples[i].bytes = bytes
	c.push(i)
	if !known {
		c.bound()
	}
}

// judge counts in which caches an access would have been a hit, and notes where the answer is stored by it.
func (c *Curves) judge(i int32, known bool, distance int64, at uint32, worth *[measures]float64) {
	n := len(c.ttls)
	for j, size := range c.sizes {
		fits := known && distance <= size
		stored := c.stored[(int(i)*len(c.sizes)+j)*n:][:n]
		hits := c.current.hits[j*n:][:n]
		for k, ttl := range c.ttls {
			if fits && at-stored[k] <= ttl {
				for m, w := range worth {
					hits[k][m] += w
				}
			} else {
				stored[k] = at
			}
		}
	}
}

// turn begins a new period when it is time.
func (c *Curves) turn(now time.Time) {
	age := now.Sub(c.current.began)
	if age < c.period {
		return
	}
	c.collect()
	c.previous, c.current = c.current, c.newAccount(now)
	if age >= 2*c.period { // nothing was asked for in the last one
		c.previous = c.newAccount(now.Add(-c.period))
	}
}

// collect takes the sums of all accesses into the current account.
func (c *Curves) collect() {
	for i := range c.shards {
		s := &c.shards[i]
		c.current.all[byCount] += float64(s.count.Swap(0))
		c.current.all[byMoney] += float64(s.money.Swap(0))
		c.current.all[byTime] += float64(s.micros.Swap(0)) / 1000
	}
}
