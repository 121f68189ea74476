package main

import (
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/storage"
)

// cacheFolder holds the answers on disk, below storage.dir.
const cacheFolder = "cache"

// newCache makes room for answers, if any route keeps some. On disk they are in a database of their own, which may get lost without harm.
func (g *gateway) newCache(c *config.Config) (err error) {
	o := storage.CacheOptions{Memory: int64(c.Cache.Memory)} // what it counts with is laid out for that, also where a reload switches it on
	if c.Cache.Disk > 0 && caches(c) && c.Storage.Dir != "" {
		engine := c.Storage
		engine.Dir = filepath.Join(c.Storage.Dir, cacheFolder)
		if abs, err := filepath.Abs(engine.Dir); err == nil {
			engine.Dir = abs
		}
		engine.MaxSize = c.Cache.Disk
		o.Disk = &storage.DiskOptions{
			Engine: storage.Options{
				Dir: engine.Dir, Limits: storage.Limits{MinFree: int64(engine.MinFree)}, Command: func() *exec.Cmd { return engineProcess(&engine) },
				Log: g.logs.of(logStorage),
			},
			Size: int64(c.Cache.Disk),
		}
	}
	if g.cache, err = storage.NewCache(o); err != nil {
		return fmt.Errorf("%w: cache: %w", errUsage, err)
	}
	g.resizeCache(c)
	return nil
}

// caches tells whether any answer is kept.
func caches(c *config.Config) bool {
	on := c.Cache.Enabled
	for name := range c.Routes {
		on = on || c.Routes[name].Cache.Enabled
	}
	return on
}

// cacheMemory is the room for answers in memory.
func cacheMemory(c *config.Config) int64 {
	if !caches(c) {
		return 0
	}
	return int64(c.Cache.Memory)
}

// resizeCache obeys new settings.
func (g *gateway) resizeCache(c *config.Config) {
	g.cache.Resize(time.Now(), cacheMemory(c), int64(g.config.Cache.Disk)) // of the disk a reload changes nothing
}

// cacheMetrics tells how the answers are kept.
func (g *gateway) cacheMetrics() *metrics.Set {
	set := metrics.NewSet()
	set.RegisterMetricsWriter(func(w io.Writer) {
		s := g.cache.Stats()
		tier := func(name string, entries, bytes, limit int64, hits, misses, stored, evicted, rejected uint64) {
			label := fmt.Sprintf("{tier=%q}", name)
			metrics.WriteGaugeFloat64(w, "llmopt_cache_entries"+label, float64(entries))
			metrics.WriteGaugeFloat64(w, "llmopt_cache_bytes"+label, float64(bytes))
			metrics.WriteGaugeFloat64(w, "llmopt_cache_limit_bytes"+label, float64(limit))
			metrics.WriteCounterUint64(w, "llmopt_cache_lookups_total"+fmt.Sprintf("{tier=%q,found=\"true\"}", name), hits)
			metrics.WriteCounterUint64(w, "llmopt_cache_lookups_total"+fmt.Sprintf("{tier=%q,found=\"false\"}", name), misses)
			metrics.WriteCounterUint64(w, "llmopt_cache_writes_total"+label, stored)
			metrics.WriteCounterUint64(w, "llmopt_cache_evicted_total"+label, evicted)
			metrics.WriteCounterUint64(w, "llmopt_cache_rejected_total"+label, rejected)
		}
		m := &s.Memory
		tier("memory", m.Entries, m.Bytes, m.Limit, m.Hits, m.Misses, m.Stored, m.Evicted, m.Rejected)
		if d := s.Disk; d != nil {
			tier("disk", d.Entries, d.Bytes, d.Limit, d.Hits, d.Misses, d.Stored, d.Evicted, d.Rejected+d.Overflowed+d.Unwritten)
			up := uint64(0)
			if d.Up && !d.Open {
				up = 1
			}
			metrics.WriteGaugeUint64(w, "llmopt_cache_disk_up", up)
			metrics.WriteCounterUint64(w, "llmopt_cache_disk_failures_total", d.Failures+d.Timeouts+d.Corrupt)
		}
	})
	return set
}
