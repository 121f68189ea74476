package config

import "time"

// Cache says which answers are kept, and how much room there is for them.
type Cache struct {
	Memory Size `koanf:"memory" allow:"0B, 1MiB..16TiB"`                  // of answers in memory, overhead included; 0: none
	Disk   Size `koanf:"disk" allow:"0B, 128MiB..16TiB" reload:"restart"` // of answers below storage.dir; 0: none
	CacheRules
}

// CacheRules are what a route may say of its own. What it does not say is as in [cache].
type CacheRules struct {
	Enabled              bool          `koanf:"enabled"`
	TTL                  time.Duration `koanf:"ttl" allow:"1s..365d"`                    // how long an answer is given out
	Idle                 time.Duration `koanf:"idle" allow:"0s..365d"`                   // without being asked for, after which it goes; 0: never
	Store                string        `koanf:"store" allow:"deterministic, all"`        // which answers
	Shared               bool          `koanf:"shared"`                                  // give answers to other callers than those who got them
	Coalesce             bool          `koanf:"coalesce"`                                // have one call answer who asks the same at the same time
	Pace                 time.Duration `koanf:"pace" allow:"0s..1m"`                     // between two events of a kept stream; 0: none
	EarlyRefresh         float64       `koanf:"early_refresh" allow:"0..10"`             // how eagerly an answer is fetched anew before its ttl is over; 0: not at all
	StaleWhileRevalidate time.Duration `koanf:"stale_while_revalidate" allow:"0s..365d"` // past ttl, in which an answer is given out while a new one is fetched
	Revalidate           Fraction      `koanf:"revalidate" allow:"0..1"`                 // share of hits that are fetched anew, to learn how often answers change
	StaleIfError         time.Duration `koanf:"stale_if_error" allow:"0s..365d"`         // past ttl, in which an answer is given out when none can be had
	MaxEntry             Size          `koanf:"max_entry" allow:"1KiB..64MiB"`           // of one answer
	Finish               []string      `koanf:"finish"`                                  // reasons why an answer ended, with which it is kept; empty: those of whole answers
	Overrides            bool          `koanf:"overrides"`                               // obey x-llmopt-cache-key and x-llmopt-cache-ttl
	MaxTTL               time.Duration `koanf:"max_ttl" allow:"1s..365d"`                // that a request may set
}

// validateCache checks what no single value of the cache shows.
func (l *loader) validateCache(c *Config) {
	if c.Cache.Disk > 0 && c.Storage.Dir == "" {
		l.complain("cache.disk", quote(c.Cache.Disk.String()), "needs storage.dir beside it", "")
	}
}
