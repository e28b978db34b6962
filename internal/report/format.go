package report

import (
	"fmt"
	"io"
	"strings"
)

// Format is a way to write a Report.
type Format string

const (
	Text     Format = "text"     // for a terminal, at most 100 columns
	Markdown Format = "markdown" // GitHub's, for its tables
	CSV      Format = "csv"      // one table, a row for each group
	JSON     Format = "json"     // the layout that Schema names
	HTML     Format = "html"     // one file that needs no other, to look at and to print
)

// Formats lists them.
var Formats = [...]Format{Text, Markdown, CSV, JSON, HTML}

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *Format) UnmarshalText(text []byte) error {
	names := make([]string, len(Formats))
	for i, known := range Formats {
		if known == Format(text) {
			*f = known
			return nil
		}
		names[i] = string(known)
	}
	return fmt.Errorf("no report format is called %q; it is one of %s", text, strings.Join(names, ", "))
}

// Extension returns what the name of a file in this format ends in.
func (f Format) Extension() string {
	switch f {
	case Text:
		return ".txt"
	case Markdown:
		return ".md"
	}
	return "." + string(f)
}

// ContentType returns the media type.
func (f Format) ContentType() string {
	switch f {
	case JSON:
		return "application/json"
	case Text:
		return "text/plain; charset=utf-8"
	}
	return "text/" + string(f) + "; charset=utf-8"
}

// Write writes r in a format. What fails is w, unless the format is none of
// Formats.
func (r *Report) Write(w io.Writer, f Format) error {
	switch f {
	case Text:
		_, err := io.WriteString(w, r.document().text())
		return err
	case Markdown:
		_, err := io.WriteString(w, r.document().markdown())
		return err
	case CSV:
		return r.writeCSV(w)
	case JSON:
		return r.writeJSON(w)
	case HTML:
		return r.writeHTML(w)
	}
	return new(Format).UnmarshalText([]byte(f))
}
