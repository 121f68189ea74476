package pacing

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llm-auto-optimizer/proxy/limit"
)

var terms = Terms{Share: .97, MaxWait: 2 * time.Second, Waiters: 1000}

// slowTo makes a pace that lets about so many a second through: it was refused at a sixth more.
func slowTo(t *testing.T, rate float64) *Pace {
	t.Helper()
	p := newPace(time.Now(), time.Now(), Key{Model: "m"})
	n := max(int(3*rate/.85), 2)
	for i := range n {
		turn, _ := p.Try(time.Now(), &terms, limit.Need{})
		verdict := limit.Through
		if i == n-1 {
			verdict = limit.Limited
		}
		p.Answered(time.Now(), &turn, verdict, nil, 0, 0)
		p.End(time.Now(), &turn, true, limit.NoMatter, 0, 0)
		time.Sleep(3 * time.Second / time.Duration(n))
	}
	if got := p.State(time.Now()).Rate; got < .7*rate || got > 1.3*rate {
		t.Fatalf("made a pace of %v a second, not %v", got, rate)
	}
	return p
}

// enter takes a turn, after a wait where there is no room.
func enter(ctx context.Context, p *Pace, caller limit.ID, terms Terms) (Turn, Refusal) {
	turn, r := p.Try(time.Now(), &terms, limit.Need{Input: 100})
	if r.Retry == 0 {
		return turn, r
	}
	turn, delay, r := p.Wait(ctx, time.Now(), &Ask{Terms: terms, Need: limit.Need{Caller: caller, Input: 100}, MaxWait: terms.MaxWait})
	time.Sleep(delay)
	return turn, r
}

func nothingLeft(t *testing.T, p *Pace) {
	t.Helper()
	synctest.Wait()
	if s := p.State(time.Now()); s.Waiting != 0 || s.Flying != 0 || p.queue != nil {
		t.Errorf("left over: %+v", s)
	}
}

// Who waits is let through at the pace that there is, in turns; who can't be in time is told when to come again.
func TestPace_Wait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := slowTo(t, 20)
		rate := p.State(time.Now()).Rate
		start := time.Now()
		var mu sync.Mutex
		got, refused := map[limit.ID]int{}, 0
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				who := limit.ID(1)
				if i >= 180 {
					who = 2
				}
				turn, r := enter(t.Context(), p, who, terms)
				mu.Lock()
				defer mu.Unlock()
				if r.Retry > 0 {
					refused++
					if r.Retry > 30*time.Second || r.Full {
						t.Errorf("refused with %+v", r)
					}
					return
				}
				got[who]++
				p.End(time.Now(), &turn, true, limit.Good, 0, 100)
			})
		}
		wg.Wait()
		took := time.Since(start).Seconds()
		if n := float64(got[1] + got[2]); took > 2.1 || n < rate*2*.8 || n > rate*2.5+5 {
			t.Errorf("%v let through and %d refused in %.2f s at %.1f a second", got, refused, took, rate)
		}
		if got[2] < 10 {
			t.Errorf("of those who ask for less: %v", got)
		}
		nothingLeft(t, p)
	})
}

// Waiting does not begin where it is of no use, and ends when the client leaves; what was just handed out then is others'.
func TestPace_WaitInVain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPace(time.Now(), time.Now(), Key{Model: "m"})
		turn, _ := p.Try(time.Now(), &terms, limit.Need{})
		p.Answered(time.Now(), &turn, limit.Limited, nil, 10*time.Second, 0)
		p.End(time.Now(), &turn, true, limit.NoMatter, 0, 0)
		start := time.Now()
		if _, r := enter(t.Context(), p, 1, terms); r.Retry != 10*time.Second || time.Since(start) != 0 {
			t.Errorf("paused: %+v after %v", r, time.Since(start))
		}
		time.Sleep(9 * time.Second)
		if turn, r := enter(t.Context(), p, 1, terms); r.Retry != 0 || time.Since(start) < 10*time.Second || time.Since(start) > 10*time.Second+longestLook {
			t.Errorf("a second before: %+v after %v", r, time.Since(start))
		} else {
			p.End(time.Now(), &turn, true, limit.NoMatter, 0, 0)
		}
		none := terms
		none.MaxWait = 0
		p = slowTo(t, 1)
		start = time.Now()
		for range 3 {
			if turn, r := enter(t.Context(), p, 1, none); r.Retry == 0 {
				p.End(time.Now(), &turn, true, limit.NoMatter, 0, 0)
			} else if time.Since(start) != 0 {
				t.Errorf("has waited: %+v", r)
			}
		}
		_, r := p.Try(time.Now(), &terms, limit.Need{})
		ctx, cancel := context.WithTimeout(t.Context(), r.Retry/2)
		defer cancel()
		start = time.Now()
		if _, left := enter(ctx, p, 1, terms); left.Retry == 0 || time.Since(start) != r.Retry/2 {
			t.Errorf("left: %+v after %v", left, time.Since(start))
		}
		nothingLeft(t, p)
		p = slowTo(t, 50)
		var wg sync.WaitGroup
		for i := range 100 { // all leave when some were just let through
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond)
				defer cancel()
				turn, _ := enter(ctx, p, 1, terms)
				p.End(time.Now(), &turn, false, limit.NoMatter, 0, 0)
			})
		}
		wg.Wait()
		nothingLeft(t, p)
	})
}

