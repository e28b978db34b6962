package incident

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// Actions returns the runbook's actions for a level. The address of Chatwoot's
// status page may be empty.
func Actions(l Level, statusURL string) []string {
	page := "Look at Chatwoot's status page"
	if statusURL != "" {
		page += ": " + statusURL
	}
	switch l {
	case OneFailing:
		return []string{
			"Run the health check again: chatwoot-sla check",
			page,
			"Verify the network in between: chatwoot-sla doctor",
			"Go through recent configuration changes: chatwoot-sla config",
			"If it lasts longer than 5 minutes, work as for level 2",
		}
	case Down:
		return []string{
			"Post in #incidents: chatwoot-sla incident --output markdown",
			"Run the diagnostics: chatwoot-sla doctor",
			"Read Chatwoot's logs and metrics; " + strings.ToLower(page[:1]) + page[1:],
			"Escalate to Reliability On-Call",
			"Let operators work from the mailbox",
			"Post a status update every 15 minutes",
		}
	case Webhooks:
		return []string{
			"Check the webhook endpoint: chatwoot-sla webhook ping",
			"Look at the knowledge service (LlamaIndex)",
			"Check that the draft service (Agent SDK) can be reached: chatwoot-sla doctor",
			"Verify that the approval queue is written",
			"Check the depth of the retry queue on the board",
			fmt.Sprintf("Escalate if more than %d items wait in it", MostWaiting),
		}
	}
	return nil
}

// Timeline returns the runbook's promise for a level.
func Timeline(l Level) string {
	switch l {
	case Down:
		return "page on-call at once"
	case OneFailing, Webhooks:
		return fmt.Sprintf("resolve within %d minutes", int(l.Due().Minutes()))
	}
	return ""
}

// defaultImpact is what a level means for customers as long as nobody says it
// better.
func (i Incident) defaultImpact() string {
	switch {
	case i.Level == Webhooks:
		return "New messages are not drafted for, and the approval queue does not grow. Customers are answered by hand."
	case i.Level == Down && i.ExitCode == 4:
		return "Agents cannot answer in Chatwoot, and customers wait. Operators work from the mailbox meanwhile."
	case i.ExitCode == 3:
		return "Integrations cannot read Chatwoot; waiting customers may not be seen."
	}
	return "Agents and customers may meet errors in Chatwoot."
}

// Format is how an escalation is written.
type Format string

// The formats.
const (
	Text     Format = "text"
	Markdown Format = "markdown"
)

// WriteEscalation writes the runbook's escalation template, with every field
// filled: by what people noted, and otherwise by what is known.
func (i Incident) WriteEscalation(w io.Writer, f Format, now time.Time, statusURL string) error {
	var b strings.Builder
	name := func(s string) string {
		if f == Markdown {
			return "**" + s + "**: "
		}
		return s + ": "
	}
	field := func(n, value string) { fmt.Fprintf(&b, "%s%s\n", name(n), value) }
	list := func(n string, lines []string, mark func(int) string) {
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSuffix(name(n), " "))
		for k, line := range lines {
			b.WriteString(mark(k) + line + "\n")
		}
	}
	bullet := func(int) string { return "- " }
	number := func(k int) string { return fmt.Sprintf("%d. ", k+1) }

	what := "Health Check"
	if i.Level == Webhooks {
		what = "Webhook Processing"
	}
	field("Subject", fmt.Sprintf("Chatwoot %s Failure - Level %d", what, i.Level))
	b.WriteString("\n")
	status := "ONGOING"
	if !i.Open() {
		status = "RESOLVED"
	}
	field("Status", status)
	field("Started", clock(i.Started))
	field("Duration", minutes(i.Duration(now)))
	field("Exit Code", fmt.Sprint(i.ExitCode))
	field("Affected", strings.Join(i.Affected, ", "))

	list("Symptoms", cmpOr(i.texts(Symptom), []string{i.Level.meaning()}), bullet)
	list("Actions Taken", cmpOr(i.texts(Action), []string{"None noted yet."}), number)
	fmt.Fprintf(&b, "\n%s%s\n", name("Current Status"), cmp.Or(i.last(Status), i.standing(now)))
	if !i.Open() {
		list("Next Steps", cmpOr(i.texts(Next), []string{"None: it is over. Note here what keeps it from happening again."}), number)
	} else {
		list("Next Steps", cmpOr(i.texts(Next), Actions(i.Level, statusURL)), number)
	}
	fmt.Fprintf(&b, "\n%s%s\n", name("Impact"), cmp.Or(i.last(Impact), i.defaultImpact()))
	_, err := io.WriteString(w, b.String())
	return err
}

func cmpOr(a, b []string) []string {
	if len(a) > 0 {
		return a
	}
	return b
}

// standing is the current status as long as nobody has noted one.
func (i Incident) standing(now time.Time) string {
	if !i.Open() {
		return "Nothing fails any more, since " + clock(i.Ended) + "."
	}
	text := fmt.Sprintf("Level %d for %s: %s.", i.Level, minutes(i.Duration(now)), i.Level.meaning())
	if due := i.Level.Due(); due > 0 && i.Duration(now) > due {
		text += fmt.Sprintf(" It should have been resolved within %s.", minutes(due))
	}
	return text
}

func (i Incident) texts(k Kind) []string {
	var list []string
	for _, e := range i.Timeline {
		if e.Kind == k {
			list = append(list, e.Text)
		}
	}
	return list
}

func (i Incident) last(k Kind) string {
	texts := i.texts(k)
	if len(texts) == 0 {
		return ""
	}
	return texts[len(texts)-1]
}

// minutes writes a duration as the template asks for it.
func minutes(d time.Duration) string {
	switch n := int(math.Floor(d.Minutes())); n {
	case 0:
		return "less than a minute"
	case 1:
		return "1 minute"
	default:
		return fmt.Sprintf("%d minutes", n)
	}
}

// Notes are the kinds that people add.
func Notes() []Kind { return []Kind{Action, Status, Next, Impact} }

// CheckNote says why a note cannot be kept.
func CheckNote(e Entry) error {
	const longest = 2000
	switch {
	case !slices.Contains(Notes(), e.Kind):
		return fmt.Errorf("%q is no kind of note", e.Kind)
	case strings.TrimSpace(e.Text) == "":
		return fmt.Errorf("the note --%s is empty; write what there is to say", e.Kind)
	case len(e.Text) > longest:
		return fmt.Errorf("the note --%s is longer than %d bytes; write less, and link to the rest", e.Kind, longest)
	case strings.ContainsFunc(e.Text, func(r rune) bool { return r < ' ' }):
		return fmt.Errorf("the note --%s has a line break or a control character; write one line, and another note for the next", e.Kind)
	}
	return nil
}
