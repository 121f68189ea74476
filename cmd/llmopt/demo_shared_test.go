package main

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The bigger caller sends evenly, twice as much in the hours of its run, and no more than ever on a quiet day.
func TestDemoCmd_NightlyRuns(t *testing.T) {
	t.Parallel()
	check := func(noFaults bool, hour, want int) {
		t.Helper()
		c, n := &demoCmd{For: 24 * 10 * time.Second, NoFaults: noFaults}, 0
		for a := range c.nightly() {
			at := int(a.At / (10 * time.Second))
			if at == hour {
				n++
			}
			if at > hour {
				break
			}
		}
		if n != want {
			t.Errorf("hour %d, no faults %v: %d requests, want %d", hour, noFaults, n, want)
		}
	}
	check(false, 1, 100)
	check(false, demoRunFrom, 200)
	check(false, demoRunTo-1, 200)
	check(false, demoRunTo, 100)
	check(true, demoRunFrom, 100)
}

// What becomes of requests is told apart by caller, by the part of the day in which they began, and by who turned them away.
func TestDemoAccounts_ByCallerPartAndReason(t *testing.T) {
	t.Parallel()
	b := newDemoBook(demoAsked(time.Minute))
	start := time.UnixMilli(1_000_000)
	line := func(second int, caller, rest string) {
		t.Helper()
		at := start.Add(time.Duration(second) * time.Second).UnixMilli()
		if _, err := fmt.Fprintf(b, `{"time":%d,"route":%q,"caller_name":%q,"duration_s":0.5,%s}`+"\n", at, demoShared, caller, rest); err != nil {
			t.Fatal(err)
		}
	}
	line(1, demoNightly, `"outcome":"ok"`)
	b.part(start.Add(2*time.Second), demoStormy, "09:00", true)
	line(3, demoNightly, `"outcome":"ok","queued_s":1.5`)
	line(3, demoNightly, `"outcome":"rate_limited","error":"provider_rate_limited","queued_s":2`)
	line(3, demoNightly, `"outcome":"rate_limited"`)
	line(3, demoNightly, `"outcome":"refused","limit":"nightly","error":"rate_limit_exceeded"`)
	line(3, demoNightly, `"outcome":"canceled"`)
	line(3, demoSupport, `"outcome":"ok","queued_s":0.25`)
	line(3, "somebody", `"outcome":"ok"`)
	b.part(start.Add(5*time.Second), demoStormy, "13:00", false)
	line(5, demoSupport, `"outcome":"ok"`)
	line(1, demoSupport, `"outcome":"ok"`) // has begun before, and ends now
	callers, requests, left := b.shares(start.Add(6*time.Second), start)
	if requests != 9 || left != 1 || len(callers) != 2 || b.exchanges() != 0 {
		t.Fatalf("%d requests, %d left, %d callers, %d of other routes", requests, left, len(callers), b.exchanges())
	}
	nightly, support := callers[0], callers[1]
	check := func(c demoCaller, part string, want demoAccount) {
		t.Helper()
		got := c.part(part)
		got.WaitP50, got.WaitP95 = 0, 0
		if want.Part = part; !reflect.DeepEqual(got, want) {
			t.Errorf("%s in %s: got %+v, want %+v", c.Name, part, got, want)
		}
	}
	check(nightly, demoDayLong, demoAccount{Requests: 6, Answered: 2, OwnLimit: 1, NoRoom: 1, Refused: 1, Other: 1, WaitMax: 1.5})
	check(nightly, demoStormy, demoAccount{From: "09:00", To: "13:00", Requests: 5, Answered: 1, OwnLimit: 1, NoRoom: 1, Refused: 1, Other: 1, WaitMax: 1.5})
	check(support, demoDayLong, demoAccount{Requests: 3, Answered: 3, WaitMax: .25})
	check(support, demoStormy, demoAccount{From: "09:00", To: "13:00", Requests: 1, Answered: 1, WaitMax: .25})
	if nightly.Asks != 1 || nightly.Answered != 2./6 || nightly.Longest != 2 {
		t.Errorf("of late: %+v", nightly)
	}
}

// stopsAt shows nothing, and ends the demo when something is told.
type stopsAt struct {
	demoSilence
	text   string
	cancel context.CancelFunc
}

func (v *stopsAt) tell(e *demoEvent) {
	if strings.HasPrefix(e.What, v.text) {
		v.cancel()
	}
}

// A provider that hides its limit is paced after a few refusals, of which its callers see next to nothing: the one that asks for little has all of it, the other one waits
// or is turned away. Before that the bigger one is kept to its own limit. Without pacing, what is sent beyond the limit would be refused all the time: 5 of 11.
func TestDemo_PacesTheStorm(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out bytes.Buffer
	env := &environment{ctx: ctx, stdout: &out, stderr: &out}
	c := &demoCmd{For: 48 * time.Second, Rate: 10, Seed: 1}
	s, err := c.stage(env)
	if err != nil {
		t.Fatal(err)
	}
	err = c.play(ctx, s, &stopsAt{text: "the storm is over: ", cancel: cancel})
	st, lookErr := s.settled()
	if closeErr := s.close(); err != nil || lookErr != nil || closeErr != nil || out.Len() > 0 {
		t.Fatalf("%v, %v, %v, %s", err, lookErr, closeErr, &out)
	}
	w := st.shared.Storm
	if w == nil || len(st.shared.Callers) != 2 {
		t.Fatalf("got %+v: no storm", st.shared)
	}
	later, refused := w.Sent-w.FirstSent, w.Refused-w.FirstRefused
	if w.Refused == 0 || later == 0 || float64(refused) > .3*float64(later) || w.Rate <= 0 {
		t.Errorf("after the first seconds %d of %d are refused, kept to %v requests/s: %+v", refused, later, w.Rate, w)
	}
	nightly, support := &st.shared.Callers[0], &st.shared.Callers[1]
	if all := support.part(demoDayLong); all.Requests == 0 || float64(all.Answered) < .95*float64(all.Requests) {
		t.Errorf("the smaller caller: %+v", all)
	}
	storm, run := nightly.part(demoStormy), nightly.part(demoRun)
	if storm.NoRoom == 0 || storm.Answered == 0 || float64(storm.Refused) > .1*float64(storm.Requests) || storm.WaitP95 == 0 {
		t.Errorf("the bigger caller in the storm: %+v", storm)
	}
	if run.OwnLimit == 0 || run.NoRoom > 0 || run.Answered == 0 || support.part(demoRun).OwnLimit > 0 {
		t.Errorf("the bigger caller in its run: %+v", run)
	}
	told := ""
	for _, e := range s.day.told {
		if e.Route == demoShared {
			told += e.Who + " " + e.What + "\n"
		}
	}
	for _, want := range []string{"script nightly's run begins: ", "reflex nightly's limit let ", "script bulk lets no more than 6 requests/s ", "reflex bulk is kept to ", "script bulk lifts its limit, "} {
		if !strings.Contains(told, want) {
			t.Errorf("told\n%swant %q", told, want)
		}
	}
	var text bytes.Buffer
	appendDemoSharedSummary(&text, st, false)
	if want := fmt.Sprintf("limit of bulk: %d of %d requests were refused, ", w.Refused, w.Sent); !strings.Contains(text.String(), want) {
		t.Errorf("got\n%s\nwant %q", &text, want)
	}
}
