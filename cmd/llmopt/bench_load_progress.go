package main

import (
	"fmt"
	"io"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/bench/load"
	"llm-auto-optimizer/config"
)

const (
	benchFrame = time.Second     // between two updates of a terminal's line
	benchLine  = 5 * time.Second // between two lines elsewhere
)

// benchProgress shows how a load goes: on a terminal by one line that is rewritten, elsewhere by a line now and then.
type benchProgress struct {
	w       io.Writer
	length  time.Duration // of the load
	rewrite bool
	shown   bool
}

func (c *benchLoadCmd) progress(env *environment, l *benchLoad) *benchProgress {
	p := &benchProgress{w: env.stderr, length: l.length, rewrite: isTerminal(env.stderr) && env.lookup("TERM") != "dumb"}
	if c.Quiet {
		p.w, p.rewrite = io.Discard, false
	}
	return p
}

func (p *benchProgress) every() time.Duration {
	if p.rewrite {
		return benchFrame
	}
	return benchLine
}

func (p *benchProgress) show(s *load.Stats) {
	line := benchProgressLine(s, p.length)
	if p.rewrite {
		p.shown = true
		fmt.Fprintf(p.w, "\r%s%s%s%s", noWrap, line, clearLine, wrap)
		return
	}
	fmt.Fprintln(p.w, line)
}

// end takes the line off the terminal: the report has all of it.
func (p *benchProgress) end() {
	if p.shown {
		fmt.Fprint(p.w, "\r"+clearLine)
	}
}

func benchProgressLine(s *load.Stats, length time.Duration) string {
	state := "of " + config.FormatDuration(max(length.Round(time.Second), time.Second))
	switch {
	case s.Sending > length+time.Second:
		state += ", behind"
	case s.Sending < s.Elapsed:
		state = "waiting for answers"
	}
	ok, canceled := s.Outcomes[window.OK], s.Outcomes[window.Canceled]
	line := fmt.Sprintf("%s %s: %d sent, %d ok, %d errors, %d left, %d under way", config.FormatDuration(s.Elapsed.Truncate(time.Second)),
		state, s.Sent, ok, s.Sent-s.InFlight-ok-canceled, canceled, s.InFlight)
	line += fmt.Sprintf(", %s/s", shortRate(perSecond(s.Steady.OK, s.Sending)))
	if s.Latency.Count() > 0 {
		line += fmt.Sprintf(", p50 %s, p99 %s", benchTime(s.Latency.Quantile(.5)), benchTime(s.Latency.Quantile(.99)))
	}
	return line
}
