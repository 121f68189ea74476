package optimizer

import (
	"fmt"

	"llm-auto-optimizer/config"
)

// limits is what was known of how limits are kept to.
func (r *report) limits() {
	e := r.whole.Evidence
	if e == nil || r.whole.Tuner != (Limits{}).Name() {
		return
	}
	part := func(n, of float64) string { return fmt.Sprintf("%.2f %%", 100*n/max(of, 1)) }
	number := func(v float64) string { return fmt.Sprintf("%.0f", v) }
	var rows [][]string
	for i := range e.Targets {
		k := &e.Targets[i]
		if share := e.InForce.Targets[k.Name].Pace; share > 0 {
			rows = append(rows, []string{k.Name, fmt.Sprintf("%.4g %%", 100*share), number(k.Pace.Attempts), number(k.Pace.Limited), part(k.Pace.Limited, k.Pace.Attempts), number(k.Pace.Held)})
		}
	}
	r.table("Limits of providers", "TARGET\tUSED\tATTEMPTS\tANSWERED BY 429\t\tHELD BACK", rows)
	if e.Limits == nil {
		return
	}
	rows = nil
	for _, w := range e.waits() {
		if c := w.counted; w.now > 0 {
			rows = append(rows, []string{
				w.where, config.FormatDuration(seconds(w.now)), number(c.Exchanges), number(c.Granted), number(c.Late), number(c.Refused), number(c.Vain), number(c.Near),
			})
		}
	}
	r.table("Waiting", "\tFOR UP TO\tEXCHANGES\tGOT ROOM\tLATE\tREFUSED\tIN VAIN\tNEARLY", rows)
	if o := &e.Limits.Output; e.InForce.Limits.Output > 0 {
		r.table("Output that is reserved", "FACTOR\tANSWERS\tLONGER\t\tRESERVED FOR ONE THAT COMES\tLACKED OUTPUT TOKENS\tTOKENS\tDOLLARS", [][]string{{
			fmt.Sprintf("%.4g", e.InForce.Limits.Output), number(o.Answers), number(o.Longer), part(o.Longer, o.Answers), fmt.Sprintf("%.3g", o.Tokens/max(o.Used, 1)),
			number(o.ByOutput), number(o.ByTokens), number(o.ByDollars),
		}})
	}
}
