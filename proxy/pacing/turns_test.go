package pacing

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llm-auto-optimizer/proxy/limit"
)

// Turns go by tokens. An attempt that was never sent costs its caller none, and one that failed at once costs it its turn: else who sends what fails would have all turns.
func TestPace_TurnsOfWhatFails(t *testing.T) {
	t.Parallel()
	share := func(sent bool, failing limit.ID) float64 {
		turns := map[limit.ID]float64{}
		synctest.Test(t, func(t *testing.T) {
			p := slowTo(t, 20)
			long := terms
			long.MaxWait = 20 * time.Second
			var mu sync.Mutex
			var order []limit.ID
			done := make(chan struct{})
			for caller := limit.ID(1); caller <= 2; caller++ {
				for range 60 {
					go func() {
						defer func() { done <- struct{}{} }()
						turn, delay, r := p.Wait(t.Context(), time.Now(), &Ask{Terms: long, Need: limit.Need{Caller: caller, Input: 100}, MaxWait: long.MaxWait})
						if r.Retry > 0 {
							return
						}
						mu.Lock()
						order = append(order, caller)
						mu.Unlock()
						if caller == failing {
							p.End(time.Now(), &turn, sent, limit.NoMatter, 0, 0)
							return
						}
						time.Sleep(delay)
						p.End(time.Now(), &turn, true, limit.Good, 0, 100)
					}()
					synctest.Wait()
				}
			}
			for range 120 {
				<-done
			}
			for _, caller := range order[:40] {
				turns[caller]++
			}
		})
		return turns[1] / 40
	}
	if got := share(true, 1); got < .4 || got > .6 {
		t.Errorf("one whose attempts fail has %v of the turns", got)
	}
	if got := share(true, 0); got < .4 || got > .6 {
		t.Errorf("of two equals one has %v of the turns", got)
	}
	if got := share(false, 1); got < .9 {
		t.Errorf("one whose attempts are not sent has %v of the turns", got)
	}
}
