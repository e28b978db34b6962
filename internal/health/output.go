package health

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Schema names the layout that WriteJSON writes. Fields may be added under the
// same name; a field that goes or changes its meaning takes a new one.
const Schema = "chatwoot-sla/health-check/v1"

const (
	instant = "2006-01-02T15:04:05.000Z"

	green = "\x1b[32m"
	red   = "\x1b[31m"
	reset = "\x1b[0m"
)

// WriteText writes r for a person: a line for each probe, below a failed one
// what happened and what to do, and last the exit code and its meaning.
func WriteText(w io.Writer, r Report, color bool) error {
	var b strings.Builder
	b.WriteString("Chatwoot health check")
	if r.Host != "" {
		b.WriteString(" of " + r.Host)
	}
	b.WriteString(", " + r.Started.UTC().Format("2006-01-02 15:04:05 UTC") + "\n\n")

	for i, line := range probeLines(r.Results) {
		res := r.Results[i]
		b.WriteString(paint(mark(res), res.Success, color) + " " + line + "\n")
		if !res.Success {
			fmt.Fprintf(&b, "    %s: %s\n    What to do: %s\n", Title(res.Probe), res.Error, res.Advice())
		}
	}

	code := r.ExitCode()
	meaning, action := Meaning(code)
	verdict := fmt.Sprintf("Exit code %d: %s. %s.", code, meaning, action)
	b.WriteString("\n" + paint(verdict, code == ExitPassed, color) + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// probeLines returns one aligned line for each result.
func probeLines(results []Result) []string {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, res := range results {
		title, status, endpoint := Title(res.Probe), "no answer", res.Endpoint
		if res.Informational {
			title += " (informational)"
		}
		if res.Status != 0 {
			status = "HTTP " + strconv.Itoa(res.Status)
		}
		if endpoint == "" {
			endpoint = "-"
		}
		fmt.Fprintf(table, "%s\t%s\t%d ms\t%s\t%s\n", title, status, res.Duration.Milliseconds(), endpoint, remarks(res))
	}
	_ = table.Flush() // a strings.Builder takes everything
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return lines
}

// remarks returns what a probe learned besides its verdict.
func remarks(res Result) string {
	var parts []string
	if res.Detail != "" {
		parts = append(parts, res.Detail)
	}
	for _, name := range slices.Sorted(maps.Keys(res.Dependencies)) {
		parts = append(parts, name+" "+res.Dependencies[name])
	}
	return strings.Join(parts, ", ")
}

func mark(res Result) string {
	if res.Success {
		return "✓"
	}
	return "✗"
}

func paint(s string, good, color bool) string {
	switch {
	case !color:
		return s
	case good:
		return green + s + reset
	}
	return red + s + reset
}

// WriteJSON writes r in the layout that Schema names; docs/evidence.md
// describes each field. Instants are UTC, durations are milliseconds.
func WriteJSON(w io.Writer, r Report) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(document(r))
}

type reportJSON struct {
	Schema      string      `json:"schema"`
	StartedAt   string      `json:"started_at"`
	FinishedAt  string      `json:"finished_at"`
	BaseURLHost string      `json:"base_url_host"`
	ExitCode    int         `json:"exit_code"`
	Meaning     string      `json:"meaning"`
	Action      string      `json:"action"`
	Probes      []probeJSON `json:"probes"`
}

type probeJSON struct {
	Probe          string            `json:"probe"`
	Title          string            `json:"title"`
	Informational  bool              `json:"informational"`
	Success        bool              `json:"success"`
	StartedAt      string            `json:"started_at"`
	ResponseTimeMS float64           `json:"response_time_ms"`
	HTTPStatus     *int              `json:"http_status"` // null: no answer
	Endpoint       string            `json:"endpoint"`
	Detail         string            `json:"detail"`
	Version        string            `json:"version"`
	Dependencies   map[string]string `json:"dependencies"` // null: unknown
	Reason         string            `json:"reason"`
	Error          string            `json:"error"`
	Advice         string            `json:"advice"`
}

func document(r Report) reportJSON {
	code := r.ExitCode()
	meaning, action := Meaning(code)
	doc := reportJSON{
		Schema:      Schema,
		StartedAt:   r.Started.UTC().Format(instant),
		FinishedAt:  r.Finished.UTC().Format(instant),
		BaseURLHost: r.Host,
		ExitCode:    code,
		Meaning:     meaning,
		Action:      action,
		Probes:      make([]probeJSON, 0, len(r.Results)),
	}
	for _, res := range r.Results {
		p := probeJSON{
			Probe:          res.Probe,
			Title:          Title(res.Probe),
			Informational:  res.Informational,
			Success:        res.Success,
			StartedAt:      res.Started.UTC().Format(instant),
			ResponseTimeMS: milliseconds(res.Duration),
			Endpoint:       res.Endpoint,
			Detail:         res.Detail,
			Version:        res.Version,
			Dependencies:   res.Dependencies,
			Reason:         res.Reason,
			Error:          res.Error,
			Advice:         res.Advice(),
		}
		if res.Status != 0 {
			p.HTTPStatus = &res.Status
		}
		doc.Probes = append(doc.Probes, p)
	}
	return doc
}

// milliseconds returns d with microsecond precision.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
