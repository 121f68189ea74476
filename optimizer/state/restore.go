package state

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
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
	if err := k.open(ctx); err != nil {
		k.options.Log.Error().Err(err).Msg("stored state can't be read")
	}
}

// open restores what an earlier run has stored, first what requests may depend on and what gets lost when it is not stored each
// second; the windows take longer.
func (k *Keeper) open(ctx context.Context) error {
	began := time.Now()
	k.mu.Lock()
	first := !k.restored
	var err error
	if first {
		if err = k.restore(ctx); err == nil {
			k.restored = true
			close(k.ready)
		}
	} else {
		err = k.reopened(ctx)
	}
	filed := k.filed
	k.mu.Unlock()
	if err != nil || filed {
		return err
	}
	slots, err := k.restoreWindows(ctx)
	if err != nil {
		return fmt.Errorf("read windows: %w", err)
	}
	k.options.Log.Info().Int("slots", slots).Uint64("policy", k.options.Policy.Load().Version).Dur("took", time.Since(began)).
		Msg("state restored")
	return nil
}

// reopened finds out whether the store has begun anew, with nothing in it: then all that memory holds is to be stored again.
func (k *Keeper) reopened(ctx context.Context) error {
	flush, err := k.options.Store.Flush(ctx)
	if err != nil || flush > 0 || k.flush == 0 {
		return err
	}
	k.options.Log.Warn().Msg("the store has begun anew: windows are stored again as far as memory has them")
	k.anew = true
	for l := range window.LevelsEnd {
		k.written[l] = oldestWhole(l, k.options.Now())
	}
	current := k.options.Policy.Load()
	data, err := current.MarshalBinary()
	if err == nil {
		_, err = k.options.Store.Append(ctx, &Snapshot{current.Version, data})
	}
	return err
}

// oldestWhole is the slot from which on a level holds all that memory has, when memory is read at that level: the coarser slot of which
// memory keeps only a part at this level counts where it begins.
func oldestWhole(l window.Level, now time.Time) int64 {
	oldest := l.Oldest(now)
	if l == window.Hours {
		return oldest
	}
	coarser := l + 1
	return l.Number(coarser.Start(coarser.Number(l.Start(oldest))))
}

// restore reads what an earlier run has stored.
func (k *Keeper) restore(ctx context.Context) error {
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
	return nil
}

// restorePolicy counts policy versions on from the last run's. What the configuration asks for is in force already; where that differs
// from what was in force, it is a change of the operator's.
func (k *Keeper) restorePolicy(ctx context.Context) error {
	stored, err := k.options.Store.Current(ctx)
	if k.options.Store.NotFound(err) {
		k.journalStart(0, k.options.Policy.Load(), &policy.Snapshot{})
		return nil
	}
	if err != nil {
		return err
	}
	var last policy.Snapshot
	if err := last.UnmarshalBinary(stored.Data); err != nil {
		k.stats.refused.Add(1)
		k.options.Log.Error().Err(err).Uint64("policy", stored.Version).Msg("stored policy snapshot refused")
		if good, err := k.options.Store.Good(ctx); err != nil || last.UnmarshalBinary(good.Data) != nil {
			k.journalStart(stored.Version, k.options.Policy.Resume(stored.Version+1), &policy.Snapshot{})
			return nil
		}
		k.options.Log.Warn().Uint64("policy", last.Version).Msg("the last good policy snapshot takes its place")
	}
	if mine := k.adopt(&last); last.Same(mine) {
		k.options.Policy.Resume(stored.Version)
		return nil
	}
	k.journalStart(stored.Version, k.options.Policy.Resume(stored.Version+1), &last)
	return nil
}

// adopt takes over what an earlier run has tuned, of routes that are set up as they were then. It returns the snapshot in force.
func (k *Keeper) adopt(last *policy.Snapshot) *policy.Snapshot {
	for {
		mine := k.options.Policy.Load()
		next, adopted := mine.Adopt(last)
		if adopted == 0 || k.options.Tuned == nil || !k.options.Tuned() {
			return mine
		}
		if now, err := k.options.Policy.Publish(mine, next); err == nil {
			k.options.Log.Info().Int("routes", adopted).Uint64("policy", last.Version).Msg("routes are as they were tuned before")
			return now
		}
	}
}

