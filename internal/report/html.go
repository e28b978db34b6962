package report

import (
	"bytes"
	_ "embed"
	"html/template"
	"io"
)

//go:embed report.html
var pageText string

var pageTemplate = template.Must(template.New("report").Parse(pageText))

// page is a document with its charts drawn.
type page struct {
	document
	Sections []drawnSection
}

type drawnSection struct {
	section
	SVG   template.HTML
	Chart chart
}

func (f *facts) writeHTML(w io.Writer) error {
	doc := f.document()
	p := page{document: doc}
	for _, s := range doc.Sections {
		drawn := drawnSection{section: s}
		if s.Chart != nil && f.now.total.decided() > 0 {
			c, err := s.Chart()
			if err != nil {
				return err
			}
			drawn.Chart = c
			drawn.SVG = template.HTML(c.SVG) //nolint:gosec // dates and numbers of our own; the chart library escapes its texts
		}
		p.Sections = append(p.Sections, drawn)
	}
	var body bytes.Buffer
	if err := pageTemplate.Execute(&body, p); err != nil {
		return err
	}
	_, err := body.WriteTo(w)
	return err
}
