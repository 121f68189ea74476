package main

import (
	"fmt"
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy"
)

// demoStorm is what happens on the shared route: the script's part of it, and what comes of that. It belongs to the day's goroutine.
type demoStorm struct {
	s       *demoStage
	hour    time.Duration
	pending []demoSequel

	begins, early, ends demoCounts // at the begin of the storm, when the first seconds of it were over, and at its end
	found               float64    // the rate that bulk was kept to at the end, in requests a second
}

// demoCounts is what a provider has been sent until a time.
type demoCounts struct {
	at            time.Time
	sent, refused int64
}

// demoSequel is something to be told as soon as it is known; until then nothing.
type demoSequel struct {
	from time.Time // not before
	says func(now time.Time) string
}

// demoFirst is how much of a storm counts as its first seconds.
const demoFirst = 2 * time.Second

// demoKnown is how long it takes until all requests that have begun are in the book: the longest wait, and an answer.
const demoKnown = 2500 * time.Millisecond

// The parts of the script that are about the shared route, in the order of time.
var (
	demoNightActs = []demoAct{
		{demoRunFrom, demoShared, func(d *demoDay) (string, error) {
			d.s.book.part(time.Now(), demoRun, d.now, true)
			return fmt.Sprintf("%s's run begins: %d requests/s instead of %d, of which its own limit allows %d", demoNightly, demoRunRate, demoNightlyRate, demoNightlyLimit), nil
		}},
		{demoRunTo, demoShared, func(d *demoDay) (string, error) {
			d.s.book.part(time.Now(), demoRun, d.now, false)
			d.storm.after(demoKnown, d.storm.ran)
			return demoNightly + "'s run is over", nil
		}},
	}
	demoStormActs = []demoAct{
		{demoStormFrom, demoShared, func(d *demoDay) (string, error) {
			d.storm.begin(time.Now(), d.now)
			return fmt.Sprintf("%s lets no more than %d requests/s through, answers the rest by 429, and tells nobody of its limit", demoBulk, demoStormLimit), nil
		}},
		{demoStormTo, demoShared, func(d *demoDay) (string, error) {
			d.storm.end(time.Now(), d.now)
			return demoBulk + " lifts its limit, and tells nobody of that either", nil
		}},
	}
)

func (w *demoStorm) after(wait time.Duration, says func(now time.Time) string) {
	w.pending = append(w.pending, demoSequel{time.Now().Add(wait), says})
}

// counts is what bulk has been sent until now.
func (w *demoStorm) counts(now time.Time) demoCounts {
	q := w.s.bulk.server.Stats().Quota
	return demoCounts{now, q.Through + q.Refused, q.Refused}
}

// pace is how the limits of bulk are kept to.
func (s *demoStage) pace() (none proxy.PaceView) {
	for _, r := range s.gateway.proxy.Routes() {
		if r.Name() == demoShared {
			return r.Paces[0]
		}
	}
	return none
}

func (w *demoStorm) begin(now time.Time, clock string) {
	w.s.bulk.server.SetQuota(demoScarce)
	w.s.book.part(now, demoStormy, clock, true)
	w.begins = w.counts(now)
	w.after(w.first(), func(now time.Time) string {
		w.early = w.counts(now)
		return ""
	})
	w.after(max(w.hour, w.first()), w.keeps)
}

// first is how long the first seconds of the storm are.
func (w *demoStorm) first() time.Duration { return min(demoFirst, w.hour) }

func (w *demoStorm) end(now time.Time, clock string) {
	w.ends, w.found = w.counts(now), w.s.pace().Rate
	w.s.bulk.server.SetQuota(demoPlenty)
	w.s.book.part(now, demoStormy, clock, false)
	w.after(demoKnown, w.passed)
	w.after(demoKnown, w.recovers)
}

// ran is what has become of nightly's run.
func (w *demoStorm) ran(now time.Time) string {
	nightly, support := w.accounts(now, demoRun)
	return fmt.Sprintf("%s's limit let %d of its %d requests through and turned %d away; %s had %d of %d answered",
		demoNightly, nightly.Requests-nightly.OwnLimit, nightly.Requests, nightly.OwnLimit, demoSupport, support.Answered, support.Requests)
}

func (w *demoStorm) accounts(now time.Time, part string) (nightly, support demoAccount) {
	callers, _, _ := w.s.book.shares(now, w.s.started)
	return callers[0].part(part), callers[1].part(part)
}

// keeps is what pacing has found in the first hour of the storm.
func (w *demoStorm) keeps(now time.Time) string {
	v, c := w.s.pace(), w.counts(now)
	if v.Rate == 0 {
		return fmt.Sprintf("%s is not kept to any rate: it refused %s", demoBulk, refusedOf(&w.begins, &c))
	}
	return fmt.Sprintf("%s is kept to %s requests/s, found by trial: it refused %s in the first %s, %s in the %s since", demoBulk, rateText(v.Rate),
		refusedOf(&w.begins, &w.early), wholeSeconds(w.early.at.Sub(w.begins.at)), refusedOf(&w.early, &c), wholeSeconds(now.Sub(w.early.at)))
}

// refusedOf is how many of the requests that were sent meanwhile were refused.
func refusedOf(a, b *demoCounts) string {
	return fmt.Sprintf("%d of %d", b.refused-a.refused, b.sent-a.sent)
}

// passed is what has become of the storm.
func (w *demoStorm) passed(now time.Time) string {
	nightly, support := w.accounts(now, demoStormy)
	return fmt.Sprintf("the storm is over: %s refused %s in %s; %s had %d of %d answered, %s %d of %d", demoBulk, refusedOf(&w.begins, &w.ends),
		wholeSeconds(w.ends.at.Sub(w.begins.at)), demoSupport, support.Answered, support.Requests, demoNightly, nightly.Answered, nightly.Requests)
}

// recovers tells that the route has room again for all that it is sent.
func (w *demoStorm) recovers(now time.Time) string {
	v := w.s.pace()
	if v.Waiting > 0 || v.Rate > 0 && v.Rate < demoNightlyRate+demoSupportRate {
		w.pending = append(w.pending, demoSequel{now, w.recovers})
		return ""
	}
	if v.Rate == 0 {
		return fmt.Sprintf("%s may be sent any number of requests, and was never paced: it refused %s", demoBulk, refusedOf(&w.begins, &w.ends))
	}
	return fmt.Sprintf("%s may be sent %s requests/s again, found by trial: nobody waits", demoBulk, rateText(v.Rate))
}

// step tells what is known by now, in order.
func (w *demoStorm) step(now time.Time, tell func(route, who, what string)) {
	pending := w.pending
	w.pending = nil
	for _, p := range pending {
		if now.Before(p.from) {
			w.pending = append(w.pending, p)
			continue
		}
		if text := p.says(now); text != "" {
			tell(demoShared, "reflex", text)
		}
	}
}

func rateText(rate float64) string { return fmt.Sprintf("%.3g", rate) }

func wholeSeconds(d time.Duration) string {
	if d >= time.Second {
		return config.FormatDuration(d.Round(time.Second))
	}
	return config.FormatDuration(d.Round(time.Millisecond))
}
