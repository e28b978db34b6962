package incident_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/incident"
)

var t0 = time.Date(2026, 3, 10, 1, 0, 0, 0, time.UTC)

func at(minutes float64) time.Time { return t0.Add(time.Duration(minutes * float64(time.Minute))) }

// facts are written as the two checks, one letter each (p passes, f fails, ?
// not known), since when, and what else there is.
func facts(checks string, since float64) incident.Facts {
	var f incident.Facts
	for i, name := range []string{"platform health", "authenticated API"} {
		f.Checks = append(f.Checks, incident.Check{
			Name: name, ExitCode: i + 2, Known: checks[i] != '?', Passes: checks[i] == 'p', Since: at(since), Problem: "Failed with HTTP 503",
		})
	}
	f.Webhooks = incident.Check{Name: "webhook processing", Known: true, Passes: true, Since: at(-60)}
	return f
}

func (s step) facts() incident.Facts {
	f := facts(s.checks, s.since)
	f.Maintenance = s.maintenance
	if s.webhooks != "" {
		f.Webhooks.Known, f.Webhooks.Passes = s.webhooks != "?", s.webhooks == "p"
		f.Webhooks.Since, f.Webhooks.Problem = at(s.webhooksSince), "nothing is processed"
	}
	if s.ended > 0 {
		f.MaintenanceEnded = at(s.ended)
	}
	return f
}

type step struct {
	at     float64 // minutes
	checks string
	since  float64

	webhooks      string // like a check; empty: they have long been processed
	webhooksSince float64

	maintenance bool
	ended       float64 // the last maintenance; 0: none

	level incident.Level // afterwards; None: nothing is under way
	exit  int
}

