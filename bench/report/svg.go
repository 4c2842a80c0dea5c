package main

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"text/template"
)

// The geometry of a chart, in pixels.
const (
	chartWidth  = 880
	chartMargin = 20
	headHeight  = 62
	panelGap    = 24
	titleHeight = 26
	rowHeight   = 19
	labelWidth  = 112
	textWidth   = 64
	plotHeight  = 260
	axisHeight  = 34
)

// An element is a shape or a text of a chart.
type element struct {
	Kind       string  // rect, circle, line, text
	X, Y, W, H float64 // of a circle, W is the radius; of a line, W and H are from one end to the other
	Class      string
	Anchor     string // of a text: start, middle, end
	Text       string
}

// svg returns the chart as a picture.
func (c chart) svg() ([]byte, error) {
	elements := []element{
		{Kind: "text", X: chartMargin, Y: 28, Class: "title", Text: c.title},
		{Kind: "text", X: chartMargin, Y: 48, Class: "note", Text: c.subtitle},
	}
	y := float64(headHeight)
	if len(c.legend) > 0 {
		elements = append(elements, c.drawLegend(y)...)
		y += rowHeight + 6
	}
	columns := min(c.columns, len(c.panels))
	width := (chartWidth - 2*chartMargin - float64(columns-1)*panelGap) / float64(columns)
	for row := range slices.Chunk(c.panels, columns) {
		height := 0.0
		for i, p := range row {
			drawn, h := p.draw(chartMargin+float64(i)*(width+panelGap), y, width)
			elements = append(elements, drawn...)
			height = max(height, h)
		}
		y += height + panelGap
	}
	var b bytes.Buffer
	err := svgTemplate.Execute(&b, map[string]any{
		"Width": chartWidth, "Height": math.Ceil(y), "Title": c.title, "Description": c.description(), "Elements": elements,
	})
	return b.Bytes(), err
}

func (c chart) drawLegend(y float64) []element {
	var list []element
	x := float64(chartMargin)
	for i, text := range c.legend {
		if len(c.panels[0].points) > 0 {
			list = append(list, element{Kind: "circle", X: x + 6, Y: y + 8, W: 5, Class: pointClass("other", i == 1)})
		} else {
			list = append(list, element{Kind: "rect", X: x, Y: y + 3, W: 12, H: 10, Class: barClass("other", i, len(c.legend))})
		}
		list = append(list, element{Kind: "text", X: x + 18, Y: y + 12, Class: "note", Text: text})
		x += 34 + 6.2*float64(len(text))
	}
	return list
}

func (p panel) draw(x, y, width float64) (list []element, height float64) {
	list = append(list, element{Kind: "text", X: x, Y: y + 14, Class: "panel", Text: p.title})
	if len(p.points) > 0 {
		list = append(list, p.drawPoints(x, y+titleHeight, width)...)
		return list, titleHeight + plotHeight + axisHeight
	}
	list = append(list, p.drawBars(x, y+titleHeight, width)...)
	return list, titleHeight + rowHeight*float64(len(p.bars))
}

// drawBars draws a row for each peer, from zero.
func (p panel) drawBars(x, y, width float64) []element {
	longest := p.longest()
	scale := (width - labelWidth - textWidth) / longest
	var list []element
	for i, b := range p.bars {
		top := y + rowHeight*float64(i)
		list = append(list, element{Kind: "text", X: x + labelWidth - 8, Y: top + 13, Class: "label " + class(b.peer), Anchor: "end", Text: b.peer})
		height := (rowHeight - 5) / float64(len(b.values))
		end := 0.0
		for k, v := range b.values {
			list = append(list, element{
				Kind: "rect", X: x + labelWidth, Y: top + 2 + height*float64(k), W: max(1, min(v, longest)*scale), H: height - 0.5,
				Class: barClass(class(b.peer), k, len(b.values)),
			})
			if v > longest {
				list = append(list, element{Kind: "line", X: x + labelWidth + 0.9*longest*scale + 3, Y: top, W: -6, H: rowHeight - 1, Class: "cut"})
			}
			end = max(end, min(v, longest)*scale)
		}
		list = append(list, element{Kind: "text", X: x + labelWidth + end + 5, Y: top + 13, Class: "value", Text: b.texts[len(b.texts)-1]})
	}
	return list
}

// longest returns the value that has the longest bar. One that is far behind most
// is cut off, or one could not tell the others apart.
func (p panel) longest() float64 {
	const far = 3 // times the median
	var values []float64
	for _, b := range p.bars {
		values = append(values, slices.Max(b.values))
	}
	slices.Sort(values)
	return min(values[len(values)-1], far*values[len(values)/2])
}

// barClass returns the look of value k of n: the last is what counts.
func barClass(peer string, k, n int) string {
	if k < n-1 {
		return "bar light " + peer
	}
	return "bar " + peer
}

func pointClass(peer string, hollow bool) string {
	if hollow {
		return "point hollow " + peer
	}
	return "point " + peer
}

