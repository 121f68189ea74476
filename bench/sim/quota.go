package sim

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Quota is what a simulated provider lets through. The zero value limits nothing. It is made by [ParseQuota]; the package documentation lists its keys.
type Quota struct {
	text       string
	limits     [measures]quotaLimit
	concurrent int64 // requests at a time; 0: any number
	windows    bool  // fixed windows, in place of buckets that fill up evenly
	perKey     bool
	perModel   bool
	spelling   spelling
	silent     bool    // refusals do not say when to come back
	boast      float64 // that headers tell of more than is let through, as a part of it
}

// quotaLimit is how much of a measure is let through in each period. Zero: all.
type quotaLimit struct {
	most   float64
	period time.Duration
	holds  float64 // at once
}

// measure is what a quota counts, but for requests at a time.
type measure uint8

const (
	measureRequests measure = iota
	measureTokens           // of prompt and answer
	measureInput
	measureOutput
	measures
	measureConcurrent = measures // only in refusals
)

var measureNames = [measures + 1]string{"requests", "tokens", "input", "output", "concurrent"}

// spelling is how headers tell of limits.
type spelling uint8

const (
	spelledByDialect spelling = iota
	spelledAsMistral
	unspelled // the limits are hidden
)

// limited tells whether q limits anything.
func (q *Quota) limited() bool {
	for m := range q.limits {
		if q.limits[m].period > 0 {
			return true
		}
	}
	return q.concurrent > 0
}

// String is the text that the quota was made from.
func (q Quota) String() string { return q.text }

// ParseQuota reads "requests=60/m,input=100000/m,burst=1s". Unknown keys and values are refused; what is said twice counts as it was said last.
func ParseQuota(s string) (Quota, error) {
	q := Quota{text: s, perKey: true}
	burst := time.Duration(0)
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		key, value, _ := strings.Cut(item, "=")
		var err error
		switch key {
		case "burst":
			burst, err = positiveSpan(value)
		default:
			err = q.set(key, value)
		}
		if err != nil {
			return Quota{}, fmt.Errorf("quota %s=%s: %w", key, value, err)
		}
	}
	if burst > 0 && q.windows {
		return Quota{}, errors.New("quota: windows have no burst")
	}
	for m := range q.limits {
		l := &q.limits[m]
		if l.holds = l.most; burst > 0 && l.period > 0 {
			l.holds = max(l.most*burst.Seconds()/l.period.Seconds(), 1)
		}
	}
	return q, nil
}

// MustQuota is ParseQuota for constants: it panics on a mistake.
func MustQuota(s string) Quota {
	q, err := ParseQuota(s)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return q
}

func (q *Quota) set(key, value string) error {
	switch key {
	case "requests":
		return q.limits[measureRequests].parse(value)
	case "tokens":
		return q.limits[measureTokens].parse(value)
	case "input":
		return q.limits[measureInput].parse(value)
	case "output":
		return q.limits[measureOutput].parse(value)
	case "concurrent":
		n, err := positive(value)
		q.concurrent = int64(n)
		return err
	case "kind":
		q.windows = value == "window"
		return oneOf(value, "bucket", "window")
	case "scope":
		q.perKey = value == "key" || value == "key+model"
		q.perModel = value == "model" || value == "key+model"
		return oneOf(value, "key", "all", "model", "key+model")
	case "headers":
		q.spelling = map[string]spelling{"mistral": spelledAsMistral, "off": unspelled}[value]
		return oneOf(value, "on", "off", "mistral")
	case "boast":
		part, err := strconv.ParseFloat(strings.TrimSuffix(value, "%"), 64)
		if err != nil || !(part >= 0 && part <= 100) {
			return errors.New("want a percentage up to 100%")
		}
		q.boast = part / 100
		return nil
	case "retry-after":
		q.silent = value == "off"
		return oneOf(value, "on", "off")
	}
	return errors.New("unknown key")
}

func oneOf(value string, words ...string) error {
	for _, w := range words {
		if value == w {
			return nil
		}
	}
	return fmt.Errorf("want %s", strings.Join(words, ", "))
}

// parse reads "100/s", "6000/m" or "50/10s".
func (l *quotaLimit) parse(s string) error {
	n, per, _ := strings.Cut(s, "/")
	most, err := strconv.ParseFloat(n, 64)
	if err != nil || !(most > 0 && most < 1<<53) {
		return fmt.Errorf("amount %q: want a number above 0", n)
	}
	switch per {
	case "d":
		per = "24h"
	case "min":
		per = "1m"
	case "s", "m", "h":
		per = "1" + per
	}
	l.most = most
	l.period, err = positiveSpan(per)
	return err
}

func positiveSpan(s string) (time.Duration, error) {
	d, err := span(s)
	if err == nil && d <= 0 {
		err = errors.New("want more than 0")
	}
	return d, err
}