func TestLevels(t *testing.T) {
	const none, one, down, webhooks = incident.None, incident.OneFailing, incident.Down, incident.Webhooks
	tests := []struct {
		name     string
		steps    []step
		started  float64
		affected string
		overran  bool
	}{
		{"all is well", []step{{at: 1, checks: "pp", level: none}, {at: 2, checks: "??", level: none}, {at: 3, checks: "p?", level: none}}, 0, "", false},
		{"exit code 2", []step{{at: 1, checks: "fp", since: 0.5, level: one, exit: 2}}, 0.5, "platform health", false},
		{"exit code 3", []step{{at: 1, checks: "pf", since: 0.5, level: one, exit: 3}}, 0.5, "authenticated API", false},
		{"exit code 4", []step{{at: 1, checks: "ff", since: 0.5, level: down, exit: 4}}, 0.5, "platform health, authenticated API", false},
		{"just under five minutes", []step{{at: 1, checks: "pf", since: 0.5, level: one, exit: 3}, {at: 5.49, checks: "pf", since: 0.5, level: one, exit: 3}}, 0.5, "authenticated API", false},
		{"five minutes", []step{{at: 1, checks: "pf", since: 0.5, level: one, exit: 3}, {at: 5.5, checks: "pf", since: 0.5, level: down, exit: 3}}, 0.5, "authenticated API", false},
		{"one hands over to the other", []step{
			{at: 1, checks: "pf", since: 0, level: one, exit: 3}, {at: 3, checks: "ff", since: 0, level: down, exit: 4}, {at: 4, checks: "fp", since: 3, level: down, exit: 4},
		}, 0, "authenticated API, platform health", false},
		{"level 2 until all is well, and the next is an incident of its own", []step{
			{at: 1, checks: "ff", since: 0, level: down, exit: 4},
			{at: 2, checks: "pf", since: 1, level: down, exit: 4},
			{at: 3, checks: "pp", since: 2, level: none},
			{at: 10, checks: "pf", since: 9, level: one, exit: 3},
		}, 9, "authenticated API", false},
		{"a restart in between does not end it, and does not forget the five minutes", []step{
			{at: 1, checks: "pf", since: 0, level: one, exit: 3},
			{at: 2, checks: "??", level: one, exit: 3},
			{at: 3, checks: "p?", since: 2, level: one, exit: 3},
			{at: 5, checks: "pf", since: 3, level: down, exit: 3},
		}, 0, "authenticated API", false},
		{"webhooks may stand still for less than a minute", []step{{at: 1.9, checks: "pp", webhooks: "f", webhooksSince: 1, level: none}, {at: 2, checks: "pp", webhooks: "p", webhooksSince: 2, level: none}}, 0, "", false},
		{"not for a minute", []step{{at: 2, checks: "pp", webhooks: "f", webhooksSince: 1, level: webhooks}}, 1, "webhook processing", false},
		{"and it is over when they have been processed for a minute", []step{
			{at: 2, checks: "pp", webhooks: "f", webhooksSince: 1, level: webhooks},
			{at: 9, checks: "pp", webhooks: "p", webhooksSince: 8.1, level: webhooks},
			{at: 9.1, checks: "pp", webhooks: "p", webhooksSince: 8.1, level: none},
		}, 1, "webhook processing", false},
		{"a check's incident does not wait for that", []step{
			{at: 2, checks: "pf", since: 1, level: one, exit: 3},
			{at: 3, checks: "pp", since: 2.5, webhooks: "p", webhooksSince: 2.9, level: none},
		}, 1, "authenticated API", false},
		{"level 3 is worse than 1", []step{{at: 1, checks: "fp", since: 0, level: one, exit: 2}, {at: 2, checks: "fp", since: 0, webhooks: "f", level: webhooks, exit: 2}}, 0, "platform health, webhook processing", false},
		{"and level 2 is worse than 3", []step{{at: 1, checks: "pp", webhooks: "f", level: webhooks}, {at: 2, checks: "ff", since: 1, webhooks: "f", level: down, exit: 4}, {at: 3, checks: "pp", webhooks: "f", level: down, exit: 4}}, 0, "webhook processing, platform health, authenticated API", false},
		{"a check that fails anew begins its five minutes anew", []step{
			{at: 1, checks: "fp", since: 0, webhooks: "f", level: webhooks, exit: 2},
			{at: 4, checks: "pp", since: 3, webhooks: "p", webhooksSince: 3.5, level: webhooks, exit: 2},
			{at: 6, checks: "fp", since: 5.5, webhooks: "f", webhooksSince: 5, level: webhooks, exit: 2},
		}, 0, "platform health, webhook processing", false},
		{"nothing begins in maintenance", []step{{at: 1, checks: "ff", since: 0, maintenance: true, level: none}, {at: 9, checks: "pp", webhooks: "f", maintenance: true, level: none}}, 0, "", false},
		{"what still fails begins when it ends", []step{{at: 19, checks: "ff", since: 1, maintenance: true, level: none}, {at: 20.1, checks: "ff", since: 1, ended: 20, level: down, exit: 4}}, 20, "platform health, authenticated API", true},
		{"one check, too, which has failed for long", []step{{at: 20.1, checks: "pf", since: 1, ended: 20, level: down, exit: 3}}, 20, "authenticated API", true},
		{"or has not", []step{{at: 20.1, checks: "pf", since: 19, ended: 20, level: one, exit: 3}}, 20, "authenticated API", true},
		{"what fails afterwards has not overrun", []step{{at: 22, checks: "ff", since: 21, ended: 20, level: down, exit: 4}}, 21, "platform health, authenticated API", false},
		{"in maintenance it goes on and gets no worse", []step{
			{at: 1, checks: "pf", since: 0.5, level: one, exit: 3},
			{at: 9, checks: "ff", since: 0.5, maintenance: true, level: one, exit: 3},
			{at: 30, checks: "ff", since: 0.5, ended: 29, level: down, exit: 4},
			{at: 70, checks: "ff", since: 0.5, maintenance: true, ended: 29, level: down, exit: 4},
			{at: 90, checks: "ff", since: 0.5, ended: 80, level: down, exit: 4},
		}, 0.5, "authenticated API, platform health", true},
		{"one that began before and passed in maintenance has not overrun", []step{
			{at: 1, checks: "pf", since: 0.5, webhooks: "f", level: webhooks, exit: 3},
			{at: 9, checks: "pp", since: 8, webhooks: "?", maintenance: true, level: webhooks, exit: 3},
			{at: 30, checks: "pf", since: 29.5, webhooks: "?", ended: 29, level: webhooks, exit: 3},
		}, 0.5, "authenticated API, webhook processing", false},
		{"and may end", []step{{at: 1, checks: "pf", since: 0.5, level: one, exit: 3}, {at: 9, checks: "pp", since: 8, maintenance: true, level: none}}, 0.5, "authenticated API", false},
		{"a queue that stands still on purpose does not end it, nor what has piled up then", []step{
			{at: 1, checks: "pp", webhooks: "f", level: webhooks},
			{at: 9, checks: "pp", webhooks: "?", webhooksSince: 2, maintenance: true, level: webhooks},
			{at: 30, checks: "pp", webhooks: "?", webhooksSince: 2, ended: 29, level: webhooks},
			{at: 34, checks: "pp", webhooks: "p", webhooksSince: 32, ended: 29, level: none},
		}, 0, "webhook processing", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var i incident.Incident
			for _, s := range tt.steps {
				was := len(i.Timeline)
				next, changed := i.Step(s.facts(), at(s.at))
				if again, more := next.Step(s.facts(), at(s.at)); more {
					t.Errorf("at %v the same facts change it again: %+v, then %+v", s.at, next, again)
				}
				if !changed && len(next.Timeline) != was {
					t.Errorf("at %v it calls itself unchanged, with a longer timeline", s.at)
				}
				i = next
				level := i.Level
				if !i.Open() {
					level = incident.None
				}
				if level != s.level || i.Open() && i.ExitCode != s.exit {
					t.Fatalf("at %v: level %d, exit code %d; want %d and %d", s.at, level, i.ExitCode, s.level, s.exit)
				}
			}
			if i.Started.IsZero() != (tt.affected == "") || !i.Started.IsZero() && !i.Started.Equal(at(tt.started)) {
				t.Errorf("it started at %v, want %v", i.Started, at(tt.started))
			}
			if got := strings.Join(i.Affected, ", "); got != tt.affected || i.Overran != tt.overran {
				t.Errorf("affected %q, overran %v; want %q and %v", got, i.Overran, tt.affected, tt.overran)
			}
		})
	}
}

