package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// maxTargets of a route.
const maxTargets = 64

// reservedRoutes are names with a meaning of their own in statistics and limits.
var reservedRoutes = []string{"direct", "other", ScopeEach}

// validateRoute checks what no single value of a route shows.
func (l *loader) validateRoute(c *Config, r *Route) {
	prefix := "routes." + r.Name
	if slices.Contains(reservedRoutes, r.Name) {
		l.complain(prefix, "", "a reserved name", "other than "+strings.Join(reservedRoutes, ", "))
	}
	switch n := len(r.Targets); {
	case n == 0:
		l.complain(prefix, "", "has no targets", fmt.Sprintf("1 to %d tables routes.targets", maxTargets))
	case n > maxTargets:
		l.complain(prefix, fmt.Sprintf("%d targets", n), "too many", fmt.Sprintf("1 to %d", maxTargets))
	}
	served := len(r.Targets) == 0
	for _, t := range r.TargetList() {
		at := prefix + ".targets." + t.Name
		served = served || t.Weight > 0
		l.validateTarget(c, r, &t, at)
	}
	if !served {
		l.complain(prefix, "", "no target has a weight above 0", "")
	}
	for _, chain := range []struct {
		key   string
		names []string
	}{
		{"error", r.Fallback.Error}, {"context", r.Fallback.Context}, {"content", r.Fallback.Content},
		{"rate_limit", r.Fallback.RateLimit}, {"budget", r.Fallback.Budget},
	} {
		for _, name := range chain.names {
			_, isTarget := r.Targets[name]
			_, isRoute := c.Routes[name]
			if !isTarget && (!isRoute || name == r.Name) {
				known := slices.Concat(slices.Sorted(maps.Keys(r.Targets)), slices.Sorted(maps.Keys(c.Routes)))
				known = slices.DeleteFunc(known, func(k string) bool { return k == r.Name })
				l.complain(prefix+".fallback."+chain.key, quote(name), "neither a target of the route nor another route"+suggest(name, known), strings.Join(known, ", "))
			}
		}
	}
	l.validateFallbackDialects(c, r, prefix)
	if k := &r.Classes; k.LightInput > k.MediumInput {
		l.complain(prefix+".classes.light_input", fmt.Sprint(k.LightInput), "above medium_input", "")
	}
	if k := &r.Classes; k.LightOutput > k.MediumOutput {
		l.complain(prefix+".classes.light_output", fmt.Sprint(k.LightOutput), "above medium_output", "")
	}
	if r.Ejection.Base > r.Ejection.Max {
		l.complain(prefix+".ejection.base", quote(FormatDuration(r.Ejection.Base)), "above max", "")
	}
	for name := range r.Match.Header {
		if !isToken(name) {
			l.complain(prefix+".match.header."+name, "", "not a header's name", "")
		}
	}
}

// validateFallbackDialects complains of routes as fallbacks that speak another dialect: they could never serve.
func (l *loader) validateFallbackDialects(c *Config, r *Route, prefix string) {
	dialect := func(r *Route) string {
		for _, t := range r.TargetList() {
			return c.Providers[t.Provider].Dialect
		}
		return ""
	}
	mine := dialect(r)
	for _, names := range [][]string{r.Fallback.Error, r.Fallback.Context, r.Fallback.Content, r.Fallback.RateLimit, r.Fallback.Budget} {
		for _, name := range names {
			other, known := c.Routes[name]
			if _, isTarget := r.Targets[name]; isTarget || !known {
				continue
			}
			if d := dialect(&other); d != "" && mine != "" && d != mine {
				l.complain(prefix+".fallback", quote(name), "speaks "+d+" and not "+mine, "")
			}
		}
	}
}

func (l *loader) validateTarget(c *Config, r *Route, t *Target, at string) {
	if t.Name == ScopeEach {
		l.complain(at, "", "a reserved name: limits mean every target by it", "")
	}
	key := at + ".provider"
	names := c.ProviderNames()
	p, known := c.Providers[t.Provider]
	switch {
	case l.bad[key]:
	case t.Provider == "":
		o := l.origins[at]
		l.bad[key] = true
		l.report(Problem{o.source, o.line, key, "", "required", strings.Join(names, ", ")}, o.rank)
	case !known:
		l.complain(key, quote(t.Provider), "no such provider"+suggest(t.Provider, names), strings.Join(names, ", "))
	case !isHeaderValue(t.Model):
		l.complain(at+".model", quote(t.Model), "control characters, or blanks at its ends", "")
	}
	if first := r.TargetList()[0]; known {
		if other, ok := c.Providers[first.Provider]; ok && other.Dialect != p.Dialect {
			l.complain(key, quote(t.Provider), fmt.Sprintf("speaks %s, but the route's first target speaks %s", p.Dialect, other.Dialect), "providers of one dialect")
		}
	}
}
