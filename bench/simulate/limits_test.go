package simulate

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/proxy/limit"
)

const limitsText = `
provider x quota requests=100/s,tokens=900000/min,headers=off
provider y quota 10/s
route chat slo ttft 4s wait 1s hedge 5%
target a provider x price 0.25 2.00 ttft 400ms sigma 0.4 tpot 12ms
target b provider y price 0.25 2.00 ttft 400ms sigma 0.4 tpot 12ms
caller few times 2 load 2 limit 20/s
caller many load 6 tokens 600000/min concurrent 50 priority 1
traffic rate 50/s input lognormal 800 1.0 output lognormal 200 0.8
at 10s provider x quota 5/s for 20s
at 20s caller few2 load x10
at 40s traffic rate 10/s
expect used x > 1%
expect fair > 0.2 within 1s of 20s
run 1m seeds 2
`

// scenarioText is a file of the directory.
func scenarioText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../scenarios/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// file is the scenario of one.
func file(t *testing.T, name string) *Scenario {
	t.Helper()
	return parse(t, scenarioText(t, name))
}

func TestParse_Limits(t *testing.T) {
	t.Parallel()
	s := parse(t, limitsText)
	if s.Route.Wait != time.Second || s.Targets[0].Provider != 0 || s.Targets[1].Provider != 1 || s.Providers[1].Quota.String() != "requests=10/s" {
		t.Errorf("route %+v, targets %+v", s.Route, s.Targets)
	}
	if c := s.Callers; len(c) != 3 || c[1].Name != "few2" || c[1].Limits[0] != (limit.Limit{Of: limit.Requests, Per: limit.Second, Most: 20}) || c[2].Priority != 1 ||
		c[2].Limits[0].Per != limit.Minute || c[2].Limits[1] != (limit.Limit{Of: limit.Concurrent, Most: 50}) {
		t.Errorf("callers %+v", s.Callers)
	}
	if q := s.Steps[0].Quota.String(); q != "requests=100/s,tokens=900000/min,headers=off,requests=5/s" || s.Steps[0].For != 20*time.Second {
		t.Errorf("a change keeps what it does not name: %q", q)
	}
	check := func(at time.Duration, want ...float64) {
		t.Helper()
		if _, of := s.rate(at); !reflect.DeepEqual(of, want) {
			t.Errorf("rates at %v: %v, want %v", at, of, want)
		}
	}
	check(0, 10, 10, 30)
	check(20*time.Second, 10, 100, 30)
	check(40*time.Second, 2, 20, 6)
	if next := s.nextStep(10 * time.Second); next != 20*time.Second {
		t.Errorf("next change at %v", next)
	}
}

func TestParse_RefusesLimits(t *testing.T) {
	t.Parallel()
	check := func(from, to, want string) {
		t.Helper()
		text := strings.Replace(limitsText, from, to, 1)
		if text == limitsText {
			t.Fatalf("%q is not there", from)
		}
		if _, err := Parse(strings.NewReader(text), "f.txt"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q for %q: %v, want %q", to, from, err, want)
		}
	}
	check("provider y", "provider x", "got x, want a new name")
	check("quota 10/s", "quota 10", "want a quota such as 100/s")
	check("quota requests=100/s", "quota rpm=100/s", "unknown key")
	check("target b provider y", "target b provider z", "want a provider that was told of before")
	check("caller many", "caller few2", "got few2, want a new name")
	check("limit 20/s", "limit 20", "want a limit such as 20/s")
	check("at 10s provider x", "at 10s provider z", "got z, want a provider")
	check("at 20s caller few2 load", "at 20s caller few load", "got few, want a caller")
	check("at 40s traffic rate 10/s", "at 40s traffic rate 0/s", "want a rate above 0")
	check("at 40s traffic", "at 2m traffic", "is after the end of the run")
	check("used x", "used a", "got a, want a provider")
	check("fair > 0.2", "fair > 2", "want a number from 0 to 1")
	check("rate 50/s", "trace nowhere.csv", "a trace has")
}

// What is the same with the same seed stays so with limits, whatever the policy.
func TestPlay_LimitsAreDeterministic(t *testing.T) {
	t.Parallel()
	s := parse(t, limitsText)
	for _, policy := range []string{Production, Optimized, Clairvoyant, "shuffle", "p2c-ewma", noReflexPrefix + "1/1"} {
		one, err := Play(s, []string{policy}, 1)
		if err != nil {
			t.Fatal(err)
		}
		other, err := Play(s, []string{policy}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(one, other) {
			t.Errorf("%s: two runs differ", policy)
		}
	}
}

// The files state what is to be reached; here fewer seeds play them.
func TestPlay_LimitsAreKeptAndUsed(t *testing.T) {
	if raceEnabled {
		t.Skip("a run is one goroutine: there is nothing to race")
	}
	t.Parallel()
	for _, name := range []string{"quota-step.txt", "quota-step-hidden.txt", "quota-elsewhere.txt", "ten-callers.txt", "caller-limits.txt"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := Play(file(t, name), []string{Production}, 1)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range o[0].Verdicts {
				rough := strings.Contains(v.Expect, "used") && v.Got > .95 // a seed of a hidden limit is not like another
				if !v.OK && !rough {
					t.Errorf("%s: got %v", v.Expect, v.Got)
				}
			}
		})
	}
}

