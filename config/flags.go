package config

import (
	"bytes"
	"math"
	"slices"
	"strings"
)

// FlagID names a feature flag. Flags are what the code asks for; the configuration can only set those.
type FlagID uint8

// The feature flags, in the order of flagNames.
const (
	FlagRequestUsage    FlagID = iota // ask streams for their usage, where a provider's request_usage allows it
	FlagResponseHeaders               // add the x-llmopt-… headers, where server.response_headers allows it
	flagCount
)

var flagNames = [flagCount]string{"request_usage", "response_headers"}

// Flag switches a behaviour on for some exchanges. All conditions must hold.
type Flag struct {
	Enabled      bool     `koanf:"enabled"`
	Percent      Percent  `koanf:"percent" allow:"0..100"`       // of callers
	Share        Percent  `koanf:"share" allow:"0..100"`         // of exchanges, at random
	Environments []string `koanf:"environments" kind:"profiles"` // empty: any
	Routes       []string `koanf:"routes"`                       // empty: any
	Headers      []string `koanf:"headers" kind:"pairs"`         // "name: value" of the request, one of them; empty: any
	Tags         []string `koanf:"tags"`                         // of the request's x-llmopt-tags, one of them; empty: any
}

// TagsHeader is the request header that names an exchange's tags, separated by commas.
const TagsHeader = "x-llmopt-tags"

// Subject is what a flag is asked about.
type Subject struct {
	Caller uint64                   // who sent the request; callers without a name share one
	Draw   uint64                   // evenly distributed at random, one per exchange
	Route  string                   // its name
	Header func(name string) []byte // of the request, by name in lower case; asked only by flags with such conditions
}

// FlagSet holds the flags as the request path asks for them. It is immutable and safe to share. In the nil set every flag is on.
type FlagSet [flagCount]rule

// rule is a compiled flag.
type rule struct {
	enabled        bool
	seed           uint64
	callers, share uint64 // a number below it is in
	routes         []string
	headers        []pair
	tags           [][]byte
}

type pair struct {
	name  string // in lower case
	value []byte
}

// newFlagSet compiles flags for a profile.
func newFlagSet(flags map[string]Flag, profile string) *FlagSet {
	var set FlagSet
	for id, name := range flagNames {
		f := flags[name]
		c := rule{
			enabled: f.Enabled && (len(f.Environments) == 0 || slices.Contains(f.Environments, profile)),
			seed:    seedOf(name),
			callers: f.Percent.threshold(),
			share:   f.Share.threshold(),
			routes:  f.Routes,
		}
		for _, h := range f.Headers {
			name, value, _ := strings.Cut(h, ":")
			c.headers = append(c.headers, pair{strings.ToLower(strings.TrimSpace(name)), []byte(strings.TrimSpace(value))})
		}
		for _, t := range f.Tags {
			c.tags = append(c.tags, []byte(t))
		}
		set[id] = c
	}
	return &set
}

// On tells whether a flag is on for a subject. A caller that a percentage lets in stays in when the percentage rises. It
// allocates nothing.
func (s *FlagSet) On(id FlagID, of *Subject) bool {
	if s == nil {
		return true
	}
	f := &s[id]
	switch {
	case !f.enabled:
		return false
	case f.callers != math.MaxUint64 && mix(of.Caller^f.seed) >= f.callers:
		return false
	case f.share != math.MaxUint64 && mix(of.Draw^f.seed) >= f.share:
		return false
	case len(f.routes) > 0 && !slices.Contains(f.routes, of.Route):
		return false
	}
	return (len(f.headers) == 0 || f.hasHeader(of)) && (len(f.tags) == 0 || f.hasTag(of))
}

func (f *rule) hasHeader(of *Subject) bool {
	for i := range f.headers {
		if value := of.Header(f.headers[i].name); value != nil && bytes.Equal(value, f.headers[i].value) {
			return true
		}
	}
	return false
}

func (f *rule) hasTag(of *Subject) bool {
	for rest := of.Header(TagsHeader); len(rest) > 0; {
		var tag []byte
		tag, rest, _ = bytes.Cut(rest, []byte{','})
		tag = bytes.TrimSpace(tag)
		for _, t := range f.tags {
			if bytes.Equal(tag, t) {
				return true
			}
		}
	}
	return false
}

// seedOf keeps the flags apart: each lets in other callers first. FNV-1a, 64 bits.
func seedOf(name string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return h
}

// mix spreads the bits of x evenly: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Percent is a share of a hundred, 0 to 100.
type Percent float64

// threshold is the number below which evenly distributed numbers fall with this share; the largest for all of them.
func (p Percent) threshold() uint64 {
	if p >= 100 {
		return math.MaxUint64
	}
	return uint64(float64(p) / 100 * math.MaxUint64)
}
