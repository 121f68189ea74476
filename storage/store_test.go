package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/rs/zerolog"
)

// TestMain lets the test binary be the engine's process.
func TestMain(m *testing.M) {
	if dir := os.Getenv("STORAGE_TEST_ENGINE"); dir != "" {
		free, _ := strconv.ParseInt(os.Getenv("STORAGE_TEST_MIN_FREE"), 10, 64)
		if err := ServeEngine(os.Stdin, os.Stdout, dir, Limits{MinFree: free}); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func engineCommand(dir string, minFree int64) func() *exec.Cmd {
	return func() *exec.Cmd {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), "STORAGE_TEST_ENGINE="+dir, "STORAGE_TEST_MIN_FREE="+strconv.FormatInt(minFree, 10))
		return c
	}
}

// startAt begins a store with an engine in a process of its own and waits for it.
func startAt(t *testing.T, dir string, minFree int64) *Store {
	t.Helper()
	s := Start(Options{Dir: dir, Limits: Limits{MinFree: minFree}, Command: engineCommand(dir, minFree), Log: zerolog.New(zerolog.NewTestWriter(t))})
	t.Cleanup(func() { _ = s.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s.Wait(ctx)
	return s
}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := OpenDir(dir, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// both runs a test over a store of this process and one with an engine in another.
func both(t *testing.T, test func(t *testing.T, s *Store)) {
	t.Helper()
	t.Run("here", func(t *testing.T) {
		t.Parallel()
		s := open(t, t.TempDir())
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()
		test(t, s)
	})
	t.Run("process", func(t *testing.T) {
		t.Parallel()
		test(t, startAt(t, t.TempDir(), 0))
	})
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// contents is all that a store holds, as text.
func contents(t *testing.T, s *Store) string {
	t.Helper()
	var b strings.Builder
	err := s.scan(t.Context(), query{spans: []span{{[]byte{0}, nil}}}, func(key, value []byte) error {
		fmt.Fprintf(&b, "%q %q\n", key, value)
		return nil
	})
	ok(t, err)
	return b.String()
}

func TestStore_Slots(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		var slots []Slot
		for n := range int64(5) {
			for _, name := range []string{"a", "ab", "", "\xff\x00"} {
				slots = append(slots, Slot{[]byte(name), n + 254, fmt.Appendf(nil, "%s%d", name, n)})
			}
		}
		ok(t, s.PutSlots(ctx, 1, slots, time.Hour))
		ok(t, s.PutSlots(ctx, 2, slots[:1], 0))
		ok(t, s.PutSlots(ctx, 1, []Slot{{[]byte("a"), 256, []byte("new")}}, time.Hour))
		got := func(series [][]byte, from, to int64) (out []string) {
			ok(t, s.Slots(ctx, 1, series, from, to, func(slot Slot) error {
				out = append(out, fmt.Sprintf("%q/%d=%s", slot.Series, slot.Number, slot.Data))
				return nil
			}))
			return out
		}
		check := func(got []string, want string) {
			t.Helper()
			if text := strings.Join(got, " "); text != want {
				t.Errorf("got  %s\nwant %s", text, want)
			}
		}
		check(got([][]byte{[]byte("a")}, 255, 258), `"a"/255=a1 "a"/256=new "a"/257=a3`)
		check(got(nil, 258, 300), `""/258=4 "a"/258=a4 "ab"/258=ab4 "\xff\x00"/258=`+"\xff\x00"+`4`)
		check(got([][]byte{[]byte("unknown")}, 0, 300), "")
		check(got(nil, 5, 5), "")
		names, err := s.Series(ctx, 1)
		if err != nil || len(names) != 4 {
			t.Errorf("series: %q, %v", names, err)
		}
		if n, err := s.DropSlots(ctx, 1, 258); n != 16 || err != nil {
			t.Errorf("dropped %d, %v", n, err)
		}
		check(got(nil, 0, 258), "")
		check(got([][]byte{[]byte("a")}, 0, 300), `"a"/258=a4`)
	})
}

func TestStore_SlotsAreManyAndExpire(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	defer s.Close()
	slots := make([]Slot, 2*maxSlots+1)
	for i := range slots {
		slots[i] = Slot{fmt.Appendf(nil, "series %d", i), 1, bytes.Repeat([]byte("x"), 300)}
	}
	ok(t, s.PutSlots(t.Context(), 0, slots, time.Hour))
	ok(t, s.apply(t.Context(), []op{{key: seriesKey(0, []byte("series 7"), 1), value: []byte("x"), ttl: -time.Second}, {key: []byte("z"), value: []byte("x"), ttl: time.Second}}, false))
	n := 0
	ok(t, s.Slots(t.Context(), 0, nil, 0, 2, func(Slot) error { n++; return nil }))
	if n != len(slots) {
		t.Errorf("got %d slots, want %d", n, len(slots))
	}
}

func TestStore_TotalsAreAbsoluteAndWhole(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		if n, err := s.Flush(ctx); n != 0 || err != nil {
			t.Errorf("flush of an empty store: %d, %v", n, err)
		}
		ok(t, s.PutTotals(ctx, 1, []Total{{10, []byte("k"), []byte("1")}, {11, []byte("k"), []byte("2")}}, 0))
		ok(t, s.PutTotals(ctx, 2, []Total{{10, []byte("k"), []byte("3")}, {12, nil, nil}}, time.Hour))
		var got []string
		ok(t, s.Totals(ctx, 10, 12, func(total Total) error {
			got = append(got, fmt.Sprintf("%d %s=%s", total.Hour, total.Key, total.Data))
			return nil
		}))
		if text := strings.Join(got, ", "); text != "10 k=3, 11 k=2" {
			t.Errorf("got %s", text)
		}
		if n, err := s.Flush(ctx); n != 2 || err != nil {
			t.Errorf("flush: %d, %v", n, err)
		}
		if err := s.PutTotals(ctx, 3, make([]Total, maxTotals+1), 0); !errors.Is(err, ErrTooLarge) {
			t.Errorf("too many: %v", err)
		}
		many := make([]Total, maxTotals)
		for i := range many {
			many[i] = Total{20, fmt.Appendf(nil, "provider/%d", i), bytes.Repeat([]byte("x"), 100)}
		}
		ok(t, s.PutTotals(ctx, 4, many, 0))
		if n, err := s.DropTotals(ctx, 20); n != 2 || err != nil {
			t.Errorf("dropped %d, %v", n, err)
		}
	})
}

