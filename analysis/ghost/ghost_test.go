package ghost

import (
	"bufio"
	"compress/gzip"
	"container/list"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var begin = time.Unix(1_700_000_000, 0)

// access is one of a trace.
type access struct {
	key   uint64
	bytes int
	money int64
	time  float64
	at    time.Time
}

// lru is the cache that the curves are about, as plainly as can be; with eager, what is over its time makes room at once.
type lru struct {
	size, used int64
	ttl        time.Duration
	eager      bool
	order      *list.List // front: the last one asked for
	entries    map[uint64]*list.Element
	stored     []*kept // eager: in the order of storing

	hits  int
	money int64
	time  float64
}

type kept struct {
	access
	stored time.Time
	gone   bool
}

func (c *lru) take(a access) {
	for c.eager && c.ttl > 0 && len(c.stored) > 0 && a.at.Sub(c.stored[0].stored) > c.ttl {
		if k := c.stored[0]; !k.gone && c.entries[k.key] != nil && c.entries[k.key].Value == k {
			c.drop(c.entries[k.key])
		}
		c.stored = c.stored[1:]
	}
	if e := c.entries[a.key]; e != nil {
		k := e.Value.(*kept)
		if c.ttl == 0 || a.at.Sub(k.stored) <= c.ttl {
			c.hits++
			c.money += a.money
			c.time += a.time
			c.order.MoveToFront(e)
			return
		}
		c.drop(e)
	}
	if int64(a.bytes) > c.size {
		return
	}
	k := &kept{access: a, stored: a.at}
	c.entries[a.key] = c.order.PushFront(k)
	if c.eager {
		c.stored = append(c.stored, k)
	}
	for c.used += int64(a.bytes); c.used > c.size; {
		c.drop(c.order.Back())
	}
}

func (c *lru) drop(e *list.Element) {
	k := c.order.Remove(e).(*kept)
	k.gone = true
	delete(c.entries, k.key)
	c.used -= int64(k.bytes)
}

// zipf is a trace: a Zipf law over keys whose sizes and worths have heavy tails, so many a second.
func zipf(seed uint64, n, keys int, s float64, rate float64) []access {
	r := rand.New(rand.NewPCG(seed, 1))
	cumulative := make([]float64, keys)
	sum := 0.0
	for i := range cumulative {
		sum += math.Pow(float64(i+1), -s)
		cumulative[i] = sum
	}
	trace := make([]access, n)
	at := begin
	for i := range trace {
		u := r.Float64() * sum
		lo, hi := 0, keys-1
		for lo < hi {
			if mid := (lo + hi) / 2; cumulative[mid] < u {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		at = at.Add(time.Duration(r.ExpFloat64() / rate * float64(time.Second)))
		key := hash(seed, uint64(lo))
		own := rand.New(rand.NewPCG(key, 2))
		trace[i] = access{key, int(1000 * math.Exp(own.NormFloat64())), int64(1e6 * math.Exp(own.NormFloat64()/2)), 1000 * own.ExpFloat64(), at}
	}
	return trace
}

func hash(parts ...uint64) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		_ = binary.Write(h, binary.LittleEndian, p)
	}
	return h.Sum64()
}

// judgeTrace returns the mean absolute errors of the ratios of hits, money and time, over the grid.
func judgeTrace(t *testing.T, trace []access, o Options, eager bool) (hits, money, millis float64) {
	t.Helper()
	o.Period = 1000 * time.Hour
	c := New(o, begin)
	var allMoney, allTime float64
	for _, a := range trace {
		c.Access(a.key, a.bytes, a.money, a.time, a.at)
		allMoney += float64(a.money)
		allTime += a.time
	}
	curve, enough := c.Curve(trace[len(trace)-1].at)
	if !enough {
		t.Fatalf("not enough: %+v", curve)
	}
	if len(c.keys) > c.most {
		t.Errorf("%d keys are followed, at most %d", len(c.keys), c.most)
	}
	for _, p := range curve.Points {
		exact := &lru{size: p.Size, ttl: p.TTL, eager: eager, order: list.New(), entries: map[uint64]*list.Element{}}
		for _, a := range trace {
			exact.take(a)
		}
		n, seconds := float64(len(curve.Points)), curve.Span.Seconds()
		hits += math.Abs(p.HitRatio-float64(exact.hits)/float64(len(trace))) / n
		money += math.Abs(p.NanoUSD*seconds-float64(exact.money)) / allMoney / n
		millis += math.Abs(p.Millis*seconds-exact.time) / allTime / n
	}
	t.Logf("%d accesses, %d keys followed, rate %.4f: mean absolute error of hits %.4f, money %.4f, time %.4f", len(trace), curve.Keys, curve.Rate, hits, money, millis)
	return hits, money, millis
}

var grid = Options{
	Sizes: []int64{1 << 20, 4 << 20, 16 << 20, 64 << 20}, TTLs: []time.Duration{time.Minute, 10 * time.Minute, 0},
}

func TestCurves_AreThoseOfExactCaches(t *testing.T) {
	t.Parallel()
	for _, eager := range []bool{false, true} {
		for _, s := range []float64{0.7, 0.9, 1.1} {
			t.Run(fmt.Sprintf("eager=%v/s=%.1f", eager, s), func(t *testing.T) {
				t.Parallel()
				hits, money, millis := judgeTrace(t, zipf(uint64(10*s), 300_000, 100_000, s, 200), grid, eager)
				if hits > 0.02 || money > 0.02 || millis > 0.02 {
					t.Errorf("errors of %.4f, %.4f, %.4f", hits, money, millis)
				}
			})
		}
	}
}

// With all keys followed, and expiry as the curves have it, there is no error at all but for the grain of times.
func TestCurves_AreExactAtRate1(t *testing.T) {
	t.Parallel()
	o := grid
	o.Rate, o.Samples = 1, 100_000
	hits, money, millis := judgeTrace(t, zipf(3, 50_000, 10_000, 0.9, 200), o, false)
	if hits > 0.0005 || money > 0.0005 || millis > 0.0005 {
		t.Errorf("errors of %.4f, %.4f, %.4f", hits, money, millis)
	}
}

// A fixed rate of 1 % is enough where it is a thousand keys and more.
func TestCurves_OnePercent(t *testing.T) {
	t.Parallel()
	o := grid
	o.Rate = 0.01
	o.Sizes = []int64{16 << 20, 64 << 20, 256 << 20}
	o.TTLs = []time.Duration{10 * time.Minute, 0}
	hits, money, millis := judgeTrace(t, zipf(5, 700_000, 400_000, 0.8, 500), o, false)
	if hits > 0.02 || money > 0.03 || millis > 0.03 {
		t.Errorf("errors of %.4f, %.4f, %.4f", hits, money, millis)
	}
}

// Requests of a public trace: the key is the last prefix block, the answer is as long as it was. OPTIMIZER_DATA names the data.
func TestCurves_Mooncake(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("OPTIMIZER_DATA")
	if dir == "" {
		t.Skip("OPTIMIZER_DATA is not set: it names the directory that holds traces/mooncake")
	}
	for _, name := range []string{"conversation", "synthetic"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := os.Open(filepath.Join(dir, "traces/mooncake", name+"_first_half.jsonl.gz"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			z, err := gzip.NewReader(f)
			if err != nil {
				t.Fatal(err)
			}
			var trace []access
			for lines := bufio.NewScanner(z); lines.Scan(); {
				var r struct {
					Timestamp int64
					Output    int      `json:"output_length"`
					Blocks    []uint64 `json:"hash_ids"`
				}
				if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
					t.Fatal(err)
				}
				for _, b := range r.Blocks { // what is cached is the block of a prefix
					trace = append(trace, access{hash(b), 2048, 1000 * int64(r.Output), float64(r.Output), begin.Add(time.Duration(r.Timestamp) * time.Millisecond)})
				}
			}
			o := grid
			o.Sizes = []int64{4 << 20, 16 << 20, 64 << 20, 256 << 20}
			hits, _, _ := judgeTrace(t, trace, o, false)
			if hits > 0.02 {
				t.Errorf("error of %.4f", hits)
			}
		})
	}
}

