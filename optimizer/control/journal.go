package control

import (
	"context"
	"encoding/json"
	"fmt"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/optimizer/control/controlpb"
	"llm-auto-optimizer/optimizer/state"
)

const (
	defaultJournal, maxJournal = 50, 1000
	// journalPage is how many entries are read at a time where only some are wanted.
	journalPage = 500
)

// Journal gives entries with numbers below before, newest first, at most limit.
type Journal func(ctx context.Context, before uint64, limit int, yield func(number uint64, e state.Entry)) error

// ReadJournal gives the entries that a request asks for.
func ReadJournal(ctx context.Context, read Journal, req *controlpb.ListJournalRequest) (*controlpb.ListJournalResponse, error) {
	limit := int(req.GetLimit())
	if limit == 0 {
		limit = defaultJournal
	}
	if limit > maxJournal {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("limit %d: at most %d", limit, maxJournal))
	}
	page := limit
	if req.GetKind() != "" || req.GetRoute() != "" || req.GetTuner() != "" || req.GetVerdict() != "" || req.GetDecision() != "" {
		page = journalPage
	}
	res, before := &controlpb.ListJournalResponse{}, req.GetBefore()
	for {
		n, old := 0, false
		err := read(ctx, before, page, func(number uint64, e state.Entry) {
			n, before = n+1, number
			old = old || req.GetSince() != nil && e.At.Before(req.GetSince().AsTime())
			if p := entryProto(number, &e, req); p != nil && !old && len(res.Entries) < limit {
				res.Entries = append(res.Entries, p)
			}
		})
		if err != nil {
			return nil, connect.NewError(connect.CodeUnavailable, err)
		}
		if n < page || old || len(res.GetEntries()) >= limit || before <= 1 {
			return res, nil
		}
	}
}

// entryProto is an entry as it was asked for, or nil where it was not.
func entryProto(number uint64, e *state.Entry, req *controlpb.ListJournalRequest) *controlpb.JournalEntry {
	p := &controlpb.JournalEntry{Number: number, At: timestamppb.New(e.At), Kind: e.Kind, Reason: e.Reason, From: e.From, To: e.To, Changed: e.Changed}
	if e.Decision != nil {
		var d optimizer.Decision
		if err := json.Unmarshal(e.Decision, &d); err != nil {
			p.Reason += fmt.Sprintf(" (its decision can't be read: %v)", err)
		} else {
			p.Decision = DecisionProto(&d)
		}
		if req.GetRecords() {
			p.Record = &structpb.Struct{}
			if protojson.Unmarshal(e.Decision, p.GetRecord()) != nil {
				p.Record = nil
			}
		}
	}
	d := p.GetDecision()
	for _, f := range [][2]string{
		{req.GetKind(), p.GetKind()}, {req.GetRoute(), d.GetRoute()}, {req.GetTuner(), d.GetTuner()}, {req.GetVerdict(), d.GetVerdict()}, {req.GetDecision(), d.GetId()},
	} {
		if f[0] != "" && f[0] != f[1] {
			return nil
		}
	}
	return p
}

func (a *admin) ListJournal(ctx context.Context, req *controlpb.ListJournalRequest) (*controlpb.ListJournalResponse, error) {
	st, err := a.stored()
	if err != nil {
		return nil, err
	}
	return ReadJournal(ctx, st.Journal, req)
}
