package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"llm-auto-optimizer/bench/sim"
	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/proxy/pick"
)

// demoHours is how long the scripted day is: an hour on its clock is the 24th part of the demo.
const demoHours = 24

// demoAct is what the script does at a time of the day.
type demoAct struct {
	hour  float64
	route string
	do    func(d *demoDay) (says string, err error)
}

// demoDay plays the script, and hears of what comes of it: what the optimizer decides, and what the reflexes do. It belongs to one goroutine.
type demoDay struct {
	s         *demoStage
	hour      time.Duration
	acts      []demoAct
	decisions <-chan optimizer.Decision
	end       func() // of listening
	states    map[string]pick.State
	ejections map[string]uint64
	storm     demoStorm
	now       string // on the day's clock, at the last step
	told      []demoEvent
}

// demoEvent is something that has happened.
type demoEvent struct {
	Clock   string  `json:"clock"`           // of the scripted day
	Seconds float64 `json:"seconds"`         // since the begin
	Who     string  `json:"who"`             // script, optimizer, reflex
	Route   string  `json:"route,omitempty"` // of what the script and reflexes did
	Tuner   string  `json:"tuner,omitempty"` // of a decision
	What    string  `json:"what"`
}

// newDemoDay begins to listen.
func newDemoDay(s *demoStage, c *demoCmd) *demoDay {
	d := &demoDay{s: s, hour: c.For / demoHours, acts: demoActs(c.NoFaults), states: map[string]pick.State{}, ejections: map[string]uint64{}}
	d.storm = demoStorm{s: s, hour: d.hour}
	d.decisions, d.end = s.gateway.optimizer.Watch()
	s.book.price(time.Now(), s.providers)
	return d
}

const (
	demoNewPrice = 5 // times the old one
	dripOf       = 12
	muchDrip     = 1 << 10 // rounds of the drip's script: more than a day has
)

// demoActs is the script. Without faults prices change all the same.
func demoActs(noFaults bool) []demoAct {
	dearer := demoAct{6, demoRoute, func(d *demoDay) (string, error) { return d.reprice(demoThrifty, demoNewPrice) }}
	if noFaults {
		return []demoAct{dearer}
	}
	drip := fmt.Sprintf("1*fault=503;%d*", dripOf-1)
	all := make([]byte, 0, muchDrip*(len(drip)+1))
	for range muchDrip {
		all = append(append(all, drip...), ';')
	}
	return slices.Concat(demoNightActs, []demoAct{dearer}, demoStormActs, []demoAct{ // steady has most of the traffic by then
		{14.5, demoRoute, func(d *demoDay) (string, error) {
			d.s.book.begin(time.Now(), demoSteady, "was out")
			return demoSteady + " goes out: it answers every request with 503", d.script("1000000000*fault=503")
		}},
		{16, demoRoute, func(d *demoDay) (string, error) {
			d.s.book.end(time.Now(), demoSteady)
			return demoSteady + " works again", d.script("")
		}},
		{19, demoRoute, func(d *demoDay) (string, error) {
			d.s.book.begin(time.Now(), demoSteady, fmt.Sprintf("failed one in %d", dripOf))
			return fmt.Sprintf("a slow drip: %s fails one request in %d", demoSteady, dripOf), d.script(string(all))
		}},
		{22, demoRoute, func(d *demoDay) (string, error) {
			d.s.book.end(time.Now(), demoSteady)
			return "the drip is over: " + demoSteady + " is well", d.script("")
		}},
	})
}

// provider is the one of a name.
func (d *demoDay) provider(name string) *demoProvider {
	for _, p := range d.s.providers {
		if p.name == name {
			return p
		}
	}
	panic("BUG: no provider " + name)
}

// script has steady obey a script of the simulator's.
func (d *demoDay) script(text string) error {
	script, err := sim.ParseScript(text)
	if err == nil {
		d.provider(demoSteady).server.SetScript(script)
	}
	return err
}

// reprice multiplies a provider's price: the settings are reloaded, as when their file has changed.
func (d *demoDay) reprice(provider string, times float64) (string, error) {
	p := d.provider(provider)
	before := p.price
	p.price = demoPrice{before.input * times, before.output * times}
	if err := d.s.gateway.reload.under(d.s.priced(), "a price has changed"); err != nil {
		return "", err
	}
	d.s.book.price(time.Now(), d.s.providers)
	return fmt.Sprintf("%s raises its price from %v to %v per million tokens (settings reloaded)", provider, before, p.price), nil
}

