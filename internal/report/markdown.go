package report

import "strings"

func (d document) markdown() string {
	var b strings.Builder
	b.WriteString("# " + escape(d.Title+", "+d.Period) + "\n\n**" + escape(d.Headline) + "**\n\n")
	for _, line := range d.Facts {
		b.WriteString("- " + escape(line) + "\n")
	}
	for _, s := range d.Sections {
		b.WriteString("\n## " + escape(s.Title) + "\n")
		if s.Intro != "" {
			b.WriteString("\n" + escape(s.Intro) + "\n")
		}
		if len(s.Columns) > 0 {
			b.WriteString("\n")
			s.markdownTable(&b)
		}
		if len(s.Notes) > 0 {
			b.WriteString("\n")
			for _, note := range s.Notes {
				b.WriteString("- " + escape(note) + "\n")
			}
		}
	}
	return b.String()
}

func (s section) markdownTable(b *strings.Builder) {
	if len(s.Rows) == 0 {
		b.WriteString("(nothing)\n")
		return
	}
	titles, rules := "|", "|"
	for _, c := range s.Columns {
		titles += " " + escape(c.Title) + " |"
		if c.Number {
			rules += " ---: |"
		} else {
			rules += " --- |"
		}
	}
	b.WriteString(titles + "\n" + rules + "\n")
	for _, row := range s.Rows {
		b.WriteString("|")
		for _, c := range row {
			b.WriteString(" " + c.markdown() + " |")
		}
		b.WriteString("\n")
	}
}

func (c cell) markdown() string {
	text := escape(c.Text)
	switch {
	case c.URL != "":
		return "[" + text + "](" + linkEscaper.Replace(clean(c.URL)) + ")"
	case c.Bad:
		return "**" + text + "**"
	}
	return text
}

// escape takes the meaning from whatever has one within a line of Markdown, so
// that a name stays a name: marks, links, pictures, HTML, columns, mentions.
func escape(s string) string { return markEscaper.Replace(s) }

var (
	markEscaper = backslashed("\\`*_[]<>|&~$@", "://", `\://`, "www.", `www\.`)
	linkEscaper = strings.NewReplacer(" ", "%20", "(", "%28", ")", "%29", "<", "%3C", ">", "%3E", "|", "%7C", `\`, "%5C", "`", "%60")
)

// backslashed returns a Replacer that puts a backslash before each of the
// marks, and replaces the given pairs.
func backslashed(marks string, pairs ...string) *strings.Replacer {
	for _, m := range marks {
		pairs = append(pairs, string(m), `\`+string(m))
	}
	return strings.NewReplacer(pairs...)
}
