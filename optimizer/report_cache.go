package optimizer

import (
	"fmt"
	"math"
	"time"

	"llm-auto-optimizer/analysis"
	"llm-auto-optimizer/config"
)

// cache is what was known of the answers that the cache keeps, for each class with its time to live.
func (r *report) cache() {
	e := r.whole.Evidence
	if e == nil || e.Cache == nil || r.whole.Tuner != (Caching{}).Name() {
		return
	}
	var rows [][]string
	for class := range classes {
		k, ttl := &e.Cache.Classes[class], seconds(e.InForce.Cache.TTL[class])
		if len(k.Curve.Points) == 0 {
			continue
		}
		p, _ := k.Curve.At(k.Curve.Points[0].Size, ttl)
		rows = append(rows, []string{
			classNames[class], config.FormatDuration(ttl), fmt.Sprintf("%.3g/s", k.Curve.Accesses), fmt.Sprintf("%.1f %%", 100*p.HitRatio), fmt.Sprintf("$%.3g", p.NanoUSD/1e9*24*3600),
			fmt.Sprintf("%.0f", k.Compared.All), fmt.Sprintf("%.0f", k.Compared.Changed), every(k.Change), every(k.Upper), fmt.Sprintf("%.2f %%", 100*analysis.StaleShare(k.Change, ttl)),
		})
	}
	r.table("Answers in the cache", "CLASS\tTIME TO LIVE\tREQUESTS\tHITS\tSAVED A DAY\tFETCHED ANEW\tCHANGED\tCHANGE EVERY\tAT WORST\tSTALE", rows)
	if c := e.Cache; c.Divided {
		r.table("Memory", "", [][]string{
			{"of all routes", config.Size(int64(c.Memory)).String()}, {"of this one", fmt.Sprintf("%.0f %%", 100*c.Held/max(c.Memory, 1))},
			{"price of a MiB", fmt.Sprintf("$%.3g a day", perDay(c.Price))},
		})
	}
}

// every is the time between two changes.
func every(hazard float64) string {
	if s := 1 / hazard; s < math.MaxInt64/1e10 {
		return config.FormatDuration(seconds(s).Round(time.Second))
	}
	return "–"
}
