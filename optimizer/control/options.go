package control

import (
	"context"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/optimizer/control/controlpb"
	"llm-auto-optimizer/proxy/policy"
)

// Version says which build is running.
type Version struct {
	Version string `json:"version"` // v1.2.3, the module's pseudo-version or "devel"
	Commit  string `json:"commit"`  // empty when unknown
	Date    string `json:"date"`    // of the commit, RFC 3339; empty when unknown
	Go      string `json:"go"`      // release of the toolchain
}

// Saved is what has been saved besides the optimizer's doing. The fields of its JSON object stand beside the optimizer's.
type Saved interface {
	Text() string // for people
}

// Options are what the service shows and how it is guarded. Functions and pointers must be safe for concurrent use and
// must not block for long.
type Options struct {
	Version  Version
	ProxyURL string // where clients connect, as http://host:port
	AdminURL string // where this service listens

	Token config.Secret // demanded as a bearer token when set
	Host  string        // name that requests may use besides localhost and loopback addresses when there is no token
	Pprof bool          // serve /debug/pprof/

	Providers func() map[string]config.Provider // those in force, by name; a map that was returned never changes
	Policy    *policy.Holder
	Mode      func() optimizer.Mode // how far any tuner may go; nil: observe
	Ready     func() error          // nil when the server can serve, else why not; nil function: always ready. The reason is public
	Notices   func() []string       // troubles that do not keep the server from serving; nil: none. They are public
	Windows   Windows
	Jobs      Jobs                                             // nil: none
	State     State                                            // nil: nothing is stored
	Routes    Routes                                           // nil: none
	Limits    func(most int) *controlpb.ListLimitsResponse     // nil: none
	Optimizer Optimizer                                        // nil: none
	Cache     Cache                                            // nil: none
	Saved     func(ctx context.Context, since time.Time) Saved // what has been saved since then, besides the optimizer's doing; nil: nothing is
	Metrics   []*metrics.Set                                   // shown at /metrics besides the process's and the service's own
	Log       zerolog.Logger

	Now func() time.Time // nil: time.Now
}
