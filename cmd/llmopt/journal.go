package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"google.golang.org/protobuf/types/known/timestamppb"

	"llm-auto-optimizer/optimizer/control/controlpb"
	"llm-auto-optimizer/optimizer/state"
)

// journalCmd shows what has changed the policy in force, and why.
type journalCmd struct {
	List journalListCmd `cmd:"" default:"withargs" help:"List changes of the policy, newest first."`
	Show journalShowCmd `cmd:"" help:"Show one entry with all of its fields."`
}

type journalListCmd struct {
	stateFlags
	Limit  uint32 `default:"20" help:"How many entries, at most 1000."`
	Before uint64 `help:"Only entries with lower numbers." placeholder:"NUMBER"`
	JSON   bool   `name:"json" help:"Print JSON, the API's ListJournalResponse."`
}

// Run prints entries.
func (c *journalListCmd) Run(env *environment) error {
	res, err := c.entries(env, &controlpb.ListJournalRequest{Before: c.Before, Limit: c.Limit})
	if err != nil {
		return err
	}
	if c.JSON {
		return printMessage(env.stdout, res)
	}
	if len(res.GetEntries()) == 0 {
		fmt.Fprintln(env.stdout, "The journal is empty.")
		return nil
	}
	t := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NUMBER\tAT\tKIND\tPOLICY\tREASON\tCHANGED")
	for _, e := range res.GetEntries() {
		fmt.Fprintf(t, "%d\t%s\t%s\t%d → %d\t%s\t%s\n", e.GetNumber(), moment(e.GetAt()), e.GetKind(), e.GetFrom(), e.GetTo(), e.GetReason(),
			shortList(e.GetChanged()))
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
	Number uint64 `arg:"" help:"Number of the entry."`
}

// Run prints one entry.
func (c *journalShowCmd) Run(env *environment) error {
	res, err := c.entries(env, &controlpb.ListJournalRequest{Before: c.Number + 1, Limit: 1})
	if err != nil {
		return err
	}
	if len(res.GetEntries()) == 0 || res.GetEntries()[0].GetNumber() != c.Number {
		return fmt.Errorf("the journal has no entry %d", c.Number)
	}
	return printMessage(env.stdout, res.GetEntries()[0])
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
	res = &controlpb.ListJournalResponse{}
	err = f.offline(func(s stateAPI) error {
		return s.Journal(context.WithoutCancel(env.ctx), req.GetBefore(), int(req.GetLimit()), func(number uint64, e state.Entry) {
			res.Entries = append(res.Entries, &controlpb.JournalEntry{
				Number: number, At: timestamppb.New(e.At), Kind: e.Kind, Reason: e.Reason, From: e.From, To: e.To, Changed: e.Changed,
			})
		})
	})
	return res, err
}
