package config

import (
	"maps"
	"slices"
	"time"
)

// Config is the whole of the settings, validated. It is immutable once Load has returned it and safe to share.
//
// The tags are the schema: koanf names the key, allow lists the permitted values and ranges, kind picks a check of
// strings that no list can state, reload:"restart" marks keys that a reload can't change. default.toml repeats all of them in its
// comments, which a test compares.
type Config struct {
	Server  Server  `koanf:"server"`
	Admin   Admin   `koanf:"admin"`
	Log     Log     `koanf:"log"`
	Prices  Prices  `koanf:"prices"`
	Windows Windows `koanf:"windows"`
	Storage Storage `koanf:"storage"`

	Schedule Schedule `koanf:"schedule"`

	Optimizer Optimizer `koanf:"optimizer"`

	Telemetry Telemetry `koanf:"telemetry"`

	Cache Cache `koanf:"cache"`

	// Providers by name. The map and its values must not be changed.
	Providers map[string]Provider `koanf:"providers"`

	// Routes by name. The map and its values must not be changed.
	Routes map[string]Route `koanf:"routes"`

	// Callers by name, and Limits. The maps and their values must not be changed.
	Callers   map[string]Caller `koanf:"callers"`
	Limits    map[string]Limit  `koanf:"limits"`
	Admission Admission         `koanf:"admission"`

	Alerts Alerts `koanf:"alerts"`
	Budget Budget `koanf:"budget"` // of all traffic

	// FlagSettings are the feature flags by name, as configured; Flags are the same for the request path.
	FlagSettings map[string]Flag `koanf:"flags"`
	Flags        *FlagSet        `koanf:"-"`

	Profile string `koanf:"-"` // development, production, test, or empty

	files []string
	sum   Fingerprint // of files
}

// Files returns the paths of the files that settings came from or name and whose change a reload takes over, in ascending order
// (configuration files, secrets, certificates), and what they held.
func (c *Config) Files() ([]string, Fingerprint) { return c.files, c.sum }

// ProviderNames returns the names of the providers in ascending order.
func (c *Config) ProviderNames() []string { return slices.Sorted(maps.Keys(c.Providers)) }

// Server is the data plane: the listener that clients talk to.
type Server struct {
	Listen  string `koanf:"listen" kind:"listen" reload:"restart"`
	Socket  string `koanf:"unix_socket" kind:"socket" reload:"restart"` // path of a Unix socket to listen on as well; empty: none
	TLSCert string `koanf:"tls_cert" kind:"path"`                       // PEM chain; TLS when set, together with TLSKey
	TLSKey  string `koanf:"tls_key" kind:"path"`

	ReplayLimit Size `koanf:"replay_limit" allow:"0B..1GiB"` // larger bodies stream through with one attempt
	MaxBody     Size `koanf:"max_body" allow:"1B..16GiB"`    // larger bodies are refused with 413
	MaxHeader   Size `koanf:"max_header" allow:"4KiB..16MiB" reload:"restart"`

	HeaderTimeout   time.Duration `koanf:"header_timeout" allow:"10ms..10m" reload:"restart"`
	BodyTimeout     time.Duration `koanf:"body_timeout" allow:"10ms..24h"` // longest pause between two reads of a body
	IdleTimeout     time.Duration `koanf:"idle_timeout" allow:"10ms..24h" reload:"restart"`
	WriteTimeout    time.Duration `koanf:"write_timeout" allow:"10ms..24h"` // one stalled write
	ShutdownTimeout time.Duration `koanf:"shutdown_timeout" allow:"0s..24h"`
	DrainDelay      time.Duration `koanf:"drain_delay" allow:"0s..1h"` // between not being ready and accepting nothing

	ResponseHeaders bool    `koanf:"response_headers"` // add the x-llmopt-… headers
	MaxConnections  int     `koanf:"max_connections" allow:"1..1048576" reload:"restart"`
	MemoryLimit     Size    `koanf:"memory_limit" allow:"0B, 16MiB..64TiB" reload:"restart"` // 0: that of the environment
	MemoryThreshold Percent `koanf:"memory_threshold" allow:"10..100" reload:"restart"`      // of it, from which on exchanges are refused
	RawIO           bool    `koanf:"raw_io" reload:"restart"`                                // bare system calls on sockets, where the system has them
	HashKey         Secret  `koanf:"hash_key" reload:"restart"`                              // keys the hashes of callers and sessions; empty: random at each start
}

