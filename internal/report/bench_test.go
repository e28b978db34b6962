package report_test

import (
	"io"
	"testing"

	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/report"
)

// BenchmarkDayOf10000 takes in a day's decisions and writes them: what one
// request for a report costs, without the store.
func BenchmarkDayOf10000(b *testing.B) {
	o := busyOptions()
	o.To = o.From.AddDate(0, 0, 1)
	var entries []ledger.Entry
	for i, e := range many(10_000, 400, o.From) {
		e.Start = o.From.Add(e.Start.Sub(o.From) / 7)
		e.DecidedAt = o.From.Add(e.DecidedAt.Sub(o.From) / 8)
		e.Inbox, e.Assignee = int64(i%20), []string{"Aylin", "Ben", "Chiara"}[i%3]
		entries = append(entries, e)
	}
	for _, f := range report.Formats {
		b.Run(string(f), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := reportOf(b, o, entries...).Write(io.Discard, f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
