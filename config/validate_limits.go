package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Values of Admission.UnknownCallers.
const (
	CallersServed  = "serve"
	CallersRefused = "refuse"
)

// credentialHeaders are what clients send their credentials in, as the proxy reads them.
var credentialHeaders = []string{"authorization", "x-api-key", "api-key", "x-goog-api-key"}

// validateCallers checks what no single value of a caller shows.
func (l *loader) validateCallers(c *Config) {
	credentials := map[string]string{}
	list := c.CallerList()
	for i, k := range list {
		at := "callers." + k.Name
		switch {
		case k.Name == ScopeEach:
			l.complain(at, "", "a reserved name: limits mean every caller by it", "")
		case k.Credential.Empty() && len(k.Header) == 0 && !l.bad[at+".credential"]:
			l.complain(at, "", "has neither a credential nor a header", "credential = \"env:NAME\", or header = { \"x-team\" = \"a\" }")
		case !k.Credential.Empty() && len(k.Header) > 0:
			l.complain(at+".header", "", "stands beside credential", "one of the two")
		case !k.Credential.Empty():
			if other := credentials[k.Credential.Reveal()]; other != "" {
				l.complain(at+".credential", "", "that of callers."+other+" too", "each its own")
			}
			credentials[k.Credential.Reveal()] = k.Name
		default:
			same := func(o Caller) bool { return len(k.Header) > 0 && maps.Equal(o.Header, k.Header) }
			if n := slices.IndexFunc(list[:i], same); n >= 0 {
				l.complain(at+".header", "", "that of callers."+list[n].Name+" too", "each its own")
			}
		}
		for name := range k.Header {
			switch {
			case !isToken(name):
				l.complain(at+".header."+name, "", "not a header's name", "")
			case slices.Contains(credentialHeaders, name):
				l.complain(at+".header."+name, "", "carries a credential", `credential = "env:NAME" in place of header`)
			}
		}
	}
	if c.Admission.UnknownCallers == CallersRefused && len(list) == 0 {
		l.complain("admission.unknown_callers", quote(CallersRefused), "there are no callers, so that everybody would be refused", "one or more [callers.NAME] beside it")
	}
}

// validateLimit checks what no single value of a limit shows.
func (l *loader) validateLimit(c *Config, k *Limit) {
	at := "limits." + k.Name
	l.validateScope(at+".caller", k.Caller, slices.Sorted(maps.Keys(c.Callers)))
	l.validateScope(at+".route", k.Route, append(slices.Sorted(maps.Keys(c.Routes)), directName))
	if strings.Contains(k.Target, "/") {
		l.validateDirect(c, k, at)
	} else {
		l.validateScope(at+".target", k.Target, targetNames(c, k.Route))
	}
	bounds := 0
	for _, n := range []int{k.RequestsPerSecond, k.RequestsPerMinute, k.InputTokensPerMinute, k.OutputTokensPerMinute, k.TokensPerMinute, k.Concurrent} {
		if n > 0 {
			bounds++
		}
	}
	dollars := false
	for key, amount := range map[string]string{"usd_per_minute": k.USDPerMinute, "usd_per_hour": k.USDPerHour, "usd_per_day": k.USDPerDay, "usd_per_month": k.USDPerMonth} {
		if amount == "" {
			continue
		}
		dollars = true
		bounds++
		if Money(amount) == 0 {
			l.complain(at+"."+key, quote(amount), "nothing could be spent", stringKinds["money"].allowed)
		}
	}
	if bounds == 0 {
		l.complain(at, "", "limits nothing", "one or more of requests_per_minute, input_tokens_per_minute, concurrent, usd_per_day …")
		return
	}
	l.validateBurst(k, at)
	l.validatePeriods(k, at, dollars)
}

// validateDirect checks a target that is written provider/model, as those are that no route leads to.
func (l *loader) validateDirect(c *Config, k *Limit, at string) {
	name, model, _ := strings.Cut(k.Target, "/")
	names := c.ProviderNames()
	_, known := c.Providers[name]
	_, routed := c.Routes[k.Route]
	switch {
	case !known:
		l.complain(at+".target", quote(k.Target), "no such provider"+suggest(name, names), "PROVIDER/MODEL of "+strings.Join(names, ", "))
	case model == "":
		l.complain(at+".target", quote(k.Target), "names no model", "PROVIDER/MODEL")
	case routed:
		l.complain(at+".target", quote(k.Target), "is for requests that no route matches", strings.Join(targetNames(c, k.Route), ", "))
	}
}

// validateBurst checks what says how requests may come within their rate.
func (l *loader) validateBurst(k *Limit, at string) {
	requests := k.RequestsPerSecond > 0 || k.RequestsPerMinute > 0
	switch {
	case k.Burst > 0 && !requests:
		l.complain(at+".burst", fmt.Sprint(k.Burst), "is for requests_per_second and requests_per_minute", "")
	case k.Smooth > 0 && !requests:
		l.complain(at+".smooth", quote(FormatDuration(k.Smooth)), "is for requests_per_second and requests_per_minute", "")
	case k.Burst > 0 && k.Smooth > 0:
		l.complain(at+".smooth", quote(FormatDuration(k.Smooth)), "stands beside burst", "one of the two")
	case k.Burst > 0 && k.RequestsPerSecond > 0 && k.RequestsPerMinute > 0:
		l.complain(at+".burst", fmt.Sprint(k.Burst), "stands beside both requests_per_second and requests_per_minute", "two limits, each with its own")
	}
}

// validatePeriods checks what says how time is counted for dollars. What limit_defaults has may be for other limits.
func (l *loader) validatePeriods(k *Limit, at string, dollars bool) {
	_, ownZone := l.origins[at+".timezone"]
	_, ownRolling := l.origins[at+".rolling"]
	switch {
	case ownRolling && k.Rolling && !dollars:
		l.complain(at+".rolling", "true", "is for limits in dollars", "")
	case ownZone && !dollars:
		l.complain(at+".timezone", quote(k.Timezone), "is for limits in dollars", "")
	case ownZone && k.Rolling:
		l.complain(at+".timezone", quote(k.Timezone), "stands beside rolling, which knows no calendar", "one of the two")
	}
}

// validateScope checks a name that a limit is for.
func (l *loader) validateScope(key, scope string, known []string) {
	if scope != ScopeAll && scope != ScopeEach && !slices.Contains(known, scope) {
		l.complain(key, quote(scope), "no such name"+suggest(scope, known), strings.Join(append([]string{`"*"`, ScopeEach}, known...), ", "))
	}
}

// targetNames are the targets of a route, or of all.
func targetNames(c *Config, route string) (names []string) {
	for name, r := range c.Routes {
		if name == route || route == ScopeAll || route == ScopeEach {
			names = slices.AppendSeq(names, maps.Keys(r.Targets))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
