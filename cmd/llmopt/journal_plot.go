package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"llm-auto-optimizer/bench/stats"
	"llm-auto-optimizer/optimizer/control/controlpb"
	"llm-auto-optimizer/proxy/policy"
)

// How much of the time around a decision is drawn, at the resolution that a server still keeps of it: 10 seconds for a minute, minutes for an hour, hours for
// a week.
const (
	plotBefore, plotAfter = 30 * time.Minute, time.Hour
	plotFew               = 10 // hours or minutes before and after that there must be at least
	plotWide              = 12 * time.Hour
)

// plotArms are the arms that are drawn, with how.
var plotArms = []struct {
	arm    policy.Arm
	name   string
	color  int
	stroke stats.Stroke
}{{policy.Treated, "treated", dark, stats.Solid}, {policy.Holdback, "hold-back", 3, stats.Dashed}, {policy.Trial, "on trial", 5, stats.Dotted}}

// dark is the colour of what stands for all targets.
const dark = 7

// leastAttempts is how many a point must have: fewer say nothing.
const leastAttempts = 5

// plot draws what the route of the entries' decision did around it.
func (c *journalShowCmd) plot(env *environment, entries []*controlpb.JournalEntry) error {
	first := entries[0].GetDecision()
	if first.GetRoute() == "" {
		return errors.New("--plot: this entry is about no single route")
	}
	conn, err := c.dial(env)
	if err != nil {
		return err
	}
	w := timeframeOf(first.GetAt().AsTime(), entries[len(entries)-1].GetAt().AsTime(), time.Now())
	p := decisionPlot{conn: conn, env: env, route: first.GetRoute(), timeframe: w}
	if err := p.trim(first.GetAt().AsTime()); err != nil {
		return err
	}
	panels, err := p.panels()
	if err != nil {
		return err
	}
	var marks []stats.TimeMark
	for _, e := range entries {
		d := e.GetDecision()
		name := d.GetVerdict()
		if t := d.GetTrial(); t != nil && name == "trying" {
			if name = fmt.Sprintf("trial, %.3g %%", 100*t.GetShare()); d.GetWhy() != "" {
				name = fmt.Sprintf("passed %.3g %%", 100*t.GetShare())
			}
		}
		if at := d.GetAt().AsTime(); name != "measured" && name != "refused" && !at.Before(p.from) && !at.After(p.to) {
			marks = append(marks, stats.TimeMark{At: at, Name: spaced(name)})
		}
	}
	title := fmt.Sprintf("%s of route %s: %s", orDash(first.GetId()), first.GetRoute(), printable(first.GetReason()))
	if err := stats.PlotTimes(c.Plot, shorten(title, 110), p.from.Local(), p.to.Local(), panels, marks); err != nil { //nolint:gosmopolitan // for who sits before it
		return err
	}
	fmt.Fprintf(env.stdout, "\n%s shows the traffic of route %s from %s to %s.\n", c.Plot, first.GetRoute(), p.from.Local().Format("2006-01-02 15:04"), p.to.Local().Format("15:04")) //nolint:gosmopolitan // the same
	return nil
}

// timeframe is what is drawn, and asked for: back from now.
type timeframe struct {
	from, to   time.Time
	span, step time.Duration
}

// timeframeOf picks the finest resolution that has enough of the time before a decision, which came to its end, if any, at last.
func timeframeOf(at, last, now time.Time) timeframe {
	w := timeframe{from: at.Add(-plotBefore), to: last.Add(plotAfter), step: time.Minute}
	w.span = now.Sub(w.from)
	if w.span > time.Hour {
		w.from = now.Add(-time.Hour)
		w.span = time.Hour
	}
	if at.Sub(w.from) < plotFew*time.Minute {
		w = timeframe{from: at.Add(-plotWide), to: last.Add(plotWide), span: now.Sub(at) + plotWide, step: time.Hour}
		if week := 7 * 24 * time.Hour; w.span > week {
			w.from, w.span = now.Add(-week), week
		}
	}
	if w.to.After(now) {
		w.to = now
	}
	return w
}

// decisionPlot is a plot on its way.
type decisionPlot struct {
	timeframe
	conn  *adminConn
	env   *environment
	route string
	fine  bool // with the last minute by 10 seconds
}

// series asks for a selection of the route's traffic.
func (p *decisionPlot) series(target, arm string) ([]*controlpb.Point, error) {
	req := &controlpb.GetSeriesRequest{Route: p.route, Target: target, Arm: arm, Span: durationpb.New(p.span), Step: durationpb.New(p.step)}
	res, err := p.conn.api.GetSeries(p.env.ctx, req)
	if err != nil {
		return nil, p.conn.explain(err)
	}
	points := res.GetPoints()
	if !p.fine {
		return points, nil
	}
	req.Span, req.Step = durationpb.New(time.Minute), nil
	if res, err = p.conn.api.GetSeries(p.env.ctx, req); err != nil {
		return nil, p.conn.explain(err)
	}
	fine := res.GetPoints()
	if len(fine) == 0 {
		return points, nil
	}
	begin := fine[0].GetStart().AsTime()
	kept := slices.IndexFunc(points, func(x *controlpb.Point) bool { return !x.GetStart().AsTime().Before(begin) })
	if kept < 0 {
		kept = len(points)
	}
	return append(points[:kept:kept], fine...), nil
}

