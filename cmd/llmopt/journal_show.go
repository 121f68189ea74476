package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"llm-auto-optimizer/bench/stats"
	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/optimizer/control/controlpb"
)

type journalShowCmd struct {
	stateFlags
	ID   string `arg:"" name:"id" help:"Number of an entry, or the ID of a decision, such as d12."`
	Plot string `help:"Draw what the route's traffic did before and after into this .png or .svg." placeholder:"FILE"`
	JSON bool   `name:"json" help:"Print JSON, the API's JournalEntry each, with all that it follows from."`
}

// Run prints all that became of a decision, or an entry.
func (c *journalShowCmd) Run(env *environment) error {
	if c.Plot != "" {
		if err := stats.CheckPlot(c.Plot); err != nil {
			return fmt.Errorf("%w: --plot: %w", errUsage, err)
		}
		if c.Dir != "" {
			return fmt.Errorf("%w: --plot: what traffic did is known to a running server only: leave --dir away", errUsage)
		}
	}
	entries, err := c.find(env)
	if err != nil {
		return err
	}
	if err := c.print(env, entries); err != nil {
		return err
	}
	if c.Plot == "" {
		return nil
	}
	return c.plot(env, entries)
}

// find gives the entries as they happened.
func (c *journalShowCmd) find(env *environment) ([]*controlpb.JournalEntry, error) {
	req := &controlpb.ListJournalRequest{Limit: 100, Decision: c.ID, Records: true}
	if number, err := strconv.ParseUint(c.ID, 10, 64); err == nil {
		req = &controlpb.ListJournalRequest{Before: number + 1, Limit: 1, Records: true}
	}
	res, err := c.entries(env, req)
	if err != nil {
		return nil, err
	}
	entries := res.GetEntries()
	if len(entries) == 0 || req.GetBefore() > 0 && entries[0].GetNumber() != req.GetBefore()-1 {
		return nil, fmt.Errorf("the journal has no entry %s", c.ID)
	}
	for i, j := 0, len(entries)-1; i < j; i, j = i+1, j-1 {
		entries[i], entries[j] = entries[j], entries[i]
	}
	return entries, nil
}

func (c *journalShowCmd) print(env *environment, entries []*controlpb.JournalEntry) error {
	if c.JSON {
		for _, e := range entries {
			if err := printMessage(env.stdout, e); err != nil {
				return err
			}
		}
		return nil
	}
	var became []optimizer.Decision
	for _, e := range entries {
		if e.GetDecision() == nil {
			return printPlainEntry(env, e)
		}
		d, err := decisionOf(e)
		if err != nil {
			return err
		}
		became = append(became, *d)
	}
	for _, line := range strings.SplitAfter(optimizer.Report(became, time.Local), "\n") { //nolint:gosmopolitan // for who sits before it
		if text, whole := strings.CutSuffix(line, "\n"); whole {
			fmt.Fprintln(env.stdout, printable(text))
		}
	}
	if id := became[0].ID; id != "" && id != c.ID {
		fmt.Fprintf(env.stdout, "\nAll that became of it: llmopt journal show %s\n", id)
	}
	return nil
}

// printPlainEntry writes an entry that is no decision's.
func printPlainEntry(env *environment, e *controlpb.JournalEntry) error {
	_, err := fmt.Fprintf(env.stdout, "entry %d, %s: %s\n  %s, policy %d → %d\n", e.GetNumber(), e.GetKind(), printable(e.GetReason()), moment(e.GetAt()), e.GetFrom(), e.GetTo())
	for _, name := range e.GetChanged() {
		fmt.Fprintf(env.stdout, "  %s\n", printable(name))
	}
	return err
}

// decisionOf is the decision of an entry, with its evidence.
func decisionOf(e *controlpb.JournalEntry) (*optimizer.Decision, error) {
	var d optimizer.Decision
	if e.GetRecord() == nil {
		return nil, fmt.Errorf("read entry %d: it has no record", e.GetNumber())
	}
	raw, err := protojson.Marshal(e.GetRecord())
	if err == nil {
		err = json.Unmarshal(raw, &d)
	}
	if err != nil {
		return nil, fmt.Errorf("read entry %d: %w", e.GetNumber(), err)
	}
	return &d, nil
}
