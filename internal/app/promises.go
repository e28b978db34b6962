package app

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/calendar"
	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/maintenance"
	"github.com/hotdash/chatwoot-sla/internal/sla"
)

// promiser makes promises of the settings, and of what Chatwoot says of its
// inboxes. It is not safe for concurrent use.
type promiser struct {
	cfg    config.Config
	pauses calendar.Pauses // nil: none
	log    *zap.Logger
	now    func() time.Time
	warned map[int64]string // the last warning about each inbox
}

// newPromiser returns a promiser, or why no deadline would ever come.
func newPromiser(cfg config.Config, planned *maintenance.Schedule, log *zap.Logger, now func() time.Time) (*promiser, error) {
	p := &promiser{cfg: cfg, log: log, now: now, warned: map[int64]string{}}
	if cfg.PauseDuringMaintenance {
		p.pauses = func(t time.Time) (from, to time.Time, ok bool) {
			w, ok := planned.Ending(t)
			return w.Start, w.End, ok
		}
	}
	if _, err := p.counting(cfg.BusinessHours.Calendar()); err != nil {
		return nil, fmt.Errorf("SLA_BUSINESS_HOURS %q cannot be used: %w", cfg.BusinessHours, err)
	}
	return p, nil
}

// promises returns what is owed in the given inboxes, and in those that are not
// known yet. Where each inbox has hours of its own, nobody can say the latter.
func (p *promiser) promises(inboxes []chatwoot.Inbox) sla.Promises {
	common, _ := p.counting(p.cfg.BusinessHours.Calendar()) // newPromiser has tried
	made := sla.Promises{
		Default: sla.Policy{
			Target: p.cfg.SLA, Warning: p.cfg.SLAWarning, Urgent: p.cfg.SLAUrgent, Calendar: common,
			Unknown: p.cfg.BusinessHours.PerInbox(),
		},
		ByInbox: map[int64]sla.Policy{},
	}
	for inbox, target := range p.cfg.InboxSLA {
		own := made.Default
		own.Target = target
		made.ByInbox[inbox] = own
	}
	if inboxes == nil {
		return made
	}
	listed := map[int64]bool{}
	for _, in := range inboxes {
		listed[in.ID] = true
		if !p.cfg.BusinessHours.PerInbox() {
			continue
		}
		own := made.For(in.ID)
		own.Unknown = false
		if in.Hours != nil {
			if hours, err := p.hours(*in.Hours); err == nil {
				own.Calendar = hours
			} else {
				p.warn(in.ID, "the inbox's business hours in Chatwoot cannot be used, so all time counts; correct them there: "+err.Error())
			}
		}
		made.ByInbox[in.ID] = own
	}
	for _, inbox := range slices.Sorted(maps.Keys(p.cfg.InboxSLA)) {
		if !listed[inbox] {
			p.warn(inbox, "SLA_INBOX_MINUTES names an inbox that Chatwoot does not list; correct the id, which Chatwoot shows in the address of the inbox's settings")
		}
	}
	return made
}

// warn logs a warning about an inbox, once as long as it stays the same: the
// inboxes are read again and again.
func (p *promiser) warn(inbox int64, text string) {
	if p.warned[inbox] != text {
		p.log.Warn(text, zap.Int64("inbox_id", inbox))
		p.warned[inbox] = text
	}
}

// counting returns the calendar of hours, nil for all time, without the pauses
// that were asked for.
func (p *promiser) counting(hours *calendar.Calendar) (sla.Calendar, error) {
	if p.pauses == nil {
		if hours == nil {
			return nil, nil
		}
		return hours, nil
	}
	if hours == nil {
		hours = calendar.Always()
	}
	hours = hours.Without(p.pauses)
	if now := p.now(); hours.Open(now, now.AddDate(1, 0, 0)) == 0 {
		return nil, errors.New("planned maintenance covers all of the hours; change MAINTENANCE_RRULE, or do not pause during it")
	}
	return hours, nil
}

// hours returns what counts of an inbox's hours.
func (p *promiser) hours(h chatwoot.WorkingHours) (sla.Calendar, error) {
	week, err := weekly(h)
	if err != nil {
		return nil, err
	}
	return p.counting(week)
}

// weekly returns the calendar of an inbox's hours.
func weekly(h chatwoot.WorkingHours) (*calendar.Calendar, error) {
	zone, err := calendar.Zone(h.Zone)
	if err != nil {
		return nil, err
	}
	var week [7][]calendar.Span
	for d, day := range h.Days {
		if day.Opens != day.Closes {
			week[d] = []calendar.Span{{From: day.Opens, To: day.Closes}}
		}
	}
	return calendar.Weekly(week, zone)
}
