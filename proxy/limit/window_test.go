package limit

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	xrate "golang.org/x/time/rate"
)

func TestBucket(t *testing.T) {
	t.Parallel()
	r := rate{most: 600, period: int64(time.Minute), burst: 600}
	b := newBucket(0, r)
	b.take(600)
	check := func(now time.Duration, n int64, want time.Duration) {
		t.Helper()
		b.fill(instant{mono: int64(now)}, r)
		if got := b.wait(n, r); got != want {
			t.Errorf("at %v: %d have to wait %v, want %v", now, n, got, want)
		}
	}
	check(0, 1, 100*time.Millisecond)
	check(99*time.Millisecond, 1, time.Millisecond)
	check(100*time.Millisecond, 1, 0)
	check(100*time.Millisecond, 2, 100*time.Millisecond)
	check(0, 2, 100*time.Millisecond) // another goroutine's clock
	check(time.Minute, 600, 0)
	check(time.Minute, 10_000, 0) // larger than the burst: a full bucket is enough
	b.take(10_000)
	check(time.Minute, 1, 940*time.Second+100*time.Millisecond)
	b.give(9_999, r)
	check(time.Minute, 599, 0)
	check(-time.Hour, 599, 0) // set back: nothing lost, nothing gained
	check(-time.Hour, 600, 100*time.Millisecond)
	check(-time.Hour+100*time.Millisecond, 600, 0)
	check(math.MaxInt64, 600, 0)
	b.take(600)
	check(math.MinInt64, 1, 100*time.Millisecond)
	check(math.MaxInt64, 600, 0)
}

// Spaced out, requests start one period's share after the other, and tokens as long after as they take to come back.
func TestBucket_Smooth(t *testing.T) {
	t.Parallel()
	l := Limit{Of: Requests, Per: Second, Most: 10, Smooth: time.Second}
	r := l.rate()
	b := newBucket(0, r)
	for i := range 5 {
		b.fill(instant{mono: 0}, r)
		if got, want := b.wait(1, r), time.Duration(i)*100*time.Millisecond; got != want {
			t.Errorf("number %d waits %v, want %v", i, got, want)
		}
		b.take(1)
	}
	b.fill(instant{mono: int64(time.Hour)}, r)
	if b.level != 0 {
		t.Errorf("idle time is saved up: %d", b.level)
	}
}

// A bucket never lets through more than burst + rate × time, drifts by nothing, and waits as long as it says: all against exact arithmetic.
func TestBucket_IsExact(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		r := rate{most: 1 + draw.Int64N(1<<uint(1+draw.IntN(40))), period: int64([...]Period{Second, Minute, Hour, Day}[draw.IntN(4)].Length())}
		r.burst = 1 + draw.Int64N(r.most)
		b := newBucket(0, r)
		b.take(r.burst)
		now, taken := int64(0), big.NewInt(0)
		for range 200 {
			n := 1 + draw.Int64N(max(r.burst/4, 1))
			b.fill(instant{mono: now}, r)
			wait := int64(b.wait(n, r))
			if wait > 0 {
				early := b
				early.fill(instant{mono: now + wait - 1}, r)
				if early.wait(n, r) == 0 {
					t.Fatalf("%+v: %d could come a nanosecond before %d", r, n, wait)
				}
			}
			now += wait
			b.fill(instant{mono: now}, r)
			if b.wait(n, r) != 0 {
				t.Fatalf("%+v: has to wait after it has waited", r)
			}
			b.take(n)
			taken.Add(taken, big.NewInt(n))
		}
		came := new(big.Int).Mul(big.NewInt(now), big.NewInt(r.most))
		came.Quo(came, big.NewInt(r.period))
		if taken.Cmp(came) > 0 || new(big.Int).Sub(came, taken).Int64() > r.burst {
			t.Errorf("%+v: %v taken, %v came", r, taken, came)
		}
	}
}

