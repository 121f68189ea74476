package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"llm-auto-optimizer/analysis/regime"
	"llm-auto-optimizer/bench/stats"
)

type changepointsCmd struct {
	In      string `required:"" placeholder:"FILE" help:"Series to read, in the format of the Turing Change Point Dataset; - for standard input."`
	Plot    string `placeholder:"FILE" help:"Draw the series and its changes into this .png or .svg."`
	Explain bool   `help:"Print on standard error why."`
}

// Help says what comes out.
func (c *changepointsCmd) Help() string {
	return `Reads {"series": [{"raw": [1, null, 2.5]}]}, one entry a dimension, null for a missing sample, and prints a JSON array of the 0-based
indexes at which a new segment begins, 0 left out. The whole series is seen at once: these are dates of changes, not alarms.`
}

// Run finds the changes.
func (c *changepointsCmd) Run(env *environment) error {
	if c.Plot != "" {
		if err := stats.CheckPlot(c.Plot); err != nil {
			return fmt.Errorf("%w: --plot: %w", errUsage, err)
		}
	}
	f, err := open(c.In)
	if err != nil {
		return err
	}
	values, err := stats.ReadSamples(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", c.In, err)
	}
	s := regime.Segment(values)
	if c.Plot != "" {
		if err := stats.PlotChanges(c.Plot, filepath.Base(c.In), values, s.Starts); err != nil {
			return err
		}
	}
	if c.Explain {
		fmt.Fprintln(env.stderr, s.Reason)
	}
	return printCompact(env.stdout, append([]int{}, s.Starts...))
}
