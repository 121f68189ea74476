package simulate

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

const brief = `
route chat slo ttft 2s errors 1%
target a price 0.25 2.00 ttft 400ms sigma 0.4 tpot 12ms errors 0.2%
target b price 1.00 8.00 ttft 300ms sigma 0.4 tpot 9ms errors 0.2%
traffic rate 10/s input lognormal 800 1.0 output lognormal 200 0.8
at 12m a errors 100% for 1m
run 15m
`

// A small plan comes to a whole report, the same each time.
func TestJudge_Report(t *testing.T) {
	t.Parallel()
	incident, mitigation := parse(t, brief), parse(t, brief)
	quiet := parse(t, strings.NewReplacer("at 12m", "# ", "rate 10/s", "rate 4/s").Replace(brief)) // its length is what costs
	incident.Name, quiet.Name, mitigation.Name = "incident", "quiet", "outage"
	quiet.For = 70 * time.Minute
	seen := 0
	plan := &Plan{
		Cases: []Case{{Incidents, incident}, {Quiet, quiet}}, Mitigations: []*Scenario{mitigation}, Seeds: 2, Static: true,
		Progress: func(done, of int) {
			if seen++; done != seen || of != 4 {
				t.Errorf("%d of %d, want %d of 4", done, of, seen)
			}
		},
	}
	r, err := Judge(plan)
	if err != nil {
		t.Fatal(err)
	}
	plan.Progress = nil
	again, err := Judge(plan)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(r.Tables, again.Tables) || !reflect.DeepEqual(r.Figures, again.Figures) {
		t.Error("two reports of one plan differ")
	}
	figure := func(part string) Figure {
		t.Helper()
		for _, f := range r.Figures {
			if strings.Contains(f.Metric, part) {
				return f
			}
		}
		t.Fatalf("no figure %q", part)
		return Figure{}
	}
	if f := figure("incidents: cost, of the clairvoyant's"); f.Of != 2 || f.Got < 1 || f.Got > 1.4 || f.Low > f.Got || f.High < f.Got {
		t.Errorf("%+v", f)
	}
	if f := figure("quiet: cost, of the best static mix's"); f.Got < 1 || f.Got > 1.15 || f.Met != (f.Got <= f.Limit) { // a part of the time is taken by the first moves
		t.Errorf("%+v", f)
	}
	if f := figure("mitigation, outage"); !f.Met || f.Got < 1 {
		t.Errorf("%+v", f)
	}
	if f := figure("false interventions"); f.Got != r.Quiet.Decisions+r.Quiet.Ejections && f.Got*r.Quiet.Days != r.Quiet.Decisions+r.Quiet.Ejections {
		t.Errorf("%+v of %+v", f, r.Quiet)
	}
	if c := r.Scenarios[0]; len(c.Policies) != len(policiesOf(Incidents, nil))+2 || c.Static[BestStatic] != 2 {
		t.Errorf("policies %v, static %v", c.Policies, c.Static)
	}
	for _, print := range []func(io.Writer) error{r.Print, r.Cases, r.PlotCost, r.PlotViolations} {
		var b strings.Builder
		if err := print(&b); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		if strings.HasPrefix(text, "<svg") {
			for d := xml.NewDecoder(strings.NewReader(text)); ; {
				if _, err := d.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatalf("%v in %s", err, text)
				}
			}
		}
		if !strings.Contains(text, "incident") {
			t.Errorf("no scenario in %s", text)
		}
	}
	if _, err := Judge(&Plan{Cases: plan.Cases[:1], Seeds: 1, Policies: []string{"magic"}}); err == nil || !strings.Contains(err.Error(), "magic") {
		t.Errorf("unknown policy: %v", err)
	}
}

// The search finds what trying all mixes of a finer grid finds.
func TestSearch_FindsTheBestMix(t *testing.T) {
	t.Parallel()
	s := parse(t, `
route chat slo ttft 1s errors 1%
target cheap price 0.25 2.00 ttft 500ms sigma 0.5 tpot 5ms
target dear price 1.00 8.00 ttft 200ms sigma 0.4 tpot 5ms
traffic rate 10/s input lognormal 800 0.5 output lognormal 100 0.5
run 5m
`)
	const allowed = .04 // of what comes late to the cheap one: 8 %
	got := newSearch(s, 3, noReflexPrefix, allowed-noise*.01).run()
	best, at := math.Inf(1), 0.
	for share := 1.; share >= 0; share -= .01 {
		x := newSearch(s, 3, noReflexPrefix, allowed-noise*.01)
		if x.try([]float64{share, 1 - share}) && x.cost < best {
			best, at = x.cost, share
		}
	}
	if !got.found || got.score.Violations > allowed || math.Abs(got.shares[0]-at) > .02 {
		t.Errorf("%+v, want about %.2f of the cheap one", got, at)
	}
	if none := newSearch(s, 3, noReflexPrefix, -1).run(); none.found {
		t.Errorf("%+v has less than no violations", none)
	}
}

func TestBootstrap_HoldsTheMean(t *testing.T) {
	t.Parallel()
	const tries, groups, each = 100, 12, 3
	held, wide := 0, 0.
	for try := range uint64(tries) {
		draw := rand.New(rand.NewPCG(try, 5))
		var values []float64
		var of [][]int
		for range groups {
			common := draw.NormFloat64()
			var g []int
			for range each {
				g = append(g, len(values))
				values = append(values, common+.5*draw.NormFloat64())
			}
			of = append(of, g)
		}
		low, high := bootstrap(of, func(of []int) float64 {
			sum := 0.
			for _, i := range of {
				sum += values[i]
			}
			return sum / float64(len(of))
		})
		if low <= 0 && high >= 0 {
			held++
		}
		wide += (high - low) / tries
	}
	if held < 84 || held == tries || wide < 1 || wide > 1.4 { // by the variance of the mean, 1.2; of 12 scenarios a percentile interval is a little too short
		t.Errorf("%d of %d hold the mean, %.2f wide", held, tries, wide)
	}
	if low, high := bootstrap(nil, nil); low != 0 || high != 0 {
		t.Errorf("of nothing: %v .. %v", low, high)
	}
}

