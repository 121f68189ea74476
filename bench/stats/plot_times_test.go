package stats

import (
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gonum.org/v1/plot"
)

// A line is drawn in its colour where it has values, and not where they are missing; a value alone is a dot, and a line without values only a name.
func TestPlotTimes(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	line := TimeLine{Name: "openai"}
	for i := range 60 {
		v := 40.
		if i >= 20 && i < 40 {
			v = math.NaN()
		}
		line.Times, line.Values = append(line.Times, from.Add(time.Duration(i)*time.Minute)), append(line.Values, v)
	}
	alone := TimeLine{Name: "azure", Color: 1, Times: line.Times[30:31], Values: []float64{10}}
	panels := []TimePanel{
		{Label: "share, %", Least: 100, Lines: []TimeLine{line, {Name: "hold-back", Color: 7, Stroke: Dashed}}}, {Label: "errors, %", Least: 1, Lines: []TimeLine{alone}},
	}
	marks := []TimeMark{{from.Add(15 * time.Minute), "applied"}, {from.Add(50 * time.Minute), "rolled back"}}
	dir := t.TempDir()
	for _, name := range []string{"p.svg", "p.png"} {
		if err := PlotTimes(filepath.Join(dir, name), "a title", from, from.Add(time.Hour), panels, marks); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "p.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a title", "share, %", "errors, %", "openai", "azure", "hold-back", "applied", "rolled back", "12:30", "time, UTC"} {
		if !strings.Contains(string(raw), ">"+text+"<") {
			t.Errorf("the SVG does not say %q", text)
		}
	}
	f, err := os.Open(filepath.Join(dir, "p.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	drawn, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	blue := 0 // columns of the upper panel
	size := drawn.Bounds().Size()
	for x := range size.X * 8 / 10 {
		for y := range size.Y / 2 {
			if c, _ := color.NRGBAModel.Convert(drawn.At(x, y)).(color.NRGBA); c == palette[0] {
				blue++
				break
			}
		}
	}
	if share := float64(blue) / float64(size.X); share < .4 || share > .7 {
		t.Errorf("the line takes %.2f of the width, with two thirds of its values", share)
	}
}

func TestTicks(t *testing.T) {
	t.Parallel()
	check := func(got []plot.Tick, want ...string) {
		t.Helper()
		var labels []string
		for _, k := range got {
			labels = append(labels, k.Label)
		}
		if !slices.Equal(labels, want) {
			t.Errorf("got %q, want %q", labels, want)
		}
	}
	all := fewTicks{math.Inf(1)}
	check(all.Ticks(0, 108), "0", "25", "50", "75", "100")
	check(all.Ticks(0, .87), "0.0", "0.2", "0.4", "0.6", "0.8")
	check(all.Ticks(0, 1.08), "0.00", "0.25", "0.50", "0.75", "1.00")
	check(fewTicks{100}.Ticks(0, 130), "0", "25", "50", "75", "100")
	check(all.Ticks(0, 0))
	zone := time.FixedZone("CET", 3600)
	from := time.Date(2026, 1, 5, 11, 50, 0, 0, zone)
	for _, k := range (timeTicks{from}).Ticks(seconds(from), seconds(from.Add(12*time.Hour))) {
		if at := time.Unix(int64(k.Value), 0).In(zone); at.Minute() != 0 || at.Hour()%2 != 0 {
			t.Errorf("a tick at %v", at)
		}
	}
}
