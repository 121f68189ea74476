package stats

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

var (
	ink    = color.NRGBA{0x22, 0x55, 0x99, 0xff}
	alarm  = color.NRGBA{0xd6, 0x27, 0x28, 0xff}
	shade  = color.NRGBA{0xf2, 0xc1, 0x4e, 0x99}
	faint  = color.RGBA{0x99, 0x99, 0x99, 0xff}
	width  = 12 * vg.Inch
	height = 3 * vg.Inch // of a panel
)

// mostPoints is how many points of a line are drawn: more than a page has dots. Each stretch keeps its lowest and its highest one.
const mostPoints = 4000

// CheckPlot says whether a plot can be written under this name.
func CheckPlot(name string) error {
	if ext := strings.ToLower(filepath.Ext(name)); ext != ".png" && ext != ".svg" {
		return fmt.Errorf("plot %q: the name has to end in .png or .svg", name)
	}
	return nil
}

// PlotAnomalies draws a series with its alarms and its labelled windows, and the scores below, into a file whose name ends in .png or
// .svg.
func PlotAnomalies(name string, s *Series, scores []float64, threshold float64, windows []Window) error {
	top, bottom := plot.New(), plot.New()
	top.Title.Text, top.Y.Label.Text = s.Name, "value"
	bottom.Y.Label.Text, bottom.Y.Min, bottom.Y.Max = "anomaly score", 0, 1
	for _, p := range []*plot.Plot{top, bottom} {
		p.X.Tick.Marker = plot.TimeTicks{Format: "2006-01-02\n15:04"}
	}
	at := func(i int) float64 { return float64(s.Times[i].UnixNano()) / 1e9 }
	low, high := rangeOf(s.Values)
	for i, w := range windows {
		band, err := plotter.NewPolygon(plotter.XYs{{X: at(w.First), Y: low}, {X: at(w.First), Y: high}, {X: at(w.Last), Y: high}, {X: at(w.Last), Y: low}})
		if err != nil {
			return err
		}
		band.Color, band.LineStyle.Width = shade, 0
		top.Add(band)
		if i == 0 {
			top.Legend.Add("labelled", band)
		}
	}
	if err := addLine(top, s.Values, at, ink); err != nil {
		return err
	}
	if err := addLine(bottom, scores, at, ink); err != nil {
		return err
	}
	var alarms plotter.XYs
	for i, v := range scores {
		if v >= threshold && !math.IsNaN(s.Values[i]) {
			alarms = append(alarms, plotter.XY{X: at(i), Y: s.Values[i]})
		}
	}
	if len(alarms) > 0 {
		dots, err := plotter.NewScatter(alarms)
		if err != nil {
			return err
		}
		dots.Color, dots.Radius, dots.Shape = alarm, 3, draw.CircleGlyph{}
		top.Add(dots)
		top.Legend.Add(fmt.Sprintf("alarms (%d)", len(alarms)), dots)
	}
	if len(s.Times) > 0 {
		limit, err := plotter.NewLine(plotter.XYs{{X: at(0), Y: threshold}, {X: at(len(s.Times) - 1), Y: threshold}})
		if err != nil {
			return err
		}
		limit.Color, limit.Dashes = alarm, []vg.Length{4, 4}
		bottom.Add(limit)
	}
	top.Legend.Top = true
	return save(name, top, bottom)
}

// PlotChanges draws each dimension of a series with the starts of its segments.
func PlotChanges(name, title string, values [][]float64, starts []int) error {
	var panels []*plot.Plot
	for d, column := range values {
		p := plot.New()
		if d == 0 {
			p.Title.Text = fmt.Sprintf("%s: %d changes", title, len(starts))
		}
		p.Y.Label.Text = fmt.Sprintf("dimension %d", d)
		low, high := rangeOf(column)
		for _, at := range starts {
			l, err := plotter.NewLine(plotter.XYs{{X: float64(at), Y: low}, {X: float64(at), Y: high}})
			if err != nil {
				return err
			}
			l.Color, l.Width = alarm, 1.5
			p.Add(l)
		}
		if err := addLine(p, column, func(i int) float64 { return float64(i) }, ink); err != nil {
			return err
		}
		panels = append(panels, p)
	}
	return save(name, panels...)
}

// addLine draws values, broken where they are missing.
func addLine(p *plot.Plot, values []float64, at func(i int) float64, c color.Color) error {
	step := max(1, 2*len(values)/mostPoints)
	var piece plotter.XYs
	flush := func() error {
		if len(piece) == 0 {
			return nil
		}
		l, err := plotter.NewLine(piece)
		if err != nil {
			return err
		}
		l.Color, l.Width = c, .8
		p.Add(l)
		piece = nil
		return nil
	}
	for from := 0; from < len(values); from += step {
		low, high := -1, -1
		for i := from; i < min(from+step, len(values)); i++ {
			if math.IsNaN(values[i]) {
				continue
			}
			if low < 0 || values[i] < values[low] {
				low = i
			}
			if high < 0 || values[i] > values[high] {
				high = i
			}
		}
		if low < 0 {
			if err := flush(); err != nil {
				return err
			}
			continue
		}
		for _, i := range []int{min(low, high), max(low, high)} {
			piece = append(piece, plotter.XY{X: at(i), Y: values[i]})
		}
	}
	return flush()
}

func rangeOf(values []float64) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if !math.IsNaN(v) {
			low, high = min(low, v), max(high, v)
		}
	}
	if low > high {
		return 0, 1
	}
	return low, high
}

// save draws the panels below each other.
func save(name string, panels ...*plot.Plot) error { return saveBeside(name, nil, panels...) }

// legendWidth is what legends beside panels take.
const legendWidth = 1.4 * vg.Inch

// saveBeside is save with legends of their own on the right of panels, one each; nil: none.
func saveBeside(name string, legends []plot.Legend, panels ...*plot.Plot) error {
	if err := CheckPlot(name); err != nil {
		return err
	}
	size := height * vg.Length(len(panels))
	if legends != nil {
		size *= 2. / 3
	}
	var canvas vg.CanvasWriterTo
	if strings.EqualFold(filepath.Ext(name), ".svg") {
		canvas = vgsvg.New(width, size)
	} else {
		canvas = vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(width, size), vgimg.UseBackgroundColor(color.White))}
	}
	column := make([][]*plot.Plot, len(panels))
	for i, p := range panels {
		grid := plotter.NewGrid()
		grid.Horizontal.Color, grid.Vertical.Color = color.Gray{0xe6}, color.Gray{0xe6}
		p.Add(grid)
		p.X.Color, p.Y.Color = faint, faint
		column[i] = []*plot.Plot{p}
	}
	tiles := draw.Tiles{Rows: len(panels), Cols: 1, PadY: 6, PadTop: 6, PadBottom: 6, PadLeft: 6, PadRight: 12}
	if legends != nil {
		tiles.PadRight += legendWidth
	}
	cells := plot.Align(column, tiles, draw.New(canvas))
	for i, p := range panels {
		p.Draw(cells[i][0])
		if legends != nil {
			beside := cells[i][0]
			beside.Min.X, beside.Max.X = beside.Max.X+12, beside.Max.X+legendWidth
			legends[i].Draw(beside)
		}
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if _, err := canvas.WriteTo(f); err != nil {
		return fmt.Errorf("plot %s: %w", name, errors.Join(err, f.Close()))
	}
	return f.Close()
}
