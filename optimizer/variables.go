package optimizer

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"llm-auto-optimizer/proxy/policy"
)

// Change is one parameter of a route that is to become another. Names are paths: weights/TARGET/CLASS, retry_share, first_byte_factor, hedge_share.
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
	}
	target, class, ok := cutWeight(name)
	if !ok {
		return 0, false
	}
	t, known := r.Targets[target]
	return t.Weights[class], known
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
		default:
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
	for _, target := range slices.Sorted(maps.Keys(r.Targets)) {
		for class := range classes {
			names = append(names, weightName(target, class))
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
