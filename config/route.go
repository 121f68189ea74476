package config

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Route is what clients name by a model, and the targets that may serve it.
type Route struct {
	Name string `koanf:"-"` // its key in Config.Routes

	Match     Match     `koanf:"match"`
	Objective Objective `koanf:"objective"`
	Fallback  Fallback  `koanf:"fallback"`
	Classes   Classes   `koanf:"classes"`
	Budget    Budget    `koanf:"budget"`

	Attempts        int           `koanf:"attempts" allow:"1..20"`                // of one exchange, fallbacks included
	RetryOn         []string      `koanf:"retry_on" kind:"statuses"`              // of answers that are failures of the target
	RetryBudget     Fraction      `koanf:"retry_budget" allow:"0.01..1"`          // of exchanges under way that may be repetitions
	Backoff         time.Duration `koanf:"backoff" allow:"0s..1m"`                // before the first repetition at the same target
	MaxWait         time.Duration `koanf:"max_wait" allow:"0s..10m"`              // before any repetition
	FailFast        bool          `koanf:"fail_fast"`                             // refuse while every target is ejected
	FirstByteFactor float64       `koanf:"first_byte_factor" allow:"0, 1.5..100"` // times a target's 99th percentile; 0: timeouts alone
	Affinity        bool          `koanf:"affinity"`                              // send what begins alike to the same target
	Exploration     Fraction      `koanf:"exploration" allow:"0..0.2"`            // of choices that are by chance
	PromptCache     string        `koanf:"prompt_cache" allow:"off, 5m, 1h"`      // mark prompts for Anthropic's cache, for that lifetime
	Hedge           Fraction      `koanf:"hedge" allow:"0..0.5"`                  // of exchanges that may be hedged; 0: none
	Overrides       []string      `koanf:"overrides" kind:"overrides"`            // what a request may set for itself
	Ejection        Ejection      `koanf:"ejection"`

	Optimizer RouteOptimizer `koanf:"optimizer"`

	Cache CacheRules `koanf:"cache"`

	// Targets by name. The map and its values must not be changed.
	Targets map[string]Target `koanf:"targets"`

	order int // in the file
}

// Match says which requests a route is for: those that meet all of its conditions.
type Match struct {
	Model  []string          `koanf:"model" kind:"patterns"` // names, with * for any run of characters; empty: any model
	Header map[string]string `koanf:"header"`                // of the request; "*" for any value
	Tag    []string          `koanf:"tag"`                   // in x-llmopt-tags, one is enough
}

// Objective is what the route is to achieve.
type Objective struct {
	TTFTp95      time.Duration `koanf:"ttft_p95" allow:"0s, 1ms..1h"` // 0: none
	ErrorRate    Fraction      `koanf:"error_rate" allow:"0..1"`      // 0: none
	MaxCostPer1K string        `koanf:"max_cost_per_1k" kind:"money"` // of a thousand exchanges; empty: none
	Quality      Fraction      `koanf:"quality" allow:"0..1"`         // 0: none
}

// Fallback are the chains of what is tried by cause: names of targets of the route, or of routes.
type Fallback struct {
	Error     []string `koanf:"error"`
	Context   []string `koanf:"context"`
	Content   []string `koanf:"content"`
	RateLimit []string `koanf:"rate_limit"`
	Budget    []string `koanf:"budget"`
}

// Classes are the cuts between workload classes: up to the first two numbers is light, up to the others medium.
type Classes struct {
	LightInput   int `koanf:"light_input" allow:"1..10000000"`
	MediumInput  int `koanf:"medium_input" allow:"1..10000000"`
	LightOutput  int `koanf:"light_output" allow:"1..10000000"`
	MediumOutput int `koanf:"medium_output" allow:"1..10000000"`
}

// Ejection says when a failing target is taken out, and for how long.
type Ejection struct {
	Enabled   bool          `koanf:"enabled"`
	FalseIn   int           `koanf:"false_in" allow:"1000..1000000000"` // attempts between false ejections
	Base      time.Duration `koanf:"base" allow:"100ms..1h"`
	Max       time.Duration `koanf:"max" allow:"100ms..24h"`
	SlowStart time.Duration `koanf:"slow_start" allow:"0s..1h"`
}

