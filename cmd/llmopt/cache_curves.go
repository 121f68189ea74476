package main

import (
	"bytes"
	"fmt"
	"time"

	"llm-auto-optimizer/analysis/ghost"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/optimizer/control/controlpb"
	"llm-auto-optimizer/proxy"
)

// Curves implements control.Cache.
func (a cacheAPI) Curves() *controlpb.CacheCurvesResponse {
	res := &controlpb.CacheCurvesResponse{}
	for _, v := range a.g.proxy.CacheViews(time.Now()) {
		res.Routes = append(res.Routes, routeCurves(&v))
	}
	return res
}

func routeCurves(v *proxy.CacheView) *controlpb.RouteCurves {
	r := &controlpb.RouteCurves{Route: v.Route, MemoryBytes: v.Memory, EntryBytes: v.Entry}
	last := int64(-1)
	for _, at := range v.Sizes.Points { // by size
		if p, known := v.Sizes.At(at.Size, v.TTL); known && at.Size != last {
			r.Sizes = append(r.Sizes, cachePoint(&p))
			last = at.Size
		}
	}
	for k := range v.Classes {
		one := &v.Classes[k]
		c := &controlpb.ClassCurve{Class: classLabel(k), TtlSeconds: one.TTL.Seconds()}
		c.Compared, c.Changed = one.Hazard.Count()
		if change, most, enough := one.Hazard.Estimate(changesConfidence); enough {
			c.ChangesPerDay, c.ChangesPerDayMost = change*day, most*day
		}
		for _, p := range one.Curve.Points {
			c.Ttls = append(c.Ttls, cachePoint(&p))
		}
		r.Classes = append(r.Classes, c)
	}
	return r
}

const (
	day = 24 * 3600 // seconds
	// changesConfidence is that with which the optimizer takes how often answers change.
	changesConfidence = .8
)

func cachePoint(p *ghost.Point) *controlpb.CachePoint {
	return &controlpb.CachePoint{SizeBytes: p.Size, TtlSeconds: p.TTL.Seconds(), HitRatio: p.HitRatio, SavedUsdPerDay: p.NanoUSD / 1e9 * day, SavedSecondsPerDay: p.Millis / 1e3 * day}
}

type cacheCurvesCmd struct {
	adminFlags
	JSON bool `name:"json" help:"Print JSON, the API's CacheCurvesResponse."`
}

// Run prints what other caches would have done.
func (c *cacheCurvesCmd) Run(env *environment) error {
	return printAnswer(env, c.adminFlags, c.JSON, controlpb.AdminClient.CacheCurves, appendCacheCurves)
}

// appendCacheCurves renders the answer for a person.
func appendCacheCurves(out *bytes.Buffer, res *controlpb.CacheCurvesResponse) {
	if len(res.GetRoutes()) == 0 {
		out.WriteString("No route keeps answers. See docs/cache.md.\n")
	}
	for i, r := range res.GetRoutes() {
		if i > 0 {
			out.WriteByte('\n')
		}
		fmt.Fprintf(out, "route %s: room for %s of answers", printable(r.GetRoute()), sizeText(r.GetMemoryBytes()))
		if size := r.GetEntryBytes(); size > 0 {
			fmt.Fprintf(out, ", %s each", sizeText(int64(size)))
		}
		out.WriteByte('\n')
		rows := [][]string{{"what if", "hit rate", "saved a day", "time saved a day"}}
		add := func(what string, p *controlpb.CachePoint) {
			rows = append(rows, []string{what, fmt.Sprintf("%.1f%%", 100*p.GetHitRatio()), dollars(int64(1e9 * p.GetSavedUsdPerDay())), shortDuration(p.GetSavedSecondsPerDay())})
		}
		for _, p := range r.GetSizes() {
			add("room for "+sizeText(p.GetSizeBytes()), p)
		}
		for _, c := range r.GetClasses() {
			for _, p := range c.GetTtls() {
				add(fmt.Sprintf("%s for %s", c.GetClass(), ttlText(p.GetTtlSeconds())), p)
			}
		}
		if len(rows) == 1 {
			out.WriteString("too few requests have come to tell what other caches would do\n")
		} else {
			appendTable(out, []bool{true, false, false, false}, rows)
		}
		for _, c := range r.GetClasses() {
			fmt.Fprintf(out, "%s: kept for %s; %s\n", c.GetClass(), ttlText(c.GetTtlSeconds()), hazardText(c))
		}
	}
}

func ttlText(seconds float64) string {
	if seconds <= 0 {
		return "ever"
	}
	return config.FormatDuration(time.Duration(seconds * float64(time.Second)))
}

// hazardText says how often answers change.
func hazardText(c *controlpb.ClassCurve) string {
	if c.GetCompared() < 1 {
		return "how often answers change is not known yet"
	}
	text := fmt.Sprintf("%.0f of %.0f answers had changed when they were fetched anew", c.GetChanged(), c.GetCompared())
	if c.GetChangesPerDayMost() > 0 {
		text += fmt.Sprintf(": %.3g times a day, surely less than %.3g", c.GetChangesPerDay(), c.GetChangesPerDayMost())
	}
	return text
}

// classLabel names a class of requests.
func classLabel(k int) string { return [...]string{"light", "medium", "heavy"}[k] }
