package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"llm-auto-optimizer/analysis/anomaly"
	"llm-auto-optimizer/bench/stats"
)

type detectCmd struct {
	In     string `required:"" placeholder:"FILE" help:"Series to read: CSV with the columns timestamp and value; - for standard input."`
	Out    string `placeholder:"FILE" help:"Where to write the same rows with their anomaly_score; - for standard output."`
	Plot   string `placeholder:"FILE" help:"Draw series, scores and alarms into this .png or .svg."`
	Labels string `placeholder:"FILE" help:"Windows to draw into the plot: a combined_windows.json of the Numenta benchmark, or one list of windows."`
	JSON   bool   `help:"Print the alarms as JSON."`
}

// Help says how the score reads.
func (c *detectCmd) Help() string {
	return `Reads a series in the order of its rows and scores each by what came before: from 0, nothing unusual, to 1. A row is an alarm from
0.5 on. The first 100 rows are for learning. Timestamps are dates and times such as 2006-01-02 15:04:05 or Unix seconds, and must not
fall; a value that is empty or no number is missing, scores 0 and changes nothing.`
}

// detected is an alarm as it is printed.
type detected struct {
	Row       int     `json:"row"` // from 0, without the header
	Timestamp string  `json:"timestamp"`
	Value     float64 `json:"value"`
	Score     float64 `json:"score"`
	Reason    string  `json:"reason"`
}

// Run scores the series.
func (c *detectCmd) Run(env *environment) error {
	if c.Plot != "" {
		if err := stats.CheckPlot(c.Plot); err != nil {
			return fmt.Errorf("%w: --plot: %w", errUsage, err)
		}
	}
	series, err := readSeries(c.In)
	if err != nil {
		return fmt.Errorf("%s: %w", c.In, err)
	}
	windows, err := c.windows(series)
	if err != nil {
		return err
	}
	scores := make([]float64, len(series.Values))
	alarms := []detected{}
	e := anomaly.NewEnsemble()
	for i, v := range series.Values {
		if i > 0 && series.Times[i].Before(series.Times[i-1]) {
			return fmt.Errorf("%s: row %d: timestamp %s is before that of the row above, %s", c.In, i+1, series.Stamps[i], series.Stamps[i-1])
		}
		s := e.Step(series.Times[i], v)
		if scores[i] = s.Value; s.Alarm() {
			alarms = append(alarms, detected{i, series.Stamps[i], v, s.Value, s.Reason().String()})
		}
	}
	if c.Out != "" {
		if err := c.write(env, series, scores); err != nil {
			return err
		}
	}
	if c.Plot != "" {
		if err := stats.PlotAnomalies(c.Plot, series, scores, anomaly.Threshold, windows); err != nil {
			return err
		}
	}
	return c.print(env, len(scores), alarms)
}

func (c *detectCmd) print(env *environment, rows int, alarms []detected) error {
	out := env.stdout
	if c.Out == "-" { // the table has it
		out = env.stderr
	}
	if c.JSON {
		return printJSON(out, alarms)
	}
	for _, a := range alarms {
		fmt.Fprintf(out, "%s  value %.6g  score %.2f  %s\n", a.Timestamp, a.Value, a.Score, a.Reason)
	}
	fmt.Fprintf(out, "%d alarms in %d rows\n", len(alarms), rows)
	if rows <= anomaly.Warmup {
		fmt.Fprintf(out, "not enough data: the first %d rows are for learning\n", anomaly.Warmup)
	}
	return nil
}

func (c *detectCmd) write(env *environment, s *stats.Series, scores []float64) error {
	w, done, err := create(env, c.Out)
	if err != nil {
		return err
	}
	table := csv.NewWriter(w)
	_ = table.Write([]string{"timestamp", "value", "anomaly_score"})
	for i, score := range scores {
		if err := table.Write([]string{s.Stamps[i], s.Texts[i], strconv.FormatFloat(score, 'g', 6, 64)}); err != nil {
			return errors.Join(err, done())
		}
	}
	table.Flush()
	return errors.Join(table.Error(), done())
}

// create opens a file to write; - is standard output.
func create(env *environment, name string) (w io.Writer, done func() error, err error) {
	if name == "-" {
		return env.stdout, func() error { return nil }, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, nil, err
	}
	return f, f.Close, nil
}

func open(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(os.Stdin), nil
	}
	return os.Open(name)
}

func readSeries(name string) (*stats.Series, error) {
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := stats.ReadCSV(f)
	if err == nil {
		s.Name = filepath.Base(name)
	}
	return s, err
}

func (c *detectCmd) windows(s *stats.Series) ([]stats.Window, error) {
	if c.Labels == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(c.Labels)
	if err != nil {
		return nil, err
	}
	category := filepath.Base(filepath.Dir(c.In))
	w, err := stats.ReadWindows(raw, path.Join(category, filepath.Base(c.In)), s.Times)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Labels, err)
	}
	return w, nil
}
