package main

import (
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"llm-auto-optimizer/optimizer/control/controlpb"
	"llm-auto-optimizer/proxy"
	"llm-auto-optimizer/proxy/pick"
)

// routesAPI shows the proxy's routes to the admin service.
type routesAPI struct{ g *gateway }

// List implements control.Routes.
func (a routesAPI) List() (out []*controlpb.Route) {
	for _, v := range a.g.proxy.Routes() {
		r := &controlpb.Route{Name: v.Name(), Models: v.Models}
		r.ExchangesInFlight, _ = v.Active()
		r.Repeats, r.RepeatsRefused = v.Repeats()
		r.Hedges, _ = v.Hedges()
		for i := range v.Targets {
			r.Targets = append(r.Targets, targetProto(&v, i))
		}
		out = append(out, r)
	}
	return out
}

func targetProto(v *proxy.RouteView, i int) *controlpb.RouteTarget {
	s, c := v.Route.Targets()[i].Status(time.Now()), &v.Targets[i]
	t := &controlpb.RouteTarget{
		Name: s.Target, Provider: c.Provider, Model: c.Model, Region: c.Region, State: s.State.String(), Reason: s.Reason, InFlight: s.InFlight,
		Ejections: s.Ejections, Weights: v.Weights[i][:], Priority: int32(c.Priority), //nolint:gosec // at most 1000
		ExpectedS: s.Expected.Seconds(), P99S: s.P99.Seconds(), UsualFailures: s.Failures,
	}
	if s.For > 0 {
		t.For = durationpb.New(s.For)
	}
	if p := &v.Paces[i]; p.How != "" {
		t.Pacing = &controlpb.Pacing{
			How: p.How, Rate: p.Rate, Waiting: int32(p.Waiting), Concurrency: int32(min(p.Concurrency, math.MaxInt32)), Summary: p.String(), //nolint:gosec // few wait
		}
		if p.Paused > 0 {
			t.Pacing.Paused = durationpb.New(p.Paused)
		}
	}
	return t
}

// Set implements control.Routes.
func (a routesAPI) Set(route, target string, action controlpb.SetTargetRequest_Action, reason string) *controlpb.RouteTarget {
	t := a.g.proxy.Target(route, target)
	if t == nil {
		return nil
	}
	if reason == "" {
		reason = "by hand"
	}
	a.g.marks.change(t, action, reason)
	for _, v := range a.g.proxy.Routes() {
		if v.Name() != route {
			continue
		}
		for i, now := range v.Route.Targets() {
			if now.Name() == target {
				return targetProto(&v, i)
			}
		}
	}
	return nil
}

// Explain implements control.Routes.
func (a routesAPI) Explain(req *controlpb.ExplainRequest) (*controlpb.ExplainResponse, error) {
	e, err := a.g.proxy.Explain(proxy.Question{Method: req.GetMethod(), Path: req.GetPath(), Header: req.GetHeaders(), Body: req.GetBody()})
	if err != nil {
		return nil, err
	}
	res := &controlpb.ExplainResponse{
		Provider: e.Provider, Operation: e.Operation, Model: e.Model, Stream: e.Stream, InputTokens: e.Input, Class: e.Class,
		Attempts: int32(e.Attempts), Route: "direct", Target: e.Target, //nolint:gosec // at most 20
	}
	if e.Route == nil {
		res.Why = "no route matches"
		res.Summary = fmt.Sprintf("No route matches: it goes straight to %s, with one attempt.", e.Target)
		return res, nil
	}
	res.Route, res.Why = e.Route.Name(), e.Why.String()
	best := 0
	for i, c := range e.Candidates {
		res.Candidates = append(res.Candidates, &controlpb.Candidate{
			Target: c.Target.Name(), Probability: c.Probability, Weight: c.Weight, State: c.State.String(), Note: c.Note,
		})
		if c.Probability > e.Candidates[best].Probability {
			best = i
		}
	}
	for cause, chain := range e.Route.Chains() {
		if len(chain) > 0 {
			res.Fallbacks = append(res.Fallbacks, &controlpb.Chain{Cause: pick.Cause(cause).String(), Targets: chain}) //nolint:gosec // five
		}
	}
	switch {
	case e.Fallback != nil:
		res.Target = e.Fallback.Name()
		if r := e.Fallback.Route().Name(); r != res.Route {
			res.Target = r + "/" + res.Target
		}
		res.Summary = fmt.Sprintf("No target of route %s can serve it now; its fallback %s does; %d attempts at most.", res.Route, res.Target, res.GetAttempts())
	case e.Refusal != pick.NoRefusal:
		res.Why = refusalWords[e.Refusal]
		res.Summary = fmt.Sprintf("Route %s can't serve it: %s.", res.Route, res.Why)
	default:
		res.Target = e.Candidates[best].Target.Name()
		res.Summary = fmt.Sprintf("Route %s sends it to %s with probability %.3f (%s); %d attempts at most.", res.Route, res.Target, e.Candidates[best].Probability,
			whyWords[e.Why], res.GetAttempts())
	}
	return res, nil
}

var refusalWords = map[pick.Refusal]string{
	pick.NoTarget: "no target has a weight, or all are drained", pick.AllEjected: "all targets are ejected, and the route fails fast",
	pick.Saturated: "all targets are at their max_concurrency", pick.NoKey: "the providers have refused the keys of all targets",
	pick.AllLimited: "all targets are rate limited",
}

var whyWords = map[pick.Why]string{
	pick.ByShare: "by its share", pick.ByAffinity: "where its begin is likely cached", pick.ByPin: "as the request asks for",
	pick.ByRoom: "where there is room first", pick.LastResort: "as a last resort: all are ejected or rate limited",
}
