package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

var (
	errAway    = errors.New("away")
	errMissing = errors.New("missing")
)

// memory is a store that can be away. What is stored outlives it being away.
type memory struct {
	mu            sync.Mutex
	away          func(call string) bool // nil: never
	slots         map[string]Slot
	totals        map[string]Total
	flush         uint64
	entries       [][]byte
	current, good *Snapshot
	values        map[string][]byte
	share         float64
	compact       int
}

func newMemory() *memory {
	return &memory{slots: map[string]Slot{}, totals: map[string]Total{}, values: map[string][]byte{}}
}

func (m *memory) call(name string, do func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away != nil && m.away(name) {
		return errAway
	}
	return do()
}

func (m *memory) PutSlots(_ context.Context, level uint8, slots []Slot, _ time.Duration) error {
	return m.call("PutSlots", func() error {
		for _, s := range slots {
			m.slots[fmt.Sprintf("%d %s %012d", level, s.Series, s.Number)] = Slot{bytes.Clone(s.Series), s.Number, bytes.Clone(s.Data)}
		}
		return nil
	})
}

func (m *memory) Slots(_ context.Context, level uint8, _ [][]byte, from, to int64, yield func(Slot) error) error {
	return m.call("Slots", func() error {
		for _, key := range slices.Sorted(maps.Keys(m.slots)) {
			if s := m.slots[key]; strings.HasPrefix(key, fmt.Sprint(level, " ")) && s.Number >= from && s.Number < to {
				if m.away != nil && m.away("a slot") {
					return errAway
				}
				if err := yield(s); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (m *memory) DropSlots(_ context.Context, level uint8, before int64) (n int64, err error) {
	err = m.call("DropSlots", func() error {
		maps.DeleteFunc(m.slots, func(key string, s Slot) bool {
			old := strings.HasPrefix(key, fmt.Sprint(level, " ")) && s.Number < before
			if old {
				n++
			}
			return old
		})
		return nil
	})
	return n, err
}

func (m *memory) PutTotals(_ context.Context, flush uint64, totals []Total, _ time.Duration) error {
	return m.call("PutTotals", func() error {
		m.flush = flush
		for _, t := range totals {
			m.totals[fmt.Sprintf("%d %s", t.Hour, t.Key)] = t
		}
		return nil
	})
}

func (m *memory) MaxTotals() int { return 2 }

func (m *memory) Totals(_ context.Context, from, to int64, yield func(Total) error) error {
	return m.call("Totals", func() error {
		for _, t := range m.totals {
			if t.Hour >= from && t.Hour < to {
				if err := yield(t); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (m *memory) DropTotals(context.Context, int64) (int64, error) {
	return 0, m.call("DropTotals", func() error { return nil })
}

func (m *memory) Flush(context.Context) (n uint64, err error) {
	err = m.call("Flush", func() error { n = m.flush; return nil })
	return n, err
}

func (m *memory) Append(ctx context.Context, inForce *Snapshot, entries ...[]byte) (uint64, error) {
	for {
		err := m.call("Append", func() error {
			m.entries = append(m.entries, entries...)
			if inForce != nil {
				m.current = inForce
			}
			return nil
		})
		if err == nil || ctx.Err() != nil {
			return uint64(len(m.entries)), errors.Join(err, ctx.Err())
		}
		<-time.After(time.Millisecond)
	}
}

func (m *memory) Current(context.Context) (s Snapshot, err error) {
	err = m.call("Current", func() error {
		if m.current == nil {
			return errMissing
		}
		s = *m.current
		return nil
	})
	return s, err
}

func (m *memory) Good(context.Context) (s Snapshot, err error) {
	if m.good == nil {
		return s, errMissing
	}
	return *m.good, nil
}

func (m *memory) MarkGood(_ context.Context, version uint64) error {
	if m.current == nil || m.current.Version != version {
		return errMissing
	}
	good := *m.current
	m.good = &good
	return nil
}

func (m *memory) DropSnapshots(context.Context, uint64) (int64, error) { return 0, nil }

func (m *memory) DropEntries(_ context.Context, old func([]byte) bool) (n int64, err error) {
	err = m.call("DropEntries", func() error {
		for len(m.entries) > 1 && old(m.entries[0]) {
			m.entries = m.entries[1:]
			n++
		}
		return nil
	})
	return n, err
}

func (m *memory) PutValue(_ context.Context, _, name string, value []byte, _ time.Duration) error {
	return m.call("PutValue", func() error { m.values[name] = value; return nil })
}

func (m *memory) Value(_ context.Context, _, name string) (v []byte, err error) {
	err = m.call("Value", func() error {
		var known bool
		if v, known = m.values[name]; !known {
			return errMissing
		}
		return nil
	})
	return v, err
}

func (m *memory) NotFound(err error) bool       { return errors.Is(err, errMissing) }
func (m *memory) Oversize() float64             { return m.share }
func (m *memory) Compact(context.Context) error { m.compact++; return nil }

// counts are totals that are plain numbers.
type counts struct {
	mu   sync.Mutex
	news map[string]int
	hour int64
	sums map[string]int
	lent map[string]bool // restored since the last collection
}

func (c *counts) add(key string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.news[key] += n
}

func (c *counts) Collect(now time.Time, yield func(hour int64, key, data []byte)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	hour := now.Unix() / 3600
	if hour != c.hour {
		c.hour, c.sums = hour, map[string]int{}
	}
	for key := range c.lent {
		c.news[key] += 0
	}
	for key, n := range c.news {
		c.sums[key] += n
		yield(hour, []byte(key), fmt.Append(nil, c.sums[key]))
	}
	c.news, c.lent = map[string]int{}, map[string]bool{}
}

func (c *counts) Restore(_ time.Time, _ int64, key, data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	_, err := fmt.Sscan(string(data), &n)
	c.sums[string(key)] += n
	c.lent[string(key)] = true
	return err
}

func (c *counts) Sum(a, b []byte) ([]byte, error) {
	x, y := 0, 0
	_, err := fmt.Sscan(string(a)+" "+string(b), &x, &y)
	return fmt.Append(nil, x+y), err
}

// run is one run of a program over a store.
type run struct {
	*Keeper
	now    time.Time
	counts *counts
}

var start = time.Unix(1_800_000_000, 0) // on the hour

func newRun(store Store, now time.Time) *run {
	r := &run{now: now, counts: &counts{news: map[string]int{}, sums: map[string]int{}, lent: map[string]bool{}}}
	r.Keeper = New(Options{
		Store: store, Windows: window.NewRecorder(10), Totals: r.counts, Log: zerolog.Nop(), Now: func() time.Time { return r.now },
		Policy: policy.NewHolder(policy.Snapshot{Providers: map[string]policy.Provider{"a": {}}}),
		Keep: func() Retention {
			return Retention{Slots: [3]time.Duration{2 * time.Hour, 48 * time.Hour, 400 * 24 * time.Hour}, Totals: 24 * time.Hour, Journal: time.Hour, Snapshots: 10}
		},
	})
	return r
}

// traffic records an attempt a second for a while, with the clock told and slots rolled up as a server does it.
func (r *run) traffic(t *testing.T, d time.Duration) {
	t.Helper()
	for end := r.now.Add(d); r.now.Before(end); r.now = r.now.Add(time.Second) {
		r.options.Windows.Advance(r.now)
		r.options.Windows.Series(window.Key{Target: "a"}).Record(r.now, &window.Observation{Duration: time.Second, CostNanoUSD: 1})
		if r.now.Unix()%10 == 0 {
			_ = r.RollUp(t.Context())
		}
	}
}

func (r *run) requests(back time.Duration) int64 {
	return r.options.Windows.Sum(window.Last(r.now, back), r.options.Windows.Select(nil)...).Requests()
}

func TestKeeper_TotalsSurviveALateStore(t *testing.T) {
	t.Parallel()
	m := newMemory()
	first := newRun(m, start.Add(59*time.Minute))
	first.Opened()
	for i := range 5 {
		first.counts.add(fmt.Sprint("k", i), 10)
	}
	first.Flush(t.Context())
	want := func(hour int64, key, value string) {
		t.Helper()
		if got := m.totals[fmt.Sprintf("%d %s", start.Unix()/3600+hour, key)]; string(got.Data) != value {
			t.Errorf("hour %d, %s: got %q, want %s", hour, key, got.Data, value)
		}
	}
	want(0, "k4", "10")

	// The next run's store is away at first, and comes back in the next hour.
	second := newRun(m, start.Add(59*time.Minute))
	second.counts.add("k0", 1)
	second.Flush(t.Context()) // collected, not stored: what was there before is not known
	want(0, "k0", "10")
	second.now = start.Add(61 * time.Minute)
	second.counts.add("k0", 2)
	second.Flush(t.Context())
	second.Opened()
	second.Flush(t.Context())
	want(0, "k0", "11")
	want(1, "k0", "2")

	// A third one in the same hour goes on from there, whether it collects before or after the store opens.
	third := newRun(m, start.Add(62*time.Minute))
	third.counts.add("k0", 5)
	third.Flush(t.Context())
	third.Opened()
	third.Flush(t.Context())
	want(1, "k0", "7")
	third.counts.add("k0", 1)
	m.away = func(string) bool { return true }
	third.Flush(t.Context())
	m.away = nil
	want(1, "k0", "7")
	third.Flush(t.Context())
	want(1, "k0", "8")
}

func TestKeeper_WindowsAreRestoredOnceAlsoAfterFailures(t *testing.T) {
	t.Parallel()
	m := newMemory()
	first := newRun(m, start)
	first.Opened()
	first.traffic(t, 3*time.Hour+20*time.Minute+15*time.Second)
	if err := first.rollUp(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	want := first.requests(4 * time.Hour)

	for failing := range 5 { // the store fails at the n-th level that is read, or in the middle of one
		second := newRun(m, first.now.Add(time.Second))
		calls := 0
		m.away = func(call string) bool {
			if call == "Slots" {
				calls++
			}
			return call == "Slots" && calls == failing || failing == 4 && calls == 2 && call == "a slot"
		}
		second.Opened()
		m.away = nil
		second.Opened()
		select {
		case <-second.Complete():
		default:
			t.Errorf("failing %d: not complete", failing)
		}
		if got := second.requests(4 * time.Hour); got != want {
			t.Errorf("failing %d: %d requests, want %d", failing, got, want)
		}
		second.Opened() // nothing twice
		if got := second.requests(4 * time.Hour); got != want {
			t.Errorf("failing %d, opened again: %d requests, want %d", failing, got, want)
		}
	}
}

func TestKeeper_AStoreThatBeginsAnewGetsWhatMemoryHas(t *testing.T) {
	t.Parallel()
	m := newMemory()
	r := newRun(m, start)
	r.Opened()
	r.counts.add("k", 1)
	r.Flush(t.Context())
	r.traffic(t, 2*time.Hour+5*time.Minute)
	before := len(m.slots)
	m.mu.Lock()
	m.slots, m.totals, m.values, m.entries, m.current, m.flush = map[string]Slot{}, map[string]Total{}, map[string][]byte{}, nil, nil, 0
	m.mu.Unlock()
	r.Opened()
	r.traffic(t, 11*time.Second)
	if m.current == nil || m.current.Version != r.options.Policy.Load().Version {
		t.Errorf("snapshot in force: %+v", m.current)
	}
	next := newRun(m, r.now)
	next.Opened()
	if got, want := next.requests(3*time.Hour), r.requests(3*time.Hour); got < want-40 || got > want || before == 0 {
		t.Errorf("%d requests are restored, want %d but for the last seconds", got, want)
	}
}

func TestKeeper_PolicyVersionsGoOn(t *testing.T) {
	t.Parallel()
	m := newMemory()
	check := func(change bool, version uint64, entries int) {
		t.Helper()
		r := newRun(m, start)
		if change {
			r.options.Policy = policy.NewHolder(policy.Snapshot{Providers: map[string]policy.Provider{"a": {RequestUsage: true}}})
		}
		ctx, cancel := context.WithCancel(t.Context())
		r.Opened()
		cancel()
		r.Run(ctx, time.Second) // stores what waits and ends
		if got := r.options.Policy.Load().Version; got != version || len(m.entries) != entries || m.current.Version != version {
			t.Errorf("version %d with %d entries, stored %d; want %d with %d", got, len(m.entries), m.current.Version, version, entries)
		}
	}
	check(false, 1, 1)
	check(false, 1, 1)
	check(true, 2, 2)
	check(true, 2, 2)
	m.current.Data = []byte("nonsense")
	check(true, 3, 3)
	if e, err := DecodeEntry(m.entries[1]); err != nil || e.From != 1 || e.To != 2 || e.Kind != KindConfiguration || !e.At.Equal(start) {
		t.Errorf("entry: %+v, %v", e, err)
	}
}

func TestKeeper_Retain(t *testing.T) {
	t.Parallel()
	m := newMemory()
	r := newRun(m, start)
	if err := r.Retain(t.Context()); !errors.Is(err, errNotReady) {
		t.Errorf("before the store is open: %v", err)
	}
	r.Opened()
	r.traffic(t, 3*time.Hour)
	count := func() (n int) {
		for key := range m.slots {
			if strings.HasPrefix(key, "0 ") {
				n++
			}
		}
		return n
	}
	retain := func(share float64, least, most int) {
		t.Helper()
		m.share = share
		if err := r.Retain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := count(); n < least || n > most {
			t.Errorf("at %v of the limit: %d slots of ten seconds are left, want %d to %d", share, n, least, most)
		}
	}
	retain(.5, 710, 720) // two hours
	retain(.95, 530, 540)
	retain(.95, 395, 405)
	if m.compact != 2 {
		t.Errorf("compacted %d times", m.compact)
	}
	retain(.7, 395, 405)
	r.traffic(t, time.Hour)
	retain(.3, 530, 545) // longer again
}