func TestItEndsWhenTheLastCheckPassed(t *testing.T) {
	i, _ := incident.Incident{}.Step(facts("ff", 0), at(1))
	over := facts("pp", 7)
	over.Checks[0].Since = at(3)
	i, _ = i.Step(over, at(8))
	if i.Open() || !i.Ended.Equal(at(7)) || i.Duration(at(99)) != 7*time.Minute {
		t.Errorf("it ended at %v after %v, want 7 minutes", i.Ended, i.Duration(at(99)))
	}
}

func TestOverrunIsNotedOnce(t *testing.T) {
	i, _ := incident.Incident{}.Step(facts("ff", 58), at(59))
	for minute := 60.0; minute < 180; minute++ {
		i, _ = i.Step(step{checks: "ff", since: 58, maintenance: true}.facts(), at(minute))
	}
	if i.Overran {
		t.Error("it has overrun maintenance that is under way")
	}
	over := step{checks: "ff", since: 58, ended: 180}.facts()
	i, changed := i.Step(over, at(180.1))
	last := i.Timeline[len(i.Timeline)-1]
	if !i.Overran || !changed || last.Kind != incident.Event || !last.At.Equal(at(180)) || !strings.Contains(last.Text, "maintenance is over") {
		t.Errorf("after maintenance: overran %v, changed %v, and last in the timeline %+v", i.Overran, changed, last)
	}
	if _, changed := i.Step(over, at(181)); changed {
		t.Error("and it changes again a minute later")
	}
}

func TestWebhooksEndWhenTheyWereProcessedAgain(t *testing.T) {
	i, _ := incident.Incident{}.Step(step{checks: "pp", webhooks: "f", webhooksSince: 1}.facts(), at(2))
	if want := "webhook processing: nothing is processed, since 2026-03-10 01:01:00 UTC"; i.Timeline[0].Text != want {
		t.Errorf("the timeline begins with %q, want %q", i.Timeline[0].Text, want)
	}
	i, _ = i.Step(step{checks: "pp", webhooks: "p", webhooksSince: 7}.facts(), at(8))
	if !i.Ended.Equal(at(7)) {
		t.Errorf("it ended at %v, want 7 minutes", i.Ended)
	}
}

func TestWorse(t *testing.T) {
	order := []incident.Level{incident.None, incident.OneFailing, incident.Webhooks, incident.Down}
	for a, l := range order {
		for b, m := range order {
			if l.WorseThan(m) != (a > b) {
				t.Errorf("%d worse than %d: %v", l, m, l.WorseThan(m))
			}
		}
	}
}

