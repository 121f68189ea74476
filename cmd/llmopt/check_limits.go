package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"llm-auto-optimizer/config"
)

type checkLimit struct {
	Name    string   `json:"name"`
	Caller  string   `json:"caller"`
	Route   string   `json:"route"`
	Target  string   `json:"target"`
	Allows  []string `json:"allows"`
	Observe bool     `json:"observe"`
}

// examineLimit says what a limit allows.
func examineLimit(l *config.Limit) checkLimit {
	r := checkLimit{Name: l.Name, Caller: l.Caller, Route: l.Route, Target: l.Target, Observe: l.Observe}
	for _, n := range []struct {
		most int
		what string
	}{
		{l.RequestsPerSecond, "requests a second"}, {l.RequestsPerMinute, "requests a minute"}, {l.InputTokensPerMinute, "input tokens a minute"},
		{l.OutputTokensPerMinute, "output tokens a minute"}, {l.TokensPerMinute, "tokens a minute"}, {l.Concurrent, "at a time"},
	} {
		if n.most > 0 {
			r.Allows = append(r.Allows, fmt.Sprintf("%d %s", n.most, n.what))
		}
	}
	for _, n := range []struct{ most, what string }{{l.USDPerMinute, "minute"}, {l.USDPerHour, "hour"}, {l.USDPerDay, "day"}, {l.USDPerMonth, "month"}} {
		if n.most == "" {
			continue
		}
		when := "a " + n.what
		if l.Rolling {
			when = "in any " + n.what
		} else if l.Timezone != time.UTC.String() {
			when += " of " + l.Timezone
		}
		r.Allows = append(r.Allows, "$"+strings.TrimPrefix(n.most, "$")+" "+when)
	}
	return r
}

// limitNotes are what an operator should know of callers and limits before the start.
func limitNotes(c *config.Config) (out []string) {
	note := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	headers := false
	for _, k := range c.CallerList() {
		headers = headers || len(k.Header) > 0
	}
	if headers && !config.IsLoopback(c.Server.Listen) {
		note("callers that are known by headers: whoever reaches %s can send them", c.Server.Listen)
	}
	if strangersUnlimited(c) {
		note("callers without a name are served with the configured keys, and no limit is for them: admission.unknown_callers = \"refuse\" keeps them out")
	}
	for _, l := range c.LimitList() {
		money := l.USDPerMinute + l.USDPerHour + l.USDPerDay + l.USDPerMonth
		if money != "" && c.Storage.Dir == "" {
			note("limits.%s: without storage.dir its budget begins anew at each start", l.Name)
		}
		if money != "" && l.RequestsPerMinute+l.RequestsPerSecond+l.InputTokensPerMinute+l.OutputTokensPerMinute+l.TokensPerMinute+l.Concurrent == 0 {
			note("limits.%s: requests to models without a known price cost nothing of it, nor do tunnels, images, audio and batches", l.Name)
		}
	}
	return out
}

// strangersUnlimited tells that there are limits for callers with a name only, and keys that the others can use all the same.
func strangersUnlimited(c *config.Config) bool {
	limits := c.LimitList()
	if len(limits) == 0 || c.Admission.UnknownCallers == config.CallersRefused ||
		slices.ContainsFunc(limits, func(l config.Limit) bool { return l.Caller == config.ScopeAll || l.Caller == config.ScopeEach }) {
		return false
	}
	for _, p := range c.Providers {
		if !p.APIKey.Empty() {
			return true
		}
	}
	return slices.ContainsFunc(c.RouteList(), func(r config.Route) bool {
		return slices.ContainsFunc(r.TargetList(), func(t config.Target) bool { return !t.Key.Empty() })
	})
}

// printLimits writes the table of limits.
func printLimits(w io.Writer, limits []checkLimit) {
	if len(limits) == 0 {
		return
	}
	fmt.Fprintf(w, "\nLIMIT\tCALLER\tROUTE\tTARGET\tALLOWS\n")
	for i := range limits {
		l := &limits[i]
		text := strings.Join(l.Allows, ", ")
		if l.Observe {
			text += " (observes only)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", l.Name, l.Caller, l.Route, l.Target, text)
	}
}