// Admin is the listener for operators: metrics, health, control API.
type Admin struct {
	Listen   string `koanf:"listen" kind:"listen" reload:"restart"`
	TLSCert  string `koanf:"tls_cert" kind:"path"` // PEM chain; TLS when set, together with TLSKey
	TLSKey   string `koanf:"tls_key" kind:"path"`
	ClientCA string `koanf:"client_ca" kind:"path"` // PEM; clients must show a certificate of it
	Pprof    bool   `koanf:"pprof" reload:"restart"`
	Token    Secret `koanf:"token" kind:"credential" reload:"restart"` // demanded when Listen is not a loopback address
}

// Log is the program's own log and the access log.
type Log struct {
	Level      string        `koanf:"level" allow:"debug, info, warn, error"`
	Format     string        `koanf:"format" allow:"json, console" reload:"restart"`
	Access     string        `koanf:"access" kind:"sink" reload:"restart"`            // stdout, stderr, off or the path of a file
	MaxSize    Size          `koanf:"max_size" allow:"1MiB..1TiB" reload:"restart"`   // of one access log file before it is rotated
	MaxBackups int           `koanf:"max_backups" allow:"0..10000" reload:"restart"`  // rotated files kept; 0: all
	MaxAge     time.Duration `koanf:"max_age" allow:"0s, 1d..3650d" reload:"restart"` // of rotated files; 0: no limit
	Compress   bool          `koanf:"compress" reload:"restart"`                      // gzip rotated files
	Levels     Levels        `koanf:"levels"`
}

// Levels are those of the parts of the program that have one of their own. Empty: Log.Level.
type Levels struct {
	Server  string `koanf:"server" allow:"\"\", debug, info, warn, error"`
	Proxy   string `koanf:"proxy" allow:"\"\", debug, info, warn, error"`
	Admin   string `koanf:"admin" allow:"\"\", debug, info, warn, error"`
	Storage string `koanf:"storage" allow:"\"\", debug, info, warn, error"`
	State   string `koanf:"state" allow:"\"\", debug, info, warn, error"`
	Jobs    string `koanf:"jobs" allow:"\"\", debug, info, warn, error"`

	Optimizer string `koanf:"optimizer" allow:"\"\", debug, info, warn, error"`
}

// Prices says where model prices come from besides the embedded table.
type Prices struct {
	File    string        `koanf:"file" kind:"path"`              // in the format of LiteLLM's price list; empty: none
	Refresh time.Duration `koanf:"refresh" allow:"0s, 10ms..24h"` // how often File is looked at; 0: never again
}

// Windows bounds the memory of the statistics.
type Windows struct {
	MaxSeries int `koanf:"max_series" allow:"1..100000" reload:"restart"`
}

// Storage says where durable state goes, and how much of it is kept.
type Storage struct {
	Dir        string    `koanf:"dir" kind:"dir" reload:"restart"` // empty: memory only
	MinFree    Size      `koanf:"min_free" allow:"0B..1TiB" reload:"restart"`
	MaxSize    Size      `koanf:"max_size" allow:"64MiB..16TiB" reload:"restart"`
	BackupDir  string    `koanf:"backup_dir" kind:"dir"` // empty: no scheduled backups
	BackupKeep int       `koanf:"backup_keep" allow:"1..10000"`
	Retention  Retention `koanf:"retention"`
}

// Retention says how long what is kept.
type Retention struct {
	Finest    time.Duration `koanf:"seconds" allow:"10m..7d"` // windows in slots of ten seconds
	Minutes   time.Duration `koanf:"minutes" allow:"3h..90d"`
	Hours     time.Duration `koanf:"hours" allow:"8d..3650d"`
	Totals    time.Duration `koanf:"totals" allow:"1d..3650d"`
	Journal   time.Duration `koanf:"journal" allow:"1d..3650d"`
	Snapshots int           `koanf:"snapshots" allow:"1..1000000"` // policy snapshots
}

