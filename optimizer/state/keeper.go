package state

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

const (
	flushEvery = time.Second
	// maxPending is how many totals wait in memory while they can't be stored.
	maxPending = 100_000
	// callTimeout is how long one step may take.
	callTimeout = time.Minute
)

// Options are what a keeper keeps, and where.
type Options struct {
	Store   Store
	Windows *window.Recorder
	Policy  *policy.Holder
	Totals  Totals
	Keep    func() Retention // in force
	Tuned   func() bool      // what was tuned is taken over from an earlier run
	Log     zerolog.Logger
	Now     func() time.Time // nil: time.Now
}

// Totals are sums of usage and cost by key and hour. They encode themselves.
type Totals interface {
	// Collect gives the sums that have changed, whole as they stand for the hour of now. What yield gets is its own.
	Collect(now time.Time, yield func(hour int64, key, data []byte))
	// Restore adds what is stored of the hour of now.
	Restore(now time.Time, hour int64, key, data []byte) error
	// Sum adds two encoded sums.
	Sum(a, b []byte) ([]byte, error)
}

// Keeper keeps state. Its methods are safe for concurrent use.
type Keeper struct {
	options Options

	mu       sync.Mutex // of all that follows; held while the store works
	restored bool       // totals and policy of the run before have been read
	filed    bool       // and its windows
	written  [window.LevelsEnd]int64
	anew     bool               // the store has begun anew, and nothing is rolled up yet
	pending  map[hourKey][]byte // totals that are not stored yet
	flush    uint64
	shrunk   float64 // share of their retention that windows keep; see Retain

	restoring *restoration // under way; nil: not begun, or ended

	ready    chan struct{} // closed when restored
	complete chan struct{} // closed when filed
	journal  chan journaled
	waiting  atomic.Int64 // entries of the journal not stored yet
	stats    counters
}

type hourKey struct {
	hour int64
	key  string
}

// journaled is a change to be journalled, or a mark that tells when all before it are.
type journaled struct {
	entry    Entry // of no kind: there is none
	snapshot *policy.Snapshot
	mark     chan<- struct{}
}

// counters are what the metrics show.
type counters struct {
	flushes, flushErrors, slots, slotsLost, totalsLost, refused atomic.Uint64
	pending                                                     atomic.Int64
	flushed                                                     atomic.Int64 // Unix nanoseconds of the last flush that was stored
}

// journalQueue is how many changes may wait to be journalled before the one who makes them has to.
const journalQueue = 1000

// New returns a keeper. Have the store call Opened, and Run going.
func New(o Options) *Keeper {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Keeper{
		options: o, pending: map[hourKey][]byte{}, ready: make(chan struct{}), complete: make(chan struct{}), journal: make(chan journaled, journalQueue), shrunk: 1,
	}
}

// Run stores what changes, until ctx is done, and then once more, for at most grace.
func (k *Keeper) Run(ctx context.Context, grace time.Duration) {
	writing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var writer sync.WaitGroup
	writer.Go(func() { k.writeJournal(writing) })
	defer writer.Wait()
	defer stop()
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			k.Flush(ctx)
		case <-ctx.Done():
			k.end(context.WithoutCancel(ctx), grace)
			return
		}
	}
}

// end stores what there is at the end of a run.
func (k *Keeper) end(ctx context.Context, grace time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	k.Flush(ctx)
	if err := k.rollUp(ctx, true); err != nil {
		k.options.Log.Error().Err(err).Msg("the last windows are not stored")
	}
	stored := make(chan struct{})
	select {
	case k.journal <- journaled{mark: stored}:
	case <-ctx.Done():
	}
	select {
	case <-stored:
	case <-ctx.Done():
	}
	if waiting, pending := k.waiting.Load(), k.stats.pending.Load(); waiting > 0 || pending > 0 {
		k.options.Log.Error().Int64("journal_entries", waiting).Int64("totals", pending).Msg("state lost: it could not be stored before the end")
	}
}

// Ready is closed when what requests may depend on is restored from what an earlier run has stored.
func (k *Keeper) Ready() <-chan struct{} { return k.ready }

// Complete is closed when the windows are restored too.
func (k *Keeper) Complete() <-chan struct{} { return k.complete }

// step runs one call of the store, or several that belong together, with a time limit.
func step(ctx context.Context, do func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return do(bounded)
}

// Flush collects the totals and stores those that are not stored yet.
func (k *Keeper) Flush(ctx context.Context) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.collect()
	if !k.restored {
		return // an absolute value needs what was there before
	}
	for len(k.pending) > 0 {
		batch := make([]Total, 0, min(len(k.pending), k.options.Store.MaxTotals()))
		for at, data := range k.pending {
			if batch = append(batch, Total{at.hour, []byte(at.key), data}); len(batch) == cap(batch) {
				break
			}
		}
		keep := k.options.Keep().Totals
		err := step(ctx, func(ctx context.Context) error { return k.options.Store.PutTotals(ctx, k.flush+1, batch, keep) })
		if err != nil {
			k.stats.flushErrors.Add(1)
			return
		}
		k.flush++
		for _, t := range batch {
			delete(k.pending, hourKey{t.Hour, string(t.Key)})
		}
		k.stats.flushes.Add(1)
	}
	k.stats.pending.Store(0)
	k.stats.flushed.Store(k.options.Now().UnixNano())
}

