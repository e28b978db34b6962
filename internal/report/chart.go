package report

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"

	"github.com/go-analyze/charts"
)

// chart is a picture of a table, as SVG that stands within HTML.
type chart struct {
	SVG     string
	Caption string
	Legend  []legend
}

// legend explains a colour, named by the class of its swatch.
type legend struct{ Class, Text string }

// The library draws in these colours, which stand for CSS variables of the
// page: one picture fits light, dark and paper.
var (
	inkColor    = charts.Color{R: 1, A: 255}
	axisColor   = charts.Color{R: 2, A: 255}
	gridColor   = charts.Color{R: 3, A: 255}
	lateColor   = charts.Color{R: 4, A: 255}
	inTimeColor = charts.Color{R: 5, A: 255}
	targetColor = charts.Color{R: 6, A: 255}

	fitToPage = strings.NewReplacer(
		inkColor.String(), "var(--ink)",
		axisColor.String(), "var(--axis)",
		gridColor.String(), "var(--grid)",
		lateColor.String(), "var(--late)",
		inTimeColor.String(), "var(--in-time)",
		targetColor.String(), "var(--ink);stroke-dasharray:6 4",
		// The page's own font: the library only measures with this one.
		";font-family:'Roboto Medium',sans-serif", "",
		` xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"`, "",
	)
)

const (
	chartWidth  = 760
	chartHeight = 230
	labelPoints = 9
	labelWidth  = 60 // of a label on the axis below, with the space around it

	// mostBars is how many bars can still be told apart.
	mostBars = 92
)

// rateByDay draws the breach rate of each day and the target.
func (f *facts) rateByDay() (chart, error) {
	labels := make([]string, len(f.days))
	rates, target := make([]float64, len(f.days)), make([]float64, len(f.days))
	top := f.Target
	for i := range f.days {
		labels[i] = f.day(i).Format("2 Jan")
		target[i] = f.Target * 100
		rates[i] = charts.GetNullValue()
		if r := f.days[i].BreachRatio(); !math.IsNaN(r) {
			rates[i] = r * 100
			top = max(top, r)
		}
	}
	series := charts.NewSeriesListBar([][]float64{rates}).ToGenericSeriesList()
	if len(rates) > mostBars {
		series = charts.NewSeriesListLine([][]float64{rates}).ToGenericSeriesList()
	}
	series = append(series, charts.NewSeriesListLine([][]float64{target}).ToGenericSeriesList()...)
	svg, err := draw(drawing{
		series: series, colors: []charts.Color{lateColor, targetColor}, labels: labels,
		top: top * 100, unit: " %",
		words: "Breach rate by day. " + f.Headline(),
	})
	return chart{svg, "Breach rate by day; a gap is a day on which nothing was decided", []legend{
		{"late", "breach rate"}, {"target", "target: below " + exactPercent(f.Target)},
	}}, err
}

// decidedByHour draws how many clocks began in each hour, by how they ended.
func (f *facts) decidedByHour() (chart, error) {
	labels := make([]string, len(f.hours))
	late, inTime := make([]float64, len(f.hours)), make([]float64, len(f.hours))
	for i := range f.hours {
		labels[i] = fmt.Sprintf("%02d:00", i)
		late[i], inTime[i] = float64(f.hours[i].Breached), float64(f.hours[i].Met)
	}
	svg, err := drawStacked(labels, late, inTime, "Decided conversations by the hour in which the customer began to wait, breached and met.")
	return chart{svg, "Conversations by the hour in which the customer began to wait", []legend{
		{"late", "breached"}, {"in-time", "met"},
	}}, err
}

// answerTimes draws how long first answers took.
func (f *facts) answerTimes() (chart, error) {
	d := &f.times
	labels := make([]string, len(d.inTime))
	late, inTime := make([]float64, len(labels)), make([]float64, len(labels))
	for i := range labels {
		labels[i] = "longer"
		if i < len(d.edges) {
			labels[i] = "≤ " + bound(d.edges[i])
		}
		late[i], inTime[i] = float64(d.late[i]), float64(d.inTime[i])
	}
	svg, err := drawStacked(labels, late, inTime, "First answers by how long they took, late and in time.")
	return chart{svg, "First answers by how long they took", []legend{
		{"late", "late"}, {"in-time", "in time"},
	}}, err
}

// drawStacked draws the late ones at the foot of each bar, where they can be
// compared.
func drawStacked(labels []string, late, inTime []float64, words string) (string, error) {
	top := 0.0
	for i := range late {
		top = max(top, late[i]+inTime[i])
	}
	return draw(drawing{
		series: charts.NewSeriesListBar([][]float64{late, inTime}).ToGenericSeriesList(),
		colors: []charts.Color{lateColor, inTimeColor}, labels: labels, stacked: true,
		top: top, words: words,
	})
}

type drawing struct {
	series  charts.GenericSeriesList
	colors  []charts.Color
	labels  []string // of the axis below
	stacked bool
	top     float64 // the highest value
	unit    string
	words   string // for those who do not see the picture
}

func draw(d drawing) (string, error) {
	theme := charts.MakeTheme(charts.ThemeOption{
		TextColor: inkColor, XAxisStrokeColor: axisColor, YAxisStrokeColor: axisColor,
		AxisSplitLineColor: gridColor, SeriesColors: d.colors, BackgroundColor: charts.ColorTransparent,
	})
	font := charts.FontStyle{FontSize: labelPoints}
	ticks, step := ticks(d.top)
	painter, err := charts.Render(charts.ChartOption{
		OutputFormat: charts.ChartOutputSVG, Width: chartWidth, Height: chartHeight,
		Theme: theme, Padding: charts.Box{Left: 5, Top: 15, Right: 10, Bottom: 5, IsSet: true},
		SeriesList: d.series, StackSeries: &d.stacked,
		Symbol: charts.Symbol{Shape: charts.SymbolNone}, LineStrokeWidth: 2,
		XAxis: charts.XAxisOption{
			// All labels are given a place, so that each stands below its bar;
			// most of a long axis are empty.
			Labels: thinned(d.labels), LabelCount: len(d.labels), LabelFontStyle: font, BoundaryGap: new(true),
		},
		YAxis: []charts.YAxisOption{{
			Min: new(0.0), Max: new(float64(ticks-1) * step), LabelCount: ticks, LabelFontStyle: font,
			ValueFormatter: func(v float64) string { return strconv.FormatFloat(math.Round(v), 'f', -1, 64) + d.unit },
		}},
	})
	if err != nil {
		return "", fmt.Errorf("draw chart: %w", err)
	}
	svg, err := painter.Bytes()
	if err != nil {
		return "", fmt.Errorf("draw chart: %w", err)
	}
	return strings.Replace(fitToPage.Replace(string(svg)), "<svg ", `<svg role="img" aria-label="`+html.EscapeString(d.words)+`" `, 1), nil
}

// ticks returns how many ticks an axis from 0 needs to show top, and the whole
// number between two of them.
func ticks(top float64) (n int, step float64) {
	const most = 5 // steps
	step = 1
	for i := 0; step*most < top; i++ {
		step *= [...]float64{2, 2.5, 2}[i%3] // 1, 2, 5, 10
	}
	return max(1, int(math.Ceil(top/step))) + 1, step
}

// thinned leaves out labels that have no room.
func thinned(labels []string) []string {
	every := (len(labels)*labelWidth + chartWidth - 1) / chartWidth
	kept := make([]string, len(labels))
	for i := 0; i < len(labels); i += max(every, 1) {
		kept[i] = labels[i]
	}
	return kept
}
