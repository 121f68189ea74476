//go:build unix

package proxy

import (
	"syscall"
	"testing"
	"time"
)

// cpuTime is what the process has used of processors so far.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkExchange_CPU takes exchanges without a cache, misses and hits in turn, and tells the CPU time of client, proxy and provider together for each, and what
// a miss takes more than an exchange without a cache. A hit has no provider. It is to be run with -benchtime 300x or more.
func BenchmarkExchange_CPU(b *testing.B) {
	const block = 100
	for _, bc := range cachedCases() {
		b.Run(bc.name, func(b *testing.B) {
			never := cachingConfig(prepared(b, []byte(bc.answer)))
			never.Cache.Finish = []string{"never"}
			clients := [...]*benchClient{newBenchClient(b, bc), newBenchClientOf(b, bc, never, &mapCache{}), cachedClient(b, bc)}
			var used [len(clients)]time.Duration
			rounds := 0
			for b.Loop() {
				rounds++
				for i := range clients {
					k := (i + rounds) % len(clients)
					before := cpuTime(b)
					for range block {
						clients[k].exchange()
					}
					used[k] += cpuTime(b) - before
				}
			}
			each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 / block / float64(rounds) }
			b.ReportMetric(each(used[0]), "plain-µs")
			b.ReportMetric(each(used[1]), "miss-µs")
			b.ReportMetric(each(used[1]-used[0]), "added-µs")
			b.ReportMetric(each(used[2]), "hit-µs")
		})
	}
}
