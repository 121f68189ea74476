package main

import (
	"slices"
	"time"

	"llm-auto-optimizer/proxy/policy"
)

// demoKept keeps account of the route that keeps its answers, by kind of question and by the time to live in force. Its owner guards it.
type demoKept struct {
	lines   int64 // of clients' requests
	worth   int64 // nano-dollars that the answers had cost for which no provider was called
	refresh int64 // that fetching answers anew in the background has cost
	spent   int64 // by clients' requests
	kinds   []demoKind
	asked   []demoQuestions // by kind
}

// demoKind is the account of a kind of question.
type demoKind struct {
	Class    string     `json:"class"`
	Size     string     `json:"-"` // of the questions, in a word
	Prompts  int        `json:"prompts"`
	Stays    float64    `json:"answers_stay_seconds"` // 0: for ever
	Spans    []demoSpan `json:"spans"`                // one after the other, without the hold-back
	Heldback demoSpan   `json:"holdback"`             // all day
	Now      demoSpan   `json:"now"`                  // the last seconds, as Spans
	recent   []demoKeptLine
}

// demoSpan is what came while answers lived for one time.
type demoSpan struct {
	Clock    string  `json:"from"` // of the scripted day
	Seconds  float64 `json:"ttl_seconds"`
	Requests int64   `json:"requests"`
	Hits     int64   `json:"hits"`  // answered without a provider
	Stale    int64   `json:"stale"` // of these, with an answer that is another one by now
	from     time.Time
}

func (s *demoSpan) ttl() time.Duration { return time.Duration(s.Seconds * float64(time.Second)) }

func (s *demoSpan) hitRatio() float64 { return float64(s.Hits) / max(float64(s.Requests), 1) }

func (s *demoSpan) staleShare() float64 { return float64(s.Stale) / max(float64(s.Hits), 1) }

func (s *demoSpan) add(l *demoKeptLine) {
	s.Requests++
	if l.hit {
		s.Hits++
	}
	if l.stale {
		s.Stale++
	}
}

// demoKeptLine is what is kept of a line of the access log.
type demoKeptLine struct {
	at         time.Time // of the begin
	hit, stale bool
}

func newDemoKept(asked []demoQuestions) *demoKept {
	k := &demoKept{asked: asked}
	for i := range asked {
		q := &asked[i]
		k.kinds = append(k.kinds, demoKind{Class: q.class, Size: q.size, Prompts: q.prompts, Stays: q.stays.Seconds()})
	}
	return k
}

// inForce notes for how many seconds answers live from a time on, by class.
func (k *demoKept) inForce(now time.Time, clock string, ttls [policy.Classes]float64) {
	for i := range k.kinds {
		kind := &k.kinds[i]
		if n := len(kind.Spans); n == 0 || kind.Spans[n-1].Seconds != ttls[i] {
			kind.Spans = append(kind.Spans, demoSpan{Clock: clock, Seconds: ttls[i], from: now})
		}
		if kind.Heldback.Clock == "" {
			kind.Heldback.Clock, kind.Heldback.Seconds = clock, ttls[i]
		}
	}
}

// add takes an exchange of the route in.
func (k *demoKept) add(l *demoEntry) {
	if l.Cache == "refresh" {
		k.refresh += l.Cost
		return
	}
	k.lines++
	k.worth += l.Saved
	k.spent += l.Cost
	i := slices.IndexFunc(k.kinds, func(kind demoKind) bool { return kind.Class == l.Class })
	if i < 0 { // somebody asks by hand
		return
	}
	kind, began := &k.kinds[i], time.UnixMilli(l.Time)
	line := demoKeptLine{at: began, hit: l.Cache == "hit" || l.Cache == "coalesced"}
	if l.Cache == "hit" {
		line.stale = k.asked[i].stale(began.Add(-time.Duration(l.Age*float64(time.Second))), began, int(l.Input+l.CacheRead))
	}
	if l.Arm == "holdback" {
		kind.Heldback.add(&line)
		return
	}
	for j := len(kind.Spans) - 1; j >= 0; j-- {
		if s := &kind.Spans[j]; j == 0 || !began.Before(s.from) {
			s.add(&line)
			break
		}
	}
	if len(kind.recent) == recentLines {
		kind.recent = slices.Delete(kind.recent, 0, recentLines/2)
	}
	kind.recent = append(kind.recent, line)
}

// demoKeptState is how the route stands that keeps its answers.
type demoKeptState struct {
	Route    string     `json:"route"`
	Requests int64      `json:"requests"`
	Worth    int64      `json:"answers_nanousd"` // what the answers had cost for which no provider was called
	Refresh  int64      `json:"refresh_nanousd"` // what it cost to fetch answers anew in the background
	Saved    int64      `json:"saved_nanousd"`   // the one less the other
	Spent    int64      `json:"cost_nanousd"`    // of the requests that were not answered by the cache
	Kinds    []demoKind `json:"classes"`
}

// state is a copy.
func (k *demoKept) state(now time.Time) *demoKeptState {
	st := &demoKeptState{Route: demoCached, Requests: k.lines, Worth: k.worth, Refresh: k.refresh, Saved: k.worth - k.refresh, Spent: k.spent, Kinds: slices.Clone(k.kinds)}
	for i := range st.Kinds {
		kind := &st.Kinds[i]
		kind.Spans = slices.Clone(kind.Spans)
		if n := len(kind.Spans); n > 0 {
			kind.Now = demoSpan{Clock: kind.Spans[n-1].Clock, Seconds: kind.Spans[n-1].Seconds}
		}
		for j := len(kind.recent) - 1; j >= 0; j-- {
			if l := &kind.recent[j]; now.Sub(l.at) <= recentFor {
				kind.Now.add(l)
			}
		}
		kind.recent = nil
	}
	return st
}
