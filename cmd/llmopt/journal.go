package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/optimizer/control"
	"llm-auto-optimizer/optimizer/control/controlpb"
)

// journalCmd shows what has changed the policy in force, and why.
type journalCmd struct {
	List   journalListCmd   `cmd:"" default:"withargs" help:"List changes of the policy and decisions of the optimizer, newest first."`
	Show   journalShowCmd   `cmd:"" help:"Show an entry, or all that became of a decision, with what it follows from."`
	Replay journalReplayCmd `cmd:"" help:"Compute past decisions again from their evidence, and compare."`
}

// journalFilter says which entries are wanted.
type journalFilter struct {
	Kind    string        `help:"Only entries of this kind: configuration, decision, target, restore." placeholder:"KIND"`
	Route   string        `help:"Only decisions about this route." placeholder:"NAME"`
	Tuner   string        `help:"Only decisions of this tuner." placeholder:"NAME"`
	Verdict string        `help:"Only decisions with this verdict: applied, recommended, refused, trying, promoted, rolled_back, fenced, ordered, measured." placeholder:"VERDICT"`
	Since   time.Duration `help:"Only entries that are not older." placeholder:"DURATION"`
}

func (f *journalFilter) request(limit uint32) *controlpb.ListJournalRequest {
	req := &controlpb.ListJournalRequest{Limit: limit, Kind: f.Kind, Route: f.Route, Tuner: f.Tuner, Verdict: f.Verdict}
	if f.Since > 0 {
		req.Since = timestamppb.New(time.Now().Add(-f.Since))
	}
	return req
}

type journalListCmd struct {
	stateFlags
	journalFilter
	Limit  uint32 `default:"20" help:"How many entries, at most 1000."`
	Before uint64 `help:"Only entries with lower numbers." placeholder:"NUMBER"`
	JSON   bool   `name:"json" help:"Print JSON, the API's ListJournalResponse."`
}

// Run prints entries.
func (c *journalListCmd) Run(env *environment) error {
	req := c.request(c.Limit)
	req.Before = c.Before
	res, err := c.entries(env, req)
	if err != nil {
		return err
	}
	if c.JSON {
		return printMessage(env.stdout, res)
	}
	if len(res.GetEntries()) == 0 {
		fmt.Fprintln(env.stdout, "The journal has no such entries.")
		return nil
	}
	t := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NUMBER\tAT\tID\tPOLICY\tWHAT")
	for _, e := range res.GetEntries() {
		what := e.GetKind() + ": " + e.GetReason()
		if d := e.GetDecision(); d != nil {
			_, what, _ = strings.Cut(d.GetSentence(), " ")
		} else if len(e.GetChanged()) > 0 {
			what += " (" + shortList(e.GetChanged()) + ")"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%d → %d\t%s\n", e.GetNumber(), moment(e.GetAt()), orDash(e.GetDecision().GetId()), e.GetFrom(), e.GetTo(), printable(what))
	}
	return t.Flush()
}

// shortList names the first of many.
func shortList(all []string) string {
	const most = 3
	if len(all) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
	}
	return strings.Join(all, ", ")
}

type journalShowCmd struct {
	stateFlags
	ID string `arg:"" name:"id" help:"Number of an entry, or the ID of a decision, such as d12."`
}

// Run prints entries whole.
func (c *journalShowCmd) Run(env *environment) error {
	req := &controlpb.ListJournalRequest{Limit: 100, Decision: c.ID, Records: true}
	if number, err := strconv.ParseUint(c.ID, 10, 64); err == nil {
		req = &controlpb.ListJournalRequest{Before: number + 1, Limit: 1, Records: true}
	}
	res, err := c.entries(env, req)
	if err != nil {
		return err
	}
	entries := res.GetEntries()
	if len(entries) == 0 || req.GetBefore() > 0 && entries[0].GetNumber() != req.GetBefore()-1 {
		return fmt.Errorf("the journal has no entry %s", c.ID)
	}
	for i := range entries { // as it happened
		if err := printMessage(env.stdout, entries[len(entries)-1-i]); err != nil {
			return err
		}
	}
	return nil
}

type journalReplayCmd struct {
	stateFlags
	journalFilter
	Limit uint32 `default:"1000" help:"How many entries, at most 1000."`
	JSON  bool   `name:"json" help:"Print JSON."`
}

// replayed is what came of a replay.
type replayed struct {
	Decisions int      `json:"decisions"`
	Agree     int      `json:"agree"`
	Without   int      `json:"without_evidence"` // orders, trials' ends: what no tuner has computed
	Differ    []string `json:"differ"`
}

var errReplay = errors.New("decisions come out otherwise than they did")

// Run computes decisions again.
func (c *journalReplayCmd) Run(env *environment) error {
	req := c.request(c.Limit)
	req.Kind, req.Records = "decision", true
	res, err := c.entries(env, req)
	if err != nil {
		return err
	}
	out := replayed{Differ: []string{}}
	for _, e := range res.GetEntries() {
		out.Decisions++
		var d optimizer.Decision
		raw, err := protojson.Marshal(e.GetRecord())
		if err == nil {
			err = json.Unmarshal(raw, &d)
		}
		if err != nil {
			out.Differ = append(out.Differ, fmt.Sprintf("entry %d can't be read: %v", e.GetNumber(), err))
			continue
		}
		switch differs, err := optimizer.Replay(&d); {
		case errors.Is(err, optimizer.ErrNoReplay):
			out.Without++
		case err != nil:
			out.Differ = append(out.Differ, fmt.Sprintf("entry %d, %s: %v", e.GetNumber(), d.ID, err))
		case differs != "":
			out.Differ = append(out.Differ, fmt.Sprintf("entry %d, %s: %s", e.GetNumber(), d.ID, differs))
		default:
			out.Agree++
		}
	}
	if c.JSON {
		err = printJSON(env.stdout, out)
	} else {
		for _, line := range out.Differ {
			fmt.Fprintln(env.stdout, line)
		}
		_, err = fmt.Fprintf(env.stdout, "%d decisions: %d come out as they did, %d otherwise, %d are orders and results of trials, which follow from no evidence of a tuner's\n",
			out.Decisions, out.Agree, len(out.Differ), out.Without)
	}
	if err == nil && len(out.Differ) > 0 {
		err = errReplay
	}
	return err
}

// entries asks the server, or reads the directory.
func (f stateFlags) entries(env *environment, req *controlpb.ListJournalRequest) (res *controlpb.ListJournalResponse, err error) {
	if f.Dir == "" {
		conn, err := f.dial(env)
		if err != nil {
			return nil, err
		}
		if res, err = conn.api.ListJournal(env.ctx, req); err != nil {
			return nil, conn.explain(err)
		}
		return res, nil
	}
	err = f.offline(func(s stateAPI) error {
		res, err = control.ReadJournal(env.ctx, s.Journal, req)
		return err
	})
	return res, err
}
