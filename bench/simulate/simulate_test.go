package simulate

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

const small = `
route chat slo ttft 2s errors 1% attempts 3 hedge 2%
target a price 0.25 2.00 ttft 400ms sigma 0.4 tpot 12ms concurrency 64 errors 0.5% # a comment
target b price 0.40 3.20 ttft 300ms sigma 0.4 tpot 9ms concurrency 64 errors 0.5%
traffic rate 10/s input lognormal 800 1.0 output lognormal 200 0.8
at 1m a errors 100% for 1m
at 3m b hang for 30s
at 4m a quota 60/min
expect share a < 5% within 3s of 1m
expect failed < 2%
run 5m seeds 3
`

func parse(t *testing.T, text string) *Scenario {
	t.Helper()
	s, err := Parse(strings.NewReader(text), "test")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParse(t *testing.T) {
	t.Parallel()
	s := parse(t, small)
	if s.Route.SLO != 2*time.Second || s.Route.Errors != .01 || s.Route.Hedge != .02 || s.For != 5*time.Minute || s.Seeds != 3 {
		t.Errorf("route %+v, run %v, %d seeds", s.Route, s.For, s.Seeds)
	}
	if a := s.Targets[0]; a.In != .25 || a.Out != 2 || a.TTFT != 400*time.Millisecond || a.Sigma != .4 || a.TPOT != 12*time.Millisecond || a.Concurrency != 64 || a.Errors != .005 {
		t.Errorf("target %+v", a)
	}
	if e := s.Events[2]; e.What != "quota" || e.Value != 60 || e.For != 0 || e.At != 4*time.Minute {
		t.Errorf("event %+v", e)
	}
	if e := s.Expects[0]; e.Metric != "share" || e.Target != 0 || e.Op != "<" || e.Value != .05 || e.Within != 3*time.Second || e.Of != time.Minute || !e.Timed {
		t.Errorf("expectation %+v", e)
	}
}

func TestParse_Refuses(t *testing.T) {
	t.Parallel()
	check := func(from, to, want string) {
		t.Helper()
		text := strings.Replace(small, from, to, 1)
		if text == small {
			t.Fatalf("%q is not there", from)
		}
		_, err := Parse(strings.NewReader(text), "f.txt")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q for %q: %v, want %q", to, from, err, want)
		}
	}
	check("slo ttft 2s", "slo ttft 2", "f.txt:2: got 2, want a duration")
	check("errors 1%", "errors 1", "got 1, want a percentage")
	check("errors 1%", "colour blue", "got colour, want slo ttft")
	check("target b", "target a", "got a, want a new name")
	check("concurrency 64", "concurrency many", "want a whole number")
	check("rate 10/s", "rate 10", "want a rate such as 30/s")
	check("at 1m a", "at 1m z", "got z, want a target: a, b")
	check("hang for 30s", "hang 30s", "got 30s, want for")
	check("quota 60/min", "quota 60", "want a quota")
	check("at 1m a", "at 9m a", "is after the end of the run")
	check("share a < 5%", "share a ~ 5%", "got ~, want <")
	check("failed < 2%", "hope < 2%", "got hope, want share")
	check("within 3s of 1m", "within 3s", "want of")
	check("run 5m seeds 3", "run 5m seeds 0", "want a whole number from 1")
	check("run 5m seeds 3", "", "no run")
	check("traffic rate", "visitors rate", "got visitors, want route")
	check("sigma 0.4 tpot 12ms", "cached x tpot 12ms", "want a number")
	check("sigma 0.4 tpot 12ms", "keeps 5 tpot 12ms", "want a duration")
	check("sigma 0.4 tpot 12ms", "prefill 5 tpot 12ms", "want a duration")
	check("ttft 300ms sigma", "sigma", "target b: want ttft and tpot")
	check("price 0.40 3.20", "price x 3.20", "want a number")
}

func FuzzParse(f *testing.F) {
	f.Add(small)
	f.Add("route r\nrun 1d")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(strings.NewReader(text), "f")
		if err != nil {
			return
		}
		if s.For <= 0 || len(s.Targets) == 0 || s.Route.Name == "" {
			t.Errorf("accepted %q as %+v", text, s)
		}
	})
}

// The same seed gives the same run, whatever else runs; other seeds and policies give others.
func TestPlay_IsDeterministic(t *testing.T) {
	t.Parallel()
	s := parse(t, small)
	for _, policy := range Strategies() {
		one, err := Play(s, []string{policy}, 3)
		if err != nil {
			t.Fatal(err)
		}
		other, err := Play(s, []string{policy}, 3)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(one, other) {
			t.Errorf("%s: two runs differ", policy)
		}
		if one[0].Runs[0].Exchanges == one[0].Runs[1].Exchanges && one[0].Runs[0].Cost == one[0].Runs[1].Cost {
			t.Errorf("%s: two seeds are alike", policy)
		}
	}
}

