// Package metrics exports how conversations stand against the SLA.
//
// Nothing is counted in advance: each scrape asks the board at the instant of
// the scrape, so a level changes in the second it should, and a gauge cannot
// be forgotten.
package metrics

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hotdash/chatwoot-sla/internal/sla"
)

// Namespace begins the name of every metric of this program.
const Namespace = "chatwoot_sla"

// otherInbox is the label of the inboxes beyond SLAOptions.MaxInboxes.
const otherInbox = "other"

// InboxLabel returns the value of the "inbox" label for an inbox of an account
// with the given ones, ascending, of which the first few have their own.
func InboxLabel(inbox int64, all []int64, own int) string {
	if i, _ := slices.BinarySearch(all, inbox); i < own {
		return strconv.FormatInt(inbox, 10)
	}
	return otherInbox
}

// Inbox names an inbox.
type Inbox struct {
	ID   int64
	Name string
}

// SLAOptions configures an SLA collector. All fields are required.
type SLAOptions struct {
	Promises   sla.Promises      // as they are before the inboxes are known
	Board      func() *sla.Board // nil until everything was read once
	Now        func() time.Time  // Chatwoot's time, on which deadlines are judged
	Inboxes    func() []Inbox
	MaxInboxes int // inboxes with series of their own, lowest ids first
}

// SLA is the collector of the SLA metrics.
type SLA struct{ o SLAOptions }

// NewSLA returns a collector. Registering it is the caller's.
func NewSLA(o SLAOptions) *SLA { return &SLA{o} }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(Namespace, "", name), help, labels, nil)
}

var (
	descConversations = desc("conversations",
		"Open conversations by level. Levels: normal, warning, urgent, breach. Absent until everything was read once.", "inbox", "level")
	descWaiting = desc("waiting_conversations",
		"Open conversations that nobody has answered, by level: page on these.", "inbox", "level")
	descUndecided = desc("undecided_conversations",
		"Open conversations whose messages, or inbox's hours, must be read before their level is known; they count as normal until then.")
	descOldest = desc("oldest_waiting_timestamp_seconds",
		"When the clock of whoever has waited longest started. Absent while nobody waits.")
	descNext = desc("next_deadline_timestamp_seconds",
		"The first deadline that has not passed. Absent when there is none.")
	descNewestBreach = desc("newest_breach_timestamp_seconds",
		"The last deadline that passed, of those still unanswered. Absent when there is none.")
	descTarget = desc("target_seconds", "Time within which a customer is owed the first human answer.")
	descOwn    = desc("inbox_target_seconds", "Time within which the customers of an inbox with a promise of its own are owed the first human answer.", "inbox")
	descInbox  = desc("inbox_info", "The name of an inbox; always 1.", "inbox", "name")
)

// Describe implements prometheus.Collector.
func (c *SLA) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descConversations, descWaiting, descUndecided, descOldest, descNext, descNewestBreach, descTarget, descOwn, descInbox,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. Its cost depends on the number of
// inboxes and hardly on that of conversations.
func (c *SLA) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	instant := func(d *prometheus.Desc, t time.Time) {
		if !t.IsZero() {
			gauge(d, seconds(t))
		}
	}

	gauge(descTarget, c.o.Promises.Default.Target.Seconds())
	board := c.o.Board()
	if board == nil {
		return // nothing is known, which is not the same as zero
	}
	now := c.o.Now()
	tallies := board.Tally(now)
	own := make(map[int64]bool, len(tallies)) // inboxes with series of their own
	var other sla.Tally
	undecided := 0
	for i, t := range tallies {
		undecided += t.Unknown
		if i < c.o.MaxInboxes {
			own[t.Inbox] = true
			id := strconv.FormatInt(t.Inbox, 10)
			c.levels(gauge, id, t)
			if promise, ok := c.o.Promises.ByInbox[t.Inbox]; ok {
				gauge(descOwn, promise.Target.Seconds(), id)
			}
			continue
		}
		for l := range sla.Levels {
			other.Open[l] += t.Open[l]
			other.Waiting[l] += t.Waiting[l]
		}
	}
	if len(tallies) > c.o.MaxInboxes {
		c.levels(gauge, otherInbox, other)
	}
	gauge(descUndecided, float64(undecided))
	for _, in := range c.o.Inboxes() {
		if own[in.ID] {
			gauge(descInbox, 1, strconv.FormatInt(in.ID, 10), strings.ToValidUTF8(in.Name, "\uFFFD"))
			delete(own, in.ID) // a list with an id twice must not break the scrape
		}
	}

	marks := board.Landmarks(now)
	instant(descOldest, marks.OldestWaiting)
	instant(descNext, marks.NextDeadline)
	instant(descNewestBreach, marks.NewestBreach)
}

// seconds is t as Prometheus writes instants, to the millisecond.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func (c *SLA) levels(gauge func(*prometheus.Desc, float64, ...string), inbox string, t sla.Tally) {
	for _, l := range sla.Levels {
		gauge(descConversations, float64(t.Open[l]), inbox, l.String())
		gauge(descWaiting, float64(t.Waiting[l]), inbox, l.String())
	}
}
