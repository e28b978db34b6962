package checkup_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/checkup"
)

var at = time.Date(2026, 3, 10, 5, 0, 30, 0, time.FixedZone("", 3600))

func list(items ...checkup.Item) checkup.List {
	return checkup.New(checkup.ChecklistSchema, "Checklist after maintenance", at, items)
}

func written(t *testing.T, write func(*strings.Builder) error) string {
	t.Helper()
	var b strings.Builder
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var (
	good  = checkup.Item{Name: "health", Title: "Full health check", Verdict: checkup.OK, Evidence: "exit code 0 & <well>"}
	shaky = checkup.Item{Name: "latency", Title: "Response time", Verdict: checkup.Warning, Evidence: "900 ms", Fix: "Look at the queue."}
	bad   = checkup.Item{Name: "monitoring", Title: "SLA monitoring active", Verdict: checkup.Failed, Evidence: "not read yet", Fix: "Start it."}
	none  = checkup.Item{Name: "webhooks", Title: "Webhooks", Verdict: checkup.Skipped, Evidence: "not configured"}
)

func TestLists(t *testing.T) {
	for _, tt := range []struct {
		name       string
		list       checkup.List
		text, json string
	}{
		{
			"what works and may not always has passed", list(good, shaky, none),
			`Checklist after maintenance, 2026-03-10 04:00:30 UTC

✓ Full health check: exit code 0 & <well>
! Response time: 900 ms
    What to do: Look at the queue.
– Webhooks: not configured

Nothing failed.
`, `{
  "schema": "chatwoot-sla/checklist/v1",
  "title": "Checklist after maintenance",
  "at": "2026-03-10T04:00:30Z",
  "passed": true,
  "items": [
    {
      "name": "health",
      "title": "Full health check",
      "verdict": "ok",
      "evidence": "exit code 0 & <well>"
    },
    {
      "name": "latency",
      "title": "Response time",
      "verdict": "warning",
      "evidence": "900 ms",
      "fix": "Look at the queue."
    },
    {
      "name": "webhooks",
      "title": "Webhooks",
      "verdict": "skipped",
      "evidence": "not configured"
    }
  ]
}
`,
		},
		{
			"one item failed", list(bad),
			`Checklist after maintenance, 2026-03-10 04:00:30 UTC

✗ SLA monitoring active: not read yet
    What to do: Start it.

1 item failed.
`, `{
  "schema": "chatwoot-sla/checklist/v1",
  "title": "Checklist after maintenance",
  "at": "2026-03-10T04:00:30Z",
  "passed": false,
  "items": [
    {
      "name": "monitoring",
      "title": "SLA monitoring active",
      "verdict": "failed",
      "evidence": "not read yet",
      "fix": "Start it."
    }
  ]
}
`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := written(t, func(b *strings.Builder) error { return tt.list.WriteText(b, false) }); got != tt.text {
				t.Errorf("text:\n%s\nwant:\n%s", got, tt.text)
			}
			if got := written(t, func(b *strings.Builder) error { return tt.list.WriteJSON(b) }); got != tt.json {
				t.Errorf("JSON:\n%s\nwant:\n%s", got, tt.json)
			}
		})
	}
}

func TestFailuresAreCountedAndColoured(t *testing.T) {
	l := list(bad, good, bad)
	text := written(t, func(b *strings.Builder) error { return l.WriteText(b, true) })
	for _, want := range []string{"\n2 items failed.\n", "\x1b[31m✗\x1b[0m SLA", "\x1b[32m✓\x1b[0m Full"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q lacks %q", text, want)
		}
	}
	if got := strings.Join(l.Failed(), ","); got != "monitoring,monitoring" {
		t.Errorf("failed: %s", got)
	}
}

// An error that others wrote may have several lines, which would look like
// items of the list.
func TestEvidenceIsOneLine(t *testing.T) {
	item := checkup.Item{Title: "Database", Verdict: checkup.Failed, Evidence: "dial:\r\n✓ all is well\n", Fix: "Start it.\n\tThen wait."}
	items := []checkup.Item{item}
	l := list(items...)
	text := written(t, func(b *strings.Builder) error { return l.WriteText(b, false) })
	if want := "\n✗ Database: dial: ✓ all is well\n    What to do: Start it. Then wait.\n\n1 item"; !strings.Contains(text, want) {
		t.Errorf("%q lacks %q", text, want)
	}
	if items[0] != item {
		t.Errorf("the caller's item became %+v", items[0])
	}
}