// What is counted on a quiet day.
func TestInterference(t *testing.T) {
	t.Parallel()
	s := parse(t, strings.Replace(brief, "run 15m", "run 3h", 1))
	run := func(cost float32, violations int32) *Run {
		r := newRun(s, "", 1)
		for i := range r.seconds {
			r.seconds[i] = second{exchanges: 10, cost: .01}
			if at := time.Duration(i) * time.Second; at >= 90*time.Minute && at < 100*time.Minute {
				r.seconds[i].cost, r.seconds[i].violations = cost, violations
			}
		}
		return r
	}
	check := func(what string, with *Run, want Interference) {
		t.Helper()
		with.applied = []time.Duration{time.Minute, 70 * time.Minute}
		with.ejects = []ejection{{at: time.Minute}, {at: 2 * time.Hour}, {at: 2 * time.Hour}}
		want.Days, want.Decisions, want.Ejections = 2./24, 1, 2
		if got := interferenceOf(s, with, run(.01, 0)); got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	check("as without", run(.01, 0), Interference{})
	check("dearer for ten minutes", run(.011, 0), Interference{Harmful: 1})
	check("violations for ten minutes", run(.01, 1), Interference{Harmful: 1})
	check("cheaper", run(.009, 0), Interference{})
	half := run(.01, 0)
	for i := 90 * 60; i < 90*60+20; i++ {
		half.seconds[i].violations = 1 // in twenty seconds, .7 % of what five minutes have
	}
	check("a few violations", half, Interference{})
}

// A mix that keeps the objective exactly does no harm by chance, nor does one that is better than what the operator has; one that is a little beyond it all day long does.
func TestInterference_ChanceIsNoHarm(t *testing.T) {
	t.Parallel()
	s := parse(t, strings.Replace(brief, "run 15m", "run 12h", 1))
	run := func(seed uint64, share func(at time.Duration) float64) *Run {
		r, draw := newRun(s, "", seed), rand.New(rand.NewPCG(seed, 1))
		for i := range r.seconds {
			r.seconds[i] = second{exchanges: 10, cost: .01}
			if draw.Float64() < 10*share(time.Duration(i)*time.Second) {
				r.seconds[i].violations = 1
			}
		}
		return r
	}
	always := func(share float64) func(time.Duration) float64 { return func(time.Duration) float64 { return share } }
	check := func(what string, with func(time.Duration) float64, without, want float64) {
		t.Helper()
		if i := interferenceOf(s, run(1, with), run(2, always(without))); i.Harmful != want {
			t.Errorf("%s: %v stretches of harm, want %v", what, i.Harmful, want)
		}
	}
	allowed := s.Route.Errors
	check("as much as is allowed", always(allowed), allowed/2, 0)
	check("a tenth more", always(1.1*allowed), allowed/2, 1)
	check("a tenth more, and without twice as much", always(1.1*allowed), 2*allowed, 0)
	check("three times as much for ten minutes", func(at time.Duration) float64 {
		if at > 5*time.Hour && at < 5*time.Hour+10*time.Minute {
			return 3 * allowed
		}
		return allowed / 2
	}, allowed/2, 1)
}

func TestMitigated(t *testing.T) {
	t.Parallel()
	s := parse(t, brief)
	r := newRun(s, "", 1)
	for i := range r.seconds {
		r.seconds[i].attempts[0], r.seconds[i].attempts[1] = 8, 2
	}
	if got := r.mitigated(s); got != time.Minute {
		t.Errorf("never: %v, want the length of the incident", got)
	}
	for i := 12*60 + 7; i < 13*60; i++ {
		r.seconds[i].attempts[0] = 0
	}
	r.seconds[12*60+3].attempts[0] = 0 // for a second only
	if got := r.mitigated(s); got != 7*time.Second {
		t.Errorf("%v, want 7s", got)
	}
}

// A quiet day has neither events nor more than a million requests.
func TestQuietDay(t *testing.T) {
	t.Parallel()
	s := parse(t, Generate(36)) // 57 requests a second
	q := QuietDay(s)
	if len(q.Events) > 0 || q.For != 24*time.Hour || q.Traffic.Rate != mostQuiet || s.Traffic.Rate < 50 || len(s.Events) == 0 {
		t.Errorf("%+v of %+v", q, s)
	}
	if before, now := s.Targets[0].Concurrency, q.Targets[0].Concurrency; float64(now) > float64(before)/4 || now < 1 {
		t.Errorf("concurrency %d of %d", now, before)
	}
}

// BenchmarkDay is a day of a million requests with the optimizer.
func BenchmarkDay(b *testing.B) {
	s, err := Parse(strings.NewReader(strings.NewReplacer("rate 10/s", "rate 11.6/s", "run 15m", "run 24h").Replace(brief)), "day")
	if err != nil {
		b.Fatal(err)
	}
	for _, policy := range []string{Optimized, Production} {
		b.Run("policy="+policy, func(b *testing.B) {
			b.ReportAllocs()
			requests := 0
			for b.Loop() {
				r, err := playOne(s, policy, 1, nil)
				if err != nil {
					b.Fatal(err)
				}
				requests += r.Exchanges
			}
			b.ReportMetric(float64(requests)/float64(b.N), "requests")
		})
	}
}