var fields = []string{"Subject", "Status", "Started", "Duration", "Exit Code", "Affected", "Symptoms", "Actions Taken", "Current Status", "Next Steps", "Impact"}

// filled fails for a field of the runbook's template that says nothing.
func filled(t *testing.T, text string, f incident.Format) {
	t.Helper()
	from := 0
	for n, name := range fields {
		if f == incident.Markdown {
			name = "**" + name + "**"
		}
		at := strings.Index(text[from:], name+":")
		if at < 0 {
			t.Fatalf("%s is missing, or out of order, in:\n%s", name, text)
		}
		from += at + len(name) + 1
		rest := text[from:]
		if n+1 < len(fields) {
			if end := strings.Index(rest, fields[n+1]); end >= 0 {
				rest = rest[:end]
			}
		}
		if len(strings.Trim(rest, " \n*-")) < 1 {
			t.Errorf("%s is empty in:\n%s", name, text)
		}
	}
}

func TestEscalation(t *testing.T) {
	var i incident.Incident
	write := func(f incident.Format, now float64) string {
		t.Helper()
		var b strings.Builder
		if err := i.WriteEscalation(&b, f, at(now), "https://status.example.com"); err != nil {
			t.Fatal(err)
		}
		filled(t, b.String(), f)
		return b.String()
	}
	expect := func(text string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%q is missing in:\n%s", want, text)
			}
		}
	}
	i, _ = i.Step(facts("pf", 0), at(1))
	expect(
		write(incident.Markdown, 16),
		"**Subject**: Chatwoot Health Check Failure - Level 1\n", "**Status**: ONGOING\n", "**Started**: 2026-03-10 01:00:00 UTC\n", "**Duration**: 16 minutes\n",
		"**Exit Code**: 3\n", "**Affected**: authenticated API\n", "\n**Symptoms**:\n- authenticated API: Failed with HTTP 503, since 2026-03-10 01:00:00 UTC\n",
		"\n**Actions Taken**:\n1. Each failing check was repeated", "should have been resolved within 15 minutes", "https://status.example.com",
		"\n**Impact**: Integrations cannot read Chatwoot",
	)
	for n, kind := range incident.Notes() {
		i.Timeline = append(i.Timeline, incident.Entry{At: at(2), Kind: kind, Text: "note " + string(kind)}, incident.Entry{At: at(float64(3 + n)), Kind: kind, Text: "newer " + string(kind)})
	}
	text := write(incident.Text, 2)
	expect(
		text, "Subject: Chatwoot Health Check Failure - Level 1\n", "3. note action\n4. newer action\n", "Current Status: newer status\n",
		"Next Steps:\n1. note next\n2. newer next\n", "Impact: newer impact\n",
	)
	if strings.Contains(text, "*") || strings.Contains(text, "note status") {
		t.Errorf("plain text has stars, or an old status:\n%s", text)
	}
	i, _ = i.Step(facts("pp", 4), at(5))
	i.Timeline = nil
	expect(write(incident.Text, 60), "Status: RESOLVED\n", "Duration: 4 minutes\n", "Nothing fails any more, since 2026-03-10 01:04:00 UTC")

	i, _ = incident.Incident{}.Step(facts("ff", 0), at(0.5))
	expect(write(incident.Markdown, 0.7), "**Duration**: less than a minute\n")
	i, _ = incident.Incident{}.Step(step{checks: "pp", webhooks: "f", webhooksSince: 0}.facts(), at(1))
	expect(write(incident.Markdown, 1), "**Duration**: 1 minute\n", "- webhook processing: nothing is processed, since")
}

func TestNotes(t *testing.T) {
	for _, tt := range []struct {
		entry incident.Entry
		want  string
	}{
		{incident.Entry{Kind: incident.Action, Text: "restarted Puma"}, ""},
		{incident.Entry{Kind: incident.Event, Text: "x"}, "no kind of note"},
		{incident.Entry{Kind: incident.Next, Text: "  "}, "--next is empty"},
		{incident.Entry{Kind: incident.Impact, Text: strings.Repeat("x", 2001)}, "longer than 2000"},
		{incident.Entry{Kind: incident.Status, Text: "one\ntwo"}, "line break"},
	} {
		err := incident.CheckNote(tt.entry)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %v, want %q", tt.entry, err, tt.want)
		}
	}
}
