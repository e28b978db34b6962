package report

import (
	"encoding/csv"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// writeCSV writes one tidy table: the period, what the row is about, and its
// numbers. A cell that does not apply, or a rate over nothing, is empty.
// FORMAT.md describes each column.
func (f *facts) writeCSV(w io.Writer) error {
	// Without this mark Excel takes the file for Latin-1, and spoils names.
	if _, err := io.WriteString(w, "\ufeff"); err != nil {
		return err
	}
	t := csvTable{csv.NewWriter(w), strconv.FormatBool(f.Provisional())}
	header := []string{"from", "to", "section", "key", "name", "decided", "met", "breached", "excluded", "breach_rate"}
	for _, q := range quantiles {
		header = append(header, q.name+"_seconds")
	}
	header = append(header, "probes_passed", "probes_failed", "probes_in_maintenance", "success_rate", "provisional")
	t.write(header)

	from, to := f.From.Format(time.RFC3339), f.To.Format(time.RFC3339)
	add := func(section, key, name string, g *group) {
		t.group([]string{from, to, section, harmless(key), harmless(name)}, g)
	}
	add("total", "", "", &f.now.total)
	if f.comparable() {
		t.group([]string{f.previous.Format(time.RFC3339), from, "previous", "", ""}, &f.before.total)
	}
	for i := range f.days {
		day := f.day(i)
		add("day", day.Format(time.DateOnly), day.Weekday().String(), &f.days[i])
	}
	for _, id := range worstFirst(f.now.inboxes) {
		add("inbox", strconv.FormatInt(id, 10), f.inboxName(id), f.now.inboxes[id])
	}
	for _, name := range worstFirst(f.now.teams) {
		add("team", clean(name), teamName(name), f.now.teams[name])
	}
	for _, name := range worstFirst(f.agents) {
		add("agent", clean(name), agentName(name), f.agents[name])
	}
	for hour := range f.hours {
		add("hour", strconv.Itoa(hour), "", &f.hours[hour])
	}
	for _, name := range f.probeNames() {
		t.probes([]string{from, to, "probe", harmless(clean(name)), harmless(f.probeTitle(name))}, f.now.probe(name))
		for i, n := range f.now.probeDays(name) {
			t.probes([]string{from, to, "probe_day", harmless(clean(name)), f.day(i).Format(time.DateOnly)}, n)
		}
	}
	t.Flush()
	return t.Error()
}

type csvTable struct {
	*csv.Writer
	provisional string // last cell of every row
}

func (t csvTable) write(cells []string) { _ = t.Write(cells) } // Error tells in the end

func (t csvTable) group(cells []string, g *group) {
	cells = append(cells, strconv.Itoa(g.decided()), strconv.Itoa(g.Met), strconv.Itoa(g.Breached), strconv.Itoa(g.Excluded), ratio(g.BreachRatio()))
	for _, q := range quantiles {
		if d, ok := g.quantile(q.percent); ok {
			cells = append(cells, strconv.Itoa(int(d.Seconds())))
		} else {
			cells = append(cells, "")
		}
	}
	t.write(append(cells, "", "", "", "", t.provisional))
}

func (t csvTable) probes(cells []string, n Probes) {
	cells = append(cells, slices.Repeat([]string{""}, 5+len(quantiles))...)
	t.write(append(cells, strconv.Itoa(n.Success), strconv.Itoa(n.Failure), strconv.Itoa(n.Maintenance), ratio(n.successRate()), t.provisional))
}

func ratio(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return strconv.FormatFloat(rounded(v), 'f', -1, 64)
}

// rounded drops what no reader wants of a ratio.
func rounded(v float64) float64 { return math.Round(v*1e6) / 1e6 }

// harmless keeps a spreadsheet from running a name as a formula. The apostrophe
// is how spreadsheets themselves mark a cell as text.
func harmless(name string) string {
	if strings.IndexAny(name, "=+-@＝＋－＠|%") == 0 {
		return "'" + name
	}
	return name
}