// collect takes the totals that have changed.
func (k *Keeper) collect() {
	k.options.Totals.Collect(k.options.Now(), func(hour int64, key, data []byte) {
		at := hourKey{hour, string(key)}
		if _, known := k.pending[at]; !known && len(k.pending) >= maxPending {
			k.stats.totalsLost.Add(1)
			return
		}
		k.pending[at] = data
	})
	k.stats.pending.Store(int64(len(k.pending)))
}

// RollUp stores the slots of the windows that have become complete.
func (k *Keeper) RollUp(ctx context.Context) error { return k.rollUp(ctx, false) }

// rollUp does it; at the end of a run it stores what is not complete too, which the next run writes again.
func (k *Keeper) rollUp(ctx context.Context, last bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.filed {
		return nil
	}
	now := k.options.Now()
	written := k.written
	for l := range window.LevelsEnd {
		from, to := written[l], l.Complete(now)
		// It was away for long: what memory has of it is coarser, and in part stored already.
		if oldest := l.Oldest(now); from < oldest && !k.anew {
			k.stats.slotsLost.Add(uint64(oldest - from))
			from = oldest
		}
		written[l] = max(from, to)
		if last && l == window.TenSeconds {
			to = l.Number(now) + 1
		}
		if err := k.putSlots(ctx, l, from, to); err != nil {
			return err
		}
	}
	if written == k.written {
		return nil
	}
	mark := encodeMark(written)
	err := step(ctx, func(ctx context.Context) error {
		return k.options.Store.PutValue(ctx, namespace, valueWritten, mark, 0)
	})
	if err == nil {
		k.written, k.anew = written, false
	}
	return err
}

// slotBatch is how many slots one call of the store takes.
const slotBatch = 2000

func (k *Keeper) putSlots(ctx context.Context, l window.Level, from, to int64) (err error) {
	keep := k.options.Keep().Slots[l]
	var batch []Slot
	put := func() bool {
		err = step(ctx, func(ctx context.Context) error { return k.options.Store.PutSlots(ctx, uint8(l), batch, keep) })
		if err == nil {
			k.stats.slots.Add(uint64(len(batch)))
		}
		batch = batch[:0]
		return err == nil
	}
	var key window.Key
	var name []byte
	k.options.Windows.Slots(l, from, to, func(of window.Key, number int64, data []byte) bool {
		if name == nil || of != key {
			key = of
			name, _ = key.AppendBinary(nil) // does not fail
		}
		batch = append(batch, Slot{name, number, append([]byte(nil), data...)})
		return len(batch) < slotBatch || put()
	})
	if err == nil && len(batch) > 0 {
		put()
	}
	return err
}

// Journal notes a change of the policy, with the snapshot that it has put in force. It is stored in the background, for as long as it
// takes.
func (k *Keeper) Journal(e Entry, inForce *policy.Snapshot) {
	k.waiting.Add(1)
	k.journal <- journaled{entry: e, snapshot: inForce}
}

// TryJournal is Journal where nobody may wait; false: there is no room.
func (k *Keeper) TryJournal(e Entry, inForce *policy.Snapshot) bool {
	k.waiting.Add(1)
	select {
	case k.journal <- journaled{entry: e, snapshot: inForce}:
		return true
	default:
		k.waiting.Add(-1)
		return false
	}
}

// Keep stores a snapshot that is in force though no entry explains it: a step of a decision that is in the journal already. It never waits; a step
// that there is no room for is left out.
func (k *Keeper) Keep(inForce *policy.Snapshot) {
	k.waiting.Add(1)
	select {
	case k.journal <- journaled{snapshot: inForce}:
	default:
		k.waiting.Add(-1)
	}
}

// MarkGood notes that a snapshot has proved itself: it is what a later run goes back to where the one in force can't be read.
func (k *Keeper) MarkGood(ctx context.Context, version uint64) error {
	return step(ctx, func(ctx context.Context) error { return k.options.Store.MarkGood(ctx, version) })
}

// Restored tells the keeper that the store now holds a backup. What is in force and in memory stays, and is noted as a change.
func (k *Keeper) Restored(ctx context.Context) error {
	stored, err := k.options.Store.Current(ctx)
	if err != nil && !k.options.Store.NotFound(err) {
		return err
	}
	now := k.options.Policy.Resume(stored.Version + 1)
	k.Journal(Entry{At: k.options.Now(), Kind: KindRestore, Reason: "state restored from a backup", From: stored.Version, To: now.Version}, now)
	return nil
}

func (k *Keeper) writeJournal(ctx context.Context) {
	select {
	case <-k.ready:
	case <-ctx.Done():
		return
	}
	for {
		select {
		case j := <-k.journal:
			if j.mark != nil {
				close(j.mark)
				continue
			}
			if err := k.append(ctx, j); err != nil {
				k.options.Log.Error().Err(err).Msg("journal entry not stored")
				continue
			}
			k.waiting.Add(-1)
		case <-ctx.Done():
			return
		}
	}
}

func (k *Keeper) append(ctx context.Context, j journaled) error {
	data, err := j.snapshot.MarshalBinary()
	if err != nil {
		return err
	}
	var entries [][]byte
	if j.entry.Kind != "" {
		entries = append(entries, j.entry.encode())
	}
	_, err = k.options.Store.Append(ctx, &Snapshot{j.snapshot.Version, data}, entries...)
	return err
}

var errNotReady = errors.New("what an earlier run has stored is not read yet")
