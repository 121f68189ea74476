package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"llm-auto-optimizer/optimizer"
)

// appendDemoRow is a line with a name before it.
func appendDemoRow(out *bytes.Buffer, pen ink, name, format string, args ...any) {
	fmt.Fprintf(out, "%s  %s\n", pen.dim(fmt.Sprintf("%-12s", name)), fmt.Sprintf(format, args...))
}

// appendDemoTargets is the table of the route's targets. It fits 100 characters.
func appendDemoTargets(out *bytes.Buffer, st *demoState, pen ink) {
	head := []string{"target", "$ in/out", "share", "now", "answers", "late", "first token", "errors", "cost", "state"}
	text := []bool{true, true, false, false, false, false, false, false, false, true}
	rows := [][]string{head}
	for i := range st.targets {
		t := &st.targets[i]
		first := "-"
		if t.TTFT > 0 {
			first = shortDuration(t.TTFT)
		}
		rows = append(rows, []string{
			t.Name, t.Price, fmt.Sprintf("%.0f%%", 100*t.Share), fmt.Sprintf("%.0f%%", 100*t.Got), strconv.FormatInt(t.Exchanges, 10),
			fmt.Sprintf("%.1f%%", 100*t.Late), first, strconv.FormatInt(t.Errors, 10), dollars(t.Cost), strings.ReplaceAll(t.State, "_", " "),
		})
	}
	appendDemoTable(out, text, rows, pen)
}

// proofOf is what is known of the demo's route; nil: nothing.
func proofOf(st *demoState) *optimizer.RouteSavings {
	if st.savings == nil {
		return nil
	}
	for i := range st.savings.Routes {
		if r := &st.savings.Routes[i]; r.Route == demoRoute {
			return r
		}
	}
	return nil
}

// appendDemoSavings is what was saved so far: measured, and as computed.
func appendDemoSavings(out *bytes.Buffer, st *demoState, pen ink) {
	measured := "nothing is known yet"
	if r := proofOf(st); r != nil {
		measured, _, _ = strings.Cut(strings.Replace(r.Verdict(), " of what it would have cost", "", 1), "; ") // the summary has the rest
	}
	appendDemoRow(out, pen, "measured", "%s", measured)
	var parts []string
	for _, p := range st.static {
		name, _, _ := strings.Cut(p.Policy, ",")
		parts = append(parts, fmt.Sprintf("%s $%.4f", name, p.Cost))
	}
	appendDemoRow(out, pen, "computed", "%s", strings.Join(parts, ", "))
}

// noticed is how sentences begin that tell of what has changed, and not of a decision.
const noticed = "noticed: "

// appendDemoDecisions is what was decided.
func appendDemoDecisions(out *bytes.Buffer, told []demoEvent, pen ink) {
	decided, incidents, reflexes := 0, 0, 0
	var moves bytes.Buffer
	for i := range told {
		switch e := &told[i]; {
		case e.Route == demoShared: // which are told with what came of them, too
		case e.Who == "reflex":
			reflexes++
		case e.Tuner == cachingTuner: // which are told with what came of them
		case e.Tuner == "incident":
			incidents++
		case e.Who == "optimizer":
			if !strings.HasPrefix(e.What, noticed) {
				decided++
			}
			appendWrapped(&moves, "  "+pen.dim(e.Clock)+"  ", 9, e.What)
		}
	}
	fmt.Fprintf(out, "%s\n", pen.bold(fmt.Sprintf("Decided: %d times a cheaper mix, %d times room for incidents; reflexes acted %d times.", decided, incidents, reflexes)))
	out.Write(moves.Bytes())
	out.WriteByte('\n')
}

// appendDemoProof is what the hold-back says of all that.
func appendDemoProof(out *bytes.Buffer, st *demoState, pen ink) {
	fmt.Fprintf(out, "%s\n", pen.bold("Measured against the hold-back, the sessions that stayed on the settings as they are:"))
	r := proofOf(st)
	if r == nil {
		out.WriteString("  nothing is known yet\n\n")
		return
	}
	fmt.Fprintf(out, "  %s\n", r.Verdict())
	if r.Missing == "" && !r.Sure {
		out.WriteString("  That is what minutes can tell: intervals shrink with traffic.\n")
	}
	one := *st.savings
	one.Routes = []optimizer.RouteSavings{*r}
	for i, line := range strings.Split(strings.TrimSpace(one.Text()), "\n") {
		if i > 1 && strings.HasPrefix(line, "  ") { // the verdict and the real time of day stand above, or nowhere
			out.WriteString(line + "\n")
		}
	}
	out.WriteByte('\n')
}

// appendDemoStatics is what policies that never change would have come to.
func appendDemoStatics(out *bytes.Buffer, book *demoBook, st *demoState, pen ink) {
	spent, late := book.spent()
	fmt.Fprintf(out, "%s\n", pen.bold("Computed: the same tokens at the prices in force, under policies that never change:"))
	rows := [][]string{{"  policy", "cost", "late", ""}, {"  as it was", fmt.Sprintf("$%.4f", spent), fmt.Sprintf("%.1f%%", 100*late), "(measured, hold-back included)"}}
	for _, p := range st.static {
		row := []string{"  " + p.Policy, fmt.Sprintf("$%.4f", p.Cost), fmt.Sprintf("%.1f%%", 100*p.Late), ""}
		for i, trouble := range p.Trouble {
			if row[3] = trouble; i < len(p.Trouble)-1 {
				rows = append(rows, row)
				row = make([]string, len(row))
			}
		}
		rows = append(rows, row)
	}
	appendTable(out, []bool{true, false, false, true}, rows)
	out.WriteByte('\n')
}
