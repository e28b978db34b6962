package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/health"
	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/report"
	"github.com/hotdash/chatwoot-sla/internal/store"
)

// settled is how long after midnight, and after the start, the report of the
// day before is written: by then what happened last has been looked up.
const settled = 5 * time.Minute

// Report writes the breach report of a period from the database, also while a
// daemon has it.
func Report(ctx context.Context, cfg config.Config, p report.Period, now time.Time, f report.Format, w io.Writer) error {
	return withDatabase(ctx, cfg, func(db *store.Reader) error {
		client, err := newClient(cfg, "report", func() time.Time { return now }, nil)
		if err != nil {
			return err
		}
		defer client.Close()
		made, err := makeReport(ctx, db, cfg, client.ConversationURL, p, now)
		if err != nil {
			return err
		}
		return made.Write(w, f)
	})
}

// Backup copies the database to a file, also while a daemon has it.
func Backup(ctx context.Context, cfg config.Config, file string) error {
	return withDatabase(ctx, cfg, func(db *store.Reader) error { return db.Backup(ctx, file) })
}

func withDatabase(ctx context.Context, cfg config.Config, use func(*store.Reader) error) (err error) {
	db, err := store.OpenReader(ctx, storeOptions(cfg, zap.NewNop(), nil))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return use(db)
}

// makeReport reads what a report is made of.
func makeReport(ctx context.Context, db *store.Reader, cfg config.Config, url func(int64) string, p report.Period, now time.Time) (*report.Report, error) {
	inboxes, err := db.Inboxes(ctx)
	if err != nil {
		return nil, err
	}
	o := report.Options{
		From: p.From, To: p.To, AsOf: now, Zone: cfg.ReportZone.Location,
		Promise: cfg.SLA, InboxPromises: cfg.InboxSLA, Inboxes: inboxes,
		ConversationURL: url, ProbeTitle: health.Title,
	}
	if o.KnownFrom, err = db.LedgerFrom(ctx); err != nil {
		return nil, err
	}
	if o.KnownFrom.IsZero() {
		o.KnownFrom = now // nothing has been read from Chatwoot yet
	}
	o.Pending.Running, o.Pending.Undecided, err = db.Undecided(ctx, p.From, p.To, now)
	if err != nil {
		return nil, err
	}
	if cfg.BusinessHours.PerInbox() || cfg.BusinessHours.Calendar() != nil {
		o.BusinessHours = cfg.BusinessHours.String()
	}
	b, err := report.New(o)
	if err != nil {
		return nil, err
	}
	err = db.Decided(ctx, b.Since(), p.To, func(e ledger.Entry) error {
		b.Add(e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	days := b.Days()
	counts, err := db.ProbeCounts(ctx, days)
	if err != nil {
		return nil, err
	}
	for i, day := range counts {
		for probe, n := range day {
			b.AddProbes(days[i], probe, report.Probes(n))
		}
	}
	return b.Report(), nil
}

// reportOn writes the report of a period from the open database.
func (a *App) reportOn(ctx context.Context, p report.Period, f report.Format, w io.Writer) error {
	made, err := a.made(ctx, p)
	if err != nil {
		return err
	}
	return made.Write(w, f)
}

func (a *App) made(ctx context.Context, p report.Period) (*report.Report, error) {
	db, err := a.books.store()
	if err != nil {
		return nil, err
	}
	return makeReport(ctx, db.Reader, a.cfg, a.client.ConversationURL, p, a.monitor.ServerNow())
}

// daily writes the report of each day that has ended, beside that day's health
// log. One that was written stays as it is.
func (a *App) daily(ctx context.Context) error {
	zone := a.cfg.ReportZone.Location
	failing, began := false, a.now()
	for {
		now := a.now().In(zone)
		midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, zone)
		wait := midnight.AddDate(0, 0, 1).Add(settled).Sub(now)
		if due := midnight.Add(settled); now.Before(due) {
			wait = due.Sub(now)
		} else if due := began.Add(settled); now.Before(due) {
			wait = due.Sub(now)
		} else if err := a.writeDaily(ctx, report.Period{From: midnight.AddDate(0, 0, -1), To: midnight}); err != nil && ctx.Err() == nil {
			if !failing {
				a.log.Warn("the daily report is not written; it is tried again", zap.Error(err))
			}
			failing, wait = true, min(wait, 10*time.Minute)
			if errors.Is(err, errNotOpen) {
				wait = reopenInterval // it may be open in a moment
			}
		} else {
			failing = false
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.after(wait):
		}
	}
}

// reportName is what the files of a daily report are called, but for their
// extension.
const reportName = "sla-breach-report"

func (a *App) writeDaily(ctx context.Context, p report.Period) error {
	day := p.From.Format(time.DateOnly)
	if err := a.writeReliability(ctx, day); err != nil {
		return err
	}
	if a.evidence.HasDaily(day, reportName+report.JSON.Extension()) {
		return nil
	}
	made, err := a.made(ctx, p)
	if err != nil {
		return fmt.Errorf("report on %s: %w", day, err)
	}
	// JSON comes last: it says that all of them are there.
	formats := []report.Format{report.Markdown, report.CSV, report.HTML, report.JSON}
	for f := range slices.Values(formats) {
		err := a.evidence.WriteDaily(day, reportName+f.Extension(), func(w io.Writer) error { return made.Write(w, f) })
		if err != nil {
			return err
		}
	}
	a.log.Info("daily report written", zap.String("day", day), zap.String("says", made.Headline()))
	return nil
}