// Target is a provider, a model and a key.
type Target struct {
	Name           string      `koanf:"-"`
	Provider       string      `koanf:"provider" kind:"provider"`
	Model          string      `koanf:"model" kind:"model"`                 // empty: as the client names it
	Key            Secret      `koanf:"key" kind:"credential"`              // empty: that of the provider, else the client's own
	Weight         float64     `koanf:"weight" allow:"0..1000000"`          // relative to the others'
	Priority       int         `koanf:"priority" allow:"0..1000"`           // the lowest that has a usable target is used
	MaxConcurrency int         `koanf:"max_concurrency" allow:"0..1000000"` // 0: no bound
	Region         string      `koanf:"region" kind:"namespace"`
	Quality        Fraction    `koanf:"quality" allow:"0..1"` // of its answers, as the operator judges it; 0: not known
	Price          TargetPrice `koanf:"price"`

	order int // in the file
}

// TargetPrice overrides the price list, in US dollars per million tokens. Empty: as in the list.
type TargetPrice struct {
	Input      string `koanf:"input" kind:"money"`
	Output     string `koanf:"output" kind:"money"`
	CacheRead  string `koanf:"cache_read" kind:"money"`
	CacheWrite string `koanf:"cache_write" kind:"money"`
}

// Fraction is a number from 0 to 1.
type Fraction float64

// RouteList returns the routes in the order of the file.
func (c *Config) RouteList() []Route {
	list := make([]Route, 0, len(c.Routes))
	for _, r := range c.Routes {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b Route) int { return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.Name, b.Name)) })
	return list
}

// PromptCacheLifetime is how long the provider is asked to keep the prompts that are marked for its cache; 0: none are marked.
func (r *Route) PromptCacheLifetime() time.Duration {
	switch r.PromptCache {
	case "5m":
		return 5 * time.Minute
	case "1h":
		return time.Hour
	}
	return 0
}

// TargetList returns the route's targets in the order of the file.
func (r *Route) TargetList() []Target {
	list := make([]Target, 0, len(r.Targets))
	for _, t := range r.Targets {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b Target) int { return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.Name, b.Name)) })
	return list
}

// Override returns the price that the target's settings state; what they leave out is as listed, which may be nil. It returns nil where they
// state nothing, or too little for a model that has no listed price: both input and output are needed then.
func (p *TargetPrice) Override(list *Price) *Price {
	var own []listed
	for _, v := range [...]struct {
		kind kind
		text string
	}{{kindInput, p.Input}, {kindOutput, p.Output}, {kindCacheRead, p.CacheRead}, {kindWrite5m, p.CacheWrite}} {
		if v.text == "" {
			continue
		}
		amount, err := parseMoney(v.text, perMillion)
		if err != nil {
			panic("BUG: price was checked: " + err.Error())
		}
		own = append(own, listed{value: amount, kind: v.kind})
	}
	if len(own) == 0 || list == nil && (p.Input == "" || p.Output == "") {
		return nil
	}
	key := "override"
	if list != nil {
		key = list.key
		for _, l := range list.listed {
			if !slices.ContainsFunc(own, func(o listed) bool { return o.kind == l.kind }) {
				own = append(own, l)
			}
		}
	}
	return newPrice(key, "", own)
}

// Scales of money in settings.
const (
	perMillion = 6 // US dollars per million tokens, in PicoUSD per token
	nanoScale  = 9 // US dollars in NanoUSD
)

// MaxCost returns the bound on what a thousand exchanges may cost; 0 where there is none.
func (o *Objective) MaxCost() NanoUSD {
	if o.MaxCostPer1K == "" {
		return 0
	}
	n, err := parseMoney(o.MaxCostPer1K, nanoScale)
	if err != nil {
		panic("BUG: money was checked: " + err.Error())
	}
	return NanoUSD(n)
}

// parseMoney reads an amount such as "$2" or "0.25".
func parseMoney(s string, scale int) (int64, error) {
	return scaleDecimal(strings.TrimPrefix(strings.TrimSpace(s), "$"), scale)
}

func checkMoney(s string) string {
	if s == "" {
		return ""
	}
	if _, err := parseMoney(s, nanoScale); err != nil {
		return err.Error()
	}
	return ""
}

// overrideNames are what a request may set for itself, by x-llmopt-target and x-llmopt-route-options.
var overrideNames = []string{"target", "attempts", "timeout", "affinity", "hedge"}

func checkOverride(s string) string {
	if slices.Contains(overrideNames, s) {
		return ""
	}
	return "not a list of " + strings.Join(overrideNames, ", ")
}

func checkStatus(s string) string {
	if len(s) == 3 && (s[0] == '4' || s[0] == '5') && (s[1:] == "xx" || digits(s[1:])) {
		return ""
	}
	return "not a list of statuses"
}

// checkPattern takes names of models.
func checkPattern(s string) string {
	if strings.TrimSpace(s) != s {
		return "has blanks at its ends"
	}
	return ""
}

// isRouteName reports whether s can name a route or a target.
func isRouteName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !alphanumeric(c) && c != '_' && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= 64
}
