package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/optimizer/control/controlpb"
)

// journalWidth is how many characters a line of the journal has at most.
const journalWidth = 120

// printEntries writes entries as a table, in which sentences go on in their column. Times of today have no date.
func printEntries(out io.Writer, entries []*controlpb.JournalEntry, now time.Time) error {
	var table bytes.Buffer
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NUMBER\tAT\tID\tPOLICY\t")
	for _, e := range entries {
		at := e.GetAt().AsTime().Local() //nolint:gosmopolitan // for who sits before it
		layout := "2006-01-02 15:04"
		if at.Year() == now.Year() {
			layout = "Jan _2 15:04:05"
			if at.YearDay() == now.YearDay() {
				layout = "15:04:05"
			}
		}
		policy := fmt.Sprint(e.GetTo())
		if e.GetFrom() != e.GetTo() {
			policy = fmt.Sprintf("%d→%d", e.GetFrom(), e.GetTo())
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t\n", e.GetNumber(), at.Format(layout), orDash(e.GetDecision().GetId()), policy)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSuffix(table.String(), "\n"), "\n")
	indent := len([]rune(lines[0]))
	fmt.Fprintln(out, lines[0]+"WHAT")
	for i, e := range entries {
		if _, err := fmt.Fprintln(out, lines[i+1]+optimizer.Wrap(printable(whatOf(e)), journalWidth, indent)); err != nil {
			return err
		}
	}
	return nil
}

// whatOf is what an entry is about, in words.
func whatOf(e *controlpb.JournalEntry) string {
	if d := e.GetDecision(); d != nil {
		_, what, _ := strings.Cut(d.GetSentence(), " ")
		return what
	}
	what := e.GetKind() + ": " + e.GetReason()
	if len(e.GetChanged()) > 0 {
		what += " (" + shortList(e.GetChanged()) + ")"
	}
	return what
}
