package main

import (
	"slices"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/bench/load"
)

// The parts of the day that the shared route has accounts of.
const (
	demoDayLong = "all day"
	demoRun     = "its run"
	demoStormy  = "the storm"
)

// demoAccounts keeps account of the route that two callers share, by caller and part of the day. Its owner guards it.
type demoAccounts struct {
	lines   int64
	left    int64 // of these: the client did
	parts   []demoPart
	callers map[string]map[string]*demoAccount // by name and part
	recent  map[string][]demoSharedLine        // by name
}

// demoPart is a part of the day.
type demoPart struct {
	name             string
	from, to         time.Time // to is zero while it goes on
	fromClock, until string    // of the scripted day
}

func (p *demoPart) has(t time.Time) bool {
	return !t.Before(p.from) && (p.to.IsZero() || t.Before(p.to))
}

// demoAccount is what became of a caller's requests in a part of the day.
type demoAccount struct {
	Part     string `json:"part"`
	From     string `json:"from,omitempty"` // of the scripted day; empty: all of it
	To       string `json:"to,omitempty"`
	Requests int64  `json:"requests"`
	Answered int64  `json:"answered"`
	OwnLimit int64  `json:"own_limit"` // turned away by a limit of the caller's
	NoRoom   int64  `json:"no_room"`   // turned away since the provider would have refused them
	Refused  int64  `json:"refused"`   // the provider did, and the client was told
	Other    int64  `json:"other"`     // came to nothing in another way

	WaitP50 float64 `json:"wait_p50_seconds"` // for room, of all that were not turned away
	WaitP95 float64 `json:"wait_p95_seconds"`
	WaitMax float64 `json:"wait_max_seconds"`
	waits   *load.Histogram
}

// demoSharedLine is what is kept of a line of the access log.
type demoSharedLine struct {
	ended    time.Time
	answered bool
	waited   time.Duration
}

// add takes an exchange of the route in. Those of callers that are not the demo's count for nobody.
func (a *demoAccounts) add(l *demoEntry) {
	if !slices.Contains(demoCallers, l.CallerName) {
		return
	}
	a.lines++
	if l.Outcome == window.Canceled.String() {
		a.left++
	}
	if a.callers == nil {
		a.callers, a.recent = map[string]map[string]*demoAccount{}, map[string][]demoSharedLine{}
	}
	began := time.UnixMilli(l.Time)
	a.of(l.CallerName, demoDayLong).add(l)
	for i := range a.parts {
		if p := &a.parts[i]; p.has(began) {
			a.of(l.CallerName, p.name).add(l)
		}
	}
	recent := a.recent[l.CallerName]
	if len(recent) == recentLines {
		recent = slices.Delete(recent, 0, recentLines/2)
	}
	a.recent[l.CallerName] = append(recent, demoSharedLine{l.ended(), l.Outcome == window.OK.String(), l.queued()})
}

func (a *demoAccounts) of(caller, part string) *demoAccount {
	parts := a.callers[caller]
	if parts == nil {
		parts = map[string]*demoAccount{}
		a.callers[caller] = parts
	}
	if parts[part] == nil {
		parts[part] = &demoAccount{waits: &load.Histogram{}}
	}
	return parts[part]
}

func (l *demoEntry) queued() time.Duration { return time.Duration(l.Queued * float64(time.Second)) }

func (a *demoAccount) add(l *demoEntry) {
	a.Requests++
	switch {
	case l.Outcome == window.OK.String():
		a.Answered++
	case l.Limit != "":
		a.OwnLimit++
		return
	case l.Error == demoNoRoom:
		a.NoRoom++
		return
	case l.Outcome == window.RateLimited.String():
		a.Refused++
	default:
		a.Other++
	}
	a.waits.Record(l.queued())
}

// demoNoRoom is the error of requests that were turned away since the provider would have refused them.
const demoNoRoom = "provider_rate_limited"

// begin notes that a part of the day begins.
func (a *demoAccounts) begin(now time.Time, name, clock string) {
	a.parts = append(a.parts, demoPart{name: name, from: now, fromClock: clock})
}

// end notes that a part of the day is over.
func (a *demoAccounts) end(now time.Time, name, clock string) {
	for i := range a.parts {
		if p := &a.parts[i]; p.name == name {
			p.to, p.until = now, clock
		}
	}
}

// demoCaller is how a caller of the route fares.
type demoCaller struct {
	Name     string        `json:"name"`
	Accounts []demoAccount `json:"accounts"` // of all day and of its parts

	// As of late.
	Asks     float64 `json:"now_asks"` // requests a second that ended
	Answered float64 `json:"now_answered"`
	Longest  float64 `json:"now_longest_wait_seconds"`
}

// part is the account of a part of the day.
func (c *demoCaller) part(name string) (none demoAccount) {
	for i := range c.Accounts {
		if c.Accounts[i].Part == name {
			return c.Accounts[i]
		}
	}
	return none
}

// state is a copy.
func (a *demoAccounts) state(now, started time.Time) (callers []demoCaller) {
	for _, name := range demoCallers {
		c := demoCaller{Name: name}
		for _, p := range append([]demoPart{{name: demoDayLong}}, a.parts...) {
			account := demoAccount{}
			if of := a.callers[name][p.name]; of != nil {
				account = *of
				w := of.waits
				account.WaitP50, account.WaitP95, account.WaitMax, account.waits = w.Quantile(.5).Seconds(), w.Quantile(.95).Seconds(), w.Max().Seconds(), nil
			}
			account.Part, account.From, account.To = p.name, p.fromClock, p.until
			c.Accounts = append(c.Accounts, account)
		}
		long := min(now.Sub(started), recentFor)
		asks, answered := 0, 0
		recent := a.recent[name]
		for i := len(recent) - 1; i >= 0; i-- {
			l := &recent[i]
			if now.Sub(l.ended) > long {
				continue
			}
			if asks++; l.answered {
				answered++
			}
			c.Longest = max(c.Longest, l.waited.Seconds())
		}
		if asks > 0 {
			c.Asks, c.Answered = float64(asks)/long.Seconds(), float64(answered)/long.Seconds()
		}
		callers = append(callers, c)
	}
	return callers
}
