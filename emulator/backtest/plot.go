package backtest

import (
	"fmt"
	"html"
	"strings"
)

// Plots returns the report's charts as SVG, by file name.
func (r *Report) Plots() map[string]string {
	return map[string]string{
		"precision-recall.svg": r.plotCurve(),
		"card-precision.svg":   r.plotDays(),
		"scenarios.svg":        r.plotScenarios(),
	}
}

// The size of a chart, and its margins.
const (
	plotWidth, plotHeight = 640, 420
	plotLeft, plotBottom  = 60, 60
	plotRight, plotTop    = 20, 40
)

// chart is an SVG under way whose axes go from 0 to 1, or to yMost.
type chart struct {
	strings.Builder
	yMost float64
}

func newChart(title, x, y string, yMost float64) *chart {
	c := &chart{yMost: yMost}
	fmt.Fprintf(c, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n",
		plotWidth, plotHeight, plotWidth, plotHeight)
	fmt.Fprintf(c, `<rect width="%d" height="%d" fill="white"/>`+"\n", plotWidth, plotHeight)
	c.text(plotWidth/2, 22, "middle", title)
	c.text(plotWidth/2, plotHeight-12, "middle", x)
	fmt.Fprintf(c, `<text x="16" y="%d" text-anchor="middle" transform="rotate(-90 16 %d)">%s</text>`+"\n", plotHeight/2, plotHeight/2, html.EscapeString(y))
	for i := range 6 {
		value := yMost * float64(i) / 5
		at := c.y(value)
		fmt.Fprintf(c, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#dddddd"/>`+"\n", plotLeft, at, plotWidth-plotRight, at)
		c.text(plotLeft-8, at+4, "end", fmt.Sprintf("%.2g", value))
	}
	return c
}

func (c *chart) x(share float64) float64 {
	return plotLeft + share*(plotWidth-plotLeft-plotRight)
}

func (c *chart) y(value float64) float64 {
	return plotHeight - plotBottom - value/c.yMost*(plotHeight-plotBottom-plotTop)
}

func (c *chart) text(x, y float64, anchor, text string) {
	fmt.Fprintf(c, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, html.EscapeString(text))
}

func (c *chart) bar(center, width, value float64, color, label string) {
	left, right, top := c.x(center-width/2), c.x(center+width/2), c.y(value)
	fmt.Fprintf(c, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", left, top, right-left, c.y(0)-top, color)
	c.text((left+right)/2, top-4, "middle", label)
}

func (c *chart) end() string {
	c.WriteString("</svg>\n")
	return c.String()
}

// plotCurve is the precision-recall curve, with the average precision that the book
// publishes for its models.
func (r *Report) plotCurve() string {
	c := newChart("Precision and recall, "+r.span(), "recall: share of the frauds that are found", "precision", 1)
	for i := range 6 {
		c.text(c.x(float64(i)/5), plotHeight-plotBottom+18, "middle", fmt.Sprintf("%.1f", float64(i)/5))
	}
	points := make([]string, 0, len(r.Curve)+1)
	for i, p := range r.Curve {
		if i == 0 {
			points = append(points, fmt.Sprintf("%.1f,%.1f", c.x(0), c.y(p.Precision)))
		}
		points = append(points, fmt.Sprintf("%.1f,%.1f", c.x(p.Recall), c.y(p.Precision)))
	}
	fmt.Fprintf(c, `<polyline fill="none" stroke="#1f77b4" stroke-width="2" points="%s"/>`+"\n", strings.Join(points, " "))
	c.text(c.x(0.04), c.y(0.06), "start", fmt.Sprintf("DataSurge: average precision %.3f", r.Score.AP))
	if r.isBook() {
		// The book publishes the area under each curve and no curve: a point stands
		// at the recall that is as high as the precision of a curve that falls
		// evenly from 1 and has that area.
		for i, row := range Book() {
			if row.AP == 1 {
				continue
			}
			at := row.AP
			fmt.Fprintf(c, `<circle cx="%.1f" cy="%.1f" r="4" fill="#d62728"/>`+"\n", c.x(at), c.y(at))
			c.text(c.x(0.04), c.y(0.40-0.05*float64(i)), "start", fmt.Sprintf("book, %s: %.3f", row.Name, row.AP))
		}
		c.text(c.x(0.04), c.y(0.46), "start", "red points at recall = precision = the book's average precision:")
	}
	return c.end()
}

func (r *Report) span() string {
	return date(r.Protocol.TestStart) + " to " + date(r.Protocol.TestStart+int64(r.Protocol.Days-1)*day)
}

// plotDays is the card precision of each day.
func (r *Report) plotDays() string {
	most := 0.5
	for _, v := range r.Days {
		most = max(most, v)
	}
	c := newChart("Card precision@100 by day, "+r.span(), "day of the test", "share of the 100 cards that had a fraud", most)
	n := float64(len(r.Days))
	for i, v := range r.Days {
		at := (float64(i) + 0.5) / n
		c.bar(at, 0.7/n, v, "#1f77b4", fmt.Sprintf("%.2f", v))
		c.text(c.x(at), plotHeight-plotBottom+18, "middle", date(r.Protocol.TestStart + int64(i)*day)[5:])
	}
	return c.end()
}

// plotScenarios is what was found of each scenario.
func (r *Report) plotScenarios() string {
	c := newChart("Frauds found, "+r.span(), "scenario: cards in the day's top 100 (blue), flagged (orange)", "share of the frauds", 1)
	n := float64(len(r.Scenarios))
	for i, s := range r.Scenarios {
		at := (float64(i) + 0.5) / n
		c.bar(at-0.15/n, 0.28/n, float64(s.Found)/float64(s.Frauds), "#1f77b4", fmt.Sprintf("%d of %d", s.Found, s.Frauds))
		c.bar(at+0.15/n, 0.28/n, float64(s.Flagged)/float64(s.Frauds), "#ff7f0e", fmt.Sprint(s.Flagged))
		c.text(c.x(at), plotHeight-plotBottom+18, "middle", s.Name)
	}
	return c.end()
}
