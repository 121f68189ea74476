package stats

import (
	"image/color"
	"math"
	"strconv"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// TimePanel is one picture of several over the same time.
type TimePanel struct {
	Label string // of the vertical axis, with its unit
	Least float64
	Lines []TimeLine
}

// TimeLine is what one thing did over time.
type TimeLine struct {
	Name   string // in the legend, where there is a value, or none at all; empty: not there
	Times  []time.Time
	Values []float64 // as many; NaN: missing
	Color  int       // any number; equal ones look alike
	Stroke Stroke
}

// Stroke is how a line is drawn.
type Stroke int

// The strokes.
const (
	Solid Stroke = iota
	Dashed
	Dotted
)

var dashes = [...][]vg.Length{nil, {6, 3}, {1.5, 2.5}}

// TimeMark is something that happened.
type TimeMark struct {
	At   time.Time
	Name string
}

// palette is that of Okabe and Ito, which colour-blind people can tell apart, black last.
var palette = []color.NRGBA{
	{0x00, 0x72, 0xb2, 0xff}, {0xe6, 0x9f, 0x00, 0xff}, {0x00, 0x9e, 0x73, 0xff}, {0xcc, 0x79, 0xa7, 0xff},
	{0x56, 0xb4, 0xe9, 0xff}, {0xd5, 0x5e, 0x00, 0xff}, {0x99, 0x8a, 0x00, 0xff}, {0x33, 0x33, 0x33, 0xff},
}

// PlotTimes draws panels over the same time, from and to, below each other, and marks in all of them, into a file whose name ends in .png or .svg. Times are
// told in the zone of from.
func PlotTimes(name, title string, from, to time.Time, panels []TimePanel, marks []TimeMark) error {
	plots, legends := make([]*plot.Plot, len(panels)), make([]plot.Legend, len(panels))
	for i := range panels {
		p := plot.New()
		if i == 0 {
			p.Title.Text, p.Title.TextStyle.Font.Size, p.Title.Padding = title, 12, 6
		}
		layout := "15:04"
		if to.Sub(from) > 36*time.Hour {
			layout = "2 Jan\n15:04"
		} else if to.Sub(from) < 10*time.Minute {
			layout = "15:04:05"
		}
		if i < len(panels)-1 {
			layout = " "
		}
		p.X.Tick.Marker = plot.TimeTicks{Format: layout, Ticker: timeTicks{from}, Time: func(v float64) time.Time { return time.Unix(int64(v), 0).In(from.Location()) }}
		p.X.Min, p.X.Max = seconds(from), seconds(to)
		p.Y.Label.Text, p.Y.Label.TextStyle.Font.Size, p.Y.Tick.Marker = panels[i].Label, 10, fewTicks{math.Inf(1)}
		if i == len(panels)-1 {
			p.X.Label.Text, p.X.Label.TextStyle.Font.Size = "time, "+zoneName(from), 10
		}
		legends[i] = plot.NewLegend()
		legends[i].Top, legends[i].Left, legends[i].ThumbnailWidth, legends[i].Padding = true, true, 22, 2
		legends[i].TextStyle = text.Style{Color: color.Black, Font: plot.DefaultFont, Handler: plot.DefaultTextHandler}
		legends[i].TextStyle.Font.Size = 9
		if err := drawPanel(p, &legends[i], &panels[i], marks); err != nil {
			return err
		}
		plots[i] = p
	}
	return saveBeside(name, legends, plots...)
}

func zoneName(t time.Time) string {
	if name, _ := t.Zone(); name != "" {
		return name
	}
	return "local"
}

func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

func drawPanel(p *plot.Plot, legend *plot.Legend, panel *TimePanel, marks []TimeMark) error {
	high := panel.Least
	for i := range panel.Lines {
		for j, v := range panel.Lines[i].Values {
			if at := seconds(panel.Lines[i].Times[j]); !math.IsNaN(v) && at >= p.X.Min && at <= p.X.Max {
				high = max(high, v)
			}
		}
	}
	if high <= 0 {
		high = 1
	}
	p.Y.Min, p.Y.Max = 0, high*1.08
	if p.Title.Text != "" && len(marks) > 0 { // there is room for their names
		p.Y.Max, p.Y.Tick.Marker = high*1.3, fewTicks{high}
	}
	for i, m := range marks {
		l, err := plotter.NewLine(plotter.XYs{{X: seconds(m.At), Y: 0}, {X: seconds(m.At), Y: p.Y.Max}})
		if err != nil {
			return err
		}
		l.Color, l.Width = alarm, 1.2
		if i > 0 {
			l.Width, l.Dashes = .8, []vg.Length{3, 2}
		}
		p.Add(l)
	}
	for i := range panel.Lines {
		if err := drawTimes(p, legend, &panel.Lines[i]); err != nil {
			return err
		}
	}
	for i, m := range marks {
		if m.Name != "" && p.Title.Text != "" {
			if err := nameMark(p, m, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// nameMark writes what happened beside its line, each on a line of its own.
func nameMark(p *plot.Plot, m TimeMark, row int) error {
	labels, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{{X: seconds(m.At), Y: p.Y.Max * (.93 - .09*float64(row%3))}}, Labels: []string{m.Name}})
	if err != nil {
		return err
	}
	labels.TextStyle[0].Color, labels.TextStyle[0].Font.Size, labels.Offset.X = alarm, 9, 3
	if seconds(m.At) > p.X.Min+.75*(p.X.Max-p.X.Min) {
		labels.TextStyle[0].XAlign, labels.Offset.X = text.XRight, -3
	}
	p.Add(labels)
	return nil
}

// drawTimes draws a line, broken where values are missing; a value alone is a dot.
func drawTimes(p *plot.Plot, legend *plot.Legend, l *TimeLine) error {
	style := draw.LineStyle{Color: palette[((l.Color%len(palette))+len(palette))%len(palette)], Width: 1.6, Dashes: dashes[l.Stroke]}
	var piece, alone plotter.XYs
	shown := false
	flush := func() error {
		if len(piece) == 1 {
			alone = append(alone, piece[0])
		}
		if len(piece) > 1 {
			line, err := plotter.NewLine(piece)
			if err != nil {
				return err
			}
			line.LineStyle = style
			p.Add(line)
			shown = true
		}
		piece = nil
		return nil
	}
	for i, v := range l.Values {
		if math.IsNaN(v) {
			if err := flush(); err != nil {
				return err
			}
			continue
		}
		piece = append(piece, plotter.XY{X: seconds(l.Times[i]), Y: v})
	}
	if err := flush(); err != nil {
		return err
	}
	if len(alone) > 0 {
		dots, err := plotter.NewScatter(alone)
		if err != nil {
			return err
		}
		dots.Color, dots.Radius, dots.Shape = style.Color, 2.5, draw.CircleGlyph{}
		p.Add(dots)
	}
	if l.Name != "" && (shown || len(alone) > 0 || len(l.Values) == 0) {
		legend.Add(l.Name, &plotter.Line{LineStyle: style})
	}
	return nil
}

// timeTicks are ticks at round times of day.
type timeTicks struct{ from time.Time }

var tickSteps = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute,
	15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// Ticks implements plot.Ticker.
func (t timeTicks) Ticks(low, high float64) (ticks []plot.Tick) {
	const most = 10
	step := tickSteps[len(tickSteps)-1]
	for _, s := range tickSteps {
		if (high-low)/s.Seconds() <= most {
			step = s
			break
		}
	}
	_, offset := t.from.Zone()
	at := math.Ceil((low+float64(offset))/step.Seconds())*step.Seconds() - float64(offset)
	for ; at <= high; at += step.Seconds() {
		ticks = append(ticks, plot.Tick{Value: at, Label: "."}) // plot.TimeTicks writes it
	}
	return ticks
}

// fewTicks are three to five round values, of which none is above most.
type fewTicks struct{ most float64 }

// Ticks implements plot.Ticker.
func (t fewTicks) Ticks(low, high float64) (ticks []plot.Tick) {
	high = min(high, t.most)
	if !(high > low) {
		return nil
	}
	step := math.Pow(10, math.Floor(math.Log10(high-low)))
	for _, part := range []float64{.25, .5, 1, 2} {
		if (high-low)/(step*part) <= 5 {
			step *= part
			break
		}
	}
	for at := math.Ceil(low/step) * step; at <= high*1.0000001; at += step {
		ticks = append(ticks, plot.Tick{Value: at, Label: trimmed(at, step)})
	}
	return ticks
}

// trimmed writes a value with the decimals that its step has.
func trimmed(v, step float64) string {
	digits := max(0, int(math.Ceil(-math.Log10(step)+.0001)))
	if scaled := step * math.Pow(10, float64(digits)); math.Abs(scaled-math.Round(scaled)) > 1e-6 {
		digits++
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}
