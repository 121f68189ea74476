package sim

import (
	"crypto/tls"
	"fmt"
	"time"
)

// Options set up a simulator. The zero value is a simulator that answers at once, without faults, with answers
// that depend on nothing but the requests.
type Options struct {
	// Seed makes two simulators say different things; with the same seed they say the same.
	Seed uint64

	// Directives apply to every request that does not say otherwise. See the package documentation.
	Directives Directives

	// Rates are the probabilities with which requests that ask for no fault themselves suffer one.
	Rates Rates

	// Script says what the first requests get, in order of arrival. It goes before Rates.
	Script Script

	// Capacity is the number of requests that are answered at full speed. With more in flight every waiting time
	// is stretched by inflight/Capacity. Zero: load does not matter.
	Capacity int

	// Quota is what is let through; more is refused with 429. The answers to what it counts are never prepared ones.
	Quota Quota

	// Minimal answers chat completions, completions, responses, embeddings, Anthropic messages and Gemini calls with
	// bytes prepared by New: requests are not parsed and cannot steer their answers, so that the simulator does not
	// limit a load test. Directives, Capacity and cancellation count as usual; faults do not.
	Minimal bool

	// CacheMinTokens is the shortest prompt prefix that providers cache. Zero stands for the real 1024, a negative
	// number turns prompt caching off.
	CacheMinTokens int

	// MaxBody is the largest request body in bytes; longer ones are answered with 413. Zero stands for 256 MiB.
	MaxBody int64

	// IdleTimeout closes connections on which no further request arrives for that long. Zero: never. The first may take its
	// time, as with servers that know a keep-alive timeout.
	IdleTimeout time.Duration

	// TLS makes Serve talk TLS, HTTP/1.1 only.
	TLS *tls.Config

	// Now is the clock of everything that is stated in answers. Nil stands for time.Now. A constant function makes
	// timestamps, and with ids=stable whole answers, functions of the request.
	Now func() time.Time
}

const (
	defaultCacheMinTokens = 1024
	defaultMaxBody        = 256 << 20
)

// check refuses what a parser would not have let through.
func (o *Options) check() error {
	if o.Capacity < 0 {
		return fmt.Errorf("capacity %d: must not be negative", o.Capacity)
	}
	if o.MaxBody < 0 {
		return fmt.Errorf("max body %d: must not be negative", o.MaxBody)
	}
	if o.IdleTimeout < 0 {
		return fmt.Errorf("idle timeout %v: must not be negative", o.IdleTimeout)
	}
	return nil
}

// setDefaults puts the documented values in the place of zeros.
func (o *Options) setDefaults() {
	if o.CacheMinTokens == 0 {
		o.CacheMinTokens = defaultCacheMinTokens
	}
	if o.MaxBody == 0 {
		o.MaxBody = defaultMaxBody
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}
