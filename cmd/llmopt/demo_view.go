package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/bench/load"
	"llm-auto-optimizer/config"
)

// demoView shows a demo to a person.
type demoView interface {
	begin()
	every() time.Duration // between two calls of show
	show(st *demoState)
	tell(e *demoEvent)
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
func (demoSilence) tell(*demoEvent)      {}
func (demoSilence) end()                 {}

// appendDemoIntro says what runs and how to take part.
func appendDemoIntro(out *bytes.Buffer, c *demoCmd, s *demoStage, ink ink) {
	g := s.gateway
	fmt.Fprintf(out, "%s: a day in %s. %d simulated providers behind one route, one each behind two others,\n",
		ink.bold("llmopt demo"), config.FormatDuration(c.For), len(s.providers))
	fmt.Fprintf(out, "the proxy, its optimizer and gentle load. An hour on its clock is %s.\n", config.FormatDuration(s.day.hour))
	out.WriteString("No keys, no network; only the providers are simulated.\n\n")
	fmt.Fprintf(out, "First route, %s: equal shares for all, and 95 %% of the streams are to begin within %s\n", demoRoute, config.FormatDuration(demoObjective))
	for _, p := range s.providers {
		fmt.Fprintf(out, "  %-8s %s per million tokens in/out, %s\n", p.name, p.price, demoCharacter[p.name])
	}
	fmt.Fprintf(out, "Second route, %s: it keeps its answers for %s, and is asked again and again\n", demoCached, config.FormatDuration(demoKeptFor))
	for _, k := range s.book.keeps(s.started).Kinds {
		fmt.Fprintf(out, "  %-8s %d %s questions, whose answers %s\n", k.Class, k.Prompts, k.Size, k.facts())
	}
	out.WriteString("  For how long they are best kept, the optimizer has to find out.\n")
	fmt.Fprintf(out, "Third route, %s: two callers share %s, which for some hours hides that it has a limit\n", demoShared, demoBulk)
	fmt.Fprintf(out, "  %-8s %d requests/s, in its run %d; its own limit is %d\n", demoNightly, demoNightlyRate, demoRunRate, demoNightlyLimit)
	fmt.Fprintf(out, "  %-8s %d request/s\n\n", demoSupport, demoSupportRate)
	fmt.Fprintf(out, "%s\n ", ink.dim("Settings for a day in minutes; by default it takes its time and tries changes on a few first:"))
	for i, t := range demoTightened {
		if i > 0 && i%5 == 0 {
			out.WriteString("\n ")
		}
		_, key, _ := strings.Cut(t[0], ".")
		fmt.Fprintf(out, " %s=%s", key, strings.ReplaceAll(t[1], "* * * * * *", "1s"))
	}
	fmt.Fprintf(out, "\n\n%s\n", ink.dim("Ask it by hand meanwhile:"))
	fmt.Fprintf(out, "  curl -N %s/v1/chat/completions \\\n", g.proxyURL)
	out.WriteString("    -H 'authorization: Bearer any' -H 'content-type: application/json' \\\n")
	fmt.Fprintf(out, "    -d '{\"model\":\"%s\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'\n", demoRoute)
	for _, command := range []string{"status", "optimizer", "savings", "cache curves", "limits"} {
		fmt.Fprintf(out, "  llmopt %s --admin %s\n", command, g.adminURL)
	}
	out.WriteByte('\n')
}

// demoCharacter is what providers are like, in words.
var demoCharacter = map[string]string{demoSwift: "begins at once", demoSteady: "begins soon", demoThrifty: "takes its time"}

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
	t := st.total
	var mix []string
	for i := range st.targets {
		mix = append(mix, fmt.Sprintf("%s %.0f%%", st.targets[i].Name, 100*st.targets[i].Got))
	}
	fmt.Fprintf(v.w, "%s  %d answered, %d failed, %d left, %s, %s, overhead p50 %s\n%s  %s\n%s  %s\n",
		st.clock, st.load.Outcomes[window.OK], fruitless(st), st.left, strings.Join(mix, " "), cost(t), overheadAt(st.load, .5),
		st.clock, keptLine(st.kept), st.clock, sharedLine(st.shared))
}

func (v *demoLines) tell(e *demoEvent) {
	var out bytes.Buffer
	appendEvent(&out, e, false)
	_, _ = v.w.Write(out.Bytes())
}

// appendEvent is a line of the day's story.
func appendEvent(out *bytes.Buffer, e *demoEvent, ink ink) {
	appendWrapped(out, ink.dim(e.Clock)+"  "+ink.bold(fmt.Sprintf("%-9s", e.Who))+"  ", 18, e.What)
}

// demoWidth is how many characters a line has at most.
const demoWidth = 100

// appendWrapped writes text after a beginning of so many visible characters, below which it goes on where the line is full.
func appendWrapped(out *bytes.Buffer, begin string, indent int, text string) {
	out.WriteString(begin)
	at := indent
	const kept = "\u00a0" // a number stays with its percent sign
	for i, word := range strings.Split(strings.ReplaceAll(printable(text), " %", kept+"%"), " ") {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+n > demoWidth:
			out.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		default:
			out.WriteByte(' ')
			at++
		}
		out.WriteString(strings.ReplaceAll(word, kept, " "))
		at += n
	}
	out.WriteByte('\n')
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
	lines int    // drawn last time
	frame []byte // the same
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
	done := min(1, st.elapsed.Seconds()/v.c.For.Seconds())
	const width = 40
	full := int(done * width)
	hint := "Ctrl-C ends it"
	if st.ending {
		hint = "ending"
	}
	fmt.Fprintf(&out, "\n%s %s  %s%s  %s of %s, %s\n\n", v.ink.dim("day"), v.ink.bold(st.clock), strings.Repeat("━", full), v.ink.dim(strings.Repeat("─", width-full)),
		config.FormatDuration(min(st.elapsed, v.c.For).Truncate(time.Second)), config.FormatDuration(v.c.For), hint)
	appendDemoTargets(&out, st, v.ink)
	out.WriteByte('\n')
	appendDemoSavings(&out, st, v.ink)
	appendDemoRow(&out, v.ink, "requests", "%d answered, %d failed, %d waiting, %d left early; own overhead p50 %s",
		st.load.Outcomes[window.OK], fruitless(st), st.load.InFlight, st.left, overheadAt(st.load, .5))
	out.WriteByte('\n')
	appendDemoKept(&out, st, v.ink)
	appendDemoRow(&out, v.ink, "its cache", "%s of the %s that its answers would have cost without it", gain(st.kept.Saved), dollars(st.kept.Spent+st.kept.Worth))
	out.WriteByte('\n')
	appendDemoShared(&out, st, v.ink)
	v.draw(out.Bytes())
}

// tell writes a line above the live part, where it stays.
func (v *demoScreen) tell(e *demoEvent) {
	live := v.frame
	v.draw(nil)
	var out bytes.Buffer
	appendEvent(&out, e, v.ink)
	_, _ = v.w.Write(out.Bytes())
	v.draw(live)
}

// end takes the live part off the screen: the summary has all of it.
func (v *demoScreen) end() {
	v.draw(nil)
	_, _ = io.WriteString(v.w, showCursor)
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
	v.lines, v.frame = bytes.Count(frame, []byte("\n")), frame
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
