package pipeline

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Harmless returns a text as it may be posted. Chatwoot renders Liquid in what
// is posted through its API, private notes included, so that braces that a
// customer or a model wrote could vanish or show what they should not; and a
// mention would call a colleague. A space takes the meaning away and leaves the
// text readable.
func Harmless(text string) string {
	var b strings.Builder
	var before rune
	for _, r := range text {
		if opens := before == '{' && (r == '{' || r == '%'); opens || r == '}' && (before == '}' || before == '%') {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
		before = r
	}
	return mention.ReplaceAllString(b.String(), "$1 ://")
}

var mention = regexp.MustCompile(`(?i)(mention)://`)

const (
	longestDraft = 100_000 // characters in a note; Chatwoot takes 150,000
	mostSources  = 5       // of a note
)

// NoteText is what the agents are told about a draft.
func NoteText(d Drafted) string {
	var b strings.Builder
	switch d.Problem {
	case NoDraft:
		b.WriteString("**No draft** · suggested: escalate\n\nThe agent service made no draft of an answer. Please answer this message yourself.")
	case NoText:
		b.WriteString("**No draft** · suggested: escalate\n\nThe message has no text to draft an answer to. Please look at what is attached.")
	default:
		fmt.Fprintf(&b, "**Draft of an answer** · confidence %.0f %% · suggested: %s\n\n", d.Confidence, d.Action)
		if d.LowConfidence() {
			fmt.Fprintf(&b, "⚠️ **LOW CONFIDENCE** (%.0f %%): do not rely on this draft; a person should answer.\n\n", d.Confidence)
		}
		b.WriteString(Harmless(cut(d.Draft, longestDraft)))
	}
	b.WriteString("\n\n")
	if d.Fallback && d.Problem != NoText {
		b.WriteString("**Sources**: none; the knowledge base had nothing on this, or did not answer.")
	} else if len(d.Sources) > 0 {
		b.WriteString("**Sources**:")
		for _, s := range d.Sources[:min(mostSources, len(d.Sources))] {
			fmt.Fprintf(&b, "\n- %s (relevance %.2f", Harmless(oneLine(s.Title)), s.Relevance)
			if s.Version != "" {
				fmt.Fprintf(&b, ", version %s", Harmless(oneLine(s.Version)))
			}
			b.WriteString(")")
		}
	}
	return strings.TrimSpace(b.String()) + "\n\nIt waits for approval; nothing has been sent to the customer."
}

func oneLine(text string) string { return cut(strings.Join(strings.Fields(text), " "), 200) }

// cut shortens a text to so many characters.
func cut(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most]) + "…"
}
