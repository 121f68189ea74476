package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	"llm-auto-optimizer/optimizer/control/controlpb"
)

// explains checks that a decision of the server's is told and drawn in full.
func (g *served) explains(id string) {
	t := g.t
	t.Helper()
	dir := t.TempDir()
	drawing, picture := filepath.Join(dir, "decision.svg"), filepath.Join(dir, "decision.png")
	shown := g.cli(0, "journal", "show", id, "--plot="+drawing)
	for _, pattern := range []string{
		`^` + id + ` about route chat, of routing: applied\n`, `\n  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  chat moved \d+ % of the light exchanges from b to a`,
		`\n  the cheapest mix within the objective\n  method +linear programme\n  statistic +part of the cost that is saved 0\.\d+\n  threshold +at least 0.01\n  baseline +`,
		`\n  CLASS +TARGET +EXCHANGES +VIOLATIONS +\$ PER 1,000 +RATE +CAPACITY +SHARE\n  light +a +\d+ +0\.00 % +\S+ +\S+/s +– +50\.00 → \d\d\.\d\d %\n`,
		`\nChanges\n  weights/a/light +1 → 2\n  weights/b/light +1 → 0\.0002\n`, `\n  cool-down +last decision of routing: none within the hour; 0s is the least\n`,
		`\n  frequency +0 of this tuner and 0 of others within the hour; 6 freeze the route\n`,
		`\n  rolls back +by itself when the hold-back is better off \(e-value of harm ≥ 20\)\n  by hand +llmopt optimizer undo ` + id + `\n`,
		`\n  not yet: the first time after 10m\n`, `decision\.svg shows the traffic of route chat from `,
	} {
		if !regexp.MustCompile(pattern).MatchString(shown) {
			t.Errorf("show: want %q in:\n%s", pattern, shown)
		}
	}
	for _, line := range strings.Split(shown, "\n") {
		if n := utf8.RuneCountInString(line); n > journalWidth && !strings.Contains(line, "decision.svg") {
			t.Errorf("%d characters: %s", n, line)
		}
	}
	raw, err := os.ReadFile(drawing)
	if err != nil {
		t.Fatal(err)
	}
	texts := svgTexts(t, raw)
	for _, text := range []string{"share of attempts, %", "US$ per 1,000 attempts", "errors, %", "TTFT p95, s", "treated", "hold-back", "a", "b", "applied"} {
		if !texts[text] {
			t.Errorf("the SVG does not say %q: %v", text, texts)
		}
	}
	g.cli(0, "journal", "show", id, "--plot="+picture)
	if raw, err = os.ReadFile(picture); err != nil {
		t.Fatal(err)
	}
	drawn, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if size := drawn.Bounds().Size(); size.X < 800 || size.Y < 500 {
		t.Errorf("the PNG has %v", size)
	}
	want(t, "a bad name", g.cli(2, "journal", "show", id, "--plot=decision.gif"), `has to end in .png or .svg`)
	want(t, "no route", g.cli(1, "journal", "show", "1", "--plot="+picture), `about no single route`)
	want(t, "an entry without decision", g.cli(0, "journal", "show", "1"), `^entry 1, configuration: settings at the start\n`)
	want(t, "no entry", g.cli(1, "journal", "show", "d99"), `the journal has no entry d99`)
	want(t, "offline", cliOutput(t, 2, "journal", "show", id, "--dir="+dir, "--plot="+picture), `known to a running server only`)
}

// svgTexts are all texts of a drawing, which must be well-formed.
func svgTexts(t testing.TB, raw []byte) map[string]bool {
	t.Helper()
	texts := map[string]bool{}
	for d := xml.NewDecoder(bytes.NewReader(raw)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return texts
		}
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := token.(xml.CharData); ok {
			texts[strings.TrimSpace(string(text))] = true
		}
	}
}

// Resolution goes with age: minutes for what is less than an hour ago, hours for a week.
func TestPlotTimeframe(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	check := func(ago, since time.Duration, from, to time.Duration, step time.Duration) {
		t.Helper()
		w := timeframeOf(now.Add(-ago), now.Add(-since), now)
		if w.from != now.Add(-from) || w.to != now.Add(-to) || w.step != step || w.span < from {
			t.Errorf("%v ago: from %v, to %v, by %v, span %v", ago, now.Sub(w.from), now.Sub(w.to), w.step, w.span)
		}
	}
	const day = 24 * time.Hour
	check(5*time.Minute, 5*time.Minute, 35*time.Minute, 0, time.Minute)
	check(45*time.Minute, 10*time.Minute, time.Hour, 0, time.Minute)
	check(55*time.Minute, 10*time.Minute, 12*time.Hour+55*time.Minute, 0, time.Hour)
	check(2*day, 2*day, 2*day+12*time.Hour, 2*day-12*time.Hour, time.Hour)
	check(7*day, 5*day, 7*day, 5*day-12*time.Hour, time.Hour)
}

// Sentences go on in their column, and no line is wider than a terminal.
func TestPrintEntries(t *testing.T) {
	t.Parallel()
	long := "12:04:10 chat moved 18 % from azure-east to openai: the cheapest mix within the objective (part of the cost that is saved 0.312 > 0.01); expected cost −31 %, violations +0.02 %"
	var out bytes.Buffer
	now := time.Date(2026, 1, 5, 12, 30, 0, 0, time.UTC)
	entry := func(number uint64, at time.Time, from, to uint64, d *controlpb.Decision) *controlpb.JournalEntry {
		return &controlpb.JournalEntry{Number: number, At: timestamppb.New(at), Kind: "configuration", Reason: "a test", Changed: []string{"providers.one"}, From: from, To: to, Decision: d}
	}
	entries := []*controlpb.JournalEntry{
		entry(12, now.Add(-24*time.Hour), 3, 4, &controlpb.Decision{Id: "d7", Sentence: long}), entry(1, now.Add(-400*24*time.Hour), 0, 1, nil),
	}
	if err := printEntries(&out, entries, now); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	column := strings.Index(lines[0], "WHAT")
	for _, line := range lines {
		if n := utf8.RuneCountInString(line); n > journalWidth {
			t.Errorf("%d characters: %s", n, line)
		}
	}
	if len(lines) != 6 || !strings.HasPrefix(string([]rune(lines[1])[column:]), "chat moved 18 %") || strings.TrimSpace(lines[2][:column]) != "" || lines[2][column] == ' ' ||
		!strings.HasSuffix(lines[4], "configuration: a test (providers.one)") {
		t.Errorf("got:\n%s", out.String())
	}
}
