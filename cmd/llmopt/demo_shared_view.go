package main

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

// demoSharedState is how the route stands that two callers share.
type demoSharedState struct {
	Route    string          `json:"route"`
	Target   string          `json:"target"`
	Requests int64           `json:"requests"`
	Sent     int64           `json:"provider_requests"`
	Refused  int64           `json:"provider_refused"` // of these, by 429
	Rate     float64         `json:"paced_to"`         // requests a second that the provider may be sent now; 0: any number
	Waiting  int             `json:"waiting"`          // for room at the provider
	Used     float64         `json:"own_limit_used"`   // of nightly's own limit, now
	Storm    *demoStormState `json:"storm,omitempty"`  // none: it has not begun
	Callers  []demoCaller    `json:"callers"`          // in the order of demoCallers
	words    string          // how the provider is kept to
	left     int64           // requests whose client left
}

// demoStormState is what the provider was sent while it had a limit that it told nobody of.
type demoStormState struct {
	Limit        float64 `json:"limit"` // requests a second that it let through
	Seconds      float64 `json:"seconds"`
	Sent         int64   `json:"provider_requests"`
	Refused      int64   `json:"provider_refused"`
	FirstSeconds float64 `json:"first_seconds"`
	FirstSent    int64   `json:"first_provider_requests"` // of Sent, in the first seconds
	FirstRefused int64   `json:"first_provider_refused"`
	Rate         float64 `json:"paced_to"` // at its end, in requests a second
}

// shares is how the shared route stands.
func (s *demoStage) shares(now time.Time) *demoSharedState {
	pace, counts := s.pace(), s.day.storm.counts(now)
	st := &demoSharedState{
		Route: demoShared, Target: demoBulk, Sent: counts.sent, Refused: counts.refused, Rate: pace.Rate, Waiting: pace.Waiting, words: pace.String(), Storm: s.day.storm.state(now),
	}
	st.Callers, st.Requests, st.left = s.book.shares(now, s.started)
	for _, limit := range s.gateway.proxy.LimitsView(now, 1) {
		for _, one := range limit.Standings {
			st.Used = 1 - float64(one.Left)/float64(one.Limit.Most)
		}
	}
	return st
}

// state is how the storm went, or goes.
func (w *demoStorm) state(now time.Time) *demoStormState {
	if w.begins.at.IsZero() {
		return nil
	}
	ends, early, rate := w.ends, w.early, w.found
	if ends.at.IsZero() {
		ends, rate = w.counts(now), w.s.pace().Rate
	}
	if early.at.IsZero() {
		early = ends
	}
	return &demoStormState{
		Limit: demoStormLimit, Seconds: ends.at.Sub(w.begins.at).Seconds(), Sent: ends.sent - w.begins.sent, Refused: ends.refused - w.begins.refused,
		FirstSeconds: early.at.Sub(w.begins.at).Seconds(), FirstSent: early.sent - w.begins.sent, FirstRefused: early.refused - w.begins.refused, Rate: rate,
	}
}

// appendDemoShared is the table of the shared route, as it is now.
func appendDemoShared(out *bytes.Buffer, st *demoState, pen ink) {
	rows := [][]string{{demoShared + " now", "asks", "is answered", "longest wait", "own limit used"}}
	for i := range st.shared.Callers {
		c := &st.shared.Callers[i]
		used := "-"
		if c.Name == demoNightly {
			used = fmt.Sprintf("%.0f%% of %d/s", 100*st.shared.Used, demoNightlyLimit)
		}
		rows = append(rows, []string{c.Name, fmt.Sprintf("%.1f/s", c.Asks), fmt.Sprintf("%.1f/s", c.Answered), shortDuration(c.Longest), used})
	}
	appendDemoTable(out, []bool{true, false, false, false, false}, rows, pen)
	appendDemoRow(out, pen, "its provider", "%s", st.shared.provider())
}

// provider is how the provider of the shared route is kept to, and what it has refused.
func (st *demoSharedState) provider() string {
	words := st.words
	if words == "" {
		words = "not paced, as it has refused nothing"
	}
	return fmt.Sprintf("%s: %s; %d of %d refused by it", st.Target, words, st.Refused, st.Sent)
}

// sharedLine is the same in a line.
func sharedLine(st *demoSharedState) string {
	nightly, support := &st.Callers[0], &st.Callers[1]
	pace := "not paced"
	if st.Rate > 0 {
		pace = "at " + rateText(st.Rate) + "/s"
	}
	return fmt.Sprintf("%s: %s gets %.3g of %.3g/s, %s %.2g of %.2g; %s %s, %d wait, %d refused", demoShared, nightly.Name, nightly.Answered, nightly.Asks,
		support.Name, support.Answered, support.Asks, demoBulk, pace, st.Waiting, st.Refused)
}

// appendDemoSharedSummary is what limits have made of the day.
func appendDemoSharedSummary(out *bytes.Buffer, st *demoState, pen ink) {
	shared := st.shared
	if w := shared.Storm; w != nil {
		reached := int64(0)
		for i := range shared.Callers {
			reached += shared.Callers[i].part(demoDayLong).Refused // some have begun before it
		}
		fmt.Fprintf(out, "%s\n", pen.bold(fmt.Sprintf("The hidden limit of %s: %d of %d requests were refused, %d in the first %s; %d reached a client.",
			demoBulk, w.Refused, w.Sent, w.FirstRefused, wholeSeconds(time.Duration(w.FirstSeconds*float64(time.Second))), reached)))
		appendWrapped(out, "  ", 2, fmt.Sprintf("It let %.0f a second through, of the %d that came, and told nobody; by trial the gateway kept to %s at the end. "+
			"The caller that asks for less than its half is served first; the other one waits, or is turned away.", w.Limit, demoNightlyRate+demoSupportRate, rateText(w.Rate)))
	} else {
		fmt.Fprintf(out, "%s\n", pen.bold(fmt.Sprintf("The callers of %s: %s refused %d of the %d requests it was sent.", demoShared, demoBulk, shared.Refused, shared.Sent)))
	}
	rows := [][]string{{"  caller", "when", "requests", "answered", "own limit", "no room", "429 of " + demoBulk, "wait p50", "p95"}}
	for i := range shared.Callers {
		c := &shared.Callers[i]
		name := c.Name
		for j := range c.Accounts {
			a := &c.Accounts[j]
			rows = append(rows, []string{
				"  " + name, a.when(), strconv.FormatInt(a.Requests, 10), percentOf(float64(a.Answered)/float64(max(a.Requests, 1)), a.Requests), strconv.FormatInt(a.OwnLimit, 10),
				strconv.FormatInt(a.NoRoom, 10), strconv.FormatInt(a.Refused, 10), shortDuration(a.WaitP50), shortDuration(a.WaitP95),
			})
			name = ""
		}
	}
	appendDemoTable(out, []bool{true, true, false, false, false, false, false, false, false}, rows, pen)
	out.WriteByte('\n')
}

// when is a part of the day with its hours.
func (a *demoAccount) when() string {
	switch {
	case a.From == "":
		return a.Part
	case a.To == "":
		return a.Part + ", from " + a.From
	}
	return fmt.Sprintf("%s, %s to %s", a.Part, a.From, a.To)
}