// Schedule says when background jobs run, as cron expressions of five fields, or of six with seconds first; empty: never.
type Schedule struct {
	Timezone  string        `koanf:"timezone" kind:"timezone"`
	Rollup    string        `koanf:"rollup" kind:"cron"`
	Retention string        `koanf:"retention" kind:"cron"`
	Backup    string        `koanf:"backup" kind:"cron"`
	Rotate    string        `koanf:"rotate" kind:"cron"`
	Optimize  string        `koanf:"optimize" kind:"cron"`
	Analyse   string        `koanf:"analyse" kind:"cron"`
	Jitter    time.Duration `koanf:"jitter" allow:"0s..1h"`   // longest random delay of jobs that run hourly or less often
	Timeout   time.Duration `koanf:"timeout" allow:"1s..24h"` // of one run of a job
}

// Telemetry says which OpenTelemetry collector gets spans and metrics.
type Telemetry struct {
	Endpoint      string        `koanf:"endpoint" kind:"endpoint" reload:"restart"` // empty: none
	Protocol      string        `koanf:"protocol" allow:"grpc, http" reload:"restart"`
	Authorization Secret        `koanf:"authorization" kind:"credential" reload:"restart"` // value of the Authorization header
	Service       string        `koanf:"service" kind:"namespace" reload:"restart"`
	Traces        bool          `koanf:"traces" reload:"restart"`
	Sample        Percent       `koanf:"sample" allow:"0..100" reload:"restart"` // of the exchanges whose client has not decided it
	Metrics       bool          `koanf:"metrics" reload:"restart"`
	Interval      time.Duration `koanf:"interval" allow:"1s..1h" reload:"restart"` // between two deliveries of metrics
}

// Provider is a vendor or server that requests can go to.
type Provider struct {
	Name         string            `koanf:"-"` // its key in Config.Providers: [a-z0-9_]+
	Dialect      string            `koanf:"dialect" allow:"openai, anthropic, gemini"`
	BaseURL      string            `koanf:"base_url" kind:"base_url"`                                      // http or https; no query, no fragment, no user
	APIKey       Secret            `koanf:"api_key" kind:"credential"`                                     // empty: the client's own goes through
	Auth         string            `koanf:"auth" allow:"\"\", bearer, x-api-key, api-key, x-goog-api-key"` // header that carries APIKey; empty: by dialect
	Headers      map[string]Secret `koanf:"headers"`                                                       // set on every request; names in lower case; must not be changed
	PricedAs     string            `koanf:"priced_as" kind:"namespace"`                                    // the price list's name of the provider; empty: told by PriceHint
	RequestUsage bool              `koanf:"request_usage"`                                                 // ask streams for usage (stream_options.include_usage)
	Timeouts     Timeouts          `koanf:"timeouts"`
	TLS          TLS               `koanf:"tls"`
	Pacing       Pacing            `koanf:"pacing"`
	MaxIdle      int               `koanf:"max_idle" allow:"1..65536"`     // idle connections kept
	IdleTimeout  time.Duration     `koanf:"idle_timeout" allow:"10ms..1h"` // of a kept connection
}

// Timeouts are the deadlines of one attempt. Zero means none, where it is allowed.
type Timeouts struct {
	Connect   time.Duration `koanf:"connect" allow:"1ms..5m"`         // TCP and TLS handshake
	FirstByte time.Duration `koanf:"first_byte" allow:"0s, 1ms..24h"` // from the request sent to the first byte of the answer
	Idle      time.Duration `koanf:"idle" allow:"0s, 1ms..24h"`       // between two reads of the answer
	Total     time.Duration `koanf:"total" allow:"0s, 1ms..7d"`       // of the whole attempt
}

// TLS says how a provider's certificate is checked.
type TLS struct {
	CA         string `koanf:"ca" kind:"path"`              // PEM file trusted in place of the system's; empty: the system's
	CASum      string `koanf:"-"`                           // SHA-256 of its contents, by which a change is noticed
	Insecure   bool   `koanf:"insecure"`                    // check nothing
	ServerName string `koanf:"server_name" kind:"hostname"` // expected name and SNI; empty: the host of BaseURL
}
