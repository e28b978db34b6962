package incident

import (
	"encoding/json"
	"io"
	"time"
)

// Schema names the layout of Document. Fields may be added under the same name;
// a field that goes or changes its meaning takes a new one.
const Schema = "chatwoot-sla/incident/v1"

// Document is an incident as JSON has it.
type Document struct {
	Schema          string          `json:"schema"`
	ID              int64           `json:"id"`
	Status          string          `json:"status"` // ongoing or resolved
	Level           Level           `json:"level"`  // the highest
	StartedAt       time.Time       `json:"started_at"`
	EndedAt         *time.Time      `json:"ended_at"`
	DurationSeconds float64         `json:"duration_seconds"`
	ExitCode        int             `json:"exit_code"`
	Affected        []string        `json:"affected"`
	Overran         bool            `json:"overran_maintenance"`
	Promise         string          `json:"timeline_promised"`
	Actions         []string        `json:"runbook_actions"`
	Timeline        []DocumentEntry `json:"timeline"`
}

// DocumentEntry is an Entry as JSON has it.
type DocumentEntry struct {
	At   time.Time `json:"at"`
	Kind Kind      `json:"kind"`
	Text string    `json:"text"`
}

// Document returns i as it is told at now.
func (i Incident) Document(now time.Time, statusURL string) Document {
	d := Document{
		Schema: Schema, ID: i.ID, Status: "resolved", Level: i.Level, StartedAt: i.Started.UTC(),
		DurationSeconds: i.Duration(now).Seconds(), ExitCode: i.ExitCode, Affected: append([]string{}, i.Affected...),
		Overran: i.Overran, Promise: Timeline(i.Level), Actions: Actions(i.Level, statusURL), Timeline: []DocumentEntry{},
	}
	if i.Open() {
		d.Status = "ongoing"
	} else {
		ended := i.Ended.UTC()
		d.EndedAt = &ended
	}
	for _, e := range i.Timeline {
		d.Timeline = append(d.Timeline, DocumentEntry{e.At.UTC(), e.Kind, e.Text})
	}
	return d
}

// WriteJSON writes i's Document.
func (i Incident) WriteJSON(w io.Writer, now time.Time, statusURL string) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(i.Document(now, statusURL))
}
