package proxy

import (
	"context"
	"io"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	vm "github.com/VictoriaMetrics/metrics"
)

const (
	// memoryEvery is how often the memory in use is looked at where it has a limit, memoryIdly where it has none.
	memoryEvery, memoryIdly = 200 * time.Millisecond, 5 * time.Second
	// memoryFree is how often garbage is collected while exchanges are refused.
	memoryFree = time.Second
	// memoryCalm is the share of the threshold below which exchanges are taken again.
	memoryCalm = 0.95
	// retryAfter is what clients are told that are refused for want of memory, in seconds.
	retryAfter = "1"
)

// memoryGuard tells when the process is near the end of its memory, so that new exchanges are refused before those under way are at
// risk.
type memoryGuard struct {
	limit     int64 // bytes; 0: none
	threshold int64 // bytes from which on exchanges are refused
	over      atomic.Bool
	used      atomic.Int64
	refused   atomic.Uint64
	freed     time.Time // when garbage was last collected for it; of run
}

// newMemoryGuard guards a limit in bytes; 0 takes that of the environment: GOMEMLIMIT, else the container's.
func newMemoryGuard(limit int64, share float64) *memoryGuard {
	if limit == 0 {
		limit = memoryLimit()
	}
	return &memoryGuard{limit: limit, threshold: int64(float64(limit) * share)}
}

// memoryLimit is what the environment allows the process, in bytes; 0: as much as there is.
func memoryLimit() int64 {
	if soft := debug.SetMemoryLimit(-1); soft < math.MaxInt64 {
		return soft
	}
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} { // version 2, version 1
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		const unlimited = 1 << 60 // version 1 says that there is no limit by a very large one
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 && n < unlimited {
			return n
		}
	}
	return 0
}

// run looks at the memory until ctx is done.
func (g *memoryGuard) run(ctx context.Context) {
	every := memoryEvery
	if g.limit == 0 {
		every = memoryIdly
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	samples := memorySamples()
	for {
		g.look(samples)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// memorySamples are what the runtime is asked for: all that it has of the system, and what of it it has given back. The difference is
// what GOMEMLIMIT bounds.
func memorySamples() []metrics.Sample {
	return []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
}

func (g *memoryGuard) look(samples []metrics.Sample) {
	metrics.Read(samples)
	used := int64(samples[0].Value.Uint64() - samples[1].Value.Uint64()) //nolint:gosec // far below 2^63
	g.used.Store(used)
	switch {
	case g.limit == 0:
	case used >= g.threshold:
		g.over.Store(true)
	case float64(used) < float64(g.threshold)*memoryCalm:
		g.over.Store(false)
	}
	// Garbage counts as used, and while requests are refused little else sets the collector going.
	if now := time.Now(); g.over.Load() && now.Sub(g.freed) >= memoryFree {
		debug.FreeOSMemory()
		g.freed = now
	}
}

// write prints the metrics.
func (g *memoryGuard) write(w io.Writer) {
	vm.WriteGaugeUint64(w, metricMemory, uint64(max(0, g.used.Load())))
	vm.WriteGaugeUint64(w, metricMemoryLimit, uint64(max(0, g.limit)))
	vm.WriteCounterUint64(w, metricOverloaded, g.refused.Load())
}
