package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/report"
	"github.com/hotdash/chatwoot-sla/internal/sla"
	"github.com/hotdash/chatwoot-sla/internal/store"
)

const (
	recordConversations = 100_000
	recordBatch         = 25 // a page of Chatwoot's list

	reportDays   = 30 // in the database
	reportPerDay = 10_000
	reportRounds = 5

	lockedScrapes = 200
	lockedRounds  = 5
)

// ledger measures what is written, what is read, and who waits for it.
func (b *bench) ledger(ctx context.Context) ([]row, error) {
	recorded, err := b.record(ctx)
	if err != nil {
		return nil, fmt.Errorf("record conversations: %w", err)
	}
	reported, err := b.report(ctx)
	if err != nil {
		return nil, fmt.Errorf("report a day: %w", err)
	}
	locked, err := b.scrapeLocked(ctx)
	if err != nil {
		return nil, fmt.Errorf("scrape beside a locked database: %w", err)
	}
	return append(recorded, reported, locked), nil
}

// openStore opens a new database as the daemon would, with its settings.
func (b *bench) openStore(ctx context.Context, name string) (*store.Store, config.Config, error) {
	cfg, err := settings("http://127.0.0.1:1", filepath.Join(b.dir, name))
	if err != nil {
		return nil, cfg, err
	}
	s, err := store.Open(ctx, store.Options{DataDir: cfg.DataDir, Account: store.Account{Host: cfg.BaseURL.Host, ID: cfg.AccountID}})
	return s, cfg, err
}

// record writes conversations that have ended, a page at a time, each page on
// disk before the next.
func (b *bench) record(ctx context.Context) (rows []row, err error) {
	s, _, err := b.openStore(ctx, "record")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	l, err := ledger.New(ledger.Options{Store: s, Now: b.now, Inboxes: func() []int64 { return nil }})
	if err != nil {
		return nil, err
	}
	start := b.now().Add(-24 * time.Hour)
	var early uint64
	var took, worst time.Duration
	for first := 1; first <= recordConversations; first += recordBatch {
		batch := make([]ledger.Observation, recordBatch)
		for i := range batch {
			batch[i] = answered(int64(first+i), start)
		}
		began := b.now()
		if err := l.Record(ctx, batch); err != nil {
			return nil, err
		}
		one := b.now().Sub(began)
		took += one
		worst = max(worst, one)
		if first+recordBatch > recordConversations/10 && early == 0 {
			early = inUse()
		}
	}
	late := inUse()
	runtime.KeepAlive(l)
	grown := float64(max(late, early)-early) / (recordConversations * 9 / 10)
	return []row{
		{
			what:     "100,000 conversations recorded on SQLite, each page of 25 on disk before the next",
			measured: fmt.Sprintf("%.1f s", took.Seconds()), target: "< 10 s", met: took < 10*time.Second,
			absolute: fmt.Sprintf("%s a page, the slowest %s", milliseconds(took/(recordConversations/recordBatch)), milliseconds(worst)),
		},
		{
			what:     "memory that the ledger holds for each of them, from the 10,000th to the last",
			measured: fmt.Sprintf("%.1f bytes", grown), target: "< 1 byte", met: grown < 1,
			absolute: fmt.Sprintf("%s in use after 10,000, %s after 100,000", mib(early), mib(late)),
		},
	}, nil
}

// answered is the end of a conversation: one in ten came too late.
func answered(id int64, start time.Time) ledger.Observation {
	start = start.Add(time.Duration(id) * 800 * time.Millisecond)
	took := time.Duration(id%27) * time.Minute
	if id%10 == 0 {
		took = 40 * time.Minute
	}
	return ledger.Observation{
		Conversation: id, Inbox: id % 20, Team: fmt.Sprintf("Team %d", id%5), Assignee: agentNames[id%3],
		Clock:  sla.Clock{State: sla.Answered, Start: start, Deadline: policy.Deadline(start), AnsweredAt: start.Add(took)},
		Status: ledger.Resolved, EndedAt: start.Add(took), ObservedAt: start.Add(time.Hour),
	}
}

