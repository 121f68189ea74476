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
	for _, bc := range cachedCases() {
		b.Run(bc.name, func(b *testing.B) {
			never := cachingConfig(prepared(b, []byte(bc.answer)))
			never.Cache.Finish = []string{"never"}
			clients := [...]*benchClient{newBenchClient(b, bc), newBenchClientOf(b, bc, never, &mapCache{}), cachedClient(b, bc)}
			used := cpuInTurn(b, clients[:])
			b.ReportMetric(used[0], "plain-µs")
			b.ReportMetric(used[1], "miss-µs")
			b.ReportMetric(used[1]-used[0], "added-µs")
			b.ReportMetric(used[2], "hit-µs")
		})
	}
}

// cpuInTurn has clients make exchanges in turn, and tells the CPU time of one of each, in microseconds.
func cpuInTurn(b *testing.B, clients []*benchClient) []float64 {
	const block = 100
	used, rounds := make([]float64, len(clients)), 0
	for b.Loop() {
		rounds++
		for i := range clients {
			k := (i + rounds) % len(clients)
			before := cpuTime(b)
			for range block {
				clients[k].exchange()
			}
			used[k] += float64((cpuTime(b) - before).Nanoseconds()) / 1e3
		}
	}
	for k := range used {
		used[k] /= block * float64(rounds)
	}
	return used
}

// BenchmarkExchange_LimitsCPU takes exchanges without and with five limits in force, and tells the CPU time of client, proxy and provider together for each. It is to be
// run with -benchtime 300x or more.
func BenchmarkExchange_LimitsCPU(b *testing.B) {
	for _, bc := range benchCases() {
		b.Run(bc.name, func(b *testing.B) {
			quiet := limitedConfig(prepared(b, []byte(bc.answer)))
			quiet.Server.ResponseHeaders = false
			plain := testConfig(prepared(b, []byte(bc.answer)))
			plain.Server.ResponseHeaders = false
			clients := [...]*benchClient{newBenchClientOf(b, bc, plain, nil), newBenchClientOf(b, bc, quiet, nil), newBenchClientOf(b, bc, limitedConfig(prepared(b, []byte(bc.answer))), nil)}
			used := cpuInTurn(b, clients[:])
			b.ReportMetric(used[0], "plain-µs")
			b.ReportMetric(used[1], "limited-µs")
			b.ReportMetric(used[1]-used[0], "added-µs")
			b.ReportMetric(used[2], "with-headers-µs")
		})
	}
}
