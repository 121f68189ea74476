package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"llm-auto-optimizer/config"
)

// facts says what becomes of the answers to a kind of question.
func (k *demoKind) facts() string {
	if k.Stays == 0 {
		return "never change"
	}
	return "change every " + config.FormatDuration(time.Duration(k.Stays*float64(time.Second)))
}

// percentOf is a share; none of nothing.
func percentOf(share float64, of int64) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f%%", 100*share)
}

// appendDemoKept is the table of the route that keeps its answers, as it is now.
func appendDemoKept(out *bytes.Buffer, st *demoState, pen ink) {
	rows := [][]string{{demoCached + " now", "answers", "kept for", "from cache", "of it stale"}}
	for i := range st.kept.Kinds {
		k := &st.kept.Kinds[i]
		rows = append(rows, []string{
			k.Class, k.facts(), config.FormatDuration(k.Now.ttl()), percentOf(k.Now.hitRatio(), k.Now.Requests), percentOf(k.Now.staleShare(), k.Now.Hits),
		})
	}
	appendDemoTable(out, []bool{true, true, false, false, false}, rows, pen)
}

// appendDemoTable is a table whose head does not stand out.
func appendDemoTable(out *bytes.Buffer, text []bool, rows [][]string, pen ink) {
	var table bytes.Buffer
	appendTable(&table, text, rows)
	head, rest, _ := bytes.Cut(table.Bytes(), []byte("\n"))
	out.WriteString(pen.dim(string(head)) + "\n")
	out.Write(rest)
}

// keptLine is the same in a line.
func keptLine(st *demoKeptState) string {
	var line bytes.Buffer
	line.WriteString(demoCached + " keeps ")
	for i := range st.Kinds {
		k := &st.Kinds[i]
		fmt.Fprintf(&line, "%s %s: %s hits", k.Class, config.FormatDuration(k.Now.ttl()), percentOf(k.Now.hitRatio(), k.Now.Requests))
		if k.Stays > 0 {
			fmt.Fprintf(&line, ", %s stale", percentOf(k.Now.staleShare(), k.Now.Hits))
		}
		line.WriteString("; ")
	}
	return line.String() + gain(st.Saved)
}

// appendDemoKeptSummary is what the caching tuner has made of the day.
func appendDemoKeptSummary(out *bytes.Buffer, st *demoState, told []demoEvent, pen ink) {
	k := st.kept
	fmt.Fprintf(out, "%s\n", pen.bold(fmt.Sprintf("The cache of %s %s of the %s that its %d requests would have cost without it.",
		demoCached, gain(k.Saved), dollars(k.Spent+k.Worth), k.Requests)))
	fmt.Fprintf(out, "  Its answers were worth %s; %s went into fetching some anew, to see how often they change.\n", dollars(k.Worth), dollars(k.Refresh))
	for i := range told {
		if e := &told[i]; e.Tuner == cachingTuner {
			appendWrapped(out, "  "+pen.dim(e.Clock)+"  ", 9, strings.TrimPrefix(e.What, demoCached+" "))
		}
	}
	rows := [][]string{{"  answers", "kept for", "from", "requests", "from cache", "of it stale"}}
	row := func(what, ttl string, s *demoSpan) {
		rows = append(rows, []string{
			"  " + what, ttl, s.Clock, strconv.FormatInt(s.Requests, 10), percentOf(s.hitRatio(), s.Requests), percentOf(s.staleShare(), s.Hits),
		})
	}
	for i := range k.Kinds {
		kind := &k.Kinds[i]
		what := kind.Class + ": " + kind.facts()
		for j := range kind.Spans {
			s := &kind.Spans[j]
			row(what, config.FormatDuration(s.ttl()), s)
			what = ""
		}
		row("  hold-back, as configured", config.FormatDuration(kind.Heldback.ttl()), &kind.Heldback)
	}
	appendDemoTable(out, []bool{true, false, true, false, false, false}, rows, pen)
	out.WriteByte('\n')
}