func TestStore_JournalAndSnapshots(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		if _, err := s.Current(ctx); !errors.Is(err, ErrNotFound) {
			t.Errorf("current of an empty store: %v", err)
		}
		for v := range uint64(5) {
			last, err := s.Append(ctx, &Snapshot{v + 1, fmt.Appendf(nil, "s%d", v+1)}, []byte("change"), []byte("why"))
			if last != 2*(v+1) || err != nil {
				t.Fatalf("append: %d, %v", last, err)
			}
		}
		ok(t, s.MarkGood(ctx, 1))
		last, err := s.Append(ctx, nil, []byte("hold"))
		if last != 11 || err != nil {
			t.Errorf("append without a snapshot: %d, %v", last, err)
		}
		if c, err := s.Current(ctx); c.Version != 5 || string(c.Data) != "s5" || err != nil {
			t.Errorf("current: %v, %v", c, err)
		}
		if n, err := s.DropSnapshots(ctx, 2); n != 2 || err != nil {
			t.Errorf("dropped %d snapshots, %v", n, err)
		}
		var kept []uint64
		ok(t, s.Snapshots(ctx, func(s Snapshot) error { kept = append(kept, s.Version); return nil }))
		if fmt.Sprint(kept) != "[1 4 5]" {
			t.Errorf("snapshots kept: %v", kept)
		}
		if c, err := s.Good(ctx); c.Version != 1 || string(c.Data) != "s1" || err != nil {
			t.Errorf("good: %v, %v", c, err)
		}
		if n, err := s.DropEntries(ctx, func(entry []byte) bool { return string(entry) != "hold" }); n != 10 || err != nil {
			t.Errorf("dropped %d entries, %v", n, err)
		}
		if n, err := s.DropEntries(ctx, func([]byte) bool { return true }); n != 0 || err != nil {
			t.Errorf("dropped the last entry: %d, %v", n, err)
		}
		var entries []string
		ok(t, s.Entries(ctx, 0, 100, func(n uint64, e []byte) error {
			entries = append(entries, fmt.Sprintf("%d %s", n, e))
			return nil
		}))
		if strings.Join(entries, ",") != "11 hold" {
			t.Errorf("entries: %v", entries)
		}
	})
}

