package limit

import (
	"fmt"
	"strconv"
	"testing"
	"time"
)

// upstream is a pacer with a clock and what answers say.
type upstream struct {
	testing.TB
	*Pacer
	now time.Time
	h   Headers
}

func newUpstream(t testing.TB) *upstream {
	now := time.Unix(1_000_000_000, 0)
	return &upstream{TB: t, Pacer: NewPacer(now), now: now.Add(time.Minute)}
}

// tell sends a request, which gets an answer with these headers at once.
func (u *upstream) tell(v Verdict, retryAfter time.Duration, headers ...any) {
	u.Helper()
	s, wait := u.Take(u.now, Need{Input: 100, Output: 100}, DefaultShare)
	if wait > 0 {
		u.Fatalf("has to wait %v", wait)
	}
	u.h.Reset()
	for i := 0; i < len(headers); i += 2 {
		u.h.Add(fmt.Append(nil, headers[i]), fmt.Append(nil, headers[i+1]), u.now)
	}
	u.Answered(u.now, s, v, &u.h, retryAfter, .5)
}

func (u *upstream) wait(input, output int64) time.Duration {
	u.Helper()
	s, wait := u.Take(u.now, Need{Input: input, Output: output}, DefaultShare)
	if wait == 0 {
		u.Dropped(s)
	}
	return wait
}

func TestPacer_RetryAfter(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	u.tell(Limited, 10*time.Second)
	if got := u.wait(1, 1); got != 10500*time.Millisecond { // with half of a tenth of jitter
		t.Errorf("waits %v", got)
	}
	if st := u.State(u.now); st.Paused != 10500*time.Millisecond || st.Trusted {
		t.Errorf("%+v", st)
	}
	u.now = u.now.Add(10500 * time.Millisecond)
	if got := u.wait(1, 1); got != 0 {
		t.Errorf("waits %v afterwards", got)
	}
}

// What was sent while nothing was known is not owed when the first refusal comes, however much it was.
func TestPacer_FirstRefusal(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	for range 100_000 {
		u.tell(Through, 0)
		u.now = u.now.Add(time.Millisecond)
	}
	for range 100 {
		u.tell(Through, 0)
		u.now = u.now.Add(100 * time.Millisecond)
	}
	u.tell(Limited, 0)
	if st := u.State(u.now); st.Rate < 7 || st.Rate > 10 {
		t.Errorf("sends %v a second after a refusal at 10", st.Rate)
	}
	if got := u.wait(1, 1); got > 200*time.Millisecond || u.RetryIn(u.now, DefaultShare) > 200*time.Millisecond {
		t.Errorf("waits %v, and says %v", got, u.RetryIn(u.now, DefaultShare))
	}
}

// When a request may come again is told exactly where the provider has said it.
func TestPacer_RetryIn(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	if got := u.RetryIn(u.now, DefaultShare); got != 0 {
		t.Errorf("%v where nothing is known", got)
	}
	for i := range 3 {
		u.tell(Through, 0, "x-ratelimit-limit-requests", 100, "x-ratelimit-remaining-requests", 2-i, "x-ratelimit-reset-requests", "40s")
		u.now = u.now.Add(10 * time.Millisecond)
	}
	if got := u.RetryIn(u.now, DefaultShare); got < 39*time.Second || got > 40*time.Second {
		t.Errorf("%v until a window of 40 s ends", got)
	}
	u.now = u.now.Add(41 * time.Second)
	if got := u.RetryIn(u.now, DefaultShare); got != 0 {
		t.Errorf("%v afterwards", got)
	}
	u = newUpstream(t)
	u.tell(Limited, 7*time.Second)
	if got := u.RetryIn(u.now, DefaultShare); got < 7*time.Second || got > 10*time.Second { // one in ten seconds is as slow as it gets
		t.Errorf("%v of 7 s", got)
	}
}

// A limit of an hour or a day may be used in bursts, as long as not most of it is used up.
func TestPacer_Burst(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	left := 14000
	tell := func() {
		left--
		u.tell(Through, 0, "x-ratelimit-limit-requests-day", 14400, "x-ratelimit-remaining-requests-day", left, "x-ratelimit-reset-requests-day", 33000)
		u.now = u.now.Add(time.Millisecond)
	}
	for range 1000 {
		tell()
	}
}

