package window

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

var epoch = time.Unix(1_750_000_000, 0) // on a slot boundary of 10 s only

// traffic draws n observations of one series: lognormal times, heavy-tailed tokens, mostly good answers.
func traffic(rng *rand.Rand, n int) []Observation {
	all := make([]Observation, n)
	for i := range all {
		o := &all[i]
		o.TokensInput = int64(math.Exp(7 + 1.2*rng.NormFloat64()))
		o.TokensOutput = 1 + int64(math.Exp(5.3+0.9*rng.NormFloat64()))
		if rng.IntN(4) == 0 {
			o.TokensCacheRead = o.TokensInput / 2
		}
		o.TTFT = time.Duration(4e8 * math.Exp(0.6*rng.NormFloat64()))
		perToken := 1.8e7 * math.Exp(0.25*rng.NormFloat64())
		o.Duration = o.TTFT + time.Duration(perToken*float64(o.TokensOutput-1))
		o.CostNanoUSD = 150*o.TokensInput + 15*o.TokensCacheRead + 600*o.TokensOutput
		switch rng.IntN(50) {
		case 0:
			o.Outcome, o.TTFT, o.TokensOutput = UpstreamError, 0, 0
			o.Duration = time.Duration(1e8 * math.Exp(rng.NormFloat64()))
		case 1:
			o.Outcome, o.Estimated = Canceled, true
		}
	}
	return all
}

func newRNG() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// warm records perSlot observations in each of some slots, so that every page exists and has the copies it has at that rate.
func warm(r *Recorder, series []*Series, all []Observation, perSlot int) (now time.Time) {
	now = epoch
	for range 2 * openSlots {
		for _, s := range series {
			for i := range perSlot {
				s.Record(now, &all[i%len(all)])
			}
		}
		now = now.Add(slotLength)
		r.Advance(now)
	}
	return now
}

func BenchmarkRecord(b *testing.B) {
	all := traffic(newRNG(), 1024)
	for _, n := range []int{1, 16} {
		b.Run(fmt.Sprintf("series=%d", n), func(b *testing.B) {
			r := NewRecorder(n)
			series := make([]*Series, n)
			for i := range series {
				series[i] = r.Series(Key{Target: fmt.Sprint(i)})
			}
			now := warm(r, series, all, 100_000)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.IntN(len(all)); pb.Next(); i++ {
					series[i%n].Record(now, &all[i%len(all)])
				}
			})
		})
	}
}

func BenchmarkSeries(b *testing.B) {
	for _, n := range []int{16, 300} {
		r := NewRecorder(n)
		keys := make([]Key, n)
		for i := range keys {
			keys[i] = Key{fmt.Sprintf("provider/model-%d", i), "route", "medium", "treated"}
			r.Series(keys[i])
		}
		b.Run(fmt.Sprintf("series=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r.Series(keys[i%n])
			}
		})
	}
}
