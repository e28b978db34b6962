package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// row is one promise and what became of it.
type row struct {
	what     string
	measured string
	target   string
	met      bool
	absolute string // numbers that belong to the machine
}

type results struct {
	date    time.Time
	machine string
	rows    []row
}

const preface = `# Benchmarks

What is promised about speed and memory, and what became of it. Ratios and margins compare things that were measured in
turns in the same run, so they carry over to other machines; the last column does not.

Measured on %s, %s.
To repeat: ` + "`make bench`" + `, which needs five minutes, 2 GB of memory and nothing beyond loopback, and rewrites this file.
[What is missed, and why](performance.md).

`

const notes = `
- Chatwoot is the simulator, with a request budget that never waits. Where time or memory is measured it is a process of its
  own, so that its memory is not ours to collect; it does share the cores, with the baselines as with the daemon.
- Full sync: from nothing to the first picture, in a monitor as the daemon runs it; the median of the rounds' ratios, with
  the smallest and the largest. The baselines send the very requests that such a sync sends, in the same groups, through the
  same kind of transport: one throws the answers away, the other unmarshals them with encoding/json into structs with the
  same fields, and neither builds a picture.
- Steady polling: the clock is driven, each poll finds another 1 % changed, and requests are counted at the server. Reading
  everything again once in ` + "`RECONCILE_INTERVAL`" + ` comes on top.
- Scrape: through the HTTP handler, ten inboxes on both sides, and never twice at the same instant.
- Ledger: pages of conversations that are new and have ended, in the daemon's own settings of SQLite (WAL, synchronous FULL);
  the report is what ` + "`chatwoot-sla report`" + ` does after its start. For the scrapes beside a locked database another connection
  holds the writing lock of a running daemon's file, after somebody was answered: what the daemon must write waits meanwhile.
- Webhooks: messages of 4 KB, signed, through the daemon's own listener, each of which asks for two jobs; the other service
  that they are forwarded to answers at once. Clients, Chatwoot and that service share the process and the cores. The disk's
  appends take turns with the rounds of deliveries. At 200 a second latency counts from when a delivery was due, and with
  each goes a request to a server that does nothing: its times are the machine's own, and on a busy one they say whether the
  daemon can be judged at all. The jobs that wait are forwards.
- Drafts: a daemon in this process on SQLite takes 400 messages as webhooks, a second's worth of the promised rate after another;
  what is timed ends with the server-sent event, after the item was written.
- Memory: a snapshot is counted with its names. The daemon's process reads 100,000 conversations, looks up what their rows
  leave open, and sees 1 % change in half a minute; its peak is the kernel's VmHWM.
- Level change: the daemon in real time, scraped without a pause; the delay is from the deadline to the first answer that
  shows the breach.
- check and version are processes of the built binary, started in turns; version is the price of a start.
`

// markdown returns the whole document.
func (r results) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, preface, r.date.Format(time.DateOnly), r.machine)
	b.WriteString("| what | measured | target | met | in absolute numbers |\n|---|---|---|---|---|\n")
	for _, row := range r.rows {
		met := "yes"
		if !row.met {
			met = "**no**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", row.what, row.measured, row.target, met, row.absolute)
	}
	b.WriteString(notes)
	return b.String()
}

// machine describes what the absolute numbers belong to.
func machine() string {
	system := runtime.GOOS + "/" + runtime.GOARCH
	if name := fieldOf("/etc/os-release", "PRETTY_NAME", "="); name != "" {
		system = strings.Trim(name, `"`) + " " + system
	}
	cores := fmt.Sprintf("%d cores", runtime.NumCPU())
	if model := fieldOf("/proc/cpuinfo", "model name", ":"); model != "" {
		cores += " of " + model
	}
	return fmt.Sprintf("%s, %s, %s", strings.Replace(runtime.Version(), "go", "Go ", 1), cores, system)
}

// fieldOf returns the value of the first line of a file that begins with key;
// empty without the file or the line.
func fieldOf(file, key, separator string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if k, v, found := strings.Cut(lines.Text(), separator); found && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// median returns the middle of values, of which there must be one; it reorders
// them.
func median[T ~int64 | ~float64](values []T) T {
	slices.Sort(values)
	return values[len(values)/2]
}

// ratios divides a by b, round by round: what disturbs a round disturbs both.
func ratios(a, b []time.Duration) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = float64(a[i]) / float64(b[i])
	}
	return out
}

// spread words a median with its smallest and largest value.
func spread(values []float64) string {
	return fmt.Sprintf("%.2f × (%.2f to %.2f)", median(values), slices.Min(values), slices.Max(values))
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

func mib(bytes uint64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }
