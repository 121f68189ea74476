package main

import (
	"bytes"
	"fmt"
	"os"

	"llm-auto-optimizer/bench/compare"
)

type benchReportCmd struct {
	Results string `default:"bench/results" help:"Directory of recorded results, of which the newest counts."`
	Out     string `placeholder:"FILE" help:"File to write; by default the page is printed."`
}

// Run writes the page on performance.
func (c *benchReportCmd) Run(env *environment) error {
	r, path, err := compare.Newest(c.Results)
	if err != nil {
		return err
	}
	var page bytes.Buffer
	if err := r.Page(&page, path); err != nil {
		return err
	}
	if c.Out == "" {
		_, err = env.stdout.Write(page.Bytes())
		return err
	}
	if err := os.WriteFile(c.Out, page.Bytes(), 0o644); err != nil { //nolint:gosec // documentation is for everybody
		return err
	}
	fmt.Fprintf(env.stderr, "%s written from %s\n", c.Out, path)
	return nil
}
