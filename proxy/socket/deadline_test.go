package socket

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"
)

// waits reads until the deadline in force passes and tells how long that took.
func waits(t *testing.T, c *Conn) time.Duration {
	t.Helper()
	start := time.Now()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %d, %v; want a timeout", n, err)
	}
	return time.Since(start)
}

func TestDeadline_TheOneInForceCounts(t *testing.T) {
	eachWay(t, func(t *testing.T, useRaw bool) {
		var err error
		for step := 100 * time.Millisecond; step < 4*time.Second; step *= 2 { // machines stall
			if err = deadlinesCount(t, useRaw, step); err == nil {
				return
			}
			t.Logf("in steps of %v: %v", step, err)
		}
		t.Error(err)
	})
}

// deadlinesCount sets deadlines and moves them. What it expects holds where nothing is late by a step.
func deadlinesCount(t *testing.T, useRaw bool, step time.Duration) (problem error) {
	c, peer := pair(t, useRaw)
	defer c.Close()
	defer peer.Close()
	var until time.Time // the deadline in force
	in := func(d time.Duration) {
		until = time.Now().Add(d)
		_ = c.SetReadDeadline(until)
	}
	passes := func(name string) {
		waits(t, c)
		if late := time.Since(until); late < 0 || late > step {
			problem = errors.Join(problem, fmt.Errorf("%s: woken %v behind the deadline", name, late))
		}
	}
	arrives := func(name string, after time.Duration) {
		sent := time.AfterFunc(after, func() { _, _ = peer.Write([]byte("x")) })
		defer sent.Stop()
		if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
			problem = errors.Join(problem, fmt.Errorf("%s: got %d, %w", name, n, err))
		}
	}
	in(time.Hour)
	in(step)
	passes("an earlier one")
	in(step)
	passes("again")
	in(step)
	passes("armed")
	in(step)
	in(3 * step)
	passes("a later one")

	// A wait under a near deadline arms it; then a far one is set, and the near one passes while nobody waits.
	in(step)
	arrives("under a near one", step/4)
	in(4 * step)
	time.Sleep(2 * step)
	passes("behind one that passed")

	in(step)
	arrives("under a near one again", step/4)
	if problem != nil {
		return problem // nothing may come to be read
	}
	_ = c.SetReadDeadline(time.Time{})
	arrives("without a deadline", 3*step)
	return problem
}

func TestDeadline_OthersCanWakeAWaiter(t *testing.T) {
	eachWay(t, func(t *testing.T, useRaw bool) {
		const soon = 20 * time.Millisecond
		c, _ := pair(t, useRaw)
		_ = c.SetReadDeadline(time.Now().Add(time.Hour))
		time.AfterFunc(soon, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
		waits(t, c)
		waits(t, c) // it stays passed
		_ = c.SetReadDeadline(time.Now().Add(time.Hour))
		start := time.Now() // before the timer: the wait may begin after it
		time.AfterFunc(soon, func() { _ = c.HurryRead(time.Now().Add(soon)) })
		waits(t, c)
		if got := time.Since(start); got < 2*soon {
			t.Errorf("hurried: waited %v, want %v", got, 2*soon)
		}
		_ = c.SetReadDeadline(time.Time{})
		both := make(chan struct{})
		time.AfterFunc(soon, func() {
			defer close(both)
			_ = c.SetDeadline(time.Unix(1, 0)) // one direction after the other
		})
		waits(t, c)
		<-both
		if _, err := c.Write([]byte("x")); err == nil {
			t.Error("a write went out past the deadline")
		}
		large := make([]byte, 64<<20)
		_ = c.SetWriteDeadline(time.Now().Add(time.Hour))
		time.AfterFunc(soon, func() { _ = c.SetWriteDeadline(time.Unix(1, 0)) })
		if n, err := c.Write(large); n == len(large) || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write: %d, %v", n, err)
		}
	})
}

// Deadlines that are moved ahead of every read are never missed and never felt, whoever interrupts.
func TestDeadline_InterruptsAreNotLost(t *testing.T) {
	eachWay(t, func(t *testing.T, useRaw bool) {
		for i := range 200 {
			c, peer := pair(t, useRaw)
			go func() { _, _ = io.Copy(peer, struct{ io.Reader }{peer}) }()
			cut := make(chan struct{})
			go func() {
				time.Sleep(time.Duration(i) * 5 * time.Microsecond)
				close(cut) // the mark, then the deadline: as a tether is cut
				_ = c.SetDeadline(time.Unix(1, 0))
			}()
			p := make([]byte, 1)
			for end := time.Now().Add(10 * time.Second); ; {
				_ = c.SetDeadline(time.Now().Add(time.Minute))
				select {
				case <-cut:
				default:
					if _, err := c.Write(p); err == nil {
						if _, err = c.Read(p); err == nil && time.Now().Before(end) {
							continue
						}
					}
				}
				break
			}
			select {
			case <-cut:
			default:
				t.Fatal("the exchange ended before it was cut")
			}
			c.Close()
			peer.Close()
		}
	})
}