// Every dimension that is told of counts, and the scarcest decides.
func TestPacer_Dimensions(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	for i := range 5 {
		u.tell(Through, 0,
			"anthropic-ratelimit-requests-limit", 1000, "anthropic-ratelimit-requests-remaining", 900-i, "anthropic-ratelimit-requests-reset", u.now.Add(time.Minute).Format(time.RFC3339),
			"anthropic-ratelimit-input-tokens-limit", 80000, "anthropic-ratelimit-input-tokens-remaining", 70000-100*i, "anthropic-ratelimit-input-tokens-reset", u.now.Add(time.Minute).Format(time.RFC3339),
			"anthropic-ratelimit-output-tokens-limit", 10000, "anthropic-ratelimit-output-tokens-remaining", 2000-100*i, "anthropic-ratelimit-output-tokens-reset", u.now.Add(time.Minute).Format(time.RFC3339))
		u.now = u.now.Add(10 * time.Second)
	}
	if !u.State(u.now).Trusted {
		t.Fatal("readings that fit are not trusted")
	}
	if got := u.wait(100, 10); got != 0 {
		t.Errorf("a small request waits %v", got)
	}
	for range 200 {
		if _, wait := u.Take(u.now, Need{Input: 100, Output: 10}, DefaultShare); wait > 0 {
			break
		}
	}
	if got := u.wait(10, 10); got == 0 || got > time.Minute {
		t.Errorf("waits %v for output tokens that are used up", got)
	}
}

// Numbers that make no sense are not followed: what then counts is whether the provider refuses.
func TestPacer_Trust(t *testing.T) {
	t.Parallel()
	check := func(what string, want bool, remaining func(i int) int, reset func(i int) time.Duration, verdict Verdict) {
		t.Helper()
		u := newUpstream(t)
		for i := range 30 {
			s, wait := u.Take(u.now, Need{Input: 1, Output: 1}, DefaultShare)
			if wait > 0 {
				u.now = u.now.Add(min(wait, time.Second))
				continue
			}
			u.h.Reset()
			u.h.Add([]byte("x-ratelimit-limit-requests"), []byte("1000"), u.now)
			u.h.Add([]byte("x-ratelimit-remaining-requests"), fmt.Append(nil, remaining(i)), u.now)
			u.h.Add([]byte("x-ratelimit-reset-requests"), fmt.Append(nil, reset(i)), u.now)
			u.Answered(u.now, s, verdict, &u.h, 0, 0)
			u.now = u.now.Add(100 * time.Millisecond)
		}
		if got := u.State(u.now).Trusted; got != want {
			t.Errorf("%s: trusted %v", what, got)
		}
	}
	window := func(i int) time.Duration { return time.Minute - time.Duration(i)*100*time.Millisecond }
	check("it falls with every request", true, func(i int) int { return 1000 - i }, window, Through)
	check("others send, too", true, func(i int) int { return 1000 - 20*i }, window, Through)
	check("it fills up", true, func(i int) int { return 900 + i%2 }, func(int) time.Duration { return 6 * time.Second }, Through)
	check("it jumps between replicas", false, func(i int) int { return 200 + 600*(i%2) }, window, Through)
	check("more than there can be", false, func(int) int { return 1001 }, window, Through)
	check("refused with room left", false, func(i int) int { return 900 - i }, window, Limited)
	check("nothing left, and lets all through", false, func(int) int { return 0 }, window, Through)
}

