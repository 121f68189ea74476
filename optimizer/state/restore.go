package state

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

// Where the keeper keeps its own notes.
const (
	namespace    = "keeper"
	valueWritten = "rolled_up" // up to where the slots of each level are stored
)

func encodeMark(written [window.LevelsEnd]int64) []byte {
	b, err := json.Marshal(written)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return b
}

// Opened puts what is in memory in order with what is stored. The store calls it each time that it has become usable.
func (k *Keeper) Opened() {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	k.mu.Lock()
	defer k.mu.Unlock()
	var err error
	if k.restored {
		err = k.reopened(ctx)
	} else if err = k.restore(ctx); err == nil {
		k.restored = true
	}
	if err != nil {
		k.options.Log.Error().Err(err).Msg("stored state can't be read")
	}
	if k.restored {
		k.once.Do(func() { close(k.ready) })
	}
}

// reopened finds out whether the store has begun anew, with nothing in it: then all that memory holds is to be stored again.
func (k *Keeper) reopened(ctx context.Context) error {
	flush, err := k.options.Store.Flush(ctx)
	if err != nil || flush > 0 || k.flush == 0 {
		return err
	}
	k.options.Log.Warn().Msg("the store has begun anew: windows are stored again as far as memory has them")
	k.written = [window.LevelsEnd]int64{}
	for l := range window.LevelsEnd {
		k.written[l] = l.Oldest(k.options.Now())
	}
	current := k.options.Policy.Load()
	data, err := current.MarshalBinary()
	if err == nil {
		_, err = k.options.Store.Append(ctx, &Snapshot{current.Version, data})
	}
	return err
}

// restore reads what an earlier run has stored.
func (k *Keeper) restore(ctx context.Context) error {
	began := time.Now()
	var err error
	if k.flush, err = k.options.Store.Flush(ctx); err != nil {
		return fmt.Errorf("read totals: %w", err)
	}
	if err := k.restorePolicy(ctx); err != nil {
		return fmt.Errorf("read policy snapshot: %w", err)
	}
	if err := k.restoreTotals(ctx); err != nil {
		return fmt.Errorf("read totals: %w", err)
	}
	slots, err := k.restoreWindows(ctx)
	if err != nil {
		return fmt.Errorf("read windows: %w", err)
	}
	k.options.Log.Info().Int("slots", slots).Uint64("policy", k.options.Policy.Load().Version).Dur("took", time.Since(began)).
		Msg("state restored")
	return nil
}

// restorePolicy counts policy versions on from the last run's. What the configuration asks for is in force already; where that differs
// from what was in force, it is a change of the operator's.
func (k *Keeper) restorePolicy(ctx context.Context) error {
	mine := k.options.Policy.Load()
	stored, err := k.options.Store.Current(ctx)
	if k.options.Store.NotFound(err) {
		k.journalStart(0, mine)
		return nil
	}
	if err != nil {
		return err
	}
	var last policy.Snapshot
	if err := last.UnmarshalBinary(stored.Data); err != nil {
		k.stats.refused.Add(1)
		k.options.Log.Error().Err(err).Uint64("policy", stored.Version).Msg("stored policy snapshot refused")
		k.journalStart(stored.Version, k.options.Policy.Resume(stored.Version+1))
		return nil
	}
	if last.Same(mine) {
		k.options.Policy.Resume(stored.Version)
		return nil
	}
	k.journalStart(stored.Version, k.options.Policy.Resume(stored.Version+1))
	return nil
}

func (k *Keeper) journalStart(from uint64, now *policy.Snapshot) {
	k.Journal(Entry{
		At: k.options.Now(), Kind: KindConfiguration, Reason: "settings at the start", From: from, To: now.Version,
		Changed: slices.Sorted(maps.Keys(now.Providers)),
	}, now)
}

// restoreTotals adds what is stored to what has been collected meanwhile.
func (k *Keeper) restoreTotals(ctx context.Context) error {
	now := k.options.Now()
	k.collect()
	hour := now.Unix() / 3600
	first := hour
	for at := range k.pending {
		first = min(first, at.hour)
	}
	return k.options.Store.Totals(ctx, first, hour+1, func(t Total) error {
		var err error
		if t.Hour == hour {
			err = k.options.Totals.Restore(now, t.Hour, t.Key, t.Data)
		} else if at := (hourKey{t.Hour, string(t.Key)}); k.pending[at] != nil {
			k.pending[at], err = k.options.Totals.Sum(k.pending[at], t.Data)
		}
		if err != nil {
			k.refuse("total", err)
		}
		return nil
	})
}

// refuse notes stored data that can't be used, the first time in the log as well.
func (k *Keeper) refuse(what string, err error) {
	if k.stats.refused.Add(1) == 1 {
		k.options.Log.Error().Err(err).Msg("stored " + what + " refused; further ones are only counted")
	}
}

// restoreWindows files the stored slots, each time at one level: hours as far back as they go, minutes since the hour before the last, or
// since what was last rolled up into hours, and tens of seconds likewise.
func (k *Keeper) restoreWindows(ctx context.Context) (n int, err error) {
	now := k.options.Now()
	var written [window.LevelsEnd]int64
	switch mark, err := k.options.Store.Value(ctx, namespace, valueWritten); {
	case k.options.Store.NotFound(err): // nothing was rolled up yet: what there is are slots of the end of a run
	case err != nil:
		return 0, err
	default:
		if err := json.Unmarshal(mark, &written); err != nil {
			k.refuse("note of what is rolled up", err)
		}
	}
	hours := min(window.Hours.Number(now)-1, written[window.Hours])
	minutes := min(window.Minutes.Number(now)-1, written[window.Minutes])
	spans := [window.LevelsEnd]struct{ from, to int64 }{
		window.Hours:      {window.Hours.Oldest(now), hours},
		window.Minutes:    {window.Minutes.Number(window.Hours.Start(hours)), minutes},
		window.TenSeconds: {window.TenSeconds.Number(window.Minutes.Start(minutes)), window.TenSeconds.Number(now) + 1},
	}
	for l := range window.LevelsEnd {
		from := max(spans[l].from, window.Level.Number(l, now.Add(-k.options.Keep().Slots[l])), 0)
		var key window.Key
		var name string
		err := k.options.Store.Slots(ctx, uint8(l), nil, from, spans[l].to, func(s Slot) error {
			if string(s.Series) != name {
				if err := key.UnmarshalBinary(s.Series); err != nil {
					k.refuse("series", err)
					return nil
				}
				name = string(s.Series)
			}
			if err := k.options.Windows.Restore(now, key, l, s.Number, s.Data); err != nil {
				k.refuse("slot", err)
				return nil
			}
			n++
			return nil
		})
		if err != nil {
			return n, err
		}
		k.written[l] = written[l]
		if written[l] == 0 {
			k.written[l] = l.Number(now)
		}
	}
	return n, nil
}
