package config

import (
	"fmt"
	"time"
)

// Pacing says how the gateway keeps to the limits of a provider, which it learns from its answers: for each key and model by itself.
type Pacing struct {
	Enabled       bool          `koanf:"enabled"`
	Share         float64       `koanf:"share" allow:"0.5..1"`                    // of the limits that the provider tells of
	MaxWait       time.Duration `koanf:"max_wait" allow:"0s, 1ms..10m"`           // of a request for room; 0: none waits
	Waiters       int           `koanf:"waiters" allow:"1..100000"`               // at a time
	Concurrency   string        `koanf:"concurrency" allow:"off, aimd, gradient"` // how many attempts at a time suit a target is found out too
	MinConcurrent int           `koanf:"min_concurrent" allow:"1..100000"`
	MaxConcurrent int           `koanf:"max_concurrent" allow:"0..100000"` // 0: no bound
}

// validatePacing checks what no single value shows.
func (l *loader) validatePacing(p *Provider) {
	if most := p.Pacing.MaxConcurrent; most > 0 && most < p.Pacing.MinConcurrent {
		l.complain("providers."+p.Name+".pacing.max_concurrent", fmt.Sprint(most), fmt.Sprintf("less than min_concurrent, %d", p.Pacing.MinConcurrent), "")
	}
}