// Who does not keep to limits is refused what is over them; the gateway waits or says so itself.
func TestPlay_OthersRunIntoLimits(t *testing.T) {
	t.Parallel()
	s := file(t, "quota-step.txt")
	s.For, s.Steps = 20*time.Second, nil
	o, err := Play(s, []string{Production, "shuffle"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	mine, other := o[0].Runs[0], o[1].Runs[0]
	if r := other.Limits[0].Refused; r < .26 || r > .36 || other.Waits.TurnedAway != 0 { // a third is too much
		t.Errorf("shuffle: %v refused", r)
	}
	if w := mine.Waits; w.TurnedAway < .2 || w.TurnedAway > .34 || w.Waited < .8 || w.P99 > 2.05 {
		t.Errorf("waits: %+v", w)
	}
	var b bytes.Buffer
	if err := Print(&b, s, o); err != nil || !strings.Contains(b.String(), "a used") || !strings.Contains(b.String(), "turned away") {
		t.Errorf("%s, %v", b.String(), err)
	}
	if _, err := json.Marshal(o); err != nil {
		t.Error(err)
	}
}

func TestPlay_CallersGetTheirLimits(t *testing.T) {
	t.Parallel()
	o, err := Play(file(t, "caller-limits.txt"), []string{Production}, 1)
	if err != nil {
		t.Fatal(err)
	}
	const seconds = 180.
	for _, c := range o[0].Runs[0].Callers {
		switch c.Caller {
		case "metered": // and the bucket's first second, and who waits at the end
			if most := 20 * (seconds + 3); float64(c.Served) > most || float64(c.Served) < .98*20*seconds {
				t.Errorf("20 a second: %d served", c.Served)
			}
		case "wordy": // and the bucket's first minute
			if most := 10_000 * (seconds + 60); c.Tokens > 1.05*most || c.Tokens < .95*most {
				t.Errorf("600,000 a minute: %v tokens", c.Tokens)
			}
		}
		if c.Requests != c.Served+c.TurnedAway {
			t.Errorf("%+v", c)
		}
	}
}

// Scenarios without limits say nothing of them.
func TestPlay_NoLimits(t *testing.T) {
	t.Parallel()
	o, err := Play(parse(t, small), []string{Production}, 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(o)
	if err != nil || bytes.Contains(b, []byte("limits")) || bytes.Contains(b, []byte("waits")) || bytes.Contains(b, []byte("callers")) {
		t.Errorf("%s, %v", b, err)
	}
}

func TestChanging_IsPoissonAtEachRate(t *testing.T) {
	t.Parallel()
	s := parse(t, strings.NewReplacer("rate 50/s", "rate 500/s", "rate 10/s", "rate 100/s").Replace(limitsText))
	o, err := Play(s, []string{"shuffle"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	r := o[0].Runs[0]
	for i, want := range []float64{40*100 + 20*20, 20*100 + 20*1000 + 20*200, 40*300 + 20*60} {
		if got := float64(r.Callers[i].Requests); math.Abs(got-want) > 5*math.Sqrt(want) {
			t.Errorf("%s: %v requests, want %v", r.Callers[i].Caller, got, want)
		}
	}
	if n, _, _, _, _, _ := r.sum(40*time.Second, time.Minute); math.Abs(n-20*280) > 5*math.Sqrt(20*280) {
		t.Errorf("%v requests at the end", n)
	}
}

func TestJain(t *testing.T) {
	t.Parallel()
	check := func(asked []float64, sum float64, shares, got []float64, want float64) {
		t.Helper()
		if s := maxMin(asked, sum); !reflect.DeepEqual(s, shares) {
			t.Errorf("max-min of %v: %v, want %v", asked, s, shares)
		}
		if j := jain(got, shares); math.Abs(j-want) > 1e-9 {
			t.Errorf("%v of %v: %v, want %v", got, shares, j, want)
		}
	}
	check([]float64{10, 100}, 40, []float64{10, 30}, []float64{10, 30}, 1)
	check([]float64{50, 10, 100}, 90, []float64{40, 10, 40}, []float64{40, 10, 40}, 1)
	check([]float64{100, 100}, 100, []float64{50, 50}, []float64{100, 0}, .5)
	check([]float64{0, 5}, 5, []float64{0, 5}, []float64{0, 5}, 1) // who asks for nothing does not count
	check(nil, 0, []float64{}, nil, 1)
}
