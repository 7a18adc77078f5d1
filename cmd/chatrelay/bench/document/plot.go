package document

import (
	"fmt"
	"math"
	"strings"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/bench"
)

// series is one line of a plot.
type series struct {
	name, color, dashes string // dashes, so that the lines differ by more than colour
	y                   []*bench.Spread
}

// plot is an SVG of jobs/s, from 0, by x, which is logarithmic.
type plot struct {
	strings.Builder
	x          []float64
	step, most float64 // of jobs/s
}

// Where the axes of a plot are.
const plotLeft, plotRight, plotTop, plotBottom = 80.0, 690.0, 60.0, 310.0

// draw has a background, since a page may be dark.
func draw(title, unit string, x []float64, lines ...series) string {
	p := plot{x: x}
	for _, l := range lines {
		for _, y := range l.y {
			p.most = max(p.most, y.Max)
		}
	}
	p.step = tickStep(p.most)
	p.most = p.step * math.Ceil(p.most/p.step)
	p.add(`<svg xmlns="http://www.w3.org/2000/svg" width="720" height="360" viewBox="0 0 720 360" role="img" font-family="sans-serif" font-size="12" fill="#222">`)
	p.add(`<title>%s</title>`, title)
	p.add(`<rect width="720" height="360" fill="#fff"/>`)
	p.text(plotLeft, 24, "start", title)
	p.text(plotLeft-8, plotTop-14, "end", "jobs/s")
	p.text((plotLeft+plotRight)/2, plotBottom+40, "middle", unit)
	p.axes()
	for i, l := range lines {
		p.line(l, float64(i*6-3), plotRight-200+110*float64(i)) // whiskers stand side by side
	}
	p.add(`</svg>`)
	return p.String()
}

func (p *plot) add(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

func (p *plot) text(x, y float64, anchor, s string) {
	p.add(`<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, x, y, anchor, s)
}

func (p *plot) atX(v float64) float64 {
	return plotLeft + 25 + (plotRight-plotLeft-50)*math.Log(v/p.x[0])/math.Log(p.x[len(p.x)-1]/p.x[0])
}

func (p *plot) atY(v float64) float64 { return plotBottom - (plotBottom-plotTop)*v/p.most }

func (p *plot) axes() {
	for v := 0.0; v <= p.most; v += p.step {
		p.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#ccc"/>`, plotLeft, p.atY(v), plotRight, p.atY(v))
		p.text(plotLeft-8, p.atY(v)+4, "end", count(v))
	}
	labelled := math.Inf(-1)
	for _, v := range p.x {
		x := p.atX(v)
		p.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#222"/>`, x, plotBottom, x, plotBottom+5)
		if x-labelled >= 65 { // wider than any label
			p.text(x, plotBottom+20, "middle", count(v))
			labelled = x
		}
	}
}

func (p *plot) line(l series, shift, legend float64) {
	var path []string
	p.add(`<g stroke="%s" fill="%s" stroke-width="2">`, l.color, l.color)
	for n, y := range l.y {
		x := p.atX(p.x[n]) + shift
		path = append(path, fmt.Sprintf("%.1f,%.1f", x, p.atY(y.Median)))
		p.add(`<path d="M%.1f %.1fh8m-4 0V%.1fm-4 0h8"/>`, x-4, p.atY(y.Min), p.atY(y.Max))
		p.add(`<circle cx="%.1f" cy="%.1f" r="3"/>`, x, p.atY(y.Median))
	}
	p.add(`<polyline points="%s" fill="none" stroke-dasharray="%s"/>`, strings.Join(path, " "), l.dashes)
	p.add(`<line x1="%.1f" y1="42" x2="%.1f" y2="42" stroke-dasharray="%s"/>`, legend, legend+24, l.dashes)
	p.add(`</g>`)
	p.text(legend+30, 46, "start", l.name)
}

// tickStep is 1, 2 or 5 times a power of ten, at most six of which are needed.
func tickStep(most float64) float64 {
	for unit := 1.0; ; unit *= 10 {
		for _, n := range []float64{1, 2, 5} {
			if most <= 6*n*unit {
				return n * unit
			}
		}
	}
}
