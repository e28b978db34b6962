package webhook

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The names under which a day's webhooks are counted. Answered and Rejected are
// labelled by result and reason, Retried by stage, Dead by reason; the two
// latencies by the upper bounds of their buckets in seconds, each with what is
// in the buckets below as well.
const (
	CountAnswered   = "answered"
	CountRejected   = "rejected"
	CountMissed     = "missed"
	CountRetried    = "retried"
	CountDead       = "dead"
	CountAck        = "ack"
	CountProcessing = "processing"
)

// Counts are what was counted on a day, by name and label.
type Counts map[string]map[string]int64

// Day is the evidence of how reliable webhooks were on a day. It names nobody.
type Day struct {
	Schema string `json:"schema"`
	Day    string `json:"day"`
	Zone   string `json:"time_zone"`

	Received   int64            `json:"received"` // requests of any kind
	Answered   map[string]int64 `json:"answered"` // verified, by what became of them
	Rejected   map[string]int64 `json:"rejected"` // by reason
	Missed     int64            `json:"missed"`   // never came; polling found them
	Retried    map[string]int64 `json:"retried"`  // attempts that failed, by stage
	Dead       map[string]int64 `json:"dead"`     // given up, by reason
	Ack        Latency          `json:"acknowledgement"`
	Processing Latency          `json:"processing"`
}

// Latency is how long something took. A bound says that so many took no longer;
// null is longer than any that is measured, or that nothing was.
type Latency struct {
	Count int64    `json:"count"`
	P50   *float64 `json:"p50_at_most_seconds"`
	P95   *float64 `json:"p95_at_most_seconds"`
	P99   *float64 `json:"p99_at_most_seconds"`
}

// NewDay returns the evidence of a day, such as 2026-11-25 in UTC.
func NewDay(day, zone string, c Counts) Day {
	d := Day{
		Schema: "chatwoot-sla/webhook-reliability/v1", Day: day, Zone: zone,
		Answered: map[string]int64{resultAccepted: 0, resultIgnored: 0, resultDuplicate: 0, resultFailed: 0},
		Rejected: some(c[CountRejected]), Retried: some(c[CountRetried]), Dead: some(c[CountDead]),
		Missed: sum(c[CountMissed]), Ack: latency(c[CountAck]), Processing: latency(c[CountProcessing]),
	}
	maps.Copy(d.Answered, some(c[CountAnswered]))
	d.Received = sum(d.Answered) + sum(d.Rejected)
	return d
}

// some returns what was counted at all, and never nil.
func some(counts map[string]int64) map[string]int64 {
	out := map[string]int64{}
	for label, n := range counts {
		if n != 0 {
			out[label] = n
		}
	}
	return out
}

func sum(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// latency reads cumulative buckets.
func latency(buckets map[string]int64) Latency {
	type bucket struct {
		bound float64
		count int64
	}
	var bs []bucket
	for label, n := range buckets {
		if bound, err := strconv.ParseFloat(label, 64); err == nil {
			bs = append(bs, bucket{bound, n})
		}
	}
	slices.SortFunc(bs, func(a, b bucket) int { return cmp.Compare(a.bound, b.bound) })
	if len(bs) == 0 {
		return Latency{}
	}
	l := Latency{Count: bs[len(bs)-1].count}
	for _, q := range []struct {
		share float64
		into  **float64
	}{{0.5, &l.P50}, {0.95, &l.P95}, {0.99, &l.P99}} {
		want := int64(math.Ceil(q.share * float64(l.Count)))
		i := slices.IndexFunc(bs, func(b bucket) bool { return b.count >= want })
		if l.Count > 0 && !math.IsInf(bs[i].bound, 1) {
			*q.into = &bs[i].bound
		}
	}
	return l
}

// WriteJSON writes d as JSON.
func (d Day) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(d)
}

// WriteMarkdown writes d for people.
func (d Day) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Webhooks on %s (%s)\n\n", d.Day, d.Zone)
	fmt.Fprintf(&b, "| what | number |\n|---|---|\n")
	row := func(what string, n int64) { fmt.Fprintf(&b, "| %s | %d |\n", what, n) }
	row("received", d.Received)
	row("accepted for processing", d.Answered[resultAccepted])
	row("ignored, because nothing had to be done", d.Answered[resultIgnored])
	row("duplicates", d.Answered[resultDuplicate])
	row("lost, because the database did not take them", d.Answered[resultFailed])
	row("rejected", sum(d.Rejected))
	row("missed: polling found what no webhook told", d.Missed)
	row("attempts that failed and were repeated", sum(d.Retried))
	row("given up", sum(d.Dead))
	for _, t := range []struct {
		title, label string
		counts       map[string]int64
	}{{"Rejected", "reason", d.Rejected}, {"Repeated", "stage", d.Retried}, {"Given up", "reason", d.Dead}} {
		if len(t.counts) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n| %s | number |\n|---|---|\n", t.title, t.label)
		for _, label := range slices.Sorted(maps.Keys(t.counts)) {
			row("`"+label+"`", t.counts[label])
		}
	}
	fmt.Fprintf(&b, "\n## How long it took\n\n| | number | half within | 95 %% within | 99 %% within |\n|---|---|---|---|---|\n")
	for _, l := range []struct {
		what string
		Latency
	}{{"acknowledgement (Chatwoot gives up after 5 s)", d.Ack}, {"processing, waits and retries included (target: 3 s)", d.Processing}} {
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s |\n", l.what, l.Count, l.words(l.P50), l.words(l.P95), l.words(l.P99))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (l Latency) words(bound *float64) string {
	switch {
	case l.Count == 0:
		return "–"
	case bound == nil:
		return "longer than is measured"
	}
	return strconv.FormatFloat(*bound, 'f', -1, 64) + " s"
}
