package proxy

import (
	"testing"
	"time"

	"llm-auto-optimizer/config"
)

func TestPromptEffect_SuspendsWhatDoesNotPay(t *testing.T) {
	t.Parallel()
	e := newPromptEffect(5 * time.Minute)
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	// period adds n exchanges evenly over a time, and returns what the last has led to.
	period := func(n int, over time.Duration, saved config.NanoUSD) (d effectDecision) {
		t.Helper()
		begin := now
		for i := range n {
			now = begin.Add(over * time.Duration(i) / time.Duration(n-1))
			if d = e.add(now, saved); d != (effectDecision{}) && i < n-1 {
				t.Errorf("decided after %d of %d exchanges: %+v", i+1, n, d)
			}
		}
		return d
	}
	if d := period(60, 15*time.Minute, 10); d != (effectDecision{net: 600}) {
		t.Errorf("what pays: %+v", d)
	}
	if d := period(60, 14*time.Minute, -10); d != (effectDecision{}) {
		t.Errorf("too early: %+v", d)
	}
	now = now.Add(time.Minute)
	if d := e.add(now, -10); d != (effectDecision{net: -610, pause: time.Hour}) {
		t.Errorf("what costs: %+v", d)
	}
	if !e.suspended(now) || !e.suspended(now.Add(59*time.Minute)) || e.suspended(now.Add(time.Hour)) {
		t.Error("not suspended for an hour")
	}
	if d := e.add(now.Add(time.Minute), -1e9); d != (effectDecision{}) {
		t.Errorf("an exchange that began before: %+v", d)
	}
	for _, want := range []time.Duration{2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 16 * time.Hour, 24 * time.Hour, 24 * time.Hour} {
		now = time.Unix(0, e.until.Load())
		if d := period(50, 15*time.Minute, -10); d != (effectDecision{net: -500, pause: want}) {
			t.Errorf("again: %+v, want %v", d, want)
		}
	}
	now = time.Unix(0, e.until.Load())
	if d := period(50, 15*time.Minute, 1); d != (effectDecision{net: 50, back: true}) {
		t.Errorf("pays again: %+v", d)
	}
	if d := period(50, 15*time.Minute, -10); d.pause != time.Hour {
		t.Errorf("after it has paid: %+v, want an hour", d)
	}
}

func TestPromptEffect_WaitsForEnoughExchanges(t *testing.T) {
	t.Parallel()
	e := newPromptEffect(5 * time.Minute)
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for i := range effectExchanges {
		d := e.add(now, -1)
		if (d.pause > 0) != (i == effectExchanges-1) {
			t.Errorf("exchange %d: %+v", i+1, d)
		}
		now = now.Add(10 * time.Minute)
	}
}

func TestPromptBooks_BeginAnewWithAnotherLifetime(t *testing.T) {
	t.Parallel()
	var b promptBooks
	book := func(life string) *promptRoute { // that comes into force
		c := config.Route{Name: "r", PromptCache: life}
		p := b.book(&c)
		b.install([]*routeState{{name: "r", config: c, prompts: p}})
		return p
	}
	if book("off") != nil || book("") != nil {
		t.Error("off: there is a book")
	}
	first := book("5m")
	if first == nil || first.hour || book("5m") != first {
		t.Fatal("the same lifetime has not the same book")
	}
	first.effect.until.Store(time.Now().Add(time.Hour).UnixNano())
	hour := book("1h")
	if !hour.hour || hour.counts != first.counts || hour.effect.suspended(time.Now()) {
		t.Errorf("another lifetime: %+v", hour)
	}
	if book("off") != nil {
		t.Error("switched off: there is a book")
	}
	if again := book("1h"); again == hour || again.counts != first.counts {
		t.Error("switched on again: not judged anew, or without its counts")
	}
}
