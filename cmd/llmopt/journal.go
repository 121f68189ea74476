package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

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
	Kind    string        `help:"Only entries of this kind: configuration, decision, target, cache, restore." placeholder:"KIND"`
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
	return printEntries(env.stdout, res.GetEntries(), time.Now())
}

// shortList names the first of many.
func shortList(all []string) string {
	const most = 3
	if len(all) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
	}
	return strings.Join(all, ", ")
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
		d, err := decisionOf(e)
		if err != nil {
			out.Differ = append(out.Differ, err.Error())
			continue
		}
		switch differs, err := optimizer.Replay(d); {
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
