package main

import (
	"bytes"
	"context"
	"fmt"

	"llm-auto-optimizer/optimizer/control/controlpb"
)

// limitsCmd shows how the limits of a running server stand.
type limitsCmd struct {
	adminFlags
	Most int32 `help:"Callers, routes and targets to list of each limit, those that have used most of it first." default:"20"`
	JSON bool  `name:"json" help:"Print JSON, the API's ListLimitsResponse."`
}

// Run prints the limits.
func (c *limitsCmd) Run(env *environment) error {
	if c.Most < 1 {
		return fmt.Errorf("%w: --most=%d: want 1 or more", errUsage, c.Most)
	}
	ask := func(api controlpb.AdminClient, ctx context.Context, req *controlpb.ListLimitsRequest) (*controlpb.ListLimitsResponse, error) {
		req.Most = c.Most
		return api.ListLimits(ctx, req)
	}
	return printAnswer(env, c.adminFlags, c.JSON, ask, appendLimits)
}

// appendLimits renders the answer for a person.
func appendLimits(out *bytes.Buffer, res *controlpb.ListLimitsResponse) {
	if len(res.GetLimits()) == 0 {
		out.WriteString("Nothing is limited: there is no [[limits]]. See docs/limits.md.\n")
		return
	}
	rows := [][]string{{"limit", "caller", "route", "target", "allows", "used", "left", "whole in"}}
	for _, l := range res.GetLimits() {
		name := printable(l.GetName())
		for _, s := range l.GetStandings() {
			rows = append(rows, []string{
				clip(name), scopeText(s.GetCaller(), l.GetCaller(), s.GetShared()), scopeText(s.GetRoute(), l.GetRoute(), s.GetShared()),
				scopeText(s.GetTarget(), l.GetTarget(), s.GetShared()), allowText(s), percent(s.GetMost()-s.GetLeft(), s.GetMost()), amountText(s, s.GetLeft()), resetText(s),
			})
		}
		if len(l.GetStandings()) == 0 {
			rows = append(rows, []string{clip(name), l.GetCaller(), l.GetRoute(), l.GetTarget(), "not asked for yet", "", "", ""})
		}
	}
	appendTable(out, []bool{true, true, true, true, true, false, false, false}, rows)
	out.WriteByte('\n')
	rows = [][]string{{"limit", "met", "refused", "kept apart", ""}}
	for _, l := range res.GetLimits() {
		note := ""
		if l.GetObserve() {
			note = "observes only"
		}
		rows = append(rows, []string{clip(printable(l.GetName())), fmt.Sprint(l.GetMet()), fmt.Sprint(l.GetRefused()), fmt.Sprint(l.GetEntries()), note})
	}
	appendTable(out, []bool{true, false, false, false, true}, rows)
	fmt.Fprintf(out, "\n%d requests hold something of a limit, %d wait; %d have waited in vain, %d found too much waiting, %d never ended.\n",
		res.GetLeases(), res.GetWaiting(), res.GetLate(), res.GetCrowded(), res.GetLeaked())
	if bias := res.GetInputBias(); bias != 0 {
		fmt.Fprintf(out, "Prompts were thought %+.1f %% of what they turned out to be.\n", 100*bias)
	}
}

// scopeText is whom a row is about: by name where the limit keeps them apart.
func scopeText(name, scope string, shared bool) string {
	switch {
	case shared && scope == "each":
		return "(all others)"
	case name != "":
		return clip(printable(name))
	case scope == "each":
		return "(nobody)"
	}
	return scope
}

func allowText(s *controlpb.LimitStanding) string {
	text := amountText(s, s.GetMost())
	if s.GetOf() != "spend" {
		text += " " + s.GetOf()
	}
	if s.GetPer() != "" {
		text += " a " + s.GetPer()
	}
	return text
}

func amountText(s *controlpb.LimitStanding, n int64) string {
	if s.GetOf() == "spend" {
		return dollars(n)
	}
	return fmt.Sprint(n)
}

func resetText(s *controlpb.LimitStanding) string {
	if s.GetReset_() == nil {
		return "–"
	}
	return shortDuration(s.GetReset_().AsDuration().Seconds())
}
