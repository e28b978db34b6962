// Package storetest says what every engine of the store must do.
package storetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/store"
)

// Account is whose databases the tests make.
var Account = store.Account{Host: "support.example.com", ID: 1}

// Noon is when the tests play.
var Noon = time.Date(2026, 3, 2, 12, 0, 0, 123456000, time.UTC)

// Run holds an engine to the contract. Empty returns a database that does not
// exist yet, or is empty.
func Run(t *testing.T, empty func(testing.TB) store.Options) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T, store.Options)
	}{
		{"what is written is read again", readsWhatWasWritten},
		{"an outcome is never rewritten", outcomeIsFinal},
		{"a decided clock takes one late answer and one end", fillsOnce},
		{"a running clock is as last observed", runningFollows},
		{"only a running clock is removed", removesRunning},
		{"a batch is written whole or not at all", wholeBatch},
		{"the synced instant never goes back", syncedForward},
		{"the newest round of many conversations is found", newestOfMany},
		{"decided clocks come in order", decidedInOrder},
		{"undecided clocks are counted by deadline", undecided},
		{"windows are counted by inbox", tallies},
		{"health probes are counted by day and pruned", probes},
		{"hand-offs are kept", handoffs},
		{"inbox names are kept", inboxes},
		{"single values are kept", values},
		{"a delivery is kept once, with what belongs to it", deliveriesOnce},
		{"missing and old deliveries are known", missingDeliveries},
		{"counts of webhooks add up", webhookCounts},
		{"maintenance is opened and stopped beside a daemon", maintenanceWindows},
		{"a checklist is run once", checklists},
		{"incidents are kept with their timeline", incidents},
		{"an outage is one incident", oneIncident},
		{"the last good probe of any process is known", lastSuccesses},
		{"drafts are kept until their item is queued", draftsAreKept},
		{"an item is queued once", itemsAreQueuedOnce},
		{"items come by deadline and are counted by priority", itemsComeByDeadline},
		{"items come in pages", pagesOfApprovals},
		{"of many decisions one is taken", oneDecision},
		{"replies that may have been sent are settled", lostRepliesAreSettled},
		{"items are cancelled, expire, and are deleted", itemsEnd},
		{"what got stuck is deleted", stuckItemsEnd},
		{"a database opened again knows everything", opensAgain},
		{"a database of another account is refused", refusesAnotherAccount},
		{"a database of a newer program is refused", refusesNewerSchema},
		{"a reader needs a database", readerNeedsDatabase},
		{"a call that its caller gave up is not counted as an error", givenUp},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := empty(t)
			o.Account = Account
			tt.run(t, o)
		})
	}
}

// Open opens a database for a test.
func Open(t testing.TB, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), o)
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

