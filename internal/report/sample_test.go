package report_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/report"
)

var berlin = zone("Europe/Berlin")

func zone(name string) *time.Location {
	z, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return z
}

// week is the period of most tests: seven days, Monday to Sunday.
func week() report.Options {
	return report.Options{
		From:    time.Date(2026, 11, 16, 0, 0, 0, 0, berlin),
		To:      time.Date(2026, 11, 23, 0, 0, 0, 0, berlin),
		AsOf:    time.Date(2026, 11, 23, 6, 0, 0, 0, berlin),
		Zone:    berlin,
		Promise: 30 * time.Minute,
	}
}

func newBuilder(t testing.TB, o report.Options) *report.Builder {
	t.Helper()
	b, err := report.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// reportOf returns the report of some entries.
func reportOf(t testing.TB, o report.Options, entries ...ledger.Entry) *report.Report {
	t.Helper()
	b := newBuilder(t, o)
	for _, e := range entries {
		b.Add(e)
	}
	return b.Report()
}

func write(t testing.TB, r *report.Report, f report.Format) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// answered returns a clock that started at start and was answered after took;
// half an hour was promised.
func answered(id int64, start time.Time, took time.Duration) ledger.Entry {
	return promised(30*time.Minute, id, start, took)
}

func promised(promise time.Duration, id int64, start time.Time, took time.Duration) ledger.Entry {
	e := ledger.Entry{
		Conversation: id, Round: 1, Inbox: 1, Start: start, Deadline: start.Add(promise),
		FirstResponseAt: start.Add(took), Outcome: ledger.Met, DecidedAt: start.Add(took),
	}
	if e.FirstResponseAt.After(e.Deadline) {
		e.Outcome, e.DecidedAt = ledger.Breached, e.Deadline
	}
	return e
}

// waiting returns a clock that breached and has no answer.
func waiting(id int64, start time.Time) ledger.Entry {
	e := answered(id, start, time.Hour)
	e.FirstResponseAt = time.Time{}
	return e
}

// excluded returns a clock whose conversation was closed in time without an
// answer.
func excluded(id int64, start time.Time) ledger.Entry {
	e := waiting(id, start)
	e.Outcome, e.DecidedAt, e.EndedAt = ledger.Excluded, start.Add(time.Minute), start.Add(time.Minute)
	return e
}

// many returns n clocks that started a minute apart, of which the first ones
// were late.
func many(n, late int, start time.Time) []ledger.Entry {
	entries := make([]ledger.Entry, n)
	for i := range entries {
		took := 5 * time.Minute
		if i < late {
			took = time.Hour
		}
		entries[i] = answered(int64(i+1), start.Add(time.Duration(i)*time.Minute), took)
	}
	return entries
}

// busyOptions are those of the golden files.
func busyOptions() report.Options {
	o := week()
	o.Inboxes = map[int64]string{1: "Website", 2: "E-mail", 3: "WhatsApp", 4: "Workshop hotline"}
	o.InboxPromises = map[int64]time.Duration{2: 2 * time.Hour, 4: 15 * time.Minute}
	o.Open = func(_ int64, from, to time.Time) time.Duration { return to.Sub(from) }
	o.BusinessHours = "Mon–Fri 08:00–18:00, Sat 09:00–13:00"
	o.ConversationURL = func(id int64) string {
		return fmt.Sprintf("https://chat.example.com/app/accounts/1/conversations/%d", id)
	}
	o.ProbeTitle = func(probe string) string {
		return map[string]string{"rails_health": "Platform health", "authenticated_api": "Authenticated API"}[probe]
	}
	return o
}

// busyWeek is a shop's week and the one before, the same in every run. perDay
// is the number of conversations on a working day.
func busyWeek(t testing.TB, perDay int) *report.Builder {
	t.Helper()
	o := busyOptions()
	b := newBuilder(t, o)
	rng := rand.New(rand.NewPCG(1, 2))
	teams := map[int64]string{1: "Sales", 2: "Sales", 3: "Parts", 4: ""}
	agents := []string{"Aylin Kaya", "Ben Ortiz", "Chiara Russo", "Dmitri Volkov", ""}
	id := int64(40_000)
	for day := b.Since(); day.Before(o.To); day = day.AddDate(0, 0, 1) {
		n := perDay
		if wd := day.Weekday(); wd == time.Saturday || wd == time.Sunday {
			n /= 6
		}
		slow := 8.0 // minutes, typically
		if day.Day() == 18 {
			slow = 14
		}
		for range n {
			id++
			hour := 8 + (rng.NormFloat64()*0.18+0.4)*10
			start := day.Add(time.Duration(max(hour, 0) * float64(time.Hour))).Truncate(time.Second)
			took := time.Duration(slow * (0.2 + rng.ExpFloat64()) * 0.8 * float64(time.Minute)).Truncate(time.Second)
			inbox := 1 + rng.Int64N(4)
			promise, ok := o.InboxPromises[inbox]
			if !ok {
				promise = o.Promise
			}
			e := promised(promise, id, start, took)
			switch n := rng.IntN(100); {
			case n < 4:
				e = excluded(id, start)
			case n == 4 && day.After(o.From):
				e = waiting(id, start)
				if id%2 == 0 {
					e.EndedAt = e.Deadline.Add(3 * time.Hour)
				}
			}
			e.Inbox, e.Team, e.Assignee = inbox, teams[inbox], agents[rng.IntN(len(agents))]
			b.Add(e)
		}
	}
	for i, from := range b.Days()[:14] {
		b.AddProbes(from, "rails_health", report.Probes{Success: 1440})
		api := report.Probes{Success: 1440}
		if i == 9 {
			api = report.Probes{Success: 1431, Failure: 9}
		}
		if i == 1 {
			api = report.Probes{Success: 1320, Maintenance: 120}
		}
		b.AddProbes(from, "authenticated_api", api)
	}
	return b
}
