package app

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/store"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

// countsInterval is how much of a day's counts a kill can cost.
const countsInterval = time.Minute

// reliabilityName is what the files about a day's webhooks are called, but for
// their extension.
const reliabilityName = "webhook-reliability"

// webhookDays adds what the metrics of webhooks counted to the day it happened
// on. The metrics begin at 0 with every process; the days do not.
type webhookDays struct {
	books   *books
	metrics prometheus.Gatherer
	zone    *time.Location
	now     func() time.Time
	after   func(time.Duration) <-chan time.Time
	log     *zap.Logger

	seen    map[dayCount]int64 // what the metrics said last
	unsaved map[store.WebhookCount]int64
}

// dayCount is a place in webhook.Counts.
type dayCount struct{ name, label string }

// run counts until ctx ends.
func (d *webhookDays) run(ctx context.Context) error {
	for {
		err := d.save(ctx)
		if ctx.Err() != nil {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			err = d.save(last)
		}
		if err != nil {
			d.log.Debug("the day's counts wait for the database", zap.Error(err))
		}
		if ctx.Err() != nil {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-d.after(countsInterval):
		}
	}
}

// save adds to the day what was counted since the last time.
func (d *webhookDays) save(ctx context.Context) error {
	counts, err := d.read()
	if err != nil {
		return err
	}
	day := d.now().In(d.zone).Format(time.DateOnly)
	for c, n := range counts {
		if more := n - d.seen[c]; more != 0 {
			d.unsaved[store.WebhookCount{Day: day, Name: c.name, Label: c.label}] += more
		}
	}
	d.seen = counts
	db, err := d.books.store()
	if err != nil {
		return err
	}
	if err := db.AddWebhookCounts(ctx, d.unsaved); err != nil {
		return err
	}
	clear(d.unsaved)
	return nil
}

// read returns what the metrics say of this process.
func (d *webhookDays) read() (map[dayCount]int64, error) {
	families, err := d.metrics.Gather()
	if err != nil {
		return nil, fmt.Errorf("count webhooks: %w", err)
	}
	counts := map[dayCount]int64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			n := int64(m.GetCounter().GetValue())
			switch strings.TrimPrefix(f.GetName(), "chatwoot_sla_") {
			case "webhook_requests_total":
				counts[dayCount{webhook.CountAnswered, label(m, "result")}] += n
			case "webhook_rejected_total":
				counts[dayCount{webhook.CountRejected, label(m, "reason")}] += n
			case "webhook_missed_total":
				counts[dayCount{webhook.CountMissed, ""}] += n
			case "stage_attempts_total":
				if result := label(m, "result"); result == "failed" || result == "down" {
					counts[dayCount{webhook.CountRetried, label(m, "stage")}] += n
				}
			case "dead_letters_total":
				counts[dayCount{webhook.CountDead, label(m, "reason")}] += n
			case "webhook_ack_duration_seconds":
				addBuckets(counts, webhook.CountAck, m.GetHistogram())
			case "webhook_processing_duration_seconds":
				addBuckets(counts, webhook.CountProcessing, m.GetHistogram())
			}
		}
	}
	return counts, nil
}

func label(m *dto.Metric, name string) string {
	for _, pair := range m.GetLabel() {
		if pair.GetName() == name {
			return pair.GetValue()
		}
	}
	return ""
}

func addBuckets(counts map[dayCount]int64, name string, h *dto.Histogram) {
	add := func(bound string, n uint64) {
		counts[dayCount{name, bound}] += int64(n) //nolint:gosec // nobody sends that many
	}
	for _, b := range h.GetBucket() {
		add(strconv.FormatFloat(b.GetUpperBound(), 'g', -1, 64), b.GetCumulativeCount())
	}
	add("+Inf", h.GetSampleCount())
}

// writeReliability writes the evidence of a day that has ended.
func (a *App) writeReliability(ctx context.Context, db *store.Store, day string) error {
	if a.evidence.HasDaily(day, reliabilityName+".json") {
		return nil
	}
	kept, err := db.WebhookCounts(ctx, day)
	if err != nil {
		return fmt.Errorf("report on the webhooks of %s: %w", day, err)
	}
	if len(kept) == 0 {
		return nil // nobody has sent any, and nobody was expected to
	}
	counts := webhook.Counts{}
	for c, n := range kept {
		if counts[c.Name] == nil {
			counts[c.Name] = map[string]int64{}
		}
		counts[c.Name][c.Label] = n
	}
	made := webhook.NewDay(day, a.cfg.ReportZone.String(), counts)
	// JSON comes last: it says that both are there.
	if err := a.evidence.WriteDaily(day, reliabilityName+".md", made.WriteMarkdown); err != nil {
		return err
	}
	return a.evidence.WriteDaily(day, reliabilityName+".json", made.WriteJSON)
}
