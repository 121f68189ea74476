// Command llmopt is the LLM Auto-Optimizer: a reverse proxy for LLM APIs, its simulator and its tools.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// cli is the command line. One command, one file.
type cli struct {
	Serve     serveCmd     `cmd:"" help:"Run the proxy."`
	Check     checkCmd     `cmd:"" help:"Validate the configuration and say what would happen."`
	Config    configCmd    `cmd:"" help:"Show the settings in force, or what can be set."`
	Demo      demoCmd      `cmd:"" help:"Try it: simulated providers, the proxy, gentle load and a live table. Needs no keys."`
	Status    statusCmd    `cmd:"" help:"Show the last minutes of a running proxy, per target."`
	Explain   explainCmd   `cmd:"" help:"Say which target a request would go to now, and why."`
	Limits    limitsCmd    `cmd:"" help:"Show how the limits of callers, routes and targets stand, and what waits for them."`
	Targets   targetsCmd   `cmd:"" help:"Show the targets of the routes; drain, eject and restore them."`
	Cache     cacheCmd     `cmd:"" help:"Show the kept answers of a running proxy, as a whole and one by one; purge them."`
	Journal   journalCmd   `cmd:"" help:"Show what has changed the policy in force, and why."`
	Optimizer optimizerCmd `cmd:"" help:"Show the optimizer of a running proxy, and give it orders."`
	Savings   savingsCmd   `cmd:"" help:"Show what the optimizer has saved or lost, by the sessions that it leaves alone."`
	Jobs      jobsCmd      `cmd:"" help:"Show and run the background jobs of a running proxy."`
	State     stateCmd     `cmd:"" help:"Inspect, back up, restore and compact what a proxy stores."`
	Sim       simCmd       `cmd:"" help:"Run the provider simulator."`

	Simulate simulateCmd `cmd:"" help:"Run a scenario in virtual time: a route, incidents, and what is expected of it."`

	Detect       detectCmd       `cmd:"" help:"Score a series for anomalies, row by row."`
	Changepoints changepointsCmd `cmd:"" help:"Date the changes in a series."`

	Bench   benchCmd   `cmd:"" help:"Measure an LLM API or a proxy before it."`
	Version versionCmd `cmd:"" help:"Print the version."`
	Engine  engineCmd  `cmd:"" hidden:"" help:"Run the database of a server, which begins this process itself."`
}

// environment is what a command may use of the process that runs it.
type environment struct {
	ctx            context.Context
	stdout, stderr io.Writer
	environ        []string // KEY=value, as os.Environ
}

// errUsage marks errors of usage or configuration: exit status 2.
var errUsage = errors.New("usage")

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals // somebody does not want to wait
		os.Exit(1)
	}()
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// run executes one command line and returns its exit status: 0 fine, 1 failed, 2 usage or configuration. It returns
// when the command is done or ctx is. It is what the end-to-end tests call.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	var c cli
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("llmopt"),
		kong.Description("An LLM API reverse proxy that optimizes inline."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }),
		kong.UsageOnError(),
	)
	if err != nil {
		panic("BUG: command line: " + err.Error())
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 { // --help printed and asked to exit
		return exited
	}
	if err != nil {
		fmt.Fprintf(stderr, "llmopt: %v\n", err)
		return 2
	}
	err = parsed.Run(&environment{ctx: ctx, stdout: stdout, stderr: stderr, environ: environ})
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "llmopt: %v\n", err)
		return 2
	default:
		fmt.Fprintf(stderr, "llmopt: %v\n", err)
		return 1
	}
}
