package config

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"time"
)

// Caller is who requests come from: whoever shows its credential, or sends its headers.
type Caller struct {
	Name       string            `koanf:"-"`                            // its key in Config.Callers
	Credential Secret            `koanf:"credential" kind:"credential"` // as clients send it; empty: told by Header
	Header     map[string]string `koanf:"header"`                       // all of them, in lower case; "*" for any value
	Priority   int               `koanf:"priority" allow:"-100..100"`   // of requests that wait: the higher goes first
}

// Limit is what may not be exceeded by those whom it is for. 0 or empty: no bound.
type Limit struct {
	Name   string `koanf:"-"`                   // its key in Config.Limits
	Caller string `koanf:"caller" kind:"scope"` // "*": all together; "each": every one on its own; else a name
	Route  string `koanf:"route" kind:"scope"`
	Target string `koanf:"target" kind:"scope"`

	RequestsPerSecond     int           `koanf:"requests_per_second" allow:"0..1000000000"`
	RequestsPerMinute     int           `koanf:"requests_per_minute" allow:"0..1000000000"`
	InputTokensPerMinute  int           `koanf:"input_tokens_per_minute" allow:"0..1000000000000"`
	OutputTokensPerMinute int           `koanf:"output_tokens_per_minute" allow:"0..1000000000000"`
	TokensPerMinute       int           `koanf:"tokens_per_minute" allow:"0..1000000000000"` // input and output together
	Concurrent            int           `koanf:"concurrent" allow:"0..1000000"`              // requests at a time
	USDPerMinute          string        `koanf:"usd_per_minute" kind:"money"`
	USDPerHour            string        `koanf:"usd_per_hour" kind:"money"`
	USDPerDay             string        `koanf:"usd_per_day" kind:"money"`
	USDPerMonth           string        `koanf:"usd_per_month" kind:"money"`
	Timezone              string        `koanf:"timezone" kind:"timezone"`    // of the calendar's hours, days and months
	Rolling               bool          `koanf:"rolling"`                     // dollars: the time that is past, in place of the calendar's
	Burst                 int           `koanf:"burst" allow:"0..1000000000"` // requests that may come at once; 0: a whole period's
	Smooth                time.Duration `koanf:"smooth" allow:"0s, 1ms..1m"`  // space requests out, each waiting so long at most; 0: let bursts through
	Observe               bool          `koanf:"observe"`                     // count, never refuse

	order int // in the file
}

// Admission says how requests wait that are over a limit.
type Admission struct {
	MaxWait time.Duration `koanf:"max_wait" allow:"0s..1m"`                      // of a request over a limit; 0: it is refused at once
	Waiters int           `koanf:"waiters" allow:"1..100000"`                    // requests that wait for one limit
	Jitter  time.Duration `koanf:"jitter" allow:"0s..1s"`                        // over which the starts of those are spread that waited
	Lease   time.Duration `koanf:"lease" allow:"10s..24h" reload:"restart"`      // after which what a request holds is free again, should it never end
	Entries int           `koanf:"entries" allow:"8..10000000" reload:"restart"` // callers, routes and targets that one limit keeps apart

	UnknownCallers string `koanf:"unknown_callers" allow:"serve, refuse"` // requests of callers without a name
}

var (
	callerType = reflect.TypeFor[Caller]()
	limitType  = reflect.TypeFor[Limit]()
)

// ownCallerKeys belong to one caller.
var ownCallerKeys = []string{"credential", "header"}

// Scopes of a limit besides names.
const (
	ScopeAll  = "*"    // all together
	ScopeEach = "each" // every one on its own
)

// directName is the route of requests that no route matches.
const directName = "direct"

// CallerList returns the callers by name.
func (c *Config) CallerList() []Caller {
	return slices.SortedFunc(maps.Values(c.Callers), func(a, b Caller) int { return cmp.Compare(a.Name, b.Name) })
}

// LimitList returns the limits in the order of the file.
func (c *Config) LimitList() []Limit {
	return slices.SortedFunc(maps.Values(c.Limits), func(a, b Limit) int { return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.Name, b.Name)) })
}

// Zone is the time zone of calendar periods.
func (l *Limit) Zone() *time.Location {
	zone, err := time.LoadLocation(l.Timezone)
	if err != nil {
		panic("BUG: time zone was checked: " + err.Error())
	}
	return zone
}

// Money is a setting's amount; 0 where it states none.
func Money(s string) NanoUSD {
	b := Budget{Amount: s}
	return b.Limit()
}

// buildLimits makes the callers and the limits on top of their defaults.
func (l *loader) buildLimits(c *Config, merged, callers, limits map[string]any) {
	c.Callers = make(map[string]Caller, len(callers))
	for _, name := range slices.Sorted(maps.Keys(callers)) {
		k := Caller{Name: name}
		l.assign(reflect.ValueOf(&k).Elem(), over(merged["caller_defaults"], callers[name]), "callers."+name+".")
		c.Callers[name] = k
	}
	c.Limits = make(map[string]Limit, len(limits))
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		k := Limit{Name: name, order: l.order["limits."+name]}
		l.assign(reflect.ValueOf(&k).Elem(), over(merged["limit_defaults"], limits[name]), "limits."+name+".")
		c.Limits[name] = k
	}
}
