package optimizer

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/policy"
)

// Change is one parameter of a route that is to become another. Names are paths: weights/TARGET/CLASS, retry_share, first_byte_factor, hedge_share; where
// the route keeps answers, cache_ttl/CLASS (seconds), cache_worth (US dollars for a MiB) and cache_share; where there are limits to keep to, limit_output (a factor), limit_wait and
// pace_wait (seconds), and pace/TARGET (a share).
type Change struct {
	Name string  `json:"name"`
	From float64 `json:"from"`
	To   float64 `json:"to"`
}

var classNames = [classes]string{"light", "medium", "heavy"}

// weightName is the path of a weight.
func weightName(target string, class int) string {
	return "weights/" + target + "/" + classNames[class]
}

// valueOf is a parameter of a route; known is false where there is none of that name.
func valueOf(r *policy.Parameters, name string) (v float64, known bool) {
	switch name {
	case "retry_share":
		return r.RetryShare, true
	case "first_byte_factor":
		return r.FirstByteFactor, true
	case "hedge_share":
		return r.HedgeShare, true
	case cacheWorth:
		return r.Cache.Worth, caches(r)
	case cacheShare:
		return r.Cache.Share, caches(r)
	}
	if class, ok := cutTTL(name); ok {
		return r.Cache.TTL[class], caches(r)
	}
	if p := limitOf(r, name); p != nil {
		return *p, *p > 0
	}
	if target, ok := strings.CutPrefix(name, paceShare); ok {
		share := r.Targets[target].Pace
		return share, share > 0
	}
	target, class, ok := cutWeight(name)
	if !ok {
		return 0, false
	}
	t, known := r.Targets[target]
	return t.Weights[class], known
}

const (
	cacheWorth = "cache_worth"
	cacheShare = "cache_share"
	cacheTTL   = "cache_ttl/"
)

const (
	limitOutput = "limit_output"
	limitWait   = "limit_wait"
	paceWait    = "pace_wait"
	paceShare   = "pace/"
)

// limitOf is a parameter of how limits are kept to; nil: there is none of that name. One that is 0 is left to the configuration, and is none of the route's.
func limitOf(r *policy.Parameters, name string) *float64 {
	switch name {
	case limitOutput:
		return &r.Limits.Output
	case limitWait:
		return &r.Limits.Wait
	case paceWait:
		return &r.Limits.PaceWait
	}
	return nil
}

// mostOf is the highest value of a parameter that can be obeyed.
func mostOf(name string) float64 {
	switch {
	case name == limitOutput:
		return 10
	case name == limitWait, name == paceWait:
		return 600
	case strings.HasPrefix(name, paceShare):
		return 1
	}
	return math.MaxFloat64
}

// notNone tells whether a parameter can't be 0: there it would mean something else.
func notNone(name string) bool {
	return isSeconds(name) || name == limitOutput || strings.HasPrefix(name, paceShare)
}

// isSeconds tells whether a parameter is a time.
func isSeconds(name string) bool { return isTTL(name) || name == limitWait || name == paceWait }

// caches tells whether a route keeps answers: where it does, the times to live are known.
func caches(r *policy.Parameters) bool { return r.Cache.TTL != [classes]float64{} }

// Value is the value of a parameter as people read it.
func Value(name string, v float64) string {
	if isSeconds(name) {
		return config.FormatDuration(seconds(v))
	}
	return fmt.Sprintf("%.4g", v)
}

// cutTTL is the class whose time to live a parameter is.
func cutTTL(name string) (class int, ok bool) {
	name, ok = strings.CutPrefix(name, cacheTTL)
	class = slices.Index(classNames[:], name)
	return class, ok && class >= 0
}

func cutWeight(name string) (target string, class int, ok bool) {
	rest, ok := strings.CutPrefix(name, "weights/")
	at := strings.LastIndexByte(rest, '/')
	if !ok || at < 0 {
		return "", 0, false
	}
	class = slices.Index(classNames[:], rest[at+1:])
	return rest[:at], class, class >= 0
}

// apply returns the parameters with the changes; the one given stays as it is.
func apply(r policy.Parameters, changes []Change) (policy.Parameters, error) {
	r.Targets = maps.Clone(r.Targets)
	for _, c := range changes {
		switch c.Name {
		case "retry_share":
			r.RetryShare = c.To
		case "first_byte_factor":
			r.FirstByteFactor = c.To
		case "hedge_share":
			r.HedgeShare = c.To
		case cacheWorth:
			r.Cache.Worth = c.To
		case cacheShare:
			r.Cache.Share = c.To
		default:
			if class, ok := cutTTL(c.Name); ok {
				r.Cache.TTL[class] = c.To
				continue
			}
			if p := limitOf(&r, c.Name); p != nil {
				*p = c.To
				continue
			}
			if target, ok := strings.CutPrefix(c.Name, paceShare); ok && r.Targets[target].Pace > 0 {
				t := r.Targets[target]
				t.Pace = c.To
				r.Targets[target] = t
				continue
			}
			name, class, ok := cutWeight(c.Name)
			t, known := r.Targets[name]
			if !ok || !known {
				return r, fmt.Errorf("no parameter %q", c.Name)
			}
			t.Weights[class] = c.To
			r.Targets[name] = t
		}
	}
	return r, nil
}

// parameters are the names of all parameters of a route, in order.
func parameters(r *policy.Parameters) []string {
	names := []string{"retry_share", "first_byte_factor", "hedge_share"}
	if caches(r) {
		for _, class := range classNames {
			names = append(names, cacheTTL+class)
		}
		names = append(names, cacheWorth, cacheShare)
	}
	for _, name := range []string{limitOutput, limitWait, paceWait} {
		if *limitOf(r, name) > 0 {
			names = append(names, name)
		}
	}
	for _, target := range slices.Sorted(maps.Keys(r.Targets)) {
		for class := range classes {
			names = append(names, weightName(target, class))
		}
		if r.Targets[target].Pace > 0 {
			names = append(names, paceShare+target)
		}
	}
	return names
}

// Differences are the changes that lead from one set of parameters to another.
func Differences(from, to *policy.Parameters) (out []Change) {
	for _, name := range parameters(to) {
		a, _ := valueOf(from, name)
		if b, _ := valueOf(to, name); a != b {
			out = append(out, Change{name, a, b})
		}
	}
	return out
}