func TestStore_JournalGoesOnAfterReopening(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range uint64(3) {
		s := open(t, dir)
		if last, err := s.Append(t.Context(), nil, []byte("x")); last != i+1 || err != nil {
			t.Errorf("got %d, %v", last, err)
		}
		ok(t, s.Close())
	}
}

func TestStore_Values(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		ok(t, s.PutValue(ctx, "tuner", "a", []byte("1"), 0))
		ok(t, s.PutValue(ctx, "tuner", "b", nil, time.Hour))
		ok(t, s.PutValue(ctx, "tune", "ra", []byte("other namespace"), 0))
		if v, err := s.Value(ctx, "tuner", "b"); len(v) != 0 || err != nil {
			t.Errorf("empty value: %q, %v", v, err)
		}
		ok(t, s.DeleteValue(ctx, "tuner", "b"))
		ok(t, s.DeleteValue(ctx, "tuner", "never was"))
		if _, err := s.Value(ctx, "tuner", "b"); !errors.Is(err, ErrNotFound) {
			t.Errorf("deleted: %v", err)
		}
		var all []string
		ok(t, s.Values(ctx, "tuner", func(name string, v []byte) error { all = append(all, name+string(v)); return nil }))
		if strings.Join(all, ",") != "a1" {
			t.Errorf("got %v", all)
		}
		if err := s.PutValue(ctx, "n", "n", make([]byte, largestValue+1), 0); !errors.Is(err, ErrTooLarge) {
			t.Errorf("too large: %v", err)
		}
		stop := errors.New("stop")
		if err := s.Values(ctx, "tuner", func(string, []byte) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("error of yield: %v", err)
		}
	})
}

func fill(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	for i := range 50 {
		ok(t, s.PutValue(ctx, "n", fmt.Sprint(i), bytes.Repeat([]byte{byte(i)}, 4000), 0))
	}
	ok(t, s.PutTotals(ctx, 7, []Total{{1, []byte("k"), []byte("v")}}, time.Hour))
	_, err := s.Append(ctx, &Snapshot{1, []byte("s")}, []byte("e"))
	ok(t, err)
}

