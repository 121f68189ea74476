package limit

import (
	"strconv"
	"testing"
	"time"
)

// refusing is an upstream that tells of requests and tokens. By and by what is left is as given.
type refusing struct {
	*upstream
	requests, tokens int
}

func newRefusing(t *testing.T) *refusing {
	u := &refusing{newUpstream(t), 1000, 100_000}
	for range 10 {
		u.ask(Through, 100)
	}
	if st := u.State(u.now); !st.Trusted {
		t.Fatalf("%+v", st)
	}
	return u
}

// ask sends a request of so many tokens a tenth of a second after the last and tells whether it was let through by the pacer.
func (u *refusing) ask(v Verdict, tokens int64) bool {
	u.Helper()
	u.now = u.now.Add(100 * time.Millisecond)
	s, wait := u.Take(u.now, Need{Input: tokens, Output: 0}, DefaultShare)
	if wait > 0 {
		return false
	}
	if u.requests--; v == Through {
		u.tokens -= int(tokens)
	}
	u.h.Reset()
	for name, n := range map[string][2]int{"requests": {1000, u.requests}, "tokens": {100_000, u.tokens}} {
		u.h.Add([]byte("x-ratelimit-limit-"+name), []byte(strconv.Itoa(n[0])), u.now)
		u.h.Add([]byte("x-ratelimit-remaining-"+name), []byte(strconv.Itoa(n[1])), u.now)
		u.h.Add([]byte("x-ratelimit-reset-"+name), []byte("60s"), u.now)
	}
	u.Answered(u.now, s, v, &u.h, 0, 0)
	return true
}

func (u *refusing) trusted(want bool, when string) {
	u.Helper()
	if got := u.State(u.now).Trusted; got != want {
		u.Errorf("%s: trusted %v", when, got)
	}
}

// A refusal for want of tokens says nothing against what the provider tells of requests.
func TestTrust_AnotherLimitExplains(t *testing.T) {
	t.Parallel()
	u := newRefusing(t)
	u.tokens = 3000 // others have used the most of it
	for range 20 {
		u.ask(Limited, 100)
	}
	u.trusted(true, "no tokens are left")

	u = newRefusing(t)
	u.tokens = 20_000
	for range 20 { // there was more when it was sent
		u.now = u.now.Add(100 * time.Millisecond)
		s, wait := u.Take(u.now, Need{Input: 30_000, Output: 0}, DefaultShare)
		if wait > 0 {
			break
		}
		u.h.Reset()
		for _, h := range [][2]string{
			{"limit-requests", "1000"}, {"remaining-requests", "900"}, {"reset-requests", "60s"},
			{"limit-tokens", "100000"}, {"remaining-tokens", "20000"}, {"reset-tokens", "60s"},
		} {
			u.h.Add([]byte("x-ratelimit-"+h[0]), []byte(h[1]), u.now)
		}
		u.Answered(u.now, s, Limited, &u.h, 0, 0)
	}
	u.trusted(true, "it asked for more tokens than are left")
}

// What one caller is refused for, time and again, does not slow down the others; what all are refused for does.
func TestTrust_Unexplained(t *testing.T) {
	t.Parallel()
	u := newRefusing(t)
	for i := range 200 {
		v := Through
		if i%20 == 0 {
			v = Limited
		}
		if !u.ask(v, 10) {
			t.Fatalf("the %dth has to wait", i)
		}
	}
	u.trusted(true, "one in twenty is refused")

	for range 5 {
		u.ask(Limited, 10)
	}
	u.trusted(false, "five in a row")
	if got := u.State(u.now).Rate; got < 6 || got > 10 {
		t.Errorf("%v a second are sent after a refusal at 10", got)
	}
	u.now = u.now.Add(8 * time.Second)
	for range 20 {
		u.ask(Through, 10)
	}
	u.trusted(false, "ten seconds later")
	u.now = u.now.Add(10 * time.Second)
	u.trusted(true, "twenty seconds later")
	for range 5 {
		u.ask(Limited, 10)
	}
	u.now = u.now.Add(10 * time.Second)
	for range 100 {
		u.ask(Through, 10)
	}
	u.trusted(false, "a second time, twenty seconds later")

	u = newRefusing(t)
	for range 5 { // without headers
		s, wait := u.Take(u.now, Need{Input: 10, Output: 0}, DefaultShare)
		if wait > 0 {
			t.Fatal(wait)
		}
		u.Answered(u.now, s, Limited, nil, 0, 0)
	}
	u.trusted(false, "five that say nothing")
}

// A provider that allows much less than it tells is used by trial: well, and with few refusals.
func TestTrust_ToldTooMuch(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000_000, 0)
	start, p := now, NewPacer(now)
	told, allowed := hidden{period: time.Second, limit: 100, level: 100, last: now}, hidden{period: time.Second, limit: 60, level: 60, last: now}
	var flying answers
	sent, through := 0, 0
	for ; now.Sub(start) < 3*time.Minute; now = now.Add(5 * time.Millisecond) {
		for len(flying) > 0 && !flying[0].at.After(now) {
			a := flying[0]
			flying = flying[1:]
			verdict := Through
			if !a.through {
				verdict = Limited
			}
			p.Answered(now, a.sent, verdict, a.headers, 0, 0)
		}
		s, wait := p.Take(now, Need{Input: 1, Output: 1}, DefaultShare)
		if wait > 0 {
			continue
		}
		const took = 100 * time.Millisecond
		a := answer{at: now.Add(took), sent: s, through: allowed.ask(now), headers: &Headers{}}
		told.ask(now)
		told.headers(a.headers, now, a.at)
		if sent++; a.through {
			through++
		}
		flying = append(flying, a)
	}
	used, refused := float64(through)/(60*now.Sub(start).Seconds()), float64(sent-through)/float64(sent)
	t.Logf("%.1f %% used, %.2f %% refused", used*100, refused*100)
	if used < .95 || refused > .03 {
		t.Errorf("%.1f %% used, %.2f %% refused", used*100, refused*100)
	}
}
