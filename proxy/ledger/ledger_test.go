package ledger

import (
	"encoding/binary"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"
)

var start = time.Unix(1_800_000_000, 0) // on the hour

func collected(l *Ledger, now time.Time) map[string]Sums {
	out := map[string]Sums{}
	l.Collect(now, func(hour int64, k Key, s *Sums) {
		out[fmt.Sprintf("%d %s", hour-start.Unix()/3600, k.Caller)] = *s
	})
	return out
}

func TestLedger_CollectsAbsoluteSumsOfTheHour(t *testing.T) {
	t.Parallel()
	l := New(100)
	a := l.Account(Key{"p", "m", "r", "a"})
	check := func(now time.Time, want map[string]Sums) {
		t.Helper()
		if got := collected(l, now); !maps.Equal(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	check(start, map[string]Sums{})
	a.Add(&Sums{Attempts: 1, CostNanoUSD: 5})
	a.Add(&Sums{Attempts: 1, Output: 7})
	check(start, map[string]Sums{"0 a": {Attempts: 2, CostNanoUSD: 5, Output: 7}})
	check(start, map[string]Sums{})
	a.Add(&Sums{Attempts: 1})
	l.Account(Key{"p", "m", "r", "b"}).Add(&Sums{Errors: 1})
	check(start.Add(59*time.Minute), map[string]Sums{"0 a": {Attempts: 3, CostNanoUSD: 5, Output: 7}, "0 b": {Errors: 1}})
	a.Add(&Sums{Attempts: 1})
	check(start.Add(time.Hour), map[string]Sums{"1 a": {Attempts: 1}})
	if l.Account(Key{"p", "m", "r", "a"}) != a {
		t.Error("an account in use was replaced")
	}
}

func TestLedger_Restore(t *testing.T) {
	t.Parallel()
	l := New(1)
	k := Key{"p", "m", "r", "a"}
	hour := start.Unix() / 3600
	l.Account(k).Add(&Sums{Attempts: 1})
	collected(l, start)
	l.Restore(start, hour, k, &Sums{Attempts: 10, CostNanoUSD: 3})
	l.Restore(start, hour-1, k, &Sums{Attempts: 100})
	l.Restore(start, hour, Key{"p", "m", "r", "past the limit"}, &Sums{Attempts: 1000})
	if got := collected(l, start)["0 a"]; got != (Sums{Attempts: 11, CostNanoUSD: 3}) {
		t.Errorf("what had been collected is not given again: %+v", got)
	}
	if got := collected(l, start); len(got) > 0 {
		t.Errorf("given twice: %+v", got)
	}
	l.Account(k).Add(&Sums{Attempts: 1})
	if got := collected(l, start)["0 a"]; got != (Sums{Attempts: 12, CostNanoUSD: 3}) {
		t.Errorf("got %+v", got)
	}
}

func TestLedger_IsBoundedAndForgetsWhoIsGone(t *testing.T) {
	t.Parallel()
	l := New(3)
	for i := range 10 {
		l.Account(Key{Caller: fmt.Sprint(i)}).Add(&Sums{Attempts: 1})
	}
	got := collected(l, start)
	if l.Len() != 4 || got["0 other"].Attempts != 7 {
		t.Errorf("%d accounts, %+v", l.Len(), got)
	}
	late, era := l.Account(Key{Caller: "0"}), l.Era()
	collected(l, start.Add(time.Hour))
	if l.Len() != 4 || l.Era() != era {
		t.Errorf("%d accounts an hour later", l.Len())
	}
	late2 := l.Account(Key{Caller: "1"})
	collected(l, start.Add(2*time.Hour))
	if l.Len() != 0 || l.Era() == era {
		t.Errorf("%d accounts two hours later, era %d then %d", l.Len(), era, l.Era())
	}
	late.Add(&Sums{Attempts: 1}) // found before it was retired
	late2.Add(&Sums{Attempts: 2})
	if got := collected(l, start.Add(2*time.Hour)); got["2 0"].Attempts != 1 || got["2 1"].Attempts != 2 {
		t.Errorf("what came just after: %+v", got)
	}
}

func TestLedger_ConcurrentAddsAreAllCollectedOnce(t *testing.T) {
	t.Parallel()
	l := New(10)
	const writers, each = 4, 5000
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				l.Account(Key{Caller: fmt.Sprint((w + i) % 3)}).Add(&Sums{Attempts: 1, CostNanoUSD: 2})
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	hours := map[string]Sums{}
	now := start
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		maps.Copy(hours, collected(l, now))
		if sum := len(hours); sum > 2 { // a new hour in the middle
			now = start.Add(time.Hour)
		}
	}
	var sum Sums
	for _, s := range hours {
		sum.Add(&s)
	}
	if sum != (Sums{Attempts: writers * each, CostNanoUSD: 2 * writers * each}) {
		t.Errorf("got %+v", sum)
	}
}

// What the version before stored is read as it was, and stored anew in the present one.
func TestSums_ReadsTheFormerVersion(t *testing.T) {
	t.Parallel()
	former := []byte{1}
	for _, v := range []int64{3, 1, 100, 20, 0, 50, 5, -7, 0, 2} {
		former = binary.AppendVarint(former, v)
	}
	want := Sums{Attempts: 3, Errors: 1, Input: 100, CacheRead: 20, Output: 50, Reasoning: 5, CostNanoUSD: -7, Unpriced: 2}
	got := Sums{Cached: 9, MarkedNanoUSD: 9} // of whatever was read before
	if err := got.UnmarshalBinary(former); err != nil || got != want {
		t.Fatalf("got %+v, %v", got, err)
	}
	got.Add(&Sums{Cached: 2, SavedNanoUSD: 11, SavedNanos: 12, RefreshNanoUSD: 13, Marked: 14, Unmarked: 15, MarkedNanoUSD: -16, UnmarkedNanoUSD: 17})
	b, _ := got.AppendBinary(nil)
	var again Sums
	if err := again.UnmarshalBinary(b); err != nil || again != got || b[0] != 2 {
		t.Errorf("got %+v, %v, want %+v", again, err, got)
	}
	for _, bad := range [][]byte{nil, {1}, {3}, former[:5], append(former, 0), b[:12], append(b, 0), append([]byte{2}, former[1:]...), append([]byte{1}, b[1:]...)} {
		if err := again.UnmarshalBinary(bad); err == nil || again != got {
			t.Errorf("%v is read as %+v", bad, again)
		}
	}
}

// Clients can't have it keep as many models as they like to name.
func TestLedger_IsBoundedInWhatClientsName(t *testing.T) {
	t.Parallel()
	l := New(3)
	for i := range 10 {
		l.Account(Key{Model: fmt.Sprint(i), Route: "r", Caller: "a"}).Add(&Sums{Cached: 1})
	}
	if got := collected(l, start); l.Len() != 4 || got["0 other"].Cached != 7 {
		t.Errorf("%d accounts, %+v", l.Len(), got)
	}
}

func TestAccount_AddAllocatesNothing(t *testing.T) {
	a := New(1).Account(Key{})
	s := &Sums{Attempts: 1, CostNanoUSD: 1}
	if n := testing.AllocsPerRun(100, func() { a.Add(s) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzKeyAndSums(f *testing.F) {
	k, _ := Key{"openai", "gpt", "direct", "ab"}.AppendBinary(nil)
	s, _ := (&Sums{Attempts: 3, CostNanoUSD: -1}).AppendBinary(nil)
	f.Add(k, s)
	f.Add(k, append([]byte{1}, s[1:11]...))
	f.Fuzz(func(t *testing.T, key, sums []byte) {
		var k, k2 Key
		if k.UnmarshalBinary(key) == nil {
			b, _ := k.AppendBinary(nil)
			if err := k2.UnmarshalBinary(b); err != nil || k != k2 {
				t.Errorf("key %q becomes %+v, then %+v, %v", key, k, k2, err)
			}
		}
		var s, s2 Sums
		if s.UnmarshalBinary(sums) == nil {
			b, _ := s.AppendBinary(nil)
			if err := s2.UnmarshalBinary(b); err != nil || s != s2 {
				t.Errorf("sums %q become %+v, then %+v, %v", sums, s, s2, err)
			}
		}
	})
}

func BenchmarkAccount_Add(b *testing.B) {
	a := New(1).Account(Key{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		s := &Sums{Attempts: 1, Input: 100, Output: 50, CostNanoUSD: 12345}
		for pb.Next() {
			a.Add(s)
		}
	})
}
