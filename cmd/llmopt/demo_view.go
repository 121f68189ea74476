package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"llm-auto-optimizer/bench/load"
	"llm-auto-optimizer/config"
)

// demoView shows a demo to a person.
type demoView interface {
	begin()
	every() time.Duration // between two calls of show
	show(st *demoState)
	end() // before the summary; always called
}

// view picks how to show it by where the output goes.
func (c *demoCmd) view(env *environment, s *demoStage) demoView {
	switch {
	case c.JSON:
		return demoSilence{}
	case hasScreen(env):
		return &demoScreen{c: c, s: s, w: env.stdout, ink: inkFor(env)}
	default:
		return &demoLines{c: c, s: s, w: env.stdout}
	}
}

// demoSilence shows nothing.
type demoSilence struct{}

func (demoSilence) begin()               {}
func (demoSilence) every() time.Duration { return demoLine }
func (demoSilence) show(*demoState)      {}
func (demoSilence) end()                 {}

// appendDemoIntro says what runs and how to take part.
func appendDemoIntro(out *bytes.Buffer, c *demoCmd, s *demoStage, ink ink) {
	g := s.gateway
	fmt.Fprintf(out, "%s: %d simulated providers, the proxy and gentle load, in this process, for %s.\n",
		ink.bold("llmopt demo"), len(s.providers), config.FormatDuration(c.For))
	fmt.Fprintf(out, "No keys, no network. %s\n\n", c.faults())
	fmt.Fprintf(out, "%s\n", ink.dim("Try it by hand meanwhile:"))
	fmt.Fprintf(out, "  curl -N %s/openai/chat/completions -H 'content-type: application/json' \\\n", g.proxyURL)
	fmt.Fprintf(out, "    -d '{\"model\":\"gpt-4.1-mini\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'\n")
	fmt.Fprintf(out, "  llmopt status --admin %s\n", g.adminURL)
	fmt.Fprintf(out, "%s\n", ink.dim("or with an SDK and any key:"))
	appendBaseURLs(out, g.proxyURL)
	out.WriteByte('\n')
}

func (c *demoCmd) faults() string {
	if c.NoFaults {
		return "The providers neither fail nor dawdle, but clients leave."
	}
	return "Requests get refused, streams break, " + demoSlow + " is slow, clients leave."
}

// appendBaseURLs lists what the vendors' SDKs read, for a proxy at that URL.
func appendBaseURLs(out *bytes.Buffer, proxy string) {
	for _, dialect := range []string{"openai", "anthropic", "gemini"} {
		fmt.Fprintf(out, "  %s=%s/%s\n", sdkVariables[dialect], proxy, dialect)
	}
}

// demoLines prints a line now and then.
type demoLines struct {
	c *demoCmd
	s *demoStage
	w io.Writer
}

func (v *demoLines) begin() {
	var out bytes.Buffer
	appendDemoIntro(&out, v.c, v.s, false)
	_, _ = v.w.Write(out.Bytes()) // nobody is left to tell
}

func (v *demoLines) every() time.Duration { return demoLine }

func (v *demoLines) show(st *demoState) {
	t := st.status.GetTotal()
	fmt.Fprintf(v.w, "%5s  %d done, %s errors, %d in flight, %d left, tokens %s in, %s out, %s, overhead p50 %s\n",
		config.FormatDuration(st.elapsed.Truncate(time.Second)), t.GetRequests(), percent(t.GetErrors(), t.GetRequests()),
		st.load.InFlight, st.left, shortCount(t.GetTokensInput()+t.GetTokensCacheRead()+t.GetTokensCacheWrite()),
		shortCount(t.GetTokensOutput()), cost(t), overheadAt(st.load, .5))
}

func (v *demoLines) end() { fmt.Fprintln(v.w) }

func overheadAt(s *load.Stats, q float64) string {
	if s.Overhead.Count() == 0 {
		return "-"
	}
	return shortDuration(s.Overhead.Quantile(q).Seconds())
}

// demoScreen redraws a table in place.
type demoScreen struct {
	c     *demoCmd
	s     *demoStage
	w     io.Writer
	ink   ink
	lines int // drawn last time
}

