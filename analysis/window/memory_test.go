package window

import (
	"bytes"
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"
	"unsafe"
)

// bytesOf adds up what a series takes, from the sizes of its parts as the allocator rounds them.
func bytesOf(s *Series) (n int) {
	n = int(unsafe.Sizeof(*s))
	for i := range s.open {
		for m := range s.open[i].pages {
			for p := range s.open[i].pages[m] {
				seen := map[*page]bool{nil: true}
				for c := range s.open[i].pages[m][p] {
					if at := s.open[i].pages[m][p][c].Load(); !seen[at] {
						seen[at] = true
						n += int(unsafe.Sizeof(*at))
					}
				}
			}
		}
	}
	for _, ring := range s.rings.slots {
		n += cap(ring) * int(unsafe.Sizeof(ring[0]))
		for _, e := range ring {
			n += cap(e.data)
		}
	}
	return n
}

// 300 series whose every slot is filled take at most 128 MB, at 3,000 requests a second, whether all series are alike or a few have
// most of the traffic.
func TestMemory(t *testing.T) {
	const series, total, budget = 300, 3_000.0, 128 << 20
	all := traffic(newRNG(), 1<<18)
	check := func(name string, rate func(i int) float64) {
		t.Run(name, func(t *testing.T) {
			before := heap()
			r := NewRecorder(series)
			present := slotOf(epoch)
			templates := map[int][]byte{} // by the logarithm of the number of observations in the slot
			sealed := func(rate float64, width int64) []byte {
				log := int(math.Ceil(math.Log2(rate * float64(width) * slotLength.Seconds()))) // rounded up
				if templates[log] == nil {
					var slot openSlot
					var full tally
					for i := range 1 << max(log, 0) {
						slot.record(0, &all[i%len(all)])
					}
					slot.collect(&full, true)
					templates[log] = appendTally(nil, &full)
				}
				return bytes.Clone(templates[log])
			}
			for i := range series {
				s := r.Series(Key{"provider/model", fmt.Sprint("route-", i), "medium", "treated"})
				// A long life shows every open slot, the spill too, each octave of the traffic.
				for j := range s.open {
					for k := range 4_000 {
						s.open[j].record(0, &all[(i*len(s.open)+j)*4_000%(len(all)/2)+k])
					}
				}
				for l, level := range levels {
					for j := range s.rings.slots[l] {
						number := present/level.width - int64(j)
						s.rings.slots[l][number%int64(len(s.rings.slots[l]))] = sealedSlot{number, sealed(rate(i), level.width)}
					}
				}
			}
			sum := 0
			for _, s := range r.Select(nil) {
				sum += bytesOf(s)
			}
			grown := heap() - before
			t.Logf("%.1f MB by sizes, %.1f MB on the heap", float64(sum)/(1<<20), float64(grown)/(1<<20))
			if sum > budget || grown > budget {
				t.Errorf("%d bytes by sizes, %d on the heap, want at most %d", sum, grown, budget)
			}
			if grown < sum*8/10 {
				t.Errorf("the heap grew by %d bytes only, %d by sizes: the measurement is wrong", grown, sum)
			}
			runtime.KeepAlive(r)
			runtime.KeepAlive(all)
		})
	}
	harmonic := 0.0
	for i := range series {
		harmonic += 1 / float64(i+1)
	}
	check("even traffic", func(int) float64 { return total / series })
	check("zipf traffic", func(i int) float64 { return total / harmonic / float64(i+1) })
}

// heap returns the live bytes on the heap.
func heap() int {
	var m runtime.MemStats
	for range 3 { // pools give back what they hold after two collections
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func BenchmarkAdvance(b *testing.B) {
	r, now := filled(100)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(slotLength)
		b.StopTimer()
		all := traffic(newRNG(), 100)
		for _, s := range r.Select(nil) {
			for i := range all {
				s.Record(now, &all[i])
			}
		}
		b.StartTimer()
		r.Advance(now)
	}
}

func BenchmarkOpenSealed(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("observations=%d", n), func(b *testing.B) {
			var slot openSlot
			var full tally
			all := traffic(newRNG(), n)
			for i := range all {
				slot.record(0, &all[i])
			}
			slot.collect(&full, false)
			data, buckets := appendTally(nil, &full), uint64(0)
			for m := range full.dists {
				buckets += full.dists[m].filled()
			}
			b.ReportAllocs()
			for b.Loop() {
				full.addSealed(data)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(uint64(b.N)*buckets), "ns/bucket")
			b.ReportMetric(float64(len(data)), "bytes")
		})
	}
}

func BenchmarkSum(b *testing.B) {
	r, now := filled(100)
	for _, d := range []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute, time.Hour} {
		b.Run(fmt.Sprintf("series=100/last=%v", d), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Sum(Last(now, d), r.Select(nil)...)
			}
		})
	}
}

// filled returns a recorder with n series that took 10 requests a second each for over an hour.
func filled(n int) (r *Recorder, now time.Time) {
	all := traffic(newRNG(), 1<<16)
	r = NewRecorder(n)
	now = epoch
	series := make([]*Series, n)
	for i := range series {
		series[i] = r.Series(Key{Route: fmt.Sprint(i)})
	}
	for i := 0; i < 370; i++ {
		for j, s := range series {
			for k := range 100 {
				s.Record(now, &all[(i*100+j+k)%len(all)])
			}
		}
		now = now.Add(slotLength)
		r.Advance(now)
	}
	return r, now
}
