package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	simulation "llm-auto-optimizer/bench/simulate"
)

// simulateReport are the flags of a report.
type simulateReport struct {
	Report    bool     `help:"Judge the optimizer: run it beside other policies over many scenarios, and print what it should reach and what it does."`
	Range     string   `placeholder:"FROM..TO" default:"200..219" help:"Seeds of the generated scenarios of a report; empty: none."`
	Scenarios []string `placeholder:"DIR,…" help:"Directories with more scenarios for a report. Those whose trace is not there are left out."`
	Quiet     int      `placeholder:"DAYS" default:"4" help:"Days without incidents in a report, made of generated scenarios."`
	Mitigate  string   `placeholder:"DIR" help:"Directory with scenarios of one incident each: how long until its traffic goes elsewhere."`
	NoStatic  bool     `help:"Don't look for the best static mixes, which takes most of the time."`
	Out       string   `placeholder:"DIR" help:"Record a report there, as text, JSON and plots."`
}

const mostScenarios = 10000

// run makes the report.
func (c *simulateReport) run(env *environment, seeds int, policies []string, asJSON bool) error {
	plan, err := c.plan(env)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	plan.Seeds, plan.Static = max(seeds, 1), !c.NoStatic
	if len(policies) != 1 || policies[0] != simulation.Production && policies[0] != "all" {
		plan.Policies = policies
	}
	plan.Progress = func(done, of int) { fmt.Fprintf(env.stderr, "\r%d of %d", done, of) }
	r, err := simulation.Judge(plan)
	fmt.Fprintln(env.stderr)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	r.Machine, r.Commit = fmt.Sprintf("%d cores, %s/%s", runtime.GOMAXPROCS(0), runtime.GOOS, runtime.GOARCH), buildVersion().Commit
	r.Command = "llmopt " + strings.Join(os.Args[1:], " ")
	if asJSON {
		err = printJSON(env.stdout, r)
	} else {
		err = r.Print(env.stdout)
	}
	if err != nil || c.Out == "" {
		return err
	}
	path, err := recordReport(r, c.Out)
	if err == nil {
		fmt.Fprintf(env.stderr, "recorded in %s\n", path)
	}
	return err
}

// plan reads the scenarios.
func (c *simulateReport) plan(env *environment) (*simulation.Plan, error) {
	p := &simulation.Plan{}
	from, to, err := rangeOf(c.Range)
	if err != nil {
		return nil, err
	}
	for seed := from; seed <= to; seed++ {
		s, err := generated(seed)
		if err != nil {
			return nil, err
		}
		p.Cases = append(p.Cases, simulation.Case{Kind: simulation.Incidents, Scenario: s})
	}
	for _, dir := range c.Scenarios {
		list, err := readScenarios(env, dir)
		if err != nil {
			return nil, err
		}
		for _, s := range list {
			kind := simulation.Incidents
			if s.Traffic.Trace != "" {
				if kind = simulation.Traces; !exists(s.Traffic.Trace) {
					fmt.Fprintf(env.stderr, "%s: its trace is not there (OPTIMIZER_DATA=DIR): left out\n", s.Name)
					continue
				}
			}
			p.Cases = append(p.Cases, simulation.Case{Kind: kind, Scenario: s})
		}
	}
	for i := range c.Quiet {
		s, err := generated(max(from, 1) + uint64(i))
		if err != nil {
			return nil, err
		}
		s = simulation.QuietDay(s)
		s.Name = "quiet day of " + s.Name
		p.Cases = append(p.Cases, simulation.Case{Kind: simulation.Quiet, Scenario: s})
	}
	if c.Mitigate != "" {
		if p.Mitigations, err = readScenarios(env, c.Mitigate); err != nil {
			return nil, err
		}
		for _, s := range p.Mitigations {
			if len(s.Events) != 1 {
				return nil, fmt.Errorf("%s: %d events, want one incident", s.Name, len(s.Events))
			}
		}
	}
	if len(p.Cases)+len(p.Mitigations) == 0 {
		return nil, fmt.Errorf("nothing to run: want --range, --scenarios, --quiet or --mitigate")
	}
	return p, nil
}

// rangeOf reads FROM..TO.
func rangeOf(text string) (from, to uint64, err error) {
	if text == "" {
		return 1, 0, nil
	}
	first, last, _ := strings.Cut(text, "..")
	if last == "" {
		last = first
	}
	from, err = strconv.ParseUint(first, 10, 64)
	if err == nil {
		to, err = strconv.ParseUint(last, 10, 64)
	}
	if err != nil || from == 0 || to < from || to-from >= mostScenarios {
		return 0, 0, fmt.Errorf("--range %s: want seeds FROM..TO from 1 on, at most %d", text, mostScenarios)
	}
	return from, to, nil
}

func generated(seed uint64) (*simulation.Scenario, error) {
	return simulation.Parse(strings.NewReader(simulation.Generate(seed)), fmt.Sprintf("generated %d", seed))
}

// readScenarios reads those of a directory.
func readScenarios(env *environment, dir string) (list []*simulation.Scenario, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s: no scenarios", dir)
	}
	for _, path := range paths {
		s, err := readScenario(env, path)
		if err != nil {
			return nil, err
		}
		s.Name = strings.TrimSuffix(filepath.Base(path), ".txt")
		list = append(list, s)
	}
	return list, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// recordReport writes a report into a directory, under a name by date and commit.
func recordReport(r *simulation.Report, dir string) (path string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path = filepath.Join(dir, fmt.Sprintf("simulate-%s-%.12s", r.Started.Format("20060102T150405Z"), r.Commit))
	write := func(suffix string, content func(w io.Writer) error) {
		var b bytes.Buffer
		if err == nil {
			err = content(&b)
		}
		if err == nil {
			err = os.WriteFile(path+suffix, b.Bytes(), 0o644)
		}
	}
	write(".json", func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(r)
	})
	write(".txt", func(w io.Writer) error {
		if err := r.Print(w); err != nil {
			return err
		}
		fmt.Fprintln(w)
		return r.Cases(w)
	})
	if len(r.Scenarios) > 0 {
		write("-cost.svg", r.PlotCost)
		write("-violations.svg", r.PlotViolations)
	}
	return path + ".*", err
}