// What a terminal is told. Lines that are too long are cut rather than wrapped while the table is drawn: the way back up is
// counted in lines.
const (
	hideCursor, showCursor = "\x1b[?25l", "\x1b[?25h"
	noWrap, wrap           = "\x1b[?7l", "\x1b[?7h"
	clearLine, clearBelow  = "\x1b[K", "\x1b[J"
)

func (v *demoScreen) begin() {
	var out bytes.Buffer
	appendDemoIntro(&out, v.c, v.s, v.ink)
	out.WriteString(hideCursor)
	_, _ = v.w.Write(out.Bytes())
	v.draw([]byte("The first requests are on their way.\n"))
}

func (v *demoScreen) every() time.Duration { return demoFrame }

func (v *demoScreen) show(st *demoState) {
	var out bytes.Buffer
	v.appendTable(&out, st)
	done := min(1, st.elapsed.Seconds()/v.c.For.Seconds())
	const width = 40
	full := int(done * width)
	hint := "Ctrl-C ends it"
	if st.ending {
		hint = "ending"
	}
	fmt.Fprintf(&out, "\n%s%s  %s of %s, %s\n", strings.Repeat("━", full), v.ink.dim(strings.Repeat("─", width-full)),
		config.FormatDuration(min(st.elapsed, v.c.For).Truncate(time.Second)), config.FormatDuration(v.c.For), hint)
	v.draw(out.Bytes())
}

// end takes the live part off the screen: the summary has all of it.
func (v *demoScreen) end() {
	v.draw(nil)
	_, _ = io.WriteString(v.w, showCursor)
}

// demoColumns fit 100 characters, together with the names of the demo's targets.
var demoColumns = []column{
	columnRequests, columnErrors, columnTTFT, columnTTFT95, columnInput, columnCached, columnOutput, columnCost,
}

func (v *demoScreen) appendTable(out *bytes.Buffer, st *demoState) {
	if len(st.status.GetTargets()) == 0 {
		out.WriteString("The first requests are on their way.\n")
	} else {
		appendInkedTargets(out, st, v.ink)
	}
	fmt.Fprintf(out, "\n%s  %d waiting, %d left early: the providers saw %d of %d calls cancelled\n",
		v.ink.dim("clients     "), st.load.InFlight, st.left, st.cancelled, st.left)
	fmt.Fprintf(out, "%s  %s\n", v.ink.dim("errors      "), errorKinds(st))
	fmt.Fprintf(out, "%s  p50 %s, p99 %s\n", v.ink.dim("own overhead"), overheadAt(st.load, .5), overheadAt(st.load, .99))
}

// appendInkedTargets is the table of llmopt status, with fewer columns.
func appendInkedTargets(out *bytes.Buffer, st *demoState, ink ink) {
	var table bytes.Buffer
	appendTargets(&table, "target", st.status, demoColumns)
	lines := strings.Split(strings.TrimSuffix(table.String(), "\n"), "\n")
	for i, line := range lines {
		switch {
		case i == 0:
			line = ink.dim(line)
		case i == len(lines)-1:
			line = ink.bold(line)
		}
		out.WriteString(line + "\n")
	}
}

// draw replaces what was drawn last time by frame, whose lines all end in a line feed.
func (v *demoScreen) draw(frame []byte) {
	var out bytes.Buffer
	if v.lines > 0 {
		fmt.Fprintf(&out, "\x1b[%dA", v.lines)
	}
	out.WriteString("\r" + noWrap)
	out.Write(bytes.ReplaceAll(frame, []byte("\n"), []byte(clearLine+"\n")))
	out.WriteString(clearBelow + wrap)
	v.lines = bytes.Count(frame, []byte("\n"))
	_, _ = v.w.Write(out.Bytes())
}

// hasScreen tells whether what is written to stdout can be replaced.
func hasScreen(env *environment) bool { return isTerminal(env.stdout) && env.lookup("TERM") != "dumb" }

// ink tells whether text may be emphasised.
type ink bool

// inkFor obeys https://no-color.org.
func inkFor(env *environment) ink { return ink(hasScreen(env) && env.lookup("NO_COLOR") == "") }

func (i ink) bold(s string) string { return i.set("\x1b[1m", s) }
func (i ink) dim(s string) string  { return i.set("\x1b[2m", s) }

func (i ink) set(code, s string) string {
	if !i || s == "" {
		return s
	}
	return code + s + "\x1b[0m"
}
