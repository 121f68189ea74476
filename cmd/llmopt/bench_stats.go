package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"llm-auto-optimizer/bench/stats"
)

type benchStatsCmd struct {
	Data      string `placeholder:"DIR" help:"Directory with nab/ and tcpd/, or a corpus in either layout. Also taken from OPTIMIZER_DATA."`
	Calibrate int    `placeholder:"RUNS" help:"Also simulate how often the change detectors alarm without a change, and how long they take with one; 400 runs take about four minutes."`
	Out       string `placeholder:"FILE" help:"Record the result as JSON in this file."`
	JSON      bool   `help:"Print the result as JSON."`
}

// Help says what is judged.
func (c *benchStatsCmd) Help() string {
	return `Runs the anomaly detectors over a corpus laid out as the Numenta Anomaly Benchmark, and the changepoint detectors over one laid out as the
Turing Change Point Dataset: in the order of time, without look-ahead, with one configuration for all series.`
}

// Run judges.
func (c *benchStatsCmd) Run(env *environment) error {
	if c.Data == "" {
		c.Data = lookup(env.environ, "OPTIMIZER_DATA")
	}
	if c.Data == "" && c.Calibrate <= 0 {
		return fmt.Errorf("%w: --data DIR is needed, or OPTIMIZER_DATA, or --calibrate RUNS", errUsage)
	}
	r := new(stats.Report)
	if c.Data != "" {
		var err error
		if r, err = stats.Judge(c.Data); err != nil {
			return err
		}
	}
	if c.Calibrate > 0 {
		r.Calibrate(c.Calibrate)
	}
	r.Machine, r.Commit = fmt.Sprintf("%d cores, %s/%s", runtime.GOMAXPROCS(0), runtime.GOOS, runtime.GOARCH), buildVersion().Commit
	r.Command = "llmopt " + strings.Join(os.Args[1:], " ")
	if c.Data != "" { // where it lies here is nobody's business
		r.Command = strings.ReplaceAll(r.Command, c.Data, "DIR")
	}
	printed := r.Text
	if c.JSON {
		printed = func(w io.Writer) error { return printJSON(w, r) }
	}
	if err := printed(env.stdout); err != nil || c.Out == "" { // first: it has taken its time
		return err
	}
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(c.Out), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(c.Out, append(raw, '\n'), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(env.stderr, "recorded in %s\n", c.Out)
	return nil
}

// lookup returns the value of a variable of an environment; empty if it is not set.
func lookup(environ []string, name string) (value string) {
	for _, entry := range environ {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}
