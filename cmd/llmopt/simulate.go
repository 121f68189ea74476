package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	simulation "llm-auto-optimizer/bench/simulate"
)

type simulateCmd struct {
	Scenario string   `placeholder:"FILE" help:"Scenario to run; docs/scenarios.md describes the language."`
	Generate uint64   `placeholder:"SEED" help:"Make a scenario that nobody has tuned anything for, print it, and run it."`
	Policy   []string `placeholder:"NAME,…" default:"llmopt" help:"Policies to run, or all: llmopt is the proxy's own code, the others are re-implementations of what other gateways do."`
	Seeds    int      `placeholder:"N" help:"Runs with different luck, in place of what the scenario says."`
	Cache    bool     `help:"Judge the tuner of the cache: play generated routes of --range whose answers change, and compare with the best times to live."`
	JSON     bool     `name:"json" help:"Print JSON."`

	simulateReport `embed:""`
}

// Help explains the command.
func (simulateCmd) Help() string {
	return "Runs a route over simulated targets in virtual time, with the proxy's own picking and reflexes, and compares with what the scenario expects. It exits with 1 when an expectation of the first policy is not met."
}

var errExpectation = errors.New("an expectation is not met")

// Run plays the scenario.
func (c *simulateCmd) Run(env *environment) error {
	if c.Report {
		return c.run(env, c.Seeds, c.Policy, c.JSON)
	}
	if c.Cache {
		return c.caching(env)
	}
	s, err := c.load(env)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	policies := c.Policy
	if len(policies) == 1 && policies[0] == "all" {
		policies = simulation.Strategies()
	}
	outcomes, err := simulation.Play(s, policies, c.Seeds)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if c.JSON {
		err = printJSON(env.stdout, outcomes)
	} else {
		err = simulation.Print(env.stdout, s, outcomes)
	}
	if err == nil && !outcomes[0].OK() {
		err = errExpectation
	}
	return err
}

// caching judges the tuner of the cache.
func (c *simulateCmd) caching(env *environment) error {
	from, to, err := rangeOf(c.Range)
	if err == nil && from > to {
		err = errors.New("--range is empty")
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	var seeds []uint64
	for seed := from; seed <= to; seed++ {
		seeds = append(seeds, seed)
	}
	var reports []*simulation.CacheReport
	ok := true
	for _, noisy := range []bool{false, true} {
		r := simulation.JudgeCaching(seeds, noisy, func(done int) { fmt.Fprintf(env.stderr, "\r%d of %d", done, len(seeds)) })
		fmt.Fprintln(env.stderr)
		reports, ok = append(reports, r), ok && r.OK()
		if c.JSON {
			continue
		}
		if err := r.Print(env.stdout); err != nil {
			return err
		}
		fmt.Fprintln(env.stdout)
	}
	if c.JSON {
		err = printJSON(env.stdout, reports)
	}
	if err == nil && !ok {
		err = errExpectation
	}
	return err
}

func (c *simulateCmd) load(env *environment) (*simulation.Scenario, error) {
	switch {
	case c.Scenario != "" && c.Generate != 0:
		return nil, errors.New("--scenario and --generate: want one of the two")
	case c.Generate != 0:
		text := simulation.Generate(c.Generate)
		if !c.JSON {
			fmt.Fprintln(env.stdout, text)
		}
		return simulation.Parse(strings.NewReader(text), fmt.Sprintf("generated %d", c.Generate))
	case c.Scenario == "":
		return nil, errors.New("--scenario FILE is needed, or --generate SEED")
	}
	return readScenario(env, c.Scenario)
}

// readScenario reads a scenario's file, and looks for its trace.
func readScenario(env *environment, path string) (*simulation.Scenario, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := simulation.Parse(f, path)
	if err != nil {
		return nil, err
	}
	if t := &s.Traffic; t.Trace != "" && !filepath.IsAbs(t.Trace) {
		t.Trace = s.TracePath(filepath.Dir(path), lookup(env.environ, "OPTIMIZER_DATA"))
	}
	return s, nil
}
