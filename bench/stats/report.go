package stats

import (
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"

	"llm-auto-optimizer/analysis/regime"
)

// Report is everything that `llmopt bench stats` finds out.
type Report struct {
	Machine     string          `json:"machine,omitempty"`
	Commit      string          `json:"commit,omitempty"`
	Command     string          `json:"command,omitempty"`
	Anomalies   []AnomalyResult `json:"anomalies,omitempty"`
	Series      int             `json:"anomaly_series,omitempty"`
	Nested      [3]float64      `json:"anomalies_nested,omitempty"`
	Segments    []SegmentResult `json:"segments,omitempty"`
	NestedF1    float64         `json:"segments_nested_f1,omitempty"`
	NestedCover float64         `json:"segments_nested_covering,omitempty"`
	FalseAlarms []Realised      `json:"false_alarms,omitempty"`
	Delays      []Delay         `json:"delays,omitempty"`
}

// Judge runs all detectors over what dir holds: nab/ and tcpd/ of it, or dir itself in either layout. It fails where neither is there.
func Judge(dir string) (*Report, error) {
	r := new(Report)
	var problem error
	for _, at := range []string{filepath.Join(dir, "nab"), dir} {
		corpus, err := ReadNAB(at)
		if err != nil {
			problem = err
			continue
		}
		r.Anomalies, r.Series, r.Nested = JudgeAnomalies(corpus, Detectors), len(corpus), NestedAnomalies(corpus)
		break
	}
	for _, at := range []string{filepath.Join(dir, "tcpd"), dir} {
		corpus, err := ReadTCPD(at)
		if err != nil {
			problem = err
			continue
		}
		r.Segments = JudgeSegments(corpus, Segmenters)
		r.NestedF1, r.NestedCover = NestedSegments(corpus)
		break
	}
	if r.Anomalies == nil && r.Segments == nil {
		return nil, fmt.Errorf("%s holds neither labelled anomalies (labels/combined_windows.json, series/) nor annotated changepoints (annotations.json, series/): %w", dir, problem)
	}
	return r, nil
}

// Calibrate measures false alarms and delays with this many runs each.
func (r *Report) Calibrate(runs int) {
	const hour = 3600 * Rate
	for _, asked := range []float64{hour, 6 * hour} {
		for _, noise := range Noises {
			r.FalseAlarms = append(r.FalseAlarms, FalseAlarms(regime.Requests, noise, asked, runs, 2))
		}
		for _, rate := range []float64{.005, .02} {
			r.FalseAlarms = append(r.FalseAlarms, FalseErrorAlarms(rate, asked, true, runs, 2), FalseErrorAlarms(rate, asked, false, runs, 2))
		}
	}
	r.FalseAlarms = append(r.FalseAlarms, FalseAlarms(regime.Requests, Noises[0], 30*24*hour, max(runs/20, 20), 3))
	rates, factors := []float64{.02, .04, .1, .3, 1}, []float64{1.25, 1.5, 2, 4}
	for _, known := range []bool{true, false} {
		words := map[bool]string{true: "known", false: "learned"}[known]
		for i, seconds := range ErrorDelays(rates, known, runs, 1) {
			r.Delays = append(r.Delays, Delay{fmt.Sprintf("errors .5 %% (%s) -> %g %%", words, 100*rates[i]), seconds, runs})
		}
	}
	for i, seconds := range LatencyDelays(factors, latencySD, runs, 1) {
		r.Delays = append(r.Delays, Delay{fmt.Sprintf("latency x%g (log sd %g)", factors[i], latencySD), seconds, runs})
	}
}

// latencySD is the standard deviation of the logarithm of size-normalised times to first token that the figures suppose.
const latencySD = .4

// Text prints the tables.
func (r *Report) Text(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if r.Anomalies != nil {
		fmt.Fprintf(w, "Anomalies: score of the Numenta benchmark on %d series, standard / reward low FP / reward low FN\n\n", r.Series)
		fmt.Fprintln(w, "detector\tbest threshold\tits own threshold\theld-out half\tns a tick")
		for _, a := range r.Anomalies {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.0f\n", a.Detector, three(a.Best), three(a.Shipped), three(a.HeldOut), a.PerTickN)
		}
		fmt.Fprintf(w, "ensemble, parts chosen too\t\t\t%s\n", three(r.Nested))
		fmt.Fprintf(w, "\nHeld-out half: the threshold is chosen on a random half of the series and judged on the other, mean of %d splits.\n", splits)
	}
	if r.Segments != nil {
		fmt.Fprintf(w, "\nChangepoints: F1 (margin %d) and covering on %d series\n\n", segmentMargin, len(r.Segments[0].Series))
		fmt.Fprintln(w, "detector\tF1\tcovering")
		for _, s := range r.Segments {
			fmt.Fprintf(w, "%s\t%.3f\t%.3f\n", s.Segmenter, s.F1, s.Covering)
		}
		fmt.Fprintf(w, "PELT, penalty chosen on the other half\t%.3f\t%.3f\n", r.NestedF1, r.NestedCover)
	}
	if r.FalseAlarms != nil {
		fmt.Fprintf(w, "\nFalse alarms: requests between them at %d a second, asked for and realised\n\n", Rate)
		fmt.Fprintln(w, "detector\tnoise\tasked\trealised\tratio\truns")
		for _, f := range r.FalseAlarms {
			fmt.Fprintf(w, "%s\t%s\t%.0f\t%.0f ± %.0f\t%.2f\t%d\n", f.Detector, f.Noise, f.Asked, f.Got, f.Error, f.Got/f.Asked, f.Runs)
		}
		fmt.Fprintf(w, "\nDelays: median seconds at %d requests a second, one false alarm in 25 days\n\n", Rate)
		fmt.Fprintln(w, "change\tseconds\truns")
		for _, d := range r.Delays {
			fmt.Fprintf(w, "%s\t%.1f\t%d\n", d.Change, d.Seconds, d.Runs)
		}
	}
	return w.Flush()
}

func three(v [3]float64) string { return fmt.Sprintf("%.1f / %.1f / %.1f", v[0], v[1], v[2]) }