func openAndClose(t *testing.T, o store.Options) {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Waiting returns a clock that runs since Noon.
func Waiting(conversation int64) ledger.Entry {
	return ledger.Entry{
		Conversation: conversation, Round: 1, Inbox: 5, Team: "billing", Assignee: "Ana",
		Start: Noon, Deadline: Noon.Add(30 * time.Minute), ObservedAt: Noon.Add(time.Minute),
	}
}

// Decided returns a clock with an outcome.
func Decided(conversation int64, o ledger.Outcome, at time.Time) ledger.Entry {
	e := Waiting(conversation)
	e.Outcome, e.DecidedAt = o, at
	if o == ledger.Met {
		e.FirstResponseAt = at
	}
	return e
}

func write(t *testing.T, s *store.Store, b ledger.Batch) []ledger.Key {
	t.Helper()
	written, err := s.Write(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return written
}

func newest(t *testing.T, s *store.Store, conversation int64) ledger.Entry {
	t.Helper()
	got, err := s.Newest(t.Context(), []int64{conversation})
	if err != nil {
		t.Fatal(err)
	}
	return got[conversation]
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\ngot  %+v\nwant %+v", what, got, want)
	}
}

func readsWhatWasWritten(t *testing.T, o store.Options) {
	s := Open(t, o)
	full := Decided(1, ledger.Breached, Noon.Add(30*time.Minute))
	full.FirstResponseAt, full.EndedAt = Noon.Add(time.Hour), Noon.Add(2*time.Hour)
	bare := ledger.Entry{Conversation: math.MaxInt64, Round: 1, Start: time.Unix(0, 0).UTC(), Deadline: Noon, ObservedAt: Noon}
	odd := Waiting(2)
	odd.Team, odd.Assignee = "O'Brien \"and\" $1; 日本語 🙂", "nul\x00 and \xff"
	written := write(t, s, ledger.Batch{Put: []ledger.Entry{full, odd, bare}})
	equal(t, "written", len(written), 3)

	odd.Assignee = "nul\uFFFD and \uFFFD" // what Postgres can keep
	for _, want := range []ledger.Entry{full, odd, bare} {
		equal(t, "entry", newest(t, s, want.Conversation), want)
	}
	running, err := s.Running(t.Context())
	if err != nil || !slices.Equal(running, []ledger.Entry{odd, bare}) {
		t.Errorf("Running() = %+v, %v", running, err)
	}
}

func undecided(t *testing.T, o store.Options) {
	s := Open(t, o)
	due := func(conversation int64, at time.Time) ledger.Entry {
		e := Waiting(conversation)
		e.Deadline = at
		return e
	}
	write(t, s, ledger.Batch{Put: []ledger.Entry{
		Decided(1, ledger.Breached, Noon.Add(time.Minute)),
		due(2, Noon.Add(-1*time.Microsecond)), due(3, Noon), due(4, Noon.Add(29*time.Minute)),
		due(5, Noon.Add(30*time.Minute)), due(6, Noon.Add(time.Hour)),
	}})
	for _, tt := range []struct {
		to, at          time.Duration
		running, passed int
	}{
		{time.Hour, 30 * time.Minute, 1, 2},
		{time.Hour, -time.Hour, 3, 0},
		{time.Hour, 24 * time.Hour, 0, 3},
		{0, 0, 0, 0},
	} {
		running, passed, err := s.Undecided(t.Context(), Noon, Noon.Add(tt.to), Noon.Add(tt.at))
		if err != nil || running != tt.running || passed != tt.passed {
			t.Errorf("to %v, at %v: %d and %d (%v), want %d and %d", tt.to, tt.at, running, passed, err, tt.running, tt.passed)
		}
	}
}

func outcomeIsFinal(t *testing.T, o store.Options) {
	s := Open(t, o)
	met := Decided(1, ledger.Met, Noon.Add(time.Minute))
	write(t, s, ledger.Batch{Put: []ledger.Entry{met}})
	later := Decided(1, ledger.Breached, Noon.Add(30*time.Minute))
	later.Inbox, later.Start, later.ObservedAt = 6, Noon.Add(-time.Hour), Noon.Add(24*time.Hour)
	again := Waiting(1)
	again.ObservedAt = Noon.Add(48 * time.Hour)
	for _, e := range []ledger.Entry{met, later, again} {
		if written := write(t, s, ledger.Batch{Put: []ledger.Entry{e}}); len(written) > 0 {
			t.Errorf("%q was written over an outcome", e.Outcome)
		}
		equal(t, "entry", newest(t, s, 1), met)
	}
}

func fillsOnce(t *testing.T, o store.Options) {
	s := Open(t, o)
	breached := Decided(1, ledger.Breached, Noon.Add(30*time.Minute))
	write(t, s, ledger.Batch{Put: []ledger.Entry{breached}})

	ended := breached
	ended.EndedAt, ended.Inbox = Noon.Add(time.Hour), 99
	answered := ended
	answered.FirstResponseAt, answered.EndedAt = Noon.Add(2*time.Hour), Noon.Add(3*time.Hour)
	want := breached
	want.EndedAt = ended.EndedAt
	equal(t, "written", len(write(t, s, ledger.Batch{Fill: []ledger.Entry{ended}})), 1)
	equal(t, "ended", newest(t, s, 1), want)
	want.FirstResponseAt = answered.FirstResponseAt
	equal(t, "written", len(write(t, s, ledger.Batch{Fill: []ledger.Entry{answered}})), 1)
	equal(t, "answered", newest(t, s, 1), want)
	answered.FirstResponseAt = Noon.Add(5 * time.Hour)
	equal(t, "written", len(write(t, s, ledger.Batch{Fill: []ledger.Entry{answered}})), 0)
	equal(t, "answered once", newest(t, s, 1), want)

	// What is new is taken, and what is known stays, in one.
	late := Decided(2, ledger.Breached, Noon.Add(30*time.Minute))
	late.FirstResponseAt = Noon.Add(time.Hour)
	write(t, s, ledger.Batch{Put: []ledger.Entry{late}})
	both := late
	both.FirstResponseAt, both.EndedAt = Noon.Add(2*time.Hour), Noon.Add(3*time.Hour)
	write(t, s, ledger.Batch{Fill: []ledger.Entry{both}})
	late.EndedAt = both.EndedAt
	equal(t, "ended after the answer", newest(t, s, 2), late)
}

func runningFollows(t *testing.T, o store.Options) {
	s := Open(t, o)
	first, moved, stale := Waiting(1), Waiting(1), Waiting(1)
	moved.Start, moved.Deadline, moved.Assignee, moved.Inbox = Noon.Add(time.Minute), Noon.Add(31*time.Minute), "Ben", 6
	moved.ObservedAt = Noon.Add(2 * time.Minute)
	write(t, s, ledger.Batch{Put: []ledger.Entry{first}})
	equal(t, "written", len(write(t, s, ledger.Batch{Put: []ledger.Entry{moved}})), 1)
	equal(t, "written", len(write(t, s, ledger.Batch{Put: []ledger.Entry{stale}})), 0)
	equal(t, "newest observation", newest(t, s, 1), moved)

	// An outcome is a fact, however late it arrives.
	met := Decided(1, ledger.Met, Noon.Add(30*time.Second))
	equal(t, "written", len(write(t, s, ledger.Batch{Put: []ledger.Entry{met}})), 1)
	equal(t, "outcome", newest(t, s, 1), met)
}

func removesRunning(t *testing.T, o store.Options) {
	s := Open(t, o)
	running, newer, decided := Waiting(1), Waiting(2), Decided(3, ledger.Met, Noon)
	newer.ObservedAt = Noon.Add(time.Hour)
	write(t, s, ledger.Batch{Put: []ledger.Entry{running, newer, decided}})
	stale := Waiting(2)
	write(t, s, ledger.Batch{Remove: []ledger.Entry{running, stale, decided}})
	equal(t, "running", newest(t, s, 1), ledger.Entry{})
	equal(t, "seen again since", newest(t, s, 2), newer)
	equal(t, "decided", newest(t, s, 3), decided)
}

func wholeBatch(t *testing.T, o store.Options) {
	s := Open(t, o)
	good, bad := Waiting(1), Waiting(2)
	bad.Outcome, bad.DecidedAt = "nonsense", Noon
	if _, err := s.Write(t.Context(), ledger.Batch{Put: []ledger.Entry{good}, Fill: []ledger.Entry{bad}, SyncedTo: Noon}); err == nil {
		t.Fatal("an outcome that does not exist was written")
	}
	equal(t, "entry of a batch that failed", newest(t, s, 1), ledger.Entry{})
	if at, err := s.SyncedTo(t.Context()); err != nil || !at.IsZero() {
		t.Errorf("SyncedTo() = %v, %v", at, err)
	}
}

func syncedForward(t *testing.T, o store.Options) {
	s := Open(t, o)
	for _, step := range []struct{ given, want time.Time }{
		{time.Time{}, time.Time{}},
		{Noon, Noon},
		{Noon.Add(-time.Hour), Noon},
		{Noon.Add(time.Microsecond), Noon.Add(time.Microsecond)},
	} {
		write(t, s, ledger.Batch{SyncedTo: step.given})
		if at, err := s.SyncedTo(t.Context()); err != nil || !at.Equal(step.want) {
			t.Errorf("after %v: SyncedTo() = %v, %v, want %v", step.given, at, err, step.want)
		}
	}
}

func newestOfMany(t *testing.T, o store.Options) {
	s := Open(t, o)
	const many = 1201 // more than one statement carries
	var (
		put []ledger.Entry
		ids []int64
	)
	for id := int64(1); id <= many; id++ {
		ids = append(ids, id)
		if id%2 == 0 {
			continue // Chatwoot has it and the ledger does not
		}
		first, second := Decided(id, ledger.Excluded, Noon), Waiting(id)
		second.Round = 2
		put = append(put, first, second)
	}
	equal(t, "written", len(write(t, s, ledger.Batch{Put: put})), len(put))
	got, err := s.Newest(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "conversations found", len(got), (many+1)/2)
	for id, e := range got {
		if e.Conversation != id || e.Round != 2 {
			t.Fatalf("newest of %d is %+v", id, e)
		}
	}
}

func decidedInOrder(t *testing.T, o store.Options) {
	s := Open(t, o)
	write(t, s, ledger.Batch{Put: []ledger.Entry{
		Decided(1, ledger.Met, Noon.Add(2*time.Minute)),
		Decided(2, ledger.Excluded, Noon),
		Decided(3, ledger.Breached, Noon.Add(time.Minute)),
		Decided(4, ledger.Met, Noon.Add(-time.Microsecond)),
		Decided(5, ledger.Met, Noon.Add(time.Hour)),
		Decided(6, ledger.Met, Noon),
		Waiting(7),
	}})
	var got []int64
	err := s.Decided(t.Context(), Noon, Noon.Add(time.Hour), func(e ledger.Entry) error {
		got = append(got, e.Conversation)
		return nil
	})
	if want := []int64{2, 6, 3, 1}; err != nil || !slices.Equal(got, want) {
		t.Errorf("Decided() gave %v, %v, want %v", got, err, want)
	}

	enough := errors.New("enough")
	calls := 0
	if err := s.Decided(t.Context(), Noon, Noon.Add(time.Hour), func(ledger.Entry) error { calls++; return enough }); !errors.Is(err, enough) || calls != 1 {
		t.Errorf("Decided() called %d times and returned %v", calls, err)
	}
}

func tallies(t *testing.T, o store.Options) {
	s := Open(t, o)
	since := []time.Time{Noon.Add(-time.Hour), Noon.Add(-24 * time.Hour)}
	if got, err := s.Tallies(t.Context(), since); err != nil || len(got) != 2 || len(got[0])+len(got[1]) != 0 {
		t.Errorf("of an empty ledger: %v, %v", got, err)
	}
	elsewhere := Decided(5, ledger.Breached, Noon.Add(-2*time.Hour))
	elsewhere.Inbox = 9
	write(t, s, ledger.Batch{Put: []ledger.Entry{
		Decided(1, ledger.Met, Noon),
		Decided(2, ledger.Met, Noon.Add(-time.Hour)), // not in the last hour: it is that old
		Decided(3, ledger.Breached, Noon.Add(-time.Minute)),
		Decided(4, ledger.Excluded, Noon.Add(-23*time.Hour)),
		elsewhere,
		Decided(6, ledger.Breached, Noon.Add(-25*time.Hour)),
		Waiting(7),
	}})
	got, err := s.Tallies(t.Context(), since)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []map[int64]ledger.Tally{
		{5: {Met: 1, Breached: 1}},
		{5: {Met: 2, Breached: 1, Excluded: 1}, 9: {Breached: 1}},
	} {
		if !maps.Equal(got[i], want) {
			t.Errorf("since %v: got %v, want %v", since[i], got[i], want)
		}
	}
	if got, err := s.Tallies(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("of no window: %v, %v", got, err)
	}
}

func probes(t *testing.T, o store.Options) {
	s := Open(t, o)
	day := 24 * time.Hour
	batch := []store.Probe{
		{StartedAt: Noon, Name: "rails_health", Success: true, Duration: 40 * time.Millisecond},
		{StartedAt: Noon, Name: "authenticated_api", Duration: 10 * time.Second, Reason: "timeout"},
		{StartedAt: Noon.Add(time.Minute), Name: "rails_health", Reason: "dns"},
		{StartedAt: Noon.Add(2 * time.Minute), Name: "rails_health", Reason: "http_status", Maintenance: true},
		{StartedAt: Noon.Add(3 * time.Minute), Name: "rails_health", Success: true, Maintenance: true},
		{StartedAt: Noon.Add(day), Name: "rails_health", Success: true},
	}
	for range 2 { // again, as after an answer that was lost
		if err := s.RecordProbes(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	count := func() []map[string]store.ProbeCounts {
		got, err := s.ProbeCounts(t.Context(), []time.Time{Noon.Add(-day), Noon, Noon.Add(day), Noon.Add(2 * day)})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for i, want := range []map[string]store.ProbeCounts{
		{},
		{"rails_health": {Success: 1, Failure: 1, Maintenance: 2}, "authenticated_api": {Failure: 1}},
		{"rails_health": {Success: 1}},
	} {
		if got := count()[i]; !maps.Equal(got, want) {
			t.Errorf("day %d: got %v, want %v", i, got, want)
		}
	}
	for _, bad := range [][]time.Time{nil, {Noon}, {Noon, Noon.Add(-1)}} {
		if _, err := s.ProbeCounts(t.Context(), bad); err == nil {
			t.Errorf("ProbeCounts(%v) is no error", bad)
		}
	}
	if n, err := s.PruneProbes(t.Context(), Noon.Add(day)); err != nil || n != 5 {
		t.Errorf("PruneProbes() = %d, %v, want 5", n, err)
	}
	equal(t, "probes left of the first day", len(count()[1]), 0)
	equal(t, "probes left of the second", count()[2]["rails_health"], store.ProbeCounts{Success: 1})
}

func handoffs(t *testing.T, o store.Options) {
	s := Open(t, o)
	save := func(keep []store.Handoff, forget ...int64) {
		t.Helper()
		if err := s.SaveHandoffs(t.Context(), keep, forget); err != nil {
			t.Fatal(err)
		}
	}
	born := store.Handoff{Conversation: 1, PendingAt: Noon, BornPending: true}
	handed := store.Handoff{Conversation: 2, HandedAt: Noon.Add(time.Minute)}
	save([]store.Handoff{handed, {Conversation: 1}, born, {Conversation: 3, PendingAt: Noon}})
	moved := handed
	moved.HandedAt, moved.PendingAt, moved.BornPending = Noon.Add(time.Hour), Noon.Add(2*time.Hour), true
	save([]store.Handoff{moved}, 3, 4)

	want := moved
	want.HandedAt, want.BornPending = handed.HandedAt, false
	got, err := s.Handoffs(t.Context())
	if err != nil || !slices.Equal(got, []store.Handoff{born, want}) {
		t.Errorf("Handoffs() = %+v, %v, want %+v", got, err, []store.Handoff{born, want})
	}
}

func inboxes(t *testing.T, o store.Options) {
	s := Open(t, o)
	for _, names := range []map[int64]string{{1: "Web", 2: "E-mail"}, {2: "Post 📮", 3: "\x00"}, {}} {
		if err := s.SaveInboxes(t.Context(), names); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Inboxes(t.Context())
	if want := map[int64]string{1: "Web", 2: "Post 📮", 3: "\uFFFD"}; err != nil || !maps.Equal(got, want) {
		t.Errorf("Inboxes() = %v, %v, want %v", got, err, want)
	}
}

func values(t *testing.T, o store.Options) {
	s := Open(t, o)
	if at, err := s.LedgerFrom(t.Context()); err != nil || !at.IsZero() {
		t.Errorf("LedgerFrom() = %v, %v before it began", at, err)
	}
	for _, at := range []time.Time{Noon, Noon.Add(-time.Hour), Noon.Add(time.Hour)} {
		if from, err := s.BeginLedger(t.Context(), at); err != nil || !from.Equal(Noon) {
			t.Errorf("BeginLedger(%v) = %v, %v", at, from, err)
		}
	}
	for _, token := range []string{"", "first", "second"} {
		if err := s.SaveWidgetSession(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		if got, err := s.WidgetSession(t.Context()); err != nil || got != token {
			t.Errorf("WidgetSession() = %q, %v, want %q", got, err, token)
		}
	}
}

func opensAgain(t *testing.T, o store.Options) {
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	want := Decided(1, ledger.Met, Noon)
	write(t, s, ledger.Batch{Put: []ledger.Entry{want}, SyncedTo: Noon})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := Open(t, o)
	equal(t, "entry", newest(t, again, 1), want)

	r, err := store.OpenReader(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	write(t, again, ledger.Batch{SyncedTo: Noon.Add(time.Hour)})
	if at, err := r.SyncedTo(t.Context()); err != nil || !at.Equal(Noon.Add(time.Hour)) {
		t.Errorf("beside the daemon: SyncedTo() = %v, %v", at, err)
	}
}

func refusesAnotherAccount(t *testing.T, o store.Options) {
	openAndClose(t, o)
	o.Account.Host = "Support.Example.Com" // the same: DNS knows no case
	openAndClose(t, o)
	for _, other := range []store.Account{{Host: Account.Host, ID: 2}, {Host: "help.example.com", ID: 1}} {
		o.Account = other
		_, err := store.Open(t.Context(), o)
		wantWords(t, err, Account.String(), other.String(), "UPDATE ")
		_, err = store.OpenReader(t.Context(), o)
		wantWords(t, err, Account.String(), other.String())
	}

	// The advice works.
	o.Account = store.Account{Host: "o'brien.example.com", ID: 1}
	_, err := store.Open(t.Context(), o)
	_, advice, _ := strings.Cut(err.Error(), "the database: UPDATE ")
	if _, err := raw(t, o).ExecContext(t.Context(), "UPDATE "+advice); err != nil {
		t.Fatal(err)
	}
	Open(t, o)
	o.Account = store.Account{}
	r, err := store.OpenReader(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func refusesNewerSchema(t *testing.T, o store.Options) {
	openAndClose(t, o)
	table := "schema_version"
	if o.DatabaseURL != "" {
		table = "chatwoot_sla." + table
	}
	if _, err := raw(t, o).ExecContext(t.Context(), "INSERT INTO "+table+" (version_id, is_applied) VALUES (9001, true)"); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(t.Context(), o)
	wantWords(t, err, "9001", "newer chatwoot-sla", "upgrade")
	_, err = store.OpenReader(t.Context(), o)
	wantWords(t, err, "9001", "newer chatwoot-sla", "upgrade")
}

func readerNeedsDatabase(t *testing.T, o store.Options) {
	_, err := store.OpenReader(t.Context(), o)
	wantWords(t, err, "no database yet", "start the daemon once")
}

func givenUp(t *testing.T, o store.Options) {
	reg := prometheus.NewPedanticRegistry()
	o.Registerer = reg
	s := Open(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Running(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Running() = %v", err)
	}
	if n := Errors(t, reg, "ledger_read"); n != 0 {
		t.Errorf("%v errors are counted", n)
	}
	if _, err := s.Write(t.Context(), ledger.Batch{Put: []ledger.Entry{{Outcome: "nonsense"}}}); err == nil {
		t.Error("an outcome that does not exist was written")
	}
	if n := Errors(t, reg, "ledger_write"); n != 1 {
		t.Errorf("%v errors are counted for one that happened", n)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

// Errors returns the value of store_errors_total for an operation.
func Errors(t *testing.T, g prometheus.Gatherer, operation string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == operation {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("there is no series for %s", operation)
	return 0
}

// raw opens a database behind the store's back.
func raw(t *testing.T, o store.Options) *sql.DB {
	t.Helper()
	driver, source := "sqlite", filepath.Join(o.DataDir, "chatwoot-sla.db")
	if o.DatabaseURL != "" {
		driver, source = "pgx", o.DatabaseURL
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func wantWords(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(fmt.Sprint(err), w) {
			t.Errorf("the error does not say %q: %v", w, err)
		}
	}
}