func TestPlay_AllPoliciesMeetTheSameRequests(t *testing.T) {
	t.Parallel()
	outcomes, err := Play(parse(t, small), Strategies(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range outcomes {
		if got, want := o.Runs[0].Exchanges, outcomes[0].Runs[0].Exchanges; got != want {
			t.Errorf("%s had %d requests, %s had %d", o.Policy, got, outcomes[0].Policy, want)
		}
	}
	if _, err := Play(parse(t, small), []string{"magic"}, 1); err == nil || !strings.Contains(err.Error(), "least-busy") {
		t.Errorf("unknown policy: %v", err)
	}
}

// What the world does to requests is what the scenario says of it.
func TestPlay_TheWorldIsAsDescribed(t *testing.T) {
	t.Parallel()
	s := parse(t, `
route r attempts 1 ejection off
target a price 1 10 ttft 500ms sigma 0.3 tpot 10ms errors 10%
traffic rate 20/s input lognormal 1000 0 output lognormal 100 0
at 10m a errors 0%
at 20m a ttft x3
run 30m seeds 4
`)
	o, err := Play(s, []string{Production}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range o[0].Runs {
		check := func(what string, got, want, tolerance float64) {
			t.Helper()
			if math.Abs(got/want-1) > tolerance {
				t.Errorf("seed %d: %s %v, want %v", r.Seed, what, got, want)
			}
		}
		check("requests", float64(r.Exchanges), 36000, .02)
		exchanges, failed, _, _, cost, _ := r.sum(0, 10*time.Minute)
		check("failures", failed/exchanges, .1, .1)
		check("cost of those that succeed", cost/(exchanges-failed), 1000e-6+100*10e-6, .01)
		if _, failed, _, _, _, _ := r.sum(10*time.Minute+time.Second, 30*time.Minute); failed > 0 {
			t.Errorf("%v failures after they ended", failed)
		}
		check("median", r.P50, .6, .15) // of two parts at 500 ms and one at 1.5 s
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	s := parse(t, small+"expect failed < 0%\n")
	o, err := Play(s, []string{Production}, 3)
	if err != nil {
		t.Fatal(err)
	}
	v := o[0].Verdicts
	if len(v) != 3 || !v[0].OK || !v[1].OK || v[2].OK && v[2].Got > 0 || o[0].OK() != (v[0].OK && v[1].OK && v[2].OK) {
		t.Errorf("verdicts %+v", v)
	}
}

func TestGenerate_MakesScenarios(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for seed := range uint64(200) {
		text := Generate(seed + 1)
		s, err := Parse(strings.NewReader(text), "generated")
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		for i := range s.Events {
			seen[s.Events[i].What] = true
		}
	}
	if len(seen) != 7 {
		t.Errorf("incidents %v", seen)
	}
	if one, again := Generate(1), Generate(1); one != again || one == Generate(2) {
		t.Error("a seed gives one scenario")
	}
}

func BenchmarkPlay(b *testing.B) {
	s, err := Parse(strings.NewReader(small), "bench")
	if err != nil {
		b.Fatal(err)
	}
	requests := 0
	for b.Loop() {
		o, err := Play(s, []string{Production}, 1)
		if err != nil {
			b.Fatal(err)
		}
		requests += o[0].Runs[0].Exchanges
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(requests), "ns/request")
}

// The optimizer's loop, over scenarios that nobody has tuned anything for: it costs little more than one that knows all in advance, and far less than the operator's
// own equal shares.
func TestPlay_TheOptimizerIsNearTheClairvoyant(t *testing.T) {
	if raceEnabled {
		t.Skip("a run is one goroutine: there is nothing to race")
	}
	t.Parallel()
	static, clairvoyant := 0., 0.
	const scenarios = 6
	for seed := range uint64(scenarios) {
		s := parse(t, Generate(1000+seed))
		o, err := Play(s, []string{Optimized, Production, Clairvoyant}, 1)
		if err != nil {
			t.Fatal(err)
		}
		cost := func(i int) float64 { return o[i].Runs[0].Cost / float64(o[i].Runs[0].Exchanges) }
		static += math.Log(cost(0)/cost(1)) / scenarios
		clairvoyant += math.Log(cost(0)/cost(2)) / scenarios
		if mine, theirs := o[0].Runs[0], o[1].Runs[0]; float64(mine.Violations) > max(.015*float64(mine.Exchanges), 1.5*float64(theirs.Violations)) {
			t.Errorf("scenario %d: %d violations of %d, %d without the optimizer", seed, mine.Violations, mine.Exchanges, theirs.Violations)
		}
		if len(o[0].Runs[0].Decisions) == 0 {
			t.Errorf("scenario %d: nothing was decided", seed)
		}
	}
	if r := math.Exp(clairvoyant); r > 1.3 {
		t.Errorf("%.3f times the clairvoyant's cost", r)
	}
	if r := math.Exp(static); r > .85 {
		t.Errorf("%.3f times the cost of equal shares", r)
	}
}

func TestStrategies_OfShares(t *testing.T) {
	t.Parallel()
	s := parse(t, small)
	for _, prefix := range []string{fixedPrefix, noReflexPrefix} {
		o, err := Play(s, []string{prefix + "1/0.001"}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if r := o[0].Runs[0]; prefix == noReflexPrefix && (r.Attempts[0] < r.Exchanges*7/10 || r.Ejections[0] > 0) || prefix == fixedPrefix && r.Ejections[0] == 0 {
			t.Errorf("%s: %v attempts, %v ejections", prefix, r.Attempts, r.Ejections)
		}
	}
	for _, bad := range []string{"fixed:1", "fixed:1/x", "static:1/-1", "static:1/NaN"} {
		if _, err := Play(s, []string{bad}, 1); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
	if n := len(Mixes(3)); n != 66 {
		t.Errorf("%d mixes of three targets, want 66", n)
	}
}
