package report

import (
	"strings"
	"unicode"
)

// width is the number of columns that text is made for.
const width = 100

func (d document) text() string {
	var b strings.Builder
	heading := func(s, underline string) {
		b.WriteString(s + "\n" + strings.Repeat(underline, columns(s)) + "\n")
	}
	heading(d.Title+", "+d.Period, "=")
	b.WriteString("\n" + wrap(d.Headline, "", "") + "\n")
	for _, line := range d.Facts {
		b.WriteString(wrap(line, "", ""))
	}
	for _, s := range d.Sections {
		b.WriteString("\n")
		heading(s.Title, "-")
		if s.Intro != "" {
			b.WriteString(wrap(s.Intro, "", ""))
		}
		if len(s.Columns) > 0 {
			b.WriteString("\n")
			s.textTable(&b)
		}
		if len(s.Notes) > 0 {
			b.WriteString("\n")
			for _, note := range s.Notes {
				b.WriteString(wrap(note, "- ", "  "))
			}
		}
	}
	return b.String()
}

func (s section) textTable(b *strings.Builder) {
	if len(s.Rows) == 0 {
		b.WriteString("(nothing)\n")
		return
	}
	widths := make([]int, len(s.Columns))
	for i, c := range s.Columns {
		widths[i] = columns(c.Title)
		for _, row := range s.Rows {
			widths[i] = max(widths[i], columns(shorten(row[i].Text, c.Most)))
		}
	}
	line := func(text func(i int) string) {
		var l strings.Builder
		for i, c := range s.Columns {
			t := shorten(text(i), c.Most)
			pad := strings.Repeat(" ", widths[i]-columns(t))
			if c.Number {
				t = pad + t
			} else {
				t += pad
			}
			l.WriteString(t + "  ")
		}
		b.WriteString(strings.TrimRight(l.String(), " ") + "\n")
	}
	line(func(i int) string { return s.Columns[i].Title })
	for _, row := range s.Rows {
		line(func(i int) string { return row[i].Text })
	}

	first := true
	for _, row := range s.Rows {
		for _, c := range row {
			if c.URL != "" {
				if first {
					b.WriteString("\n")
					first = false
				}
				b.WriteString(c.Text + "  " + clean(c.URL) + "\n")
			}
		}
	}
}

// wrap breaks a paragraph into lines.
func wrap(text, first, rest string) string {
	var b strings.Builder
	line := first
	empty := true
	for word := range strings.FieldsSeq(text) {
		if !empty && columns(line)+1+columns(word) > width {
			b.WriteString(line + "\n")
			line, empty = rest, true
		}
		if !empty {
			line += " "
		}
		line += word
		empty = false
	}
	return b.String() + line + "\n"
}

// shorten cuts s to at most the given number of columns; 0: not at all.
func shorten(s string, most int) string {
	if most == 0 || columns(s) <= most {
		return s
	}
	used := 0
	for i, r := range s {
		if used+columnsOf(r) > most-1 {
			return s[:i] + "…"
		}
		used += columnsOf(r)
	}
	return s
}

// columns returns how many columns of a terminal s takes.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n += columnsOf(r)
	}
	return n
}

// columnsOf knows the common cases: marks that stand on the letter before, and
// the scripts and pictures that take two columns.
func columnsOf(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul),
		r >= 0xff01 && r <= 0xff60, r >= 0x1f300 && r <= 0x1faff:
		return 2
	}
	return 1
}
