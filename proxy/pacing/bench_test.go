package pacing

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"llm-auto-optimizer/proxy/limit"
)

// BenchmarkPace_Parallel takes attempts with one key to one model from many goroutines, which is all that exchanges with a provider have in common.
func BenchmarkPace_Parallel(b *testing.B) {
	for _, told := range []bool{false, true} {
		for _, goroutines := range []int{1, 2, 64} {
			b.Run(fmt.Sprintf("told=%v/goroutines=%d", told, goroutines), func(b *testing.B) {
				p := newPace(time.Now(), time.Now(), Key{})
				attempt := func(h *limit.Headers) {
					now := time.Now()
					turn, r := p.Try(now, &terms, limit.Need{Input: 10, Output: 10})
					if r.Retry > 0 {
						b.Error("no room")
					}
					p.Answered(now, &turn, limit.Through, h, 0, 0)
					p.End(now, &turn, true, limit.Good, 0, 20)
				}
				headers := func() *limit.Headers {
					if !told {
						return nil
					}
					h := &limit.Headers{}
					for _, f := range [][2]string{
						{"limit-requests", "1000000000"}, {"remaining-requests", "999999000"}, {"reset-requests", "6ms"},
						{"limit-tokens", "1000000000000"}, {"remaining-tokens", "999999990000"}, {"reset-tokens", "1ms"},
					} {
						h.Add([]byte("x-ratelimit-"+f[0]), []byte(f[1]), time.Now())
					}
					return h
				}
				for range 10 {
					attempt(headers())
				}
				b.ReportAllocs()
				if goroutines == 1 {
					h := headers()
					for b.Loop() {
						attempt(h)
					}
					return
				}
				b.SetParallelism(max(goroutines/runtime.GOMAXPROCS(0), 1))
				b.RunParallel(func(pb *testing.PB) {
					h := headers()
					for pb.Next() {
						attempt(h)
					}
				})
			})
		}
	}
}