// under reloads the settings under another environment.
func (r *reloader) under(environ []string, why string) error {
	r.mu.Lock()
	r.options.Environ = environ
	r.mu.Unlock()
	return r.reload(why)
}

// clock is the time of the scripted day.
func (d *demoDay) clock(elapsed time.Duration) string {
	minutes := min(int(elapsed.Seconds()/d.hour.Seconds()*60), demoHours*60)
	return fmt.Sprintf("%02d:%02d", minutes/60, minutes%60)
}

// step does what it is time for, and tells what has happened since the last step.
func (d *demoDay) step(elapsed time.Duration) (events []demoEvent, err error) {
	d.now = d.clock(elapsed)
	tell := func(route, who, what string) {
		events = append(events, demoEvent{Clock: d.now, Seconds: elapsed.Seconds(), Who: who, Route: route, What: what})
	}
	for len(d.acts) > 0 && elapsed.Seconds() >= d.acts[0].hour*d.hour.Seconds() {
		act := d.acts[0]
		says, err := act.do(d)
		if err != nil {
			return events, err
		}
		d.acts = d.acts[1:]
		tell(act.route, "script", says)
	}
	d.s.book.inForce(time.Now(), d.now, d.s.gateway.policy.Load().Routes[demoCached].Cache.TTL)
	d.reflexes(func(what string) { tell(demoRoute, "reflex", what) })
	d.storm.step(time.Now(), tell)
	for more := true; more; {
		select {
		case decision := <-d.decisions:
			if decision.Verdict != optimizer.Held && decision.Verdict != optimizer.Refused && decision.Route != demoShared { // where it has nothing to do
				tell("", "optimizer", demoSentence(&decision))
				events[len(events)-1].Tuner = decision.Tuner
			}
		default:
			more = false
		}
	}
	d.told = append(d.told, events...)
	return events, nil
}

// cachingTuner is the name of the tuner of the cache.
var cachingTuner = optimizer.Caching{}.Name()

// timeOfDay is one that is not the scripted day's.
var timeOfDay = regexp.MustCompile(` at \d\d:\d\d:\d\d`)

// demoSentence is a decision without the time of day and without the first route's name.
func demoSentence(d *optimizer.Decision) string {
	text := strings.TrimPrefix(d.Sentence(), demoRoute)
	text = strings.TrimLeft(text, ": ")
	return timeOfDay.ReplaceAllString(text, "")
}

// ejectedBecause finds the numbers in the reason of an ejection.
var ejectedBecause = regexp.MustCompile(`^(failures|answers after \S+): .*, (\S+) -> (\S+) for (\d+) values`)

// demoReason is the reason of an ejection in short; llmopt targets has all of it.
func demoReason(reason string) string {
	m := ejectedBecause.FindStringSubmatch(reason)
	if m == nil {
		return reason
	}
	usual, err1 := strconv.ParseFloat(m[2], 64)
	now, err2 := strconv.ParseFloat(m[3], 64)
	if err1 != nil || err2 != nil {
		return reason
	}
	return fmt.Sprintf("%s: %.3g %% of the last %s, usual are %.2g %%", m[1], 100*now, m[4], 100*usual)
}

// reflexes tells of targets that were taken out and of those that came back.
func (d *demoDay) reflexes(tell func(what string)) {
	for _, p := range d.s.providers {
		t := d.s.gateway.proxy.Target(demoRoute, p.name)
		if t == nil {
			continue
		}
		now := t.Status(time.Now())
		before, again := d.states[p.name], now.Ejections > d.ejections[p.name]
		d.states[p.name], d.ejections[p.name] = now.State, now.Ejections
		well := func(s pick.State) bool { return s == pick.Healthy || s == pick.SlowStart }
		switch {
		case again && well(before):
			tell(fmt.Sprintf("%s is ejected: %s", p.name, demoReason(now.Reason)))
		case again:
			tell(fmt.Sprintf("%s stays out: %s", p.name, demoReason(now.Reason)))
		case well(now.State) && !well(before):
			tell(p.name + " is back: its probes went well, its share comes back little by little")
		}
	}
}
