package main

import (
	"fmt"
	"time"

	"llm-auto-optimizer/bench/load"
	"llm-auto-optimizer/bench/sim"
)

// The demo's third route is shared by two callers, of which one sends ten times as much as the other, and has a provider of its own. It meets two kinds of limits: that of
// a caller, which is configured, and for some hours that of the provider, of which nobody is told. Rates are in requests a second, whatever those of the other routes.
const (
	demoShared  = "batch"
	demoBulk    = "bulk" // its only target
	demoNightly = "nightly"
	demoSupport = "support"

	demoNightlyRate  = 10
	demoRunRate      = 20 // nightly's, for some hours
	demoSupportRate  = 1
	demoNightlyLimit = 12 // as configured
	demoStormLimit   = 6  // that bulk keeps to itself
)

// Hours of the day between which nightly sends more than its limit, and between which bulk allows less than it is sent.
const (
	demoRunFrom, demoRunTo     = 2, 5
	demoStormFrom, demoStormTo = 9, 13
)

// What bulk lets through, of which it says nothing. Nobody meets the first one, which has it count what it is sent.
var (
	demoPlenty = sim.MustQuota("requests=1000000/s,headers=off,retry-after=off")
	demoScarce = sim.MustQuota(fmt.Sprintf("requests=%d/s,burst=200ms,headers=off,retry-after=off", demoStormLimit))
)

func demoBulkProvider() *demoProvider {
	return &demoProvider{name: demoBulk, answers: "ttft=60ms,tpot=1ms,tokens=40,chunk=5", price: demoPrice{1, 4}, quota: demoPlenty}
}

// demoSharedSettings are those of the route, of its callers and of the limit of one of them.
var demoSharedSettings = [][2]string{
	{"callers." + demoNightly + ".credential", demoNightly}, {"callers." + demoSupport + ".credential", demoSupport},
	{"limits." + demoNightly + ".caller", demoNightly}, {"limits." + demoNightly + ".route", demoShared},
	{"limits." + demoNightly + ".requests_per_second", fmt.Sprint(demoNightlyLimit)},
	{"routes." + demoShared + ".optimizer.routing", "observe"}, {"routes." + demoShared + ".optimizer.timeouts", "observe"}, // it has one target
	{"routes." + demoShared + ".optimizer.limits", "observe"},
}

// sharedLoads are what the callers send, in the order of demoCallers.
func (c *demoCmd) sharedLoads(proxy string, drain time.Duration) (loads []*load.Driver, err error) {
	for i, name := range demoCallers {
		seed := c.Seed + uint64(i+1)<<40 //nolint:gosec // an index
		arrivals := load.Poisson(demoSupportRate, seed)
		if name == demoNightly {
			arrivals = c.nightly()
		}
		one, err := load.New(load.Options{
			Arrivals: load.Until(arrivals, c.For-drain), Seed: seed, MaxInFlight: demoMaxInFlight, Drain: drain,
			Kinds: []load.Kind{{
				API: load.Chat, Model: demoShared, BaseURL: proxy + "/v1", Key: name, Weight: 1, Prompt: load.Size{Median: demoPrompt, Sigma: demoSpread}, MaxTokens: demoAnswer,
			}},
		})
		if err != nil {
			return nil, err
		}
		loads = append(loads, one)
	}
	return loads, nil
}

// demoCallers are those of the route.
var demoCallers = []string{demoNightly, demoSupport}

// nightly are the arrivals of the caller that sends more, evenly as programs do: those of its run, of which other hours have every other one.
func (c *demoCmd) nightly() load.Arrivals {
	hour := c.For / demoHours
	return func(yield func(load.Arrival) bool) {
		n := 0
		for a := range load.Constant(demoRunRate) {
			n++
			runs := !c.NoFaults && a.At >= demoRunFrom*hour && a.At < demoRunTo*hour
			if (runs || n%(demoRunRate/demoNightlyRate) == 0) && !yield(a) {
				return
			}
		}
	}
}