func TestStore_BackupAndRestore(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		fill(t, s)
		want := contents(t, s)
		var file bytes.Buffer
		ok(t, s.Backup(ctx, &file))
		ok(t, s.PutValue(ctx, "n", "later", []byte("x"), 0))
		_, err := s.Append(ctx, nil, []byte("later"))
		ok(t, err)
		whole := file.Bytes()
		now := contents(t, s)
		for _, bad := range [][]byte{nil, []byte("text"), whole[:len(whole)/2], whole[:len(whole)-1], append(bytes.Clone(whole), "more"...), flipped(whole, len(whole)/2)} {
			if err := s.Restore(ctx, bytes.NewReader(bad)); !errors.Is(err, ErrBackup) {
				t.Errorf("restore of a bad backup of %d bytes: %v", len(bad), err)
			}
		}
		newer := bytes.Clone(whole)
		newer[len(backupTitle)] = schemaVersion + 1
		if err := s.Restore(ctx, bytes.NewReader(newer)); !errors.Is(err, ErrNewer) {
			t.Errorf("newer: %v", err)
		}
		if contents(t, s) != now {
			t.Error("a refused restore has changed something")
		}
		ok(t, s.Restore(ctx, bytes.NewReader(whole)))
		if got := contents(t, s); got != want {
			t.Errorf("after the restore: got %d bytes, want %d", len(got), len(want))
		}
		if last, err := s.Append(ctx, nil, []byte("next")); last != 2 || err != nil {
			t.Errorf("the journal goes on at %d, %v", last, err)
		}
		ok(t, s.Compact(ctx))
		stats, err := s.Stats(ctx)
		if err != nil || stats.Spaces[4].Entries != 50 || stats.Spaces[3].Entries != 2 || stats.FileBytes <= 0 {
			t.Errorf("stats: %+v, %v", stats, err)
		}
	})
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 0x10
	return b
}

func TestOpenDir_RefusesWhatItMustNotTouch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := OpenDir(dir, Limits{}); !errors.Is(err, ErrInUse) {
		t.Errorf("open twice: %v", err)
	}
	ok(t, s.apply(t.Context(), []op{{key: keySchema, value: []byte{schemaVersion + 1}}}, true))
	ok(t, s.Close())
	if _, err := OpenDir(dir, Limits{}); !errors.Is(err, ErrNewer) {
		t.Errorf("newer schema: %v", err)
	}
	if _, err := OpenDir(filepath.Join(dir, "lock"), Limits{}); err == nil {
		t.Error("opened a file")
	}
	if _, err := OpenDir(t.TempDir(), Limits{MinFree: 1 << 60}); !errors.Is(err, ErrFull) {
		t.Errorf("no space: %v", err)
	}
}

func TestStore_LimitOfSizeStopsWindowsOnly(t *testing.T) {
	t.Parallel()
	s, err := OpenDir(t.TempDir(), Limits{MaxSize: 1})
	ok(t, err)
	defer s.Close()
	if err := s.PutSlots(t.Context(), 0, []Slot{{[]byte("a"), 1, []byte("x")}}, 0); !errors.Is(err, ErrFull) {
		t.Errorf("windows: %v", err)
	}
	ok(t, s.PutTotals(t.Context(), 1, []Total{{1, []byte("k"), []byte("v")}}, 0))
	_, err = s.Append(t.Context(), nil, []byte("entry"))
	ok(t, err)
}

// A restore that breaks off leaves half of a backup, which must not pass for the state.
func TestStore_InterruptedRestoreCountsAsDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	fill(t, s)
	backend, err := s.backend()
	ok(t, err)
	if err := backend.load(t.Context(), iotest.ErrReader(io.ErrUnexpectedEOF)); err == nil {
		t.Error("a restore from nothing went well")
	}
	ok(t, s.Close())
	if _, err := OpenDir(dir, Limits{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("opened with %v", err)
	}
	again := startAt(t, dir, 0)
	healthy(t, again)
	if _, aside := again.Restarts(); aside != 1 {
		t.Errorf("%d set aside", aside)
	}
}

func TestStore_HealthTellsOfRefusedWrites(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	defer s.Close()
	backend, err := s.backend()
	ok(t, err)
	e := backend.(*engine)
	free := func(least int64) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.limits.MinFree, e.checked = least, time.Time{}
	}
	free(1 << 60)
	if err := s.PutValue(t.Context(), "n", "n", nil, 0); !errors.Is(err, ErrFull) || !errors.Is(s.Health(), ErrFull) {
		t.Errorf("put: %v, health: %v", err, s.Health())
	}
	free(0)
	ok(t, s.PutValue(t.Context(), "n", "n", nil, 0))
	ok(t, s.Health())
}
