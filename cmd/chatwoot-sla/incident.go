package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/incident"
)

type incidentCommand struct {
	Show incidentShow `cmd:"" default:"withargs" help:"Print the escalation, filled in (what incident alone does)."`
	List incidentList `cmd:"" help:"List the newest incidents."`
	Note incidentNote `cmd:"" help:"Add what only people know."`
}

type incidentShow struct {
	ID     int64  `arg:"" optional:"" help:"Which one, from the list; without it, the newest."`
	Output string `enum:"text,markdown,json" default:"text" help:"text, markdown or json."`
}

// Run prints the runbook's escalation template, every field of it. It reads the
// database, also while the daemon runs.
func (c incidentShow) Run(p *process) error {
	loaded, err := p.load()
	if err != nil {
		return err
	}
	i, err := app.Incident(p.ctx, loaded.Config, c.ID)
	if err != nil {
		return fmt.Errorf("incident: %w", err)
	}
	var out bytes.Buffer
	if c.Output == "json" {
		err = i.WriteJSON(&out, time.Now(), loaded.StatusURL)
	} else {
		err = i.WriteEscalation(&out, incident.Format(c.Output), time.Now(), loaded.StatusURL)
	}
	if err == nil {
		_, err = out.WriteTo(p.stdout)
	}
	return err
}

type incidentList struct{}

// Run lists the newest incidents.
func (incidentList) Run(p *process) error {
	const newest = 20
	loaded, err := p.load()
	if err != nil {
		return err
	}
	list, err := app.Incidents(p.ctx, loaded.Config, newest)
	if err != nil {
		return fmt.Errorf("incident: %w", err)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTARTED\tLASTED\tLEVEL\tEXIT CODE\tAFFECTED")
	for _, i := range list {
		lasted := i.Duration(time.Now()).Truncate(time.Second).String()
		if i.Open() {
			lasted += ", ongoing"
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%d\t%s\n", i.ID, i.Started.UTC().Format("2006-01-02 15:04:05 UTC"), lasted, i.Level, i.ExitCode, strings.Join(i.Affected, ", "))
	}
	return w.Flush()
}

type incidentNote struct {
	ID     int64    `arg:"" optional:"" help:"Which one, from the list; without it, the newest."`
	Action []string `placeholder:"TEXT" sep:"none" help:"What was done; may be repeated."`
	Status []string `placeholder:"TEXT" sep:"none" help:"What is happening now; the last one counts."`
	Next   []string `placeholder:"TEXT" sep:"none" help:"What is being attempted; may be repeated."`
	Impact []string `placeholder:"TEXT" sep:"none" help:"What customers notice; the last one counts."`
}

// Run adds notes. Customers' names and words do not belong in them: they are
// kept as evidence.
func (c incidentNote) Run(p *process) error {
	loaded, err := p.load()
	if err != nil {
		return err
	}
	var notes []incident.Entry
	for _, given := range []struct {
		kind  incident.Kind
		texts []string
	}{{incident.Action, c.Action}, {incident.Status, c.Status}, {incident.Next, c.Next}, {incident.Impact, c.Impact}} {
		for _, text := range given.texts {
			notes = append(notes, incident.Entry{At: time.Now(), Kind: given.kind, Text: strings.TrimSpace(text)})
		}
	}
	if len(notes) == 0 {
		return errors.New("incident note: there is nothing to add; use --action, --status, --next or --impact")
	}
	i, err := app.AddNotes(p.ctx, loaded.Config, c.ID, notes)
	if err != nil {
		return fmt.Errorf("incident note: %w", err)
	}
	now := time.Now()
	state := fmt.Sprintf("ongoing for %v", i.Duration(now).Truncate(time.Second))
	if !i.Open() {
		state = fmt.Sprintf("over for %v", max(now.Sub(i.Ended), 0).Truncate(time.Second))
	}
	fmt.Fprintf(p.stdout, "Added to incident %d, %s.\n", i.ID, state)
	return nil
}
