package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/incident"
	"github.com/hotdash/chatwoot-sla/internal/maintenance"
	"github.com/hotdash/chatwoot-sla/internal/store"
)

// What people do by hand goes straight into the database: the daemon looks
// there every few seconds, and whether it runs makes no difference. Both
// engines take a second writer for so little.

func byHand(ctx context.Context, cfg config.Config, do func(*store.Store) error) (err error) {
	db, err := store.OpenBeside(ctx, storeOptions(cfg, zap.NewNop(), nil))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return do(db)
}

// longestWindow is more than any maintenance takes. Nobody is paged in it, so a
// slip of the keyboard must not open one for years.
const longestWindow = 7 * 24 * time.Hour

// MaintenanceWindow is one that is opened by hand.
type MaintenanceWindow = store.MaintenanceWindow

// shortly is how long ago a window may begin: a time is typed to the minute.
const shortly = time.Minute

// StartMaintenance opens a window. It cannot begin in the past, as what was
// recorded and who was paged then would not be undone.
func StartMaintenance(ctx context.Context, cfg config.Config, w MaintenanceWindow, now time.Time) (MaintenanceWindow, error) {
	switch length := w.End.Sub(w.Start); {
	case length < time.Minute || length > longestWindow:
		return w, fmt.Errorf("maintenance of %v is out of range; use a minute to seven days", length)
	case !w.End.After(now):
		return w, fmt.Errorf("maintenance until %s is over already; use a time to come", w.End.UTC().Format(time.RFC3339))
	case w.Start.Before(now.Add(-shortly)):
		return w, fmt.Errorf("maintenance cannot begin in the past, at %s: what failed since then counts already; leave out the time to begin now", w.Start.UTC().Format(time.RFC3339))
	case w.Start.After(now.AddDate(1, 0, 0)):
		return w, fmt.Errorf("maintenance at %s is more than a year away; use a rule in MAINTENANCE_RRULE", w.Start.UTC().Format(time.RFC3339))
	case w.Reason == "":
		return w, errors.New("a reason is required, which people will see on the board")
	}
	err := byHand(ctx, cfg, func(db *store.Store) error {
		id, err := db.OpenMaintenance(ctx, w)
		w.ID = id
		return err
	})
	return w, err
}

// StopMaintenance ends the window with an id, or for 0 those that were opened
// by hand and are under way, and returns them as they were. Until is when
// maintenance ends that goes on all the same; zero: none does.
func StopMaintenance(ctx context.Context, cfg config.Config, id int64, now time.Time) (stopped []MaintenanceWindow, until time.Time, err error) {
	planned, err := maintenance.New(cfg.MaintenanceRules, cfg.MaintenanceDuration)
	if err != nil {
		return nil, until, err
	}
	err = byHand(ctx, cfg, func(db *store.Store) error {
		if stopped, err = db.StopMaintenance(ctx, id, now); err != nil {
			return err
		}
		w, err := lastWindow(ctx, db.Reader, planned, now)
		if now.Before(w.End) {
			until = w.End
		}
		return err
	})
	if err != nil || len(stopped) > 0 {
		return stopped, until, err
	}
	if id != 0 {
		return nil, until, fmt.Errorf("there is no window %d that is under way or to come; chatwoot-sla maintenance list shows them", id)
	}
	if w, ok := planned.Active(now); ok {
		return nil, until, fmt.Errorf("this maintenance is that of MAINTENANCE_RRULE, until %s: it ends by itself, or with another rule and a restart", w.End.Format("15:04 UTC"))
	}
	return nil, until, errors.New("no maintenance is under way; chatwoot-sla maintenance list shows what is to come")
}

// PlannedWindow is a window of the list. Those of MAINTENANCE_RRULE have no id.
type PlannedWindow struct {
	ID     int64     `json:"id,omitempty"`
	Start  time.Time `json:"start"`
	End    time.Time `json:"end"`
	Active bool      `json:"active"`
	Reason string    `json:"reason"`
}

// ListMaintenance returns what is under way and to come, with the next few
// windows of MAINTENANCE_RRULE. Before the daemon has made its database, those
// are all there are.
func ListMaintenance(ctx context.Context, cfg config.Config, now time.Time) ([]PlannedWindow, error) {
	const few = 3
	planned, err := maintenance.New(cfg.MaintenanceRules, cfg.MaintenanceDuration)
	if err != nil {
		return nil, err
	}
	var list []PlannedWindow
	add := func(id int64, start, end time.Time, reason string) {
		list = append(list, PlannedWindow{ID: id, Start: start, End: end, Active: !now.Before(start) && now.Before(end), Reason: reason})
	}
	for at := now; len(list) < few; {
		w, ok := planned.Ending(at)
		if !ok {
			break
		}
		add(0, w.Start, w.End, "MAINTENANCE_RRULE")
		at = w.End
	}
	err = withDatabase(ctx, cfg, func(db *store.Reader) error {
		single, err := db.MaintenanceWindows(ctx, now)
		for _, w := range single {
			add(w.ID, w.Start, w.End, w.Reason)
		}
		return err
	})
	if errors.Is(err, store.ErrNoDatabase) {
		err = nil
	}
	slices.SortStableFunc(list, func(a, b PlannedWindow) int { return a.Start.Compare(b.Start) })
	return list, err
}

// AddNotes adds to an incident what somebody knows of it; an id of 0 is the
// newest. It returns the incident with them.
func AddNotes(ctx context.Context, cfg config.Config, id int64, notes []incident.Entry) (i incident.Incident, err error) {
	for _, n := range notes {
		if err := incident.CheckNote(n); err != nil {
			return i, err
		}
	}
	err = byHand(ctx, cfg, func(db *store.Store) error {
		found, err := db.AddNote(ctx, id, notes)
		switch {
		case err != nil:
			return err
		case found == 0:
			return noIncident(id)
		}
		i, err = db.Incident(ctx, found)
		return err
	})
	return i, err
}

// Incident returns the incident with an id, or for 0 the newest.
func Incident(ctx context.Context, cfg config.Config, id int64) (i incident.Incident, err error) {
	err = withDatabase(ctx, cfg, func(db *store.Reader) error {
		i, err = db.Incident(ctx, id)
		if err == nil && i.ID == 0 {
			err = noIncident(id)
		}
		return err
	})
	return i, err
}

// Incidents returns the newest incidents, the last one first.
func Incidents(ctx context.Context, cfg config.Config, limit int) (list []incident.Incident, err error) {
	err = withDatabase(ctx, cfg, func(db *store.Reader) error {
		list, err = db.Incidents(ctx, limit)
		return err
	})
	return list, err
}

func noIncident(id int64) error {
	if id == 0 {
		return errors.New("there has been no incident yet")
	}
	return fmt.Errorf("there is no incident %d; chatwoot-sla incident list shows those that there are", id)
}
