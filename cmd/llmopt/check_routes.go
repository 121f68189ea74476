package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"llm-auto-optimizer/config"
)

type checkRoute struct {
	Name    string        `json:"name"`
	Match   string        `json:"match"`
	Targets []checkTarget `json:"targets"`
}

type checkTarget struct {
	Name       string  `json:"name"`
	Provider   string  `json:"provider"`
	Model      string  `json:"model,omitempty"`
	Weight     float64 `json:"weight"`
	Priority   int     `json:"priority"`
	Credential string  `json:"credential"`
	Priced     bool    `json:"priced"` // where it names its model
}

// examineRoute says what a route would do.
func examineRoute(c *config.Config, route *config.Route, prices *config.PriceTable) checkRoute {
	r := checkRoute{Name: route.Name, Match: matchOf(&route.Match)}
	for _, t := range route.TargetList() {
		p := c.Providers[t.Provider]
		ct := checkTarget{Name: t.Name, Provider: t.Provider, Model: t.Model, Weight: t.Weight, Priority: t.Priority}
		switch {
		case !t.Key.Empty():
			ct.Credential = "its own key"
		case !p.APIKey.Empty():
			ct.Credential = "the provider's key"
		default:
			ct.Credential = "the client's own, of requests for " + t.Provider
		}
		if t.Model != "" {
			listed, _ := prices.Lookup(p.PriceHint(), []byte(t.Model))
			ct.Priced = listed != nil || t.Price.Override(nil) != nil
		}
		r.Targets = append(r.Targets, ct)
	}
	return r
}

// matchOf says which requests a route is for.
func matchOf(m *config.Match) string {
	var parts []string
	if len(m.Model) > 0 {
		parts = append(parts, "model "+strings.Join(m.Model, " or "))
	}
	for _, name := range slices.Sorted(maps.Keys(m.Header)) {
		parts = append(parts, name+": "+m.Header[name])
	}
	if len(m.Tag) > 0 {
		parts = append(parts, "tag "+strings.Join(m.Tag, " or "))
	}
	if len(parts) == 0 {
		return "nothing: a fallback only"
	}
	return strings.Join(parts, ", ")
}

// routeNotes are what an operator should know of the routes before the start, and how many keys they have of their own.
func routeNotes(c *config.Config, prices *config.PriceTable) (keys int, out []string) {
	note := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, route := range c.RouteList() {
		for _, t := range route.TargetList() {
			p := c.Providers[t.Provider]
			if !t.Key.Empty() {
				keys++
			}
			if listed, _ := prices.Lookup(p.PriceHint(), []byte(t.Model)); t.Model != "" && listed == nil && t.Price.Override(nil) == nil {
				note("routes.%s.targets.%s: %q has no known price: what it costs is not counted; set price", route.Name, t.Name, t.Model)
			}
			if t.Key.Empty() && p.APIKey.Empty() && (len(route.Targets) > 1 || len(c.Providers) > 1) {
				note("routes.%s.targets.%s has no key: it gets the client's own from requests that address %s, and none from others", route.Name, t.Name, t.Provider)
			}
		}
	}
	return keys, out
}
