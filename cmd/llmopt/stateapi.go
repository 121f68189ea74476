package main

import (
	"context"
	"errors"
	"io"

	"llm-auto-optimizer/optimizer/control"
	"llm-auto-optimizer/optimizer/control/controlpb"
	"llm-auto-optimizer/optimizer/state"
	"llm-auto-optimizer/storage"
)

// stateAPI is the stored state as the admin service offers it.
type stateAPI struct {
	*storage.Store
	keeper *state.Keeper
	forget func() // what was read of it, or written to it
}

// stateAPI is nil where nothing is stored.
func (g *gateway) stateAPI() control.State {
	if g.durable == nil {
		return nil
	}
	return stateAPI{g.durable.store, g.durable.keeper, func() {
		g.saver.forget()
		g.spent.forget()
	}}
}

// Stats implements control.State.
func (s stateAPI) Stats(ctx context.Context) (*controlpb.GetStateResponse, error) {
	stats, err := s.Store.Stats(ctx)
	if err != nil {
		return nil, err
	}
	return statsProto(stats), nil
}

func statsProto(s *storage.Stats) *controlpb.GetStateResponse {
	res := &controlpb.GetStateResponse{Dir: s.Dir, Schema: s.Schema, FileBytes: s.FileBytes, FreeBytes: s.FreeBytes}
	for _, space := range s.Spaces {
		res.Spaces = append(res.Spaces, &controlpb.StateSpace{
			Name: space.Name, Entries: space.Entries, KeyBytes: space.KeyBytes, ValueBytes: space.ValueBytes,
		})
	}
	return res
}

// Restore implements control.State.
func (s stateAPI) Restore(ctx context.Context, r io.ReadSeeker) error {
	if err := s.Store.Restore(ctx, r); err != nil {
		return err
	}
	s.forget()
	return s.keeper.Restored(ctx)
}

// BadBackup implements control.State.
func (stateAPI) BadBackup(err error) bool {
	return errors.Is(err, storage.ErrBackup) || errors.Is(err, storage.ErrNewer)
}

// Journal implements control.State.
func (s stateAPI) Journal(ctx context.Context, before uint64, limit int, yield func(uint64, state.Entry)) error {
	return s.Store.EntriesBefore(ctx, before, limit, func(number uint64, entry []byte) error {
		e, err := state.DecodeEntry(entry)
		if err != nil {
			e.Kind, e.Reason = "unreadable", err.Error()
		}
		yield(number, e)
		return nil
	})
}