func TestCurves_ForgetOldPeriods(t *testing.T) {
	t.Parallel()
	c := New(Options{Sizes: []int64{1 << 20}, TTLs: []time.Duration{0}, Rate: 1, Period: time.Hour}, begin)
	now := begin
	round := func(worth int64) {
		for range 1800 {
			now = now.Add(time.Second)
			c.Access(uint64(now.Unix()%10), 100, worth, 1, now)
		}
	}
	check := func(want float64) {
		t.Helper()
		curve, enough := c.Curve(now)
		if got := curve.Points[0].NanoUSD; !enough || math.Abs(got-want) > want/50 {
			t.Errorf("saves %v a second, want %v; %+v", got, want, curve)
		}
	}
	round(10)
	check(10)
	round(30)
	check(20)
	round(30)
	round(30)
	check(30)
	now = now.Add(5 * time.Hour)
	if curve, enough := c.Curve(now); enough {
		t.Errorf("nothing was asked for: %+v", curve)
	}
}

func TestCurves_AccessDoesNotAllocate(t *testing.T) {
	c := New(grid, begin)
	trace := zipf(1, 100_000, 20_000, 0.9, 200)
	for _, a := range trace {
		c.Access(a.key, a.bytes, a.money, a.time, a.at)
	}
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		a := trace[i%len(trace)]
		c.Access(a.key, a.bytes, a.money, a.time, trace[len(trace)-1].at)
		i++
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAccess(b *testing.B) {
	trace := zipf(1, 500_000, 200_000, 0.9, 200)
	for _, rate := range []float64{0.01, 1} {
		for _, cells := range []int{12, 48} {
			b.Run(fmt.Sprintf("rate=%v/cells=%d", rate, cells), func(b *testing.B) {
				o := grid
				o.Rate = rate
				if cells == 48 {
					o.Sizes, o.TTLs = nil, nil
					for i := range 8 {
						o.Sizes = append(o.Sizes, 1<<(20+i))
					}
					for i := range 6 {
						o.TTLs = append(o.TTLs, time.Duration(i+1)*time.Minute)
					}
				}
				c := New(o, begin)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					a := &trace[i%len(trace)]
					c.Access(a.key, a.bytes, a.money, a.time, a.at)
				}
			})
		}
	}
}