// What is full says so, and lets others through when something ends.
func TestPace_Crowd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPace(time.Now(), time.Now(), Key{})
		full := terms
		full.Crowds, full.Concurrency = true, limit.ConcurrencyOptions{Most: 2, Open: true}
		var turns []Turn
		for range 2 {
			turn, r := p.Try(time.Now(), &full, limit.Need{})
			if r.Retry > 0 {
				t.Fatalf("%+v", r)
			}
			turns = append(turns, turn)
		}
		if _, r := p.Try(time.Now(), &full, limit.Need{}); !r.Full {
			t.Errorf("%+v", r)
		}
		start := time.Now()
		if _, r := enter(t.Context(), p, 1, full); !r.Full || time.Since(start) != full.MaxWait {
			t.Errorf("%+v after %v", r, time.Since(start))
		}
		done := make(chan Refusal)
		go func() {
			turn, r := enter(t.Context(), p, 1, full)
			p.End(time.Now(), &turn, true, limit.Good, 0, 0)
			done <- r
		}()
		time.Sleep(100 * time.Millisecond)
		for i := range turns {
			p.End(time.Now(), &turns[i], true, limit.Good, 0, 0)
		}
		if r := <-done; r.Retry != 0 {
			t.Errorf("%+v", r)
		}
		nothingLeft(t, p)
	})
}

// A table keeps what is in use, and lets go of what nobody uses.
func TestTable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		table := NewTable(time.Now(), 4*shards)
		at := func(i int) (*Pace, []byte) {
			model := fmt.Append(nil, "model-", i)
			return table.Find(time.Now(), 7, [8]byte{1}, model), model
		}
		first, model := at(0)
		if again, _ := at(0); again != first || !first.Is(7, [8]byte{1}, model) || first.Is(8, [8]byte{1}, model) || first.Is(7, [8]byte{2}, model) || (*Pace)(nil).Is(7, [8]byte{1}, model) {
			t.Error("not the same")
		}
		held, _ := first.Try(time.Now(), &terms, limit.Need{})
		time.Sleep(2 * time.Second)
		for i := range 1000 {
			at(i)
		}
		n := 0
		table.Each(func(*Pace) { n++ })
		if n > 4*shards || first.Gone() {
			t.Errorf("%d paces, that in use is gone: %v", n, first.Gone())
		}
		first.End(time.Now(), &held, true, limit.Good, 0, 0)
		paused, _ := at(2000)
		turn, _ := paused.Try(time.Now(), &terms, limit.Need{})
		paused.Answered(time.Now(), &turn, limit.Limited, nil, time.Hour, 0)
		paused.End(time.Now(), &turn, true, limit.NoMatter, 0, 0)
		time.Sleep(idle + 2*time.Second)
		table.Sweep(time.Now())
		n = 0
		table.Each(func(*Pace) { n++ })
		if n != 1 || paused.Gone() || !first.Gone() {
			t.Errorf("%d are left after a quiet time", n)
		}
	})
}

func TestPace_AllocatesNothing(t *testing.T) {
	table := NewTable(time.Now(), DefaultSize)
	model := []byte("model")
	table.Find(time.Now(), 1, [8]byte{}, model)
	if n := testing.AllocsPerRun(1000, func() {
		now := time.Now()
		p := table.Find(now, 1, [8]byte{}, model)
		turn, _ := p.Try(now, &terms, limit.Need{})
		p.Answered(now, &turn, limit.Through, nil, 0, 0)
		p.End(now, &turn, true, limit.Good, 0, 0)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPace(b *testing.B) {
	crowds := terms
	crowds.Crowds, crowds.Concurrency.Open = true, true
	for _, c := range []struct {
		name  string
		terms Terms
	}{{"off", terms}, {"aimd", crowds}} {
		b.Run("concurrency="+c.name, func(b *testing.B) {
			p := newPace(time.Now(), time.Now(), Key{})
			now := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(time.Microsecond)
				turn, _ := p.Try(now, &c.terms, limit.Need{})
				p.Answered(now, &turn, limit.Through, nil, 0, 0)
				p.End(now, &turn, true, limit.Good, 0, 0)
			}
		})
	}
}

// Where nobody may wait it is told what Try has said: when there is room, and of what.
func TestPace_NobodyMayWait(t *testing.T) {
	t.Parallel()
	p := newPace(time.Now(), time.Now(), Key{Model: "m"})
	said := Refusal{Retry: 300 * time.Millisecond, Full: true, Lacks: limit.Concurrent}
	if _, _, r := p.Wait(t.Context(), time.Now(), &Ask{Refused: said}); r != said {
		t.Errorf("%+v, want %+v", r, said)
	}
}
