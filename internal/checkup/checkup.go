// Package checkup words what was examined: for each item the verdict, what was
// measured, and what to do. The checklist after maintenance and the doctor are
// such lists.
package checkup

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Verdict is what an examination came to.
type Verdict string

// The verdicts.
const (
	OK      Verdict = "ok"
	Warning Verdict = "warning" // it works, and may not always
	Failed  Verdict = "failed"
	Skipped Verdict = "skipped" // there is nothing to examine
)

// Item is one examination.
type Item struct {
	Name     string  `json:"name"`
	Title    string  `json:"title"`
	Verdict  Verdict `json:"verdict"`
	Evidence string  `json:"evidence"`      // what was measured, in one line
	Fix      string  `json:"fix,omitempty"` // what to do; empty when there is nothing
}

// Schemas of the lists that there are. Fields may be added under the same name;
// a field that goes or changes its meaning takes a new one.
const (
	ChecklistSchema = "chatwoot-sla/checklist/v1"
	DoctorSchema    = "chatwoot-sla/doctor/v1"
)

// List is a number of examinations of one time.
type List struct {
	Schema string    `json:"schema"`
	Title  string    `json:"title"`
	At     time.Time `json:"at"`
	Passed bool      `json:"passed"`
	Items  []Item    `json:"items"`
}

// New returns a List, which has passed unless an item failed. What an item says
// is brought into one line: it may quote the error of another program.
func New(schema, title string, at time.Time, items []Item) List {
	items = slices.Clone(items)
	for i, item := range items {
		items[i].Evidence, items[i].Fix = line(item.Evidence), line(item.Fix)
	}
	l := List{Schema: schema, Title: title, At: at.UTC(), Passed: true, Items: items}
	l.Passed = len(l.Failed()) == 0
	return l
}

func line(text string) string { return strings.Join(strings.Fields(text), " ") }

// Failed returns the names of the items that failed.
func (l List) Failed() []string {
	var names []string
	for _, i := range l.Items {
		if i.Verdict == Failed {
			names = append(names, i.Name)
		}
	}
	return names
}

// WriteJSON writes l as its schema has it.
func (l List) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(l)
}

var marks = map[Verdict]string{OK: "✓", Warning: "!", Failed: "✗", Skipped: "–"}

var colors = map[Verdict]string{OK: "\x1b[32m", Warning: "\x1b[33m", Failed: "\x1b[31m"}

// WriteText writes l for a person.
func (l List) WriteText(w io.Writer, color bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s\n\n", l.Title, l.At.Format("2006-01-02 15:04:05 UTC"))
	for _, i := range l.Items {
		mark := marks[i.Verdict]
		if color && colors[i.Verdict] != "" {
			mark = colors[i.Verdict] + mark + "\x1b[0m"
		}
		fmt.Fprintf(&b, "%s %s: %s\n", mark, i.Title, i.Evidence)
		if i.Fix != "" {
			fmt.Fprintf(&b, "    What to do: %s\n", i.Fix)
		}
	}
	verdict := "Nothing failed."
	if n := len(l.Failed()); n == 1 {
		verdict = "1 item failed."
	} else if n > 1 {
		verdict = fmt.Sprintf("%d items failed.", n)
	}
	fmt.Fprintf(&b, "\n%s\n", verdict)
	_, err := io.WriteString(w, b.String())
	return err
}