// A pacer that has been lied to, or whose clock is set, neither stands still nor runs wild.
func FuzzPacer(f *testing.F) {
	f.Add(int64(100), []byte{1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add(int64(1), []byte{255, 255, 255, 255, 0, 0, 0})
	f.Fuzz(func(t *testing.T, limit int64, steps []byte) {
		u := newUpstream(t)
		var flying []Sent
		for i, b := range steps {
			switch b % 8 {
			case 0:
				u.now = u.now.Add(-time.Duration(b) * time.Second)
			case 1, 2, 3:
				u.now = u.now.Add(time.Duration(b) * 10 * time.Millisecond)
			default:
				if s, wait := u.Take(u.now, Need{Input: int64(b), Output: int64(i)}, DefaultShare); wait == 0 {
					flying = append(flying, s)
				} else if wait < 0 || wait > maxWait {
					t.Fatalf("waits %v", wait)
				}
			}
			if b%3 == 0 && len(flying) > 0 {
				u.h.Reset()
				u.h.Add([]byte("x-ratelimit-limit-requests"), fmt.Append(nil, limit), u.now)
				u.h.Add([]byte("x-ratelimit-remaining-requests"), fmt.Append(nil, limit*int64(b)/200), u.now)
				u.h.Add([]byte("x-ratelimit-reset-requests"), fmt.Append(nil, int(b)*3), u.now)
				u.Answered(u.now, flying[0], Verdict(b/3%3), &u.h, time.Duration(b%2)*time.Second, float64(b)/256)
				flying = flying[1:]
			}
		}
		for _, s := range flying {
			u.Answered(u.now, s, Through, nil, 0, 0)
		}
		at := u.now
		for range 100 { // by and by it lets something through
			u.now = u.now.Add(time.Hour)
			if _, wait := u.Take(u.now, Need{Input: 1, Output: 1}, DefaultShare); wait == 0 {
				return
			}
		}
		t.Errorf("stands still from %v to %v: %+v", at, u.now, u.State(u.now))
	})
}

func TestPacer_AllocatesNothing(t *testing.T) {
	u := newUpstream(t)
	for range 10 {
		u.tell(Through, 0, "x-ratelimit-limit-requests", 100000, "x-ratelimit-remaining-requests", 90000, "x-ratelimit-reset-requests", "6s")
	}
	if n := testing.AllocsPerRun(1000, func() {
		u.now = u.now.Add(time.Millisecond)
		s, _ := u.Take(u.now, Need{Input: 10, Output: 10}, DefaultShare)
		u.Answered(u.now, s, Through, &u.h, 0, 0)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPacer(b *testing.B) {
	for _, told := range []bool{true, false} {
		b.Run(fmt.Sprintf("headers=%v", told), func(b *testing.B) {
			u := newUpstream(b)
			u.h.Reset()
			if told {
				for range 10 {
					u.tell(Through, 0, "x-ratelimit-limit-requests", 1e9, "x-ratelimit-remaining-requests", 9e8, "x-ratelimit-reset-requests", "6s")
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				u.now = u.now.Add(time.Microsecond)
				s, _ := u.Take(u.now, Need{Input: 10, Output: 10}, DefaultShare)
				u.Answered(u.now, s, Through, &u.h, 0, 0)
			}
		})
	}
}

// What is sent by the provider's own numbers is no debt for when they are not followed any more.
func TestPacer_OwesNothingForWhatWasTold(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	p := NewPacer(now)
	ask := func(v Verdict, h *Headers) bool {
		s, wait := p.Take(now, Need{Input: 1, Output: 1}, DefaultShare)
		if wait == 0 {
			p.Answered(now, s, v, h, 0, 0)
		}
		return wait == 0
	}
	told := func(left int64) *Headers {
		h := &Headers{}
		h.Add([]byte("x-ratelimit-limit-requests"), []byte("6000"), now)
		h.Add([]byte("x-ratelimit-remaining-requests"), strconv.AppendInt(nil, left, 10), now)
		h.Add([]byte("x-ratelimit-reset-requests"), []byte(fmt.Sprintf("%dms", (6000-left)*10)), now)
		return h
	}
	ask(Limited, nil) // the rate found by trial is low
	for range 3600 * 20 {
		now = now.Add(50 * time.Millisecond)
		ask(Through, told(5990))
	}
	for range 20 { // the numbers make no sense any more
		now = now.Add(time.Second)
		ask(Limited, told(5990))
	}
	now = now.Add(time.Minute)
	if _, wait := p.Take(now, Need{Input: 1, Output: 1}, DefaultShare); wait > 10*time.Second {
		t.Errorf("after a minute it is still to wait for %v", wait)
	}
}

// A limit that nothing is told of any more is not followed for ever, and a provider is asked again however long it wants to be left alone.
func TestPacer_OldNumbers(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	p := NewPacer(now)
	for left := int64(59); left > 40; left-- {
		now = now.Add(time.Second)
		h := &Headers{}
		h.Add([]byte("x-ratelimit-limit-requests"), []byte("60"), now)
		h.Add([]byte("x-ratelimit-remaining-requests"), strconv.AppendInt(nil, left, 10), now)
		h.Add([]byte("x-ratelimit-reset-requests"), []byte("40s"), now)
		if s, wait := p.Take(now, Need{Input: 1, Output: 1}, DefaultShare); wait == 0 {
			p.Answered(now, s, Through, h, 0, 0)
		}
	}
	if !p.State(now).Trusted {
		t.Fatal("it is not followed")
	}
	if now = now.Add(3 * time.Minute); p.State(now).Trusted {
		t.Error("it is followed though nothing is told of it")
	}
	s, wait := p.Take(now, Need{Input: 1, Output: 1}, DefaultShare)
	if wait > 0 {
		t.Fatal(wait)
	}
	p.Answered(now, s, Limited, nil, 7*24*time.Hour, .5)
	if _, wait := p.Take(now, Need{Input: 1, Output: 1}, DefaultShare); wait < 10*time.Minute || wait > time.Hour {
		t.Errorf("left alone for %v", wait)
	}
	if _, wait := p.Take(now.Add(time.Hour+time.Minute), Need{Input: 1, Output: 1}, DefaultShare); wait > 0 {
		t.Errorf("it is not asked again for another %v", wait)
	}
}
