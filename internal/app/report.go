package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/health"
	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/maintenance"
	"github.com/hotdash/chatwoot-sla/internal/report"
	"github.com/hotdash/chatwoot-sla/internal/sla"
	"github.com/hotdash/chatwoot-sla/internal/store"
)

const (
	// settled is how long after midnight, after the start, and after Chatwoot
	// could be read again the report of the day before is written: by then what
	// its rows leave open has been looked up.
	settled = 5 * time.Minute

	// provisionalAfter is how long a report waits for what is missing of its day.
	// Then it is written as a provisional one, and again when all is known.
	provisionalAfter = 2 * time.Hour

	daysCaughtUp = 31 // whose evidence is written late, when it could not be in time
)

// Report writes the breach report of a period from the database, also while a
// daemon has it.
func Report(ctx context.Context, cfg config.Config, p report.Period, now time.Time, f report.Format, w io.Writer) error {
	return withDatabase(ctx, cfg, func(db *store.Reader) error {
		client, err := newClient(cfg, "report", func() time.Time { return now }, nil)
		if err != nil {
			return err
		}
		defer client.Close()
		promised, err := promisedTo(ctx, cfg, client, now)
		if err != nil {
			return err
		}
		made, err := makeReport(ctx, db, cfg, promised, client.ConversationURL, p, now)
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

// promisedTo returns what is owed in every inbox. It asks Chatwoot only when the
// inboxes have hours of their own there.
func promisedTo(ctx context.Context, cfg config.Config, client *chatwoot.Client, now time.Time) (sla.Promises, error) {
	var planned *maintenance.Schedule
	var err error
	if cfg.PauseDuringMaintenance {
		if planned, err = maintenance.New(cfg.MaintenanceRules, cfg.MaintenanceDuration); err != nil {
			return sla.Promises{}, fmt.Errorf("MAINTENANCE_RRULE cannot be used: %w", err)
		}
	}
	p, err := newPromiser(cfg, planned, zap.NewNop(), func() time.Time { return now })
	if err != nil {
		return sla.Promises{}, err
	}
	var inboxes []chatwoot.Inbox
	if cfg.BusinessHours.PerInbox() {
		if inboxes, err = client.Inboxes(ctx); err != nil {
			return sla.Promises{}, fmt.Errorf("%w: %w", errNoHours, err)
		}
	}
	return p.promises(inboxes), nil
}

var errNoHours = errors.New("SLA_BUSINESS_HOURS=chatwoot, and the hours of the inboxes have not been read from there; try again when Chatwoot answers")

// openTime returns what measures the time that counts; nil: all time does.
func openTime(promised sla.Promises) func(inbox int64, from, to time.Time) time.Duration {
	all := promised.Default.Calendar == nil
	for _, own := range promised.ByInbox {
		all = all && own.Calendar == nil
	}
	if all {
		return nil
	}
	return func(inbox int64, from, to time.Time) time.Duration {
		if hours := promised.For(inbox).Calendar; hours != nil {
			return hours.Open(from, to)
		}
		return max(to.Sub(from), 0)
	}
}

// makeReport reads what a report is made of.
func makeReport(ctx context.Context, db *store.Reader, cfg config.Config, promised sla.Promises, url func(int64) string, p report.Period, now time.Time) (*report.Report, error) {
	inboxes, err := db.Inboxes(ctx)
	if err != nil {
		return nil, err
	}
	o := report.Options{
		From: p.From, To: p.To, AsOf: now, Zone: cfg.ReportZone.Location,
		Promise: cfg.SLA, InboxPromises: cfg.InboxSLA, Inboxes: inboxes,
		ConversationURL: url, ProbeTitle: health.Title, Open: openTime(promised),
	}
	if o.KnownFrom, err = db.LedgerFrom(ctx); err != nil {
		return nil, err
	}
	if o.KnownFrom.IsZero() {
		o.KnownFrom = now // nothing has been read from Chatwoot yet
	}
	if o.KnownTo, err = db.SyncedTo(ctx); err != nil {
		return nil, err
	}
	if o.KnownTo.IsZero() {
		o.KnownTo = o.KnownFrom
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
	picture := a.monitor.Picture()
	if a.cfg.BusinessHours.PerInbox() && picture.Inboxes == nil {
		return nil, errNoHours
	}
	return makeReport(ctx, db.Reader, a.cfg, picture.Promises, a.client.ConversationURL, p, a.monitor.ServerNow())
}

// dailies writes the evidence of days that have ended, beside their health logs.
type dailies struct {
	*App
	began  time.Time
	caught time.Time // since when the ledger has been seen to have all of yesterday; zero: it has not
}

func (a *App) daily(ctx context.Context) error {
	d := dailies{App: a, began: a.now()}
	failing := false
	for {
		wait, err := d.write(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errNotOpen):
			wait = reopenInterval // it may be open in a moment
		case err != nil:
			wait = min(wait, 10*time.Minute)
		}
		if err != nil && !failing {
			a.log.Warn("not all daily reports are written; it is tried again", zap.Error(err))
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-a.after(wait):
		}
	}
}

// write writes what is missing of the last days and can be written now. It
// returns when to look again.
func (d *dailies) write(ctx context.Context) (wait time.Duration, err error) {
	now := d.now().In(d.cfg.ReportZone.Location)
	today, tomorrow := report.DayStart(now, 0), report.DayStart(now, 1)
	if due := latest(today, d.began).Add(settled); now.Before(due) {
		return due.Sub(now), nil
	}
	wait = tomorrow.Add(settled).Sub(now)
	db, err := d.books.store()
	if err != nil {
		return wait, err
	}
	from, err := db.LedgerFrom(ctx)
	if err != nil {
		return wait, err
	}
	syncedTo, err := db.SyncedTo(ctx)
	if err != nil {
		return wait, err
	}
	if syncedTo.Before(today) {
		d.caught = time.Time{}
	} else if d.caught.IsZero() {
		d.caught = now
	}
	var errs []error
	for i := daysCaughtUp; i > 0; i-- {
		p := report.Period{From: report.DayStart(now, -i), To: report.DayStart(now, 1-i)}
		errs = append(errs, d.writeReliability(ctx, db, p.From.Format(time.DateOnly)))
		if from.IsZero() || !p.To.After(from) {
			continue
		}
		final, err := d.writeReport(ctx, p, now)
		if !final {
			wait = min(wait, settled)
		}
		errs = append(errs, err)
	}
	return wait, errors.Join(errs...)
}

// reportName is what the files of a daily report are called, but for their
// extension.
const reportName = "sla-breach-report"

// writeReport writes the report of a day unless the final one is there, and
// returns whether it is.
func (d *dailies) writeReport(ctx context.Context, p report.Period, now time.Time) (final bool, err error) {
	day := p.From.Format(time.DateOnly)
	kept, err := d.evidence.Daily(day, reportName+report.JSON.Extension())
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return false, fmt.Errorf("report on %s: %w", day, err)
	case !report.IsProvisional(kept):
		return true, nil
	}
	made, err := d.made(ctx, p)
	if err != nil {
		return false, fmt.Errorf("report on %s: %w", day, err)
	}
	switch {
	case made.Provisional():
		if kept != nil || now.Before(latest(p.To, d.began).Add(provisionalAfter)) {
			d.log.Debug("the daily report waits for what happened on its day", zap.String("day", day), zap.String("says", made.Headline()))
			return false, nil
		}
	case d.caught.IsZero() || now.Sub(d.caught) < settled:
		return false, nil
	}
	// JSON comes last: it says that all of them are there.
	for _, f := range []report.Format{report.Markdown, report.CSV, report.HTML, report.JSON} {
		err := d.evidence.WriteDaily(day, reportName+f.Extension(), func(w io.Writer) error { return made.Write(w, f) })
		if err != nil {
			return false, err
		}
	}
	d.log.Info("daily report written", zap.String("day", day), zap.String("says", made.Headline()))
	return !made.Provisional(), nil
}