// drawPoints draws points between two axes. The vertical one begins at zero, the
// horizontal one at a ratio of one: no gain.
func (p panel) drawPoints(x, y, width float64) []element {
	left, bottom := x+48, y+plotHeight
	plotWidth := width - 48 - 60
	var maxX, maxY float64
	for _, q := range p.points {
		maxX, maxY = max(maxX, q.x), max(maxY, q.y)
	}
	stepX, stepY := step(maxX-1), step(maxY)
	maxX, maxY = 1+math.Ceil((maxX-1)/stepX)*stepX, math.Ceil(maxY/stepY)*stepY
	atX := func(v float64) float64 { return left + (v-1)/(maxX-1)*plotWidth }
	atY := func(v float64) float64 { return bottom - v/maxY*plotHeight }

	var list []element
	for v := 0.0; v <= maxY*1.001; v += stepY {
		list = append(list,
			element{Kind: "line", X: left, Y: atY(v), W: plotWidth, Class: "grid"},
			element{Kind: "text", X: left - 6, Y: atY(v) + 4, Class: "value", Anchor: "end", Text: format(v, "ns")})
	}
	for v := 1.0; v <= maxX*1.001; v += stepX {
		list = append(list, element{Kind: "text", X: atX(v), Y: bottom + 16, Class: "value", Anchor: "middle", Text: fmt.Sprintf("%.3g", v)})
	}
	list = append(list, element{Kind: "text", X: left + plotWidth, Y: bottom + 31, Class: "note", Anchor: "end", Text: "ratio"})
	for _, q := range p.points {
		list = append(list, element{Kind: "circle", X: atX(q.x), Y: atY(q.y), W: 5, Class: pointClass(class(q.peer), q.hollow)})
	}
	return append(list, p.drawLabels(atX, atY)...)
}

// drawLabels puts the names beside the points, and below one another where they would be in
// each other's way.
func (p panel) drawLabels(atX, atY func(float64) float64) []element {
	const height, length, distance = 12, 66, 14
	points := slices.Clone(p.points)
	slices.SortFunc(points, func(a, b point) int { return cmp.Compare(atY(a.y), atY(b.y)) })
	var labels, list []element
	for _, q := range points {
		label := element{Kind: "text", X: atX(q.x) + distance, Y: atY(q.y) + 4, Class: "label " + class(q.peer), Text: q.peer}
		for _, other := range labels {
			if math.Abs(other.X-label.X) < length && label.Y-other.Y < height {
				label.Y = other.Y + height
			}
		}
		labels = append(labels, label)
		list = append(list, label, element{
			Kind: "line", X: atX(q.x) + 6, Y: atY(q.y), W: distance - 8, H: label.Y - 4 - atY(q.y), Class: "leader",
		})
	}
	return list
}

// step returns a round number of which there are two to five up to largest.
func step(largest float64) float64 {
	if largest <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(largest)))
	for _, n := range []float64{0.25, 0.5, 1, 2} {
		if largest <= 5*n*power {
			return n * power
		}
	}
	return 2.5 * power
}

var svgTemplate = template.Must(template.New("svg").Funcs(template.FuncMap{
	"n":      func(v float64) string { return fmt.Sprintf("%.4g", v) },
	"escape": template.HTMLEscapeString,
}).Parse(`<svg xmlns="http://www.w3.org/2000/svg" width="{{.Width}}" height="{{.Height}}" viewBox="0 0 {{.Width}} {{.Height}}" role="img">
<title>{{escape .Title}}</title>
<desc>{{escape .Description}}</desc>
<style>
text { font: 12px -apple-system, "Segoe UI", "Helvetica Neue", "Liberation Sans", Arial, sans-serif; fill: #4a5560; }
.title { font-size: 17px; font-weight: 600; fill: #1b2530; }
.panel { font-size: 13px; font-weight: 600; fill: #1b2530; }
.label.ours { font-weight: 600; fill: #0a5f8a; }
.bar, .point { fill: #a3aebb; stroke: #a3aebb; }
.bar { stroke: none; }
.ours.bar, .ours.point { fill: #0a7fb5; stroke: #0a7fb5; }
.bar.ours { stroke: none; }
.floor.bar { fill: #fff; stroke: #6b7885; stroke-width: 1; stroke-dasharray: 3 2; }
.light { opacity: 0.45; }
.hollow, .ours.hollow { fill: #fff; stroke-width: 2; }
.grid { stroke: #e3e8ed; }
.leader { stroke: #a3aebb; stroke-width: 0.7; }
.cut { stroke: #fff; stroke-width: 3; fill: none; }
</style>
<rect width="{{.Width}}" height="{{.Height}}" rx="6" fill="#fff"/>
{{range .Elements -}}
{{if eq .Kind "text"}}<text x="{{n .X}}" y="{{n .Y}}" class="{{.Class}}"{{with .Anchor}} text-anchor="{{.}}"{{end}}>{{escape .Text}}</text>
{{else if eq .Kind "rect"}}<rect x="{{n .X}}" y="{{n .Y}}" width="{{n .W}}" height="{{n .H}}" class="{{.Class}}"/>
{{else if eq .Kind "circle"}}<circle cx="{{n .X}}" cy="{{n .Y}}" r="{{n .W}}" class="{{.Class}}"/>
{{else}}<path d="M{{n .X}} {{n .Y}}l{{n .W}} {{n .H}}" class="{{.Class}}"/>
{{end}}{{end -}}
</svg>
`))
