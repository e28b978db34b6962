package app

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/health"
	"github.com/hotdash/chatwoot-sla/internal/incident"
	"github.com/hotdash/chatwoot-sla/internal/store"
)

// Each process has evidence of its own, also of what it hears of from the
// database alone.
func TestEvidenceOfIncidentsThatOthersFollow(t *testing.T) {
	db, err := store.Open(t.Context(), store.Options{DataDir: t.TempDir(), Account: store.Account{Host: "example.com", ID: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	now := func() time.Time { return monday }
	evidence, err := health.NewEvidence(health.EvidenceOptions{Dir: dir, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	here := &incidents{db: func() (*store.Store, error) { return db, nil }, evidence: evidence, now: now}

	save := func(i incident.Incident) incident.Incident {
		t.Helper()
		saved, err := db.SaveIncident(t.Context(), i, 0)
		if err != nil {
			t.Fatal(err)
		}
		return saved
	}
	filed := func(want ...string) {
		t.Helper()
		here.reload(t.Context())
		files, err := filepath.Glob(filepath.Join(dir, health.IncidentFolder, "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			var doc incident.Document
			if err := json.Unmarshal(text, &doc); err != nil {
				t.Fatal(err)
			}
			got = append(got, doc.Status)
		}
		if !slices.Equal(got, want) {
			t.Errorf("filed are %q, want %q", got, want)
		}
	}
	filed()
	first := save(incident.Incident{Started: monday.Add(-time.Hour), Level: incident.Down})
	filed("ongoing")
	first.Ended = monday.Add(-time.Minute)
	save(first)
	second := save(incident.Incident{Started: monday.Add(-time.Second), Level: incident.OneFailing})
	filed("resolved", "ongoing")
	second.Ended = monday
	save(second)
	filed("resolved", "resolved")
	if i := here.Current(); i.ID != second.ID || i.Open() {
		t.Errorf("the last incident is %+v, want the second, which is over", i)
	}
}

// The queue says how it is, and this since when.
func TestSinceWhenWebhooksAreProcessed(t *testing.T) {
	var state incident.Check
	n := &incidents{queue: func() incident.Check { return state }}
	unknown := incident.Check{}
	fails, more, passes := incident.Check{Known: true, Problem: "51"}, incident.Check{Known: true, Problem: "52"}, incident.Check{Known: true, Passes: true}
	for minute, step := range []struct {
		state incident.Check
		since int
	}{{unknown, 0}, {unknown, 0}, {fails, 2}, {more, 2}, {passes, 4}, {passes, 4}, {fails, 6}, {unknown, 7}, {fails, 8}} {
		state = step.state
		got := n.processed(monday.Add(time.Duration(minute) * time.Minute))
		want := step.state
		want.Since = monday.Add(time.Duration(step.since) * time.Minute)
		if got != want {
			t.Errorf("in minute %d: %+v, want %+v", minute, got, want)
		}
	}
}