// The reference: x/time/rate lets the same requests through.
func TestBucket_AsTimeRate(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		r := rate{most: 1 + draw.Int64N(1000), period: int64(time.Second)}
		r.burst = 1 + draw.Int64N(r.most)
		b, x := newBucket(0, r), xrate.NewLimiter(xrate.Limit(r.most), int(r.burst))
		start, now, differ := time.Unix(1e9, 0), int64(0), 0
		x.AllowN(start, 0)
		for range 2000 {
			now += draw.Int64N(2 * r.period / r.most)
			n := 1 + draw.Int64N(max(r.burst/2, 1))
			b.fill(instant{mono: now}, r)
			got := b.wait(n, r) == 0
			if got {
				b.take(n)
			}
			if want := x.AllowN(start.Add(time.Duration(now)), int(n)); got != want { // it counts in floating point
				differ++
				if got {
					b.give(n, r)
				} else {
					b.take(n)
				}
			}
		}
		if differ > 2 {
			t.Errorf("%+v: %d of 2000 differ", r, differ)
		}
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	check := func(zone string, p Period, now, begin, end string) {
		t.Helper()
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, now)
		if err != nil {
			t.Fatal(err)
		}
		b, e := p.bounds(at.UnixNano(), loc)
		if got, till := time.Unix(0, b).In(loc).Format(time.RFC3339), time.Unix(0, e).In(loc).Format(time.RFC3339); got != begin || till != end {
			t.Errorf("%s %s of %s: got %s to %s, want %s to %s", zone, p, now, got, till, begin, end)
		}
	}
	check("UTC", Minute, "2026-02-28T23:59:59Z", "2026-02-28T23:59:00Z", "2026-03-01T00:00:00Z")
	check("UTC", Month, "2024-02-29T12:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z")
	check("UTC", Month, "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z")
	check("UTC", Hour, "1969-12-31T23:10:00Z", "1969-12-31T23:00:00Z", "1970-01-01T00:00:00Z")
	check("Asia/Kathmandu", Hour, "2026-01-01T00:00:00Z", "2026-01-01T05:00:00+05:45", "2026-01-01T06:00:00+05:45")
	check("Asia/Tokyo", Month, "2026-01-31T15:00:00Z", "2026-02-01T00:00:00+09:00", "2026-03-01T00:00:00+09:00")
	check("America/New_York", Month, "2026-03-31T12:00:00Z", "2026-03-01T00:00:00-05:00", "2026-04-01T00:00:00-04:00")
	check("Europe/Berlin", Day, "2026-03-29T12:00:00Z", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00")  // 23 hours
	check("Europe/Berlin", Day, "2026-10-25T12:00:00Z", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00")  // 25 hours
	check("Europe/Berlin", Hour, "2026-10-25T01:30:00Z", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00") // the second of two
	check("America/Sao_Paulo", Day, "2018-11-04T12:00:00Z", "2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00")
	check("America/Sao_Paulo", Day, "2018-11-04T02:30:00Z", "2018-11-03T00:00:00-03:00", "2018-11-04T01:00:00-02:00")
	check("America/Sao_Paulo", Day, "2018-02-18T02:30:00Z", "2018-02-17T00:00:00-02:00", "2018-02-18T00:00:00-03:00")
	check("America/Havana", Day, "2026-11-01T04:30:00Z", "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00") // 0:30, the first of two
	check("America/Havana", Day, "2026-11-01T05:30:00Z", "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00")
	check("Pacific/Apia", Day, "2011-12-30T09:00:00Z", "2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00") // there was no 30th
	check("Pacific/Apia", Day, "2011-12-30T10:00:00Z", "2011-12-31T00:00:00+14:00", "2012-01-01T00:00:00+14:00")
}

// Windows hold their moment and follow each other without a gap, in every zone and at every moment.
func FuzzBounds(f *testing.F) {
	zones := []string{"UTC", "Europe/Berlin", "America/Sao_Paulo", "America/Havana", "Pacific/Apia", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Monrovia", "Asia/Gaza"}
	f.Add(int64(0), uint8(0), uint8(Month))
	f.Add(int64(1541296800), uint8(2), uint8(Day))
	f.Add(int64(1325239200), uint8(4), uint8(Day))
	f.Fuzz(func(t *testing.T, seconds int64, zone, period uint8) {
		loc, err := time.LoadLocation(zones[int(zone)%len(zones)])
		if err != nil {
			t.Skip(err)
		}
		p := Minute + Period(period)%4
		now := seconds % 8e9 * 1e9
		begin, end := p.bounds(now, loc)
		if begin > now || end <= now || end-begin > int64(32*24*time.Hour) {
			t.Fatalf("%s in %s: %d is not in [%d, %d)", p, loc, now, begin, end)
		}
		if p >= Day {
			if b, e := p.bounds(begin, loc); b != begin || e != end {
				t.Errorf("%s in %s: the begin of [%d, %d) is in [%d, %d)", p, loc, begin, end, b, e)
			}
			if b, _ := p.bounds(end, loc); b != end {
				t.Errorf("%s in %s: %d ends a window, the next begins at %d", p, loc, end, b)
			}
		}
	})
}

func TestSpend_Calendar(t *testing.T) {
	t.Parallel()
	l := &Limit{Of: Spend, Per: Day, Most: 100}
	s := spend{}
	day := int64(24 * time.Hour)
	check := func(now, n int64, want time.Duration, never bool) {
		t.Helper()
		s.roll(instant{wall: now}, l)
		if got, no := s.wait(n, instant{wall: now}, l); got != want || no != never {
			t.Errorf("at %v: %d have to wait %v, %v; want %v, %v", time.Duration(now), n, got, no, want, never)
		}
	}
	check(10*day, 100, 0, false)
	check(10*day, 101, math.MaxInt64, true)
	s.reserve(60)
	check(10*day+1, 41, unsettled, false)
	s.release(60)
	s.add(70)
	check(11*day-1, 30, 0, false)
	check(11*day-1, 31, 1, false)
	check(11*day, 100, 0, false)
	s.add(20)
	check(11*day-int64(time.Minute), 80, 0, false) // a clock that is corrected: the window stays
	check(11*day-2*int64(time.Hour), 10, 0, false) // one that was wrong: what was spent in either counts
	check(11*day-2*int64(time.Hour), 11, 2*time.Hour, false)
	check(11*day, 100, 0, false)
	s.add(100)
	check(3*day, 1, 24*time.Hour, false) // nothing opens by a clock that goes back, and it does not close for longer than a window
	check(4*day, 100, 0, false)
	check(4000*day, 100, 0, false)
}

func TestSpend_Rolling(t *testing.T) {
	t.Parallel()
	l := &Limit{Of: Spend, Per: Minute, Most: 100, Rolling: true}
	s := spend{}
	check := func(now time.Duration, n int64, want time.Duration) {
		t.Helper()
		at := instant{mono: int64(now)}
		s.roll(at, l)
		got, _ := s.wait(n, at, l)
		if got != want {
			t.Errorf("at %v: %d have to wait %v, want %v", now, n, got, want)
		}
		if at.mono += int64(want); want > 0 {
			s.roll(at, l)
			if got, _ = s.wait(n, at, l); got != 0 {
				t.Errorf("at %v: %d have to wait %v more", now, n, got)
			}
			s.roll(instant{mono: int64(now)}, l)
		}
	}
	s.roll(instant{}, l)
	s.add(60)
	check(30*time.Second, 40, 0)
	s.add(40)
	if s.roll(instant{mono: int64(59 * time.Second)}, l); s.spent != 100 {
		t.Errorf("%d spent", s.spent)
	}
	if got, _ := s.wait(61, instant{mono: int64(59 * time.Second)}, l); got != 32*time.Second {
		t.Errorf("waits %v", got)
	}
	if got, _ := s.wait(60, instant{mono: int64(59 * time.Second)}, l); got != 2*time.Second {
		t.Errorf("waits %v", got)
	}
	s.roll(instant{mono: int64(-time.Hour)}, l) // set back: all is as old as before
	if s.spent != 100 {
		t.Errorf("%d spent after the clock was set back", s.spent)
	}
	if s.roll(instant{mono: int64(-time.Hour + 61*time.Second)}, l); s.spent != 0 {
		t.Errorf("%d spent a minute later", s.spent)
	}
	check(time.Hour, 100, 0)
}

// Whatever the clocks and the numbers: no overflow, no negative wait, what a window let through is never more than it allows, and it opens again.
func FuzzArithmetic(f *testing.F) {
	f.Add(int64(100), int64(50), int64(0), int64(1e9), uint8(0), []byte{1, 2, 3})
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MinInt64), int64(math.MaxInt64), uint8(1), []byte{255, 0, 9})
	f.Fuzz(func(t *testing.T, most, n, start, step int64, kind uint8, steps []byte) {
		l := Limit{Of: [...]Dimension{Requests, Tokens, Spend, Spend, Concurrent}[kind%5], Per: Minute + Period(kind/5)%4, Most: max(most, 0)}
		l.Rolling = kind%5 == 3
		if kind%5 == 1 && kind >= 128 {
			l.Smooth = time.Second
		}
		at := instant{mono: start, wall: start}
		s := newState(at, &l, 0)
		for _, b := range steps {
			switch at.mono = plus(at.mono, step/int64(b/4+1)); b % 4 {
			case 1:
				at.wall = minus(at.wall, step)
			default:
				at.wall = plus(at.wall, step/int64(b/4+1))
			}
			s.roll(at, &l)
			wait, never := s.wait(n, at, &l)
			if wait < 0 || s.left(&l) < 0 || s.reset(at, &l) < 0 {
				t.Fatalf("%+v: waits %v, %d left, reset in %v", l, wait, s.left(&l), s.reset(at, &l))
			}
			if wait == 0 && !never {
				s.reserve(max(n, 0), at, &l)
				if l.Of == Spend && s.spend.spent+s.spend.reserved > l.Most {
					t.Fatalf("%+v: %d and %d", l, s.spend.spent, s.spend.reserved)
				}
				s.settle(max(n, 0), int64(b), time.Duration(b), &l)
			}
		}
		// Left alone for longer than any window, everything is whole again.
		if l.Most > 0 && at.mono < math.MaxInt64/2 && at.wall < math.MaxInt64/2 && at.wall > 0 && l.Of == Spend {
			at.mono, at.wall = at.mono+int64(70*24*time.Hour), at.wall+int64(70*24*time.Hour)
			if s.roll(at, &l); !s.idle(&l) {
				t.Errorf("%+v: not whole after 70 days: %+v", l, s.spend)
			}
		}
	})
}

func BenchmarkBucket(b *testing.B) {
	r := rate{most: 1e9, period: int64(time.Minute), burst: 1e9}
	bucket := newBucket(0, r)
	b.Run("of=ours", func(b *testing.B) {
		for now := int64(0); b.Loop(); now += 1000 {
			bucket.fill(instant{mono: now}, r)
			if bucket.wait(10, r) == 0 {
				bucket.take(10)
			}
		}
	})
	b.Run("of=x/time/rate", func(b *testing.B) {
		x, now := xrate.NewLimiter(1e9/60, 1e9), time.Unix(1e9, 0)
		for b.Loop() {
			now = now.Add(1000)
			x.AllowN(now, 10)
		}
	})
}