// journalStart writes down what is in force at the start, and what of the last run's policy has ended with it.
func (k *Keeper) journalStart(from uint64, now, last *policy.Snapshot) {
	reason := "settings at the start"
	var tried []string
	for _, name := range slices.Sorted(maps.Keys(last.Routes)) {
		if last.Routes[name].Canary != nil {
			tried = append(tried, name)
		}
	}
	if len(tried) > 0 {
		reason += "; what was on trial ended with the last run, of route " + strings.Join(tried, ", ")
	}
	k.Journal(Entry{
		At: k.options.Now(), Kind: KindConfiguration, Reason: reason, From: from, To: now.Version,
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

// restoration says what is read of each level to restore the windows. It is found out once, so that a second try goes on where the first
// one failed.
type restoration struct {
	now     time.Time
	written [window.LevelsEnd]int64
	spans   [window.LevelsEnd]struct{ from, to int64 }
	done    [window.LevelsEnd]bool
}

// planWindows has each time restored at one level: hours as far back as they go, minutes since the hour before the last, or since
// what was last rolled up into hours, and tens of seconds likewise.
func (k *Keeper) planWindows(ctx context.Context) (*restoration, error) {
	r := &restoration{now: k.options.Now()}
	switch mark, err := k.options.Store.Value(ctx, namespace, valueWritten); {
	case k.options.Store.NotFound(err): // nothing was rolled up yet: what there is are slots of the end of a run
	case err != nil:
		return nil, err
	default:
		if err := json.Unmarshal(mark, &r.written); err != nil {
			k.refuse("note of what is rolled up", err)
		}
	}
	hours := min(window.Hours.Number(r.now)-1, r.written[window.Hours])
	minutes := min(window.Minutes.Number(r.now)-1, r.written[window.Minutes])
	r.spans[window.Hours].from, r.spans[window.Hours].to = window.Hours.Oldest(r.now), hours
	r.spans[window.Minutes].from, r.spans[window.Minutes].to = window.Minutes.Number(window.Hours.Start(hours)), minutes
	r.spans[window.TenSeconds].from = window.TenSeconds.Number(window.Minutes.Start(minutes))
	r.spans[window.TenSeconds].to = window.TenSeconds.Number(r.now) + 1
	keep := k.options.Keep().Slots
	for l := range window.LevelsEnd {
		r.spans[l].from = max(r.spans[l].from, l.Number(r.now.Add(-keep[l])), 0)
		if r.written[l] == 0 {
			r.written[l] = l.Number(r.now)
		}
	}
	return r, nil
}

// restoreWindows files the stored slots, the finest first: they are the newest. The store calls Opened from one goroutine, so it needs
// no lock of its own.
func (k *Keeper) restoreWindows(ctx context.Context) (n int, err error) {
	if k.restoring == nil {
		if k.restoring, err = k.planWindows(ctx); err != nil {
			return 0, err
		}
	}
	r := k.restoring
	for l := range window.LevelsEnd {
		if r.done[l] {
			continue
		}
		// All of a level is read before any of it is filed: filing can't be undone.
		slots, err := k.readLevel(ctx, l, r.spans[l].from, r.spans[l].to)
		if err != nil {
			return n, err
		}
		restorer := k.options.Windows.NewRestorer(r.now)
		for i := range slots {
			s := &slots[i]
			if err := restorer.Add(s.key, l, s.number, s.data); err != nil {
				k.refuse("slot", err)
				continue
			}
			n++
		}
		restorer.Close()
		r.done[l] = true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.written, k.filed, k.restoring = r.written, true, nil
	close(k.complete)
	return n, nil
}

type readSlot struct {
	key    window.Key
	number int64
	data   []byte
}

func (k *Keeper) readLevel(ctx context.Context, l window.Level, from, to int64) (slots []readSlot, err error) {
	var key window.Key
	var name string
	known := false
	err = k.options.Store.Slots(ctx, uint8(l), nil, from, to, func(s Slot) error {
		if !known || string(s.Series) != name {
			if err := key.UnmarshalBinary(s.Series); err != nil {
				k.refuse("series", err)
				return nil
			}
			name, known = string(s.Series), true
		}
		slots = append(slots, readSlot{key, s.Number, bytes.Clone(s.Data)})
		return nil
	})
	return slots, err
}
