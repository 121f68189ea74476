package simulate

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Print writes the report as text.
func (r *Report) Print(out io.Writer) error {
	fmt.Fprintf(out, "%s\n%s, commit %.12s, %s, %.0f s\n", r.Command, r.Machine, r.Commit, r.Started.Format("2006-01-02"), r.Seconds)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, t := range r.Tables {
		fmt.Fprintf(w, "\n%s: %d scenarios, %d pairs of scenario and seed\n\n", t.Kind, t.Scenarios, t.Pairs)
		fmt.Fprint(w, "policy\tcost, of the clairvoyant's\t95 %\tviolations\tfailed\tejections\tdecisions\tpairs\n")
		for _, row := range t.Rows {
			fmt.Fprintf(w, "%s\t%.3f\t%.3f .. %.3f\t%.3f%%\t%.3f%%\t%.1f\t%.1f\t%d\n", row.Policy, row.Cost, row.Low, row.High, 100*row.Violations, 100*row.Failed,
				row.Ejections, row.Decisions, row.Pairs)
		}
		if err := w.Flush(); err != nil { // columns of each table for themselves
			return err
		}
	}
	fmt.Fprint(w, "\nfigure\ttarget\tgot\t95 %\t\tof\t\n")
	for _, f := range r.Figures {
		word := "met"
		switch {
		case f.Of == 0:
			word = "-"
		case !f.Met:
			word = "NOT MET"
		}
		fmt.Fprintf(w, "%s\t<= %.4g %s\t%.4g\t%.4g .. %.4g\t%s\t%d\t%s\n", f.Metric, round3(f.Limit), f.Unit, round3(f.Got), round3(f.Low), round3(f.High), word, f.Of, f.Note)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	for _, n := range r.Notes {
		if _, err := fmt.Fprintln(out, n); err != nil {
			return err
		}
	}
	return nil
}

// Cases writes a line for each scenario.
func (r *Report) Cases(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "scenario\tkind\trequests\tcost, of the clairvoyant's\tof the best static\twith reflexes\tviolations\tclairvoyant\twithout optimizer\tshuffle\n")
	for i := range r.Scenarios {
		c := &r.Scenarios[i]
		of := func(name string) string {
			s, ok := c.Policies[name]
			if !ok || s.Cost == 0 {
				return "-"
			}
			return fmt.Sprintf("%.3f", c.Policies[Optimized].Cost/s.Cost)
		}
		bad := func(name string) string {
			s, ok := c.Policies[name]
			if !ok {
				return "-"
			}
			return fmt.Sprintf("%.3f%%", 100*s.Violations)
		}
		fmt.Fprintf(w, "%s\t%s\t%.0f\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Name, c.Kind, c.Requests, of(Clairvoyant), of(BestStatic), of(BestFixed), bad(Optimized),
			bad(Clairvoyant), bad(Production), bad("shuffle"))
	}
	return w.Flush()
}

func round3(v float64) float64 { return float64(int64(v*1000+.5)) / 1000 }
