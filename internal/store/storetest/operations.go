package storetest

import (
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/incident"
	"github.com/hotdash/chatwoot-sla/internal/store"
)

// beside opens the database a second time, as a command does while the daemon
// has it.
func beside(t *testing.T, o store.Options) *store.Store {
	t.Helper()
	s, err := store.OpenBeside(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func maintenanceWindows(t *testing.T, o store.Options) {
	daemon := Open(t, o)
	command := beside(t, o)
	open := func(from, to time.Duration, reason string) int64 {
		t.Helper()
		id, err := command.OpenMaintenance(t.Context(), store.MaintenanceWindow{Start: Noon.Add(from), End: Noon.Add(to), Reason: reason})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	expect := func(after time.Time, want ...store.MaintenanceWindow) {
		t.Helper()
		got, err := daemon.MaintenanceWindows(t.Context(), after)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("windows after %v: %+v (%v), want %+v", after, got, err, want)
		}
	}
	upgrade := store.MaintenanceWindow{ID: open(0, 2*time.Hour, "upgrade to 4.15"), Start: Noon, End: Noon.Add(2 * time.Hour), Reason: "upgrade to 4.15"}
	tomorrow := store.MaintenanceWindow{ID: open(24*time.Hour, 25*time.Hour, "Postgres"), Start: Noon.Add(24 * time.Hour), End: Noon.Add(25 * time.Hour), Reason: "Postgres"}
	expect(Noon, upgrade, tomorrow)
	expect(Noon.Add(2*time.Hour), tomorrow)

	stopped, err := command.StopMaintenance(t.Context(), 0, Noon.Add(time.Hour))
	if err != nil || !slices.Equal(stopped, []store.MaintenanceWindow{upgrade}) {
		t.Errorf("stopped %+v (%v), want what was under way", stopped, err)
	}
	upgrade.End = Noon.Add(time.Hour)
	expect(Noon, upgrade, tomorrow)
	if stopped, err = command.StopMaintenance(t.Context(), 0, Noon.Add(time.Hour)); err != nil || len(stopped) > 0 {
		t.Errorf("stopped %+v (%v), and nothing was under way", stopped, err)
	}
	if stopped, err = command.StopMaintenance(t.Context(), tomorrow.ID, Noon.Add(time.Hour)); err != nil || len(stopped) != 1 {
		t.Errorf("stopped %+v (%v), want the one that was to come", stopped, err)
	}
	expect(Noon.Add(time.Hour))
}

func checklists(t *testing.T, o store.Options) {
	s := Open(t, o)
	window := Noon.Add(-2 * time.Hour)
	for _, baseline := range []string{`{"version":"4.14.0"}`, `{"version":"4.15.1"}`} {
		if err := s.NoteBaseline(t.Context(), window, baseline); err != nil {
			t.Fatal(err)
		}
	}
	ended := Noon
	claim := func(now time.Duration, want bool) {
		t.Helper()
		mine, err := s.ClaimChecklist(t.Context(), window, ended, Noon.Add(now), Noon.Add(now-5*time.Minute))
		if err != nil || mine != want {
			t.Errorf("claimed after %v: %v (%v), want %v", now, mine, err, want)
		}
	}
	expect := func(want store.Checklist) {
		t.Helper()
		got, err := s.Checklist(t.Context(), window)
		if err != nil || got != want {
			t.Errorf("checklist %+v (%v), want %+v", got, err, want)
		}
	}
	expect(store.Checklist{Baseline: `{"version":"4.14.0"}`})
	claim(0, true)
	claim(time.Minute, false)
	claim(6*time.Minute, true) // whoever had it is taken for dead
	if err := s.FinishChecklist(t.Context(), window, Noon.Add(7*time.Minute), "health,approvals"); err != nil {
		t.Fatal(err)
	}
	expect(store.Checklist{Baseline: `{"version":"4.14.0"}`, DoneAt: Noon.Add(7 * time.Minute), Failed: "health,approvals"})
	claim(time.Hour, false)

	ended = Noon.Add(8 * time.Minute) // the window went on after its checklist
	claim(9*time.Minute, true)
	claim(9*time.Minute, false)
	if err := s.FinishChecklist(t.Context(), window, Noon.Add(9*time.Minute), ""); err != nil {
		t.Fatal(err)
	}
	expect(store.Checklist{Baseline: `{"version":"4.14.0"}`, DoneAt: Noon.Add(9 * time.Minute)})
	claim(10*time.Minute, false)

	window = Noon // nobody saw it begin
	expect(store.Checklist{})
	claim(0, true)
	if err := s.FinishChecklist(t.Context(), window, Noon, ""); err != nil {
		t.Fatal(err)
	}
	expect(store.Checklist{DoneAt: Noon})
}

func outage() incident.Incident {
	return incident.Incident{
		Started: Noon, Level: incident.OneFailing, ExitCode: 3, Affected: []string{"authenticated API"}, FailingSince: Noon,
		Timeline: []incident.Entry{{At: Noon, Kind: incident.Symptom, Text: "authenticated API: Failed with HTTP 503"}},
	}
}

func save(t *testing.T, s *store.Store, i incident.Incident, from int) incident.Incident {
	t.Helper()
	saved, err := s.SaveIncident(t.Context(), i, from)
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

func incidents(t *testing.T, o store.Options) {
	s := Open(t, o)
	if i, err := s.OpenIncident(t.Context()); err != nil || i.Open() {
		t.Errorf("before any, %+v (%v) is under way", i, err)
	}
	first := save(t, s, outage(), 0)
	first.Level, first.ExitCode, first.Affected = incident.Down, 4, []string{"authenticated API", "platform health"}
	first.Timeline = append(first.Timeline, incident.Entry{At: Noon.Add(time.Minute), Kind: incident.Event, Text: "level 2"})
	first = save(t, s, first, 1)
	if got, err := s.OpenIncident(t.Context()); err != nil || !reflect.DeepEqual(got, first) {
		t.Errorf("under way is %+v (%v), want %+v", got, err, first)
	}

	note := incident.Entry{At: Noon.Add(2 * time.Minute), Kind: incident.Action, Text: "restarted Puma"}
	if id, err := beside(t, o).AddNote(t.Context(), 0, []incident.Entry{note}); err != nil || id != first.ID {
		t.Errorf("the note went to incident %d (%v), want %d", id, err, first.ID)
	}
	first.Ended, first.FailingSince = Noon.Add(10*time.Minute), time.Time{}
	first.Timeline = append(first.Timeline, incident.Entry{At: first.Ended, Kind: incident.Event, Text: "nothing fails"})
	first = save(t, s, first, 2)
	first.Timeline = slices.Insert(first.Timeline, 2, note)
	if got, err := s.Incident(t.Context(), first.ID); err != nil || !reflect.DeepEqual(got, first) {
		t.Errorf("kept is %+v (%v), want %+v", got, err, first)
	}

	late := outage()
	late.Started, late.Overran, late.Affected, late.FailingSince = Noon.Add(time.Hour), true, nil, time.Time{}
	late = save(t, s, late, 1)
	late.Timeline = nil
	if got, err := s.Incidents(t.Context(), 5); err != nil || !reflect.DeepEqual(got, []incident.Incident{late, first}) {
		t.Errorf("all are %+v (%v)", got, err)
	}
	if got, err := s.Incident(t.Context(), 99); err != nil || got.ID != 0 {
		t.Errorf("incident 99 is %+v (%v)", got, err)
	}
	if id, err := s.AddNote(t.Context(), 99, []incident.Entry{note}); err != nil || id != 0 {
		t.Errorf("a note to incident 99 went to %d (%v)", id, err)
	}
}

// However many processes see an outage, it is one.
func oneIncident(t *testing.T, o store.Options) {
	s := Open(t, o)
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		opened int
	)
	for range 8 {
		wg.Go(func() {
			_, err := s.SaveIncident(t.Context(), outage(), 0)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				opened++
			} else if !errors.Is(err, store.ErrChanged) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	all, err := s.Incidents(t.Context(), 10)
	if err != nil || len(all) != 1 || opened != 1 || len(all[0].Timeline) != 1 {
		t.Fatalf("%d were opened and are now %+v (%v), want one", opened, all, err)
	}

	mine, theirs := all[0], all[0]
	theirs.Level = incident.Down
	save(t, s, theirs, 1)
	mine.Ended = Noon.Add(time.Hour)
	if _, err := s.SaveIncident(t.Context(), mine, 1); !errors.Is(err, store.ErrChanged) {
		t.Errorf("what another had changed was overwritten (%v)", err)
	}
	if got, err := s.OpenIncident(t.Context()); err != nil || got.Level != incident.Down {
		t.Errorf("under way is %+v (%v)", got, err)
	}
}

func lastSuccesses(t *testing.T, o store.Options) {
	s := Open(t, o)
	at := func(d time.Duration, name string, success bool) store.Probe {
		return store.Probe{StartedAt: Noon.Add(d), Name: name, Success: success}
	}
	err := s.RecordProbes(t.Context(), []store.Probe{
		at(0, "rails_health", true), at(time.Minute, "rails_health", true), at(2*time.Minute, "rails_health", false), at(-time.Hour, "authenticated_api", true),
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.LastSuccesses(t.Context(), Noon.Add(-time.Minute))
	if err != nil || len(got) != 1 || !got["rails_health"].Equal(Noon.Add(time.Minute)) {
		t.Errorf("last successes %v (%v)", got, err)
	}
}
