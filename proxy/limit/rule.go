package limit

import (
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Dimension is what a limit counts.
type Dimension uint8

// The dimensions.
const (
	Requests     Dimension = iota
	InputTokens            // of prompts, those read from a prompt cache included, as the caller of Reserve counts them
	OutputTokens           // of answers
	Tokens                 // both together
	Concurrent             // requests at a time
	Spend                  // NanoUSD
	dimensions
)

var dimensionNames = [dimensions]string{"requests", "input tokens", "output tokens", "tokens", "concurrent requests", "spend"}

// String is the dimension's name in messages.
func (d Dimension) String() string {
	if d >= dimensions {
		return ""
	}
	return dimensionNames[d]
}

// ID stands for a caller, a route or a target: a name, or the keyed hash of a credential. 0 stands for none.
type ID uint64

// Name makes the ID of a name.
func Name(s string) ID { return ID(max(xxhash.Sum64String(s), 1)) }

// NameOf is Name of bytes.
func NameOf(b []byte) ID { return ID(max(xxhash.Sum64(b), 1)) }

// Limit is one number that may not be exceeded.
type Limit struct {
	Of    Dimension
	Per   Period // of Concurrent none
	Most  int64  // requests, tokens or NanoUSD; 0 lets nothing through
	Burst int64  // requests or tokens that may come at once; 0: as many as in a whole period
	// Smooth spaces requests out evenly in place of bursts, and is the longest that one has to wait for its turn. Only for requests and tokens.
	Smooth  time.Duration
	Rolling bool           // of Spend: the time that is past, in place of the calendar's minute, hour, day or month
	Zone    *time.Location // of the calendar; nil: UTC

	filled rate // as rate says, once in force
}

func (l *Limit) zone() *time.Location {
	if l.Zone == nil {
		return time.UTC
	}
	return l.Zone
}

// bucketed tells that the limit is kept by a bucket.
func (l *Limit) bucketed() bool { return l.Of <= Tokens }

func (l *Limit) rate() rate {
	if l.filled.period != 0 {
		return l.filled
	}
	r := rate{most: l.Most, period: int64(l.Per.Length()), burst: l.Burst}
	if r.burst == 0 {
		r.burst = l.Most
	}
	if l.Smooth > 0 {
		r.burst = 0
	}
	return r
}

// same tells that the counts of o go on as those of l, though the numbers may differ.
func (l *Limit) same(o *Limit) bool {
	return l.Of == o.Of && l.Per == o.Per && l.Rolling == o.Rolling && l.Smooth > 0 == (o.Smooth > 0) && l.zone().String() == o.zone().String()
}

func (l *Limit) check() error {
	timed := l.Of != Concurrent
	switch {
	case l.Of >= dimensions:
		return fmt.Errorf("dimension %d: unknown", l.Of)
	case timed && l.Per.Length() == 0:
		return fmt.Errorf("%s: period %d: unknown", l.Of, l.Per)
	case l.Most < 0 || l.Burst < 0 || l.Smooth < 0:
		return fmt.Errorf("%s: numbers below 0", l.Of)
	case !l.bucketed() && (l.Burst != 0 || l.Smooth != 0):
		return fmt.Errorf("%s: burst and smooth are for requests and tokens", l.Of)
	case l.Of != Spend && l.Rolling:
		return fmt.Errorf("%s: rolling is for spend", l.Of)
	}
	return nil
}

// Scope says which callers, routes or targets a rule is for. The zero value is all, together.
type Scope struct {
	Each bool // every one on its own; those that a request does not name are one, too
	Only ID   // this one; 0: all
}

func (s Scope) holds(id ID) bool { return s.Only == 0 || s.Only == id }

// Rule is a set of limits for those whom it is for. Several rules may be for a request: it needs room in all of them.
type Rule struct {
	Name                  string // unique; state outlives Configure under it
	Caller, Route, Target Scope
	Limits                []Limit
	Observe               bool // count, and let everything through
}

// ofTarget tells that the rule can be applied only when a target has been chosen.
func (r *Rule) ofTarget() bool { return r.Target != Scope{} }

func (r *Rule) check() error {
	for i := range r.Limits {
		if err := r.Limits[i].check(); err != nil {
			return fmt.Errorf("limit %d: %w", i+1, err)
		}
		for j := range i {
			if r.Limits[i].same(&r.Limits[j]) {
				return fmt.Errorf("limit %d: counts the same as limit %d", i+1, j+1)
			}
		}
	}
	return nil
}
