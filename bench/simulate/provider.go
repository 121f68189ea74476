package simulate

import (
	"bytes"
	"time"

	"llm-auto-optimizer/bench/sim"
	"llm-auto-optimizer/proxy/limit"
)

// providerState is a provider at the moment.
type providerState struct {
	*Provider
	account *sim.Account
	pace    *pace // of the gateway, with its key; nil: it does not keep to limits
}

// asked is what a provider with limits made of an attempt.
type asked struct {
	provider *providerState // nil: it has no limits
	through  bool
	headers  []byte // lines
}

// ask asks the target's provider to take an attempt that begins now.
func (w *world) ask(t *targetState, r *request) (a asked, wait time.Duration) {
	if t.Provider == noProvider {
		return a, 0
	}
	a.provider = &w.providers[t.Provider]
	account, now := a.provider.account, w.time()
	wait, a.through = account.Ask(now, r.input, r.output)
	a.headers = account.Headers(nil, now)
	if account.Silent() {
		return a, 0
	}
	return a, max(wait.Round(time.Millisecond), time.Millisecond) // as headers say it
}

// refused tells that the provider did not take the attempt.
func (a *asked) refused() bool { return a.provider != nil && !a.through }

// read is what the headers say to who reads them now.
func (a *asked) read(h *limit.Headers, now time.Time) *limit.Headers {
	h.Reset()
	for rest := a.headers; len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(": "))
		h.Add(name, value, now)
	}
	return h
}

// scheduleSteps plans the changes of quotas, and the samples of what was let through.
func (w *world) scheduleSteps() {
	for i := range w.Steps {
		t := &w.Steps[i]
		if t.What != "quota" {
			continue
		}
		p := &w.providers[t.Provider]
		w.at(t.At, func() { p.account.Set(w.time(), t.Quota) })
		if t.For > 0 {
			w.at(t.At+t.For, func() { p.account.Set(w.time(), p.Quota) })
		}
	}
	if len(w.providers) == 0 {
		return
	}
	var sample func()
	sample = func() {
		for i := range w.providers {
			w.result.Limits[i].sample(w.providers[i].account.Totals(w.time()))
		}
		if w.now < w.For {
			w.at(w.now+time.Second, sample)
		}
	}
	w.at(0, sample)
}