// trim leaves out what is before the first traffic and after the last, but for the decision itself.
func (p *decisionPlot) trim(at time.Time) error {
	points, err := p.series("", "")
	if err != nil {
		return err
	}
	var used []*controlpb.Point
	for _, x := range points {
		if p.has(x) {
			used = append(used, x)
		}
	}
	if len(used) == 0 {
		return errors.New("--plot: the server knows of no traffic around this decision, or not any more")
	}
	if first := used[0].GetStart().AsTime(); first.After(p.from) {
		p.from = first
	}
	if last := used[len(used)-1].GetEnd().AsTime(); last.Before(p.to) {
		p.to = last
	}
	if at.Before(p.from) {
		p.from = at
	}
	if at.After(p.to) {
		p.to = at
	}
	const short = 5 * time.Minute
	p.fine = p.to.Sub(p.from) <= short
	return nil
}

// targets are those of the route, in the order of the configuration.
func (p *decisionPlot) targets() (names []string, err error) {
	res, err := p.conn.api.ListRoutes(p.env.ctx, &controlpb.ListRoutesRequest{})
	if err != nil {
		return nil, p.conn.explain(err)
	}
	for _, r := range res.GetRoutes() {
		if r.GetName() == p.route {
			for _, t := range r.GetTargets() {
				names = append(names, t.GetName())
			}
			return names, nil
		}
	}
	return nil, fmt.Errorf("--plot: route %s is no more", p.route)
}

func (p *decisionPlot) panels() ([]stats.TimePanel, error) {
	targets, err := p.targets()
	if err != nil {
		return nil, err
	}
	share := stats.TimePanel{Label: "share of attempts, %", Least: 100}
	cost := stats.TimePanel{Label: "US$ per 1,000 attempts"}
	errs := stats.TimePanel{Label: "errors, %", Least: 1}
	wait := stats.TimePanel{Label: "TTFT p95, s"}
	for _, a := range plotArms {
		all, err := p.series("", a.arm.String())
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(all, p.has) {
			continue
		}
		if a.arm != policy.Treated {
			share.Lines = append(share.Lines, stats.TimeLine{Name: a.name, Color: dark, Stroke: a.stroke})
		}
		line := func(of func(s *controlpb.Summary) float64) stats.TimeLine {
			return p.line(a.name, all, a.color, a.stroke, func(i int) float64 { return of(all[i].GetSummary()) })
		}
		cost.Lines = append(cost.Lines, line(func(s *controlpb.Summary) float64 {
			return float64(s.GetCostNanousd()) / 1e6 / float64(s.GetRequests()-s.GetUnpriced())
		}))
		errs.Lines = append(errs.Lines, line(func(s *controlpb.Summary) float64 { return 100 * float64(s.GetErrors()) / float64(s.GetRequests()) }))
		wait.Lines = append(wait.Lines, line(func(s *controlpb.Summary) float64 {
			if s.GetTtftSeconds().GetCount() == 0 {
				return math.NaN()
			}
			return s.GetTtftSeconds().GetP95()
		}))
		for k, target := range targets {
			of, err := p.series(target, a.arm.String())
			if err != nil {
				return nil, err
			}
			name := target
			if a.arm != policy.Treated {
				name = ""
			}
			at := map[int64]float64{} // the two answers may be a slot apart
			for _, x := range of {
				at[x.GetStart().AsTime().Unix()] = float64(x.GetSummary().GetRequests())
			}
			share.Lines = append(share.Lines, p.line(name, all, k, a.stroke, func(i int) float64 {
				n, known := at[all[i].GetStart().AsTime().Unix()]
				if !known {
					return math.NaN()
				}
				return min(100, 100*n/float64(all[i].GetSummary().GetRequests()))
			}))
		}
	}
	return []stats.TimePanel{share, cost, errs, wait}, nil
}

// has tells whether a point is drawn.
func (p *decisionPlot) has(x *controlpb.Point) bool {
	at := middle(x)
	return x.GetSummary().GetRequests() >= leastAttempts && !at.Before(p.from) && !at.After(p.to)
}

func middle(x *controlpb.Point) time.Time {
	from, to := x.GetStart().AsTime(), x.GetEnd().AsTime()
	return from.Add(to.Sub(from) / 2)
}

// line draws a value of points, without those that had no traffic.
func (p *decisionPlot) line(name string, points []*controlpb.Point, color int, stroke stats.Stroke, value func(i int) float64) stats.TimeLine {
	l := stats.TimeLine{Name: name, Color: color, Stroke: stroke}
	for i, x := range points {
		v := math.NaN()
		if p.has(x) {
			if v = value(i); math.IsInf(v, 0) {
				v = math.NaN()
			}
		}
		l.Times, l.Values = append(l.Times, middle(x)), append(l.Values, v)
	}
	return l
}

// spaced writes a verdict for people.
func spaced(verdict string) string {
	if verdict == "rolled_back" {
		return "rolled back"
	}
	return verdict
}

// shorten cuts what is too long.
func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
