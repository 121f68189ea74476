// Package policy holds the parameters that the request path obeys. A Snapshot is immutable; changing a parameter means
// publishing the next one.
package policy

import (
	"errors"
	"reflect"
	"sync/atomic"
	"time"
)

// ErrStale says that somebody else has published since the base snapshot was read.
var ErrStale = errors.New("policy snapshot is stale")

// Snapshot is one version of the parameters. It is never changed after it was published.
type Snapshot struct {
	Version   uint64 // counts up by one at each publish; the first is 1
	Providers map[string]Provider
	Routes    map[string]Route // by name
}

// Classes is the number of workload classes: light, medium, heavy.
const Classes = 3

// Route is how one route is served.
type Route struct {
	Parameters
	Static   *Parameters `json:"static,omitempty"`   // the operator's own settings, where the parameters in force are others; nil: the same
	Holdback float64     `json:"holdback,omitempty"` // share of the sessions that stay on Static
	Canary   *Canary     `json:"canary,omitempty"`   // nil: nothing is on trial
}

// Parameters are what an exchange of a route obeys.
type Parameters struct {
	Targets         map[string]Target `json:"targets"`
	RetryShare      float64           `json:"retry_share"`       // of the exchanges under way, that may be repetitions
	FirstByteFactor float64           `json:"first_byte_factor"` // times a target's 99th percentile, until an attempt is given up; 0: never
	HedgeShare      float64           `json:"hedge_share"`       // of exchanges and of their cost; 0: no hedging
	Cache           Cache             `json:"cache,omitzero"`
	Limits          Limits            `json:"limits,omitzero"`
}

// Cache holds the parameters of a route's answers in the cache. The zero value leaves all to the configuration.
type Cache struct {
	TTL   [Classes]float64 `json:"ttl_s"` // seconds that an answer is given out, by class; 0: as configured
	Worth float64          `json:"worth"` // US dollars for a MiB that an answer must have cost to be kept; 0: any
	Share float64          `json:"share"` // of the memory for answers, that the route's may occupy; 0: any
}

// Limits holds the parameters of how a route's exchanges keep to the limits that they are under. The zero value leaves all to the configuration.
type Limits struct {
	Output   float64 `json:"output"`      // times the output tokens that an answer is thought not to exceed, which are reserved; 0: 1
	Wait     float64 `json:"wait_s"`      // seconds that a request over a limit of the gateway may wait; 0: as configured
	PaceWait float64 `json:"pace_wait_s"` // seconds that a request may wait for room in the limits of providers; 0: as configured
}

// Target holds the parameters of one target of a route.
type Target struct {
	Weights [Classes]float64 `json:"weights"`        // its part of the traffic by class, relative to the others'; 0 stays 0
	Pace    float64          `json:"pace,omitempty"` // share of the limits that its provider tells of, which is used; 0: as configured
}

// Provider holds the parameters of one provider, by its name in the configuration.
type Provider struct {
	Timeouts     Timeouts `json:"timeouts"`
	RequestUsage bool     `json:"request_usage"` // ask OpenAI-compatible streams for their usage
	Pacing       Pacing   `json:"pacing,omitzero"`
}

// Pacing bounds what the request path finds out of a provider's limits. The zero value leaves all to its own defaults.
type Pacing struct {
	Share         float64       `json:"share"`          // of the limits that the provider tells of, which is used
	MaxWait       time.Duration `json:"max_wait_ns"`    // of a request for room
	MinConcurrent int           `json:"min_concurrent"` // attempts at a time that a target can come down to
	MaxConcurrent int           `json:"max_concurrent"` // that it can go up to; 0: no bound
}

// Timeouts bound the phases of one attempt. Zero means no bound.
type Timeouts struct {
	Connect   time.Duration `json:"connect_ns"`    // until the connection stands, TLS included
	FirstByte time.Duration `json:"first_byte_ns"` // from the request's last byte to the answer's head
	Idle      time.Duration `json:"idle_ns"`       // between two reads of the answer's body
	Total     time.Duration `json:"total_ns"`      // of the whole attempt
}

// Adopt takes over from an earlier snapshot what was tuned of routes whose own settings are still the same. A trial is not: its time is over. The
// snapshot given stays as it is.
func (s *Snapshot) Adopt(earlier *Snapshot) (next Snapshot, routes int) {
	next = *s
	next.Routes = make(map[string]Route, len(s.Routes))
	for name, r := range s.Routes {
		e, known := earlier.Routes[name]
		if known && r.Static == nil && e.Static != nil && reflect.DeepEqual(*e.Static, r.Parameters) {
			r = Route{Parameters: e.Parameters, Static: e.Static, Holdback: e.Holdback}
			routes++
		}
		next.Routes[name] = r
	}
	return next, routes
}

// Holder holds the snapshot in force. It is safe for concurrent use.
type Holder struct{ current atomic.Pointer[Snapshot] }

// NewHolder puts a first snapshot in force, as version 1.
func NewHolder(first Snapshot) *Holder {
	first.Version = 1
	h := &Holder{}
	h.current.Store(&first)
	return h
}

// Load is the snapshot in force. The caller must not change it.
func (h *Holder) Load() *Snapshot { return h.current.Load() }

// Publish puts next in force, as the version after base. It fails with ErrStale when base is no longer in force, so that
// two writers cannot overwrite each other unseen.
func (h *Holder) Publish(base *Snapshot, next Snapshot) (*Snapshot, error) {
	next.Version = base.Version + 1
	if !h.current.CompareAndSwap(base, &next) {
		return nil, ErrStale
	}
	return &next, nil
}

// Resume counts on from the versions that an earlier run has used: the snapshot in force gets version, unless it has a higher one.
func (h *Holder) Resume(version uint64) *Snapshot {
	for {
		base := h.current.Load()
		if base.Version >= version {
			return base
		}
		next := *base
		next.Version = version
		if h.current.CompareAndSwap(base, &next) {
			return &next
		}
	}
}
