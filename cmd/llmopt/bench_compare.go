package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"llm-auto-optimizer/bench/compare"
)

type benchCompareCmd struct {
	Rounds   int      `default:"5" help:"How often each contender has its turn in each scenario, at most 100."`
	Only     []string `placeholder:"NAME,…" help:"Contenders to start: direct, haproxy, nginx, relay, llmopt. By default all that are installed."`
	Given    []string `name:"url" sep:"none" placeholder:"NAME=URL[,PID]" help:"A proxy that runs already before a minimal simulator of its own, with the process whose CPU and memory count; may be repeated. It takes no part with paced streams."`
	Scenario []string `sep:"none" placeholder:"WORDS" help:"Only scenarios whose name contains this, such as saturated; may be repeated."`
	Quick    bool     `help:"Short turns and two rounds: to see that everything works, not to measure."`
	Results  string   `default:"bench/results" help:"Directory in which the result is recorded; empty: nowhere."`
}

// Help says what is compared.
func (c *benchCompareCmd) Help() string {
	return `Puts the same load through several proxies, turn by turn, and prints what each costs: CPU time per request and per
chunk of a stream, memory, added latency. Simulator, driver and contenders share this machine: compare within a line.`
}

// Run compares and records the result.
func (c *benchCompareCmd) Run(env *environment) error {
	o, err := c.options(env)
	if err != nil {
		return err
	}
	r, err := compare.Run(env.ctx, o)
	if err != nil {
		return err
	}
	r.Commit, r.Command = buildVersion().Commit, "make compare"
	if !c.usual() {
		r.Command = "llmopt " + strings.Join(os.Args[1:], " ")
	}
	r.Text(env.stdout)
	if c.Results != "" && !c.Quick {
		path, err := r.Write(c.Results)
		if err != nil {
			return err
		}
		fmt.Fprintf(env.stderr, "recorded in %s\n", path)
	}
	return r.Errors()
}

func (c *benchCompareCmd) usual() bool {
	return len(c.Only)+len(c.Given)+len(c.Scenario) == 0 && c.Rounds == 5 && !c.Quick
}

func (c *benchCompareCmd) options(env *environment) (*compare.Options, error) {
	if runtime.GOOS != "linux" {
		return nil, errors.New("bench compare reads the CPU time of other processes from /proc: it needs Linux")
	}
	if c.Rounds < 1 || c.Rounds > 100 {
		return nil, fmt.Errorf("%w: --rounds %d: want 1 to 100", errUsage, c.Rounds)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	o := &compare.Options{Self: self, Rounds: c.Rounds, Quick: c.Quick, Scenarios: c.Scenario}
	if c.Quick {
		o.Rounds = min(o.Rounds, 2)
	}
	for _, name := range c.Only {
		if !slices.Contains(compare.Names, name) {
			return nil, fmt.Errorf("%w: --only %s: want some of %s", errUsage, name, strings.Join(compare.Names, ", "))
		}
	}
	for _, name := range compare.Names {
		switch {
		case len(c.Only) > 0 && !slices.Contains(c.Only, name), len(c.Only) == 0 && compare.OnRequest(name):
		case compare.Installed(name):
			o.Names = append(o.Names, name)
		case len(c.Only) > 0:
			return nil, fmt.Errorf("%w: --only %s: it is not installed (apt-get install %s)", errUsage, name, name)
		default:
			fmt.Fprintf(env.stderr, "%s is not installed: left out\n", name)
		}
	}
	for _, text := range c.Given {
		g, err := parseGiven(text)
		if err != nil {
			return nil, err
		}
		o.Given = append(o.Given, g)
	}
	o.Progress = func(round int, scenario, contender string, s *compare.Sample, err error) {
		switch {
		case err != nil:
			fmt.Fprintf(env.stderr, "round %d  %-32s %-8s failed: %v\n", round+1, scenario, contender, err)
		default:
			fmt.Fprintf(env.stderr, "round %d  %-32s %-8s %8.1f µs CPU each, %.0f/s\n", round+1, scenario, contender, s.CPU, float64(s.Count)/s.Seconds)
		}
	}
	return o, nil
}

// parseGiven reads NAME=URL or NAME=URL,PID.
func parseGiven(text string) (g compare.Given, err error) {
	name, rest, named := strings.Cut(text, "=")
	address, pid, hasPID := strings.Cut(rest, ",")
	address = strings.TrimSuffix(strings.TrimPrefix(address, "http://"), "/")
	if _, _, err = net.SplitHostPort(address); err != nil || !named || name == "" || slices.Contains(compare.Names, name) {
		return g, fmt.Errorf("%w: --url %s: want NAME=http://HOST:PORT or NAME=http://HOST:PORT,PID, with a name of its own", errUsage, text)
	}
	g = compare.Given{Name: name, Addr: address}
	if hasPID {
		if g.PID, err = strconv.Atoi(pid); err != nil || g.PID < 1 {
			return g, fmt.Errorf("%w: --url %s: %q is no process id", errUsage, text, pid)
		}
	}
	return g, nil
}
