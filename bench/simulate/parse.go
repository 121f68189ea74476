package simulate

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"llm-auto-optimizer/proxy/pick"
)

// Parse reads a scenario, one statement a line; what follows a # is a comment. An error names the line, the word and what may stand there.
func Parse(r io.Reader, name string) (*Scenario, error) {
	s := &Scenario{
		Name:  name,
		Seeds: 1,
		Route: Route{Attempts: 3, FirstByte: 10 * time.Second, Explore: pick.DefaultExploration, Ejection: pick.DefaultEjection, Wait: 2 * time.Second},
	}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		w := &words{list: strings.Fields(text)}
		if len(w.list) == 0 {
			continue
		}
		s.statement(w, n)
		if w.err == nil && w.at < len(w.list) {
			w.fail(w.list[w.at], "the end of the line")
		}
		if w.err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, w.err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

func (s *Scenario) statement(w *words, line int) {
	const verbs = "route, target, provider, caller, traffic, at, expect or run"
	switch verb := w.one(verbs); verb {
	case "route":
		s.route(w)
	case "target":
		s.target(w)
	case "provider":
		s.provider(w)
	case "caller":
		s.caller(w)
	case "traffic":
		s.traffic(w)
	case "at":
		s.event(w, line)
	case "expect":
		s.expect(w, line)
	case "run":
		s.For = w.duration()
		for w.more() {
			switch key := w.one("seeds"); key {
			case "seeds":
				s.Seeds = w.whole(1, 10000)
			default:
				w.fail(key, "seeds")
			}
		}
	default:
		w.fail(verb, verbs)
	}
}

func (s *Scenario) route(w *words) {
	r := &s.Route
	r.Name = w.one("a name")
	for w.more() {
		const keys = "slo ttft, errors, attempts, first-byte, learned, hedge, affinity, explore, ejection, holdback, wait"
		switch key := w.one(keys); key {
		case "slo":
			w.expect("ttft")
			r.SLO = w.duration()
		case "errors":
			r.Errors = w.percent()
		case "attempts":
			r.Attempts = w.whole(1, 20)
		case "first-byte":
			r.FirstByte = w.duration()
		case "learned":
			r.Learned = w.times()
		case "hedge":
			r.Hedge = w.percent()
		case "affinity":
			r.Affinity = w.onOff()
		case "explore":
			r.Explore = w.percent()
		case "ejection":
			r.Ejection.Off = !w.onOff()
		case "holdback":
			r.Holdback = w.percent()
		case "wait":
			r.Wait = w.duration()
		default:
			w.fail(key, keys)
		}
	}
}

func (s *Scenario) target(w *words) {
	t := Target{Name: w.one("a name"), Weight: 1, Provider: noProvider}
	if slices.ContainsFunc(s.Targets, func(o Target) bool { return o.Name == t.Name }) {
		w.fail(t.Name, "a new name")
	}
	for w.more() {
		const keys = "price, cached, keeps, prefill, ttft, sigma, tpot, concurrency, errors, stragglers, weight, priority, max, provider"
		switch key := w.one(keys); key {
		case "price":
			t.In, t.Out = w.number(0, 1e6), w.number(0, 1e6)
		case "cached":
			if t.Cached = w.number(0, 1e6); t.Keeps == 0 {
				t.Keeps = 5 * time.Minute // as vendors promise at least
			}
		case "keeps":
			t.Keeps = w.duration()
		case "prefill":
			t.Prefill = w.duration()
		case "ttft":
			t.TTFT = w.duration()
		case "sigma":
			t.Sigma = w.number(0, 10)
		case "tpot":
			t.TPOT = w.duration()
		case "concurrency":
			t.Concurrency = w.whole(0, 1e6)
		case "errors":
			t.Errors = w.percent()
		case "stragglers":
			t.Stragglers, t.StragglerBy = w.percent(), w.times()
		case "weight":
			t.Weight = w.number(0, 1e6)
		case "priority":
			t.Priority = w.whole(0, 1000)
		case "max":
			t.Max = w.whole(0, 1e6)
		case "provider":
			name := w.one("a provider")
			if t.Provider = index(s.Providers, name, func(p *Provider) string { return p.Name }); t.Provider < 0 {
				w.fail(name, "a provider that was told of before")
			}
		default:
			w.fail(key, keys)
		}
	}
	s.Targets = append(s.Targets, t)
}

func (s *Scenario) traffic(w *words) {
	t := &s.Traffic
	for w.more() {
		const keys = "rate, input, output, session, trace, scale, speed"
		switch key := w.one(keys); key {
		case "rate":
			if t.Rate = w.marked("", "/s", "a rate such as 30/s", 1e5); t.Rate == 0 {
				w.fail("0/s", "a rate such as 30/s")
			}
		case "input":
			w.expect("lognormal")
			t.Input, t.InputSigma = w.number(1, 1e7), w.number(0, 5)
		case "output":
			w.expect("lognormal")
			t.Output, t.OutputSigma = w.number(1, 1e7), w.number(0, 5)
		case "session":
			t.Session = w.number(1, 1e6)
		case "trace":
			t.Trace = w.one("a file")
		case "scale":
			t.Scale = w.number(1e-6, 1e6)
		case "speed":
			t.Speed = w.number(1e-6, 1e6)
		default:
			w.fail(key, keys)
		}
	}
}

func (s *Scenario) event(w *words, line int) {
	e := Event{At: w.duration(), line: line}
	if s.step(w, e.At, line) {
		return
	}
	e.Target = w.target(s)
	const actions = "errors P%, ttft xN, quota N/min, blackhole, hang, drip, price xN, quality N"
	switch e.What = w.one(actions); e.What {
	case "errors":
		e.Value = w.percent()
	case "ttft", "price":
		e.Value = w.times()
	case "quality":
		e.Value = w.number(0, 1)
	case "quota":
		if e.Value = w.marked("", "/min", "a quota such as 600/min", 1e9); e.Value == 0 {
			w.fail("0/min", "a quota such as 600/min")
		}
	case "blackhole", "hang", "drip":
	default:
		w.fail(e.What, actions)
	}
	if w.more() {
		w.expect("for")
		e.For = w.duration()
	}
	s.Events = append(s.Events, e)
}

func (s *Scenario) expect(w *words, line int) {
	const metrics = "share, failed, violations, cost, ejections, detected, p95, p99, hedged, used, refused, fair, served or waited"
	e := Expectation{Target: -1, line: line, Text: strings.Join(w.list, " ")}
	unit := w.percent
	switch e.Metric = w.one(metrics); e.Metric {
	case "share":
		e.Target = w.target(s)
	case "ejections":
		if w.more() && !strings.ContainsAny(w.list[w.at], "<>") {
			e.Target = w.target(s)
		}
		unit = func() float64 { return w.number(0, 1e9) }
	case "detected": // time to the first ejection
		e.Target = w.target(s)
		unit = func() float64 { return w.duration().Seconds() }
	case "cost": // of a thousand exchanges
		unit = w.dollars
	case "p95", "p99": // of the time to first token
		unit = func() float64 { return w.duration().Seconds() }
	case "used", "refused":
		name := w.one("a provider")
		if e.Target = index(s.Providers, name, func(p *Provider) string { return p.Name }); e.Target < 0 {
			w.fail(name, "a provider")
		}
	case "served": // part of a caller's requests
		name := w.one("a caller")
		if e.Target = s.callerNamed(name); e.Target < 0 {
			w.fail(name, "a caller")
		}
	case "fair":
		unit = func() float64 { return w.number(0, 1) }
	case "waited": // 95th percentile, of those that were let through
		unit = func() float64 { return w.duration().Seconds() }
	case "failed", "violations", "hedged":
	default:
		w.fail(e.Metric, metrics)
		return
	}
	if e.Op = w.one("<, <=, > or >="); !slices.Contains([]string{"<", "<=", ">", ">="}, e.Op) {
		w.fail(e.Op, "<, <=, > or >=")
	}
	e.Value = unit()
	if w.more() || e.Metric == "detected" {
		if e.Metric != "detected" {
			w.expect("within")
			e.Within = w.duration()
		}
		w.expect("of")
		e.Of = w.duration()
		e.Timed = true
	}
	s.Expects = append(s.Expects, e)
}

// check looks at what no line shows.
func (s *Scenario) check() error {
	switch t := &s.Traffic; {
	case s.Route.Name == "":
		return fmt.Errorf("no route")
	case len(s.Targets) == 0:
		return fmt.Errorf("no target")
	case len(s.Targets) > pick.MaxTargets:
		return fmt.Errorf("%d targets: at most %d", len(s.Targets), pick.MaxTargets)
	case s.For <= 0:
		return fmt.Errorf("no run: want run DURATION")
	case s.For > 400*24*time.Hour:
		return fmt.Errorf("run %v: at most 400 days", s.For)
	case t.Trace == "" && (t.Rate == 0 || t.Input == 0 || t.Output == 0):
		return fmt.Errorf("traffic: want rate, input and output, or a trace")
	}
	for i := range s.Targets {
		if t := &s.Targets[i]; t.TTFT <= 0 || t.TPOT <= 0 {
			return fmt.Errorf("target %s: want ttft and tpot", t.Name)
		}
	}
	for i := range s.Events {
		if e := &s.Events[i]; e.At >= s.For {
			return fmt.Errorf("line %d: at %v is after the end of the run, %v", e.line, e.At, s.For)
		}
	}
	if err := s.checkLimits(); err != nil {
		return err
	}
	for i := range s.Expects {
		if e := &s.Expects[i]; e.Timed && e.Of+e.Within >= s.For {
			return fmt.Errorf("line %d: within %v of %v is after the end of the run, %v", e.line, e.Within, e.Of, s.For)
		}
	}
	return nil
}