// report times the report of a day, read from a month and written as HTML.
func (b *bench) report(ctx context.Context) (row, error) {
	s, cfg, err := b.openStore(ctx, "report")
	if err != nil {
		return row{}, err
	}
	today := b.now().UTC().Truncate(24 * time.Hour)
	if _, err := s.BeginLedger(ctx, today.AddDate(0, 0, -reportDays)); err != nil {
		return row{}, errors.Join(err, s.Close())
	}
	for day := range reportDays {
		batch := ledger.Batch{SyncedTo: today}
		for i := range reportPerDay {
			o := answered(int64(i+1), today.AddDate(0, 0, -day-1))
			d := ledger.Decide(o)
			batch.Put = append(batch.Put, ledger.Entry{
				Conversation: int64(day*reportPerDay + i + 1), Round: 1, Inbox: o.Inbox, Team: o.Team, Assignee: o.Assignee,
				Start: o.Clock.Start, Deadline: o.Clock.Deadline, FirstResponseAt: o.Clock.AnsweredAt,
				Outcome: d.Outcome, DecidedAt: d.At, ObservedAt: o.ObservedAt,
			})
		}
		if _, err := s.Write(ctx, batch); err != nil {
			return row{}, errors.Join(err, s.Close())
		}
	}
	if err := s.Close(); err != nil {
		return row{}, err
	}
	period := report.Period{From: today.AddDate(0, 0, -1), To: today}
	var times []time.Duration
	for range reportRounds {
		began := b.now()
		if err := app.Report(ctx, cfg, period, b.now(), report.HTML, io.Discard); err != nil {
			return row{}, err
		}
		times = append(times, b.now().Sub(began))
	}
	worst := slices.Max(times)
	return row{
		what:     "the report of a day with 10,000 decisions as HTML, the slowest of five",
		measured: milliseconds(worst), target: "< 1 s", met: worst < time.Second,
		absolute: fmt.Sprintf("median %s; the database opened, and the day before read for comparison, out of %d decisions", milliseconds(median(times)), reportDays*reportPerDay),
	}, nil
}

// scrapeLocked compares scrapes of a daemon that writes its database with those
// of one whose writes wait, because another program holds the file.
func (b *bench) scrapeLocked(ctx context.Context) (r row, err error) {
	sim := newSimulator(b.now)
	defer sim.Close()
	url, stop, err := serve(sim)
	if err != nil {
		return row{}, err
	}
	defer stop()
	sim.Fill(1000, b.now().Add(-time.Minute))
	cfg, err := settings(url, filepath.Join(b.dir, "locked"))
	if err != nil {
		return row{}, err
	}
	cfg.PollInterval = 5 * time.Second
	daemon, err := app.New(app.Options{Config: cfg, Version: "bench"})
	if err != nil {
		return row{}, err
	}
	running, cancel := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- daemon.Run(running) }()
	defer func() { cancel(); <-ran }()

	client := &http.Client{Timeout: 10 * time.Second}
	address := "http://" + daemon.Addr().String()
	const unwritten = "chatwoot_sla_ledger_unwritten_conversations"
	until := func(what string, ok func(series) bool) error {
		for {
			s, err := gather(ctx, client, address)
			if err != nil || ok(s) {
				return err
			}
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return errors.New(what + " does not happen in time")
			}
		}
	}
	scrapes := func() (times []time.Duration, err error) {
		for range lockedScrapes {
			began := b.now()
			if _, err := gather(ctx, client, address); err != nil {
				return nil, err
			}
			times = append(times, b.now().Sub(began))
		}
		return times, nil
	}
	other, err := sql.Open("sqlite", filepath.Join(cfg.DataDir, "chatwoot-sla.db")+"?_txlock=immediate")
	if err != nil {
		return row{}, err
	}
	defer func() { err = errors.Join(err, other.Close()) }()

	var idle, locked []time.Duration // medians of the rounds
	var slowest time.Duration
	for range lockedRounds {
		err := until("a database that has everything", func(s series) bool {
			return s.sum("chatwoot_sla_first_response_outcomes", `window="24h"`) > 0 && s[unwritten] == 0
		})
		if err != nil {
			return row{}, err
		}
		times, err := scrapes()
		if err != nil {
			return row{}, err
		}
		idle = append(idle, median(times))

		tx, err := other.BeginTx(ctx, nil)
		if err != nil {
			return row{}, err
		}
		answer(sim, b.now())
		err = until("a write that waits", func(s series) bool { return s[unwritten] > 0 })
		if err == nil {
			times, err = scrapes()
		}
		var still series
		if err == nil {
			still, err = gather(ctx, client, address)
		}
		if err = errors.Join(err, tx.Rollback()); err != nil {
			return row{}, err
		}
		if still[unwritten] == 0 {
			return row{}, errors.New("the writes did not wait")
		}
		locked = append(locked, median(times))
		slowest = max(slowest, slices.Max(times))
	}
	ratio := median(ratios(locked, idle))
	return row{
		what:     "scrape while the database is locked and writes wait for it, against one while it is not",
		measured: spread(ratios(locked, idle)), target: "≤ 1.2 ×", met: ratio <= 1.2,
		absolute: fmt.Sprintf("%d µs against %d µs, the slowest of %d %s", median(locked).Microseconds(), median(idle).Microseconds(),
			lockedRounds*lockedScrapes, milliseconds(slowest)),
	}, nil
}

// answer lets a customer come and be answered.
func answer(sim *chatwootsim.Server, now time.Time) {
	sim.AgentReplies(now, sim.CustomerOpens(now.Add(-time.Minute), sim.Inboxes()[0], ""))
}
