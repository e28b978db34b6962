package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/app"
)

type maintenanceCommand struct {
	Start maintenanceStart `cmd:"" help:"Open a window: nobody is paged in it, and work waits."`
	Stop  maintenanceStop  `cmd:"" help:"End what was opened by hand, or take back what is to come."`
	List  maintenanceList  `cmd:"" help:"List what is under way and to come."`
}

// window writes when one is, for a person.
func window(start, end time.Time) string {
	return start.UTC().Format("2006-01-02 15:04") + " to " + end.UTC().Format("2006-01-02 15:04 UTC")
}

type maintenanceStart struct {
	For    time.Duration `required:"" placeholder:"DURATION" help:"How long, such as 2h or 45m."`
	Reason string        `required:"" help:"Why; it is shown on the board."`
	At     string        `placeholder:"TIME" help:"When it begins, as 2026-12-01T02:00:00Z; now if left out."`
}

// Run opens a window, also while the daemon runs, which notices within seconds.
func (c maintenanceStart) Run(p *process) error {
	loaded, err := p.load()
	if err != nil {
		return err
	}
	now := time.Now()
	start := now
	if c.At != "" {
		if start, err = time.Parse(time.RFC3339, c.At); err != nil {
			return fmt.Errorf("--at %q is not a time; write it like 2026-12-01T02:00:00Z", c.At)
		}
	}
	w, err := app.StartMaintenance(p.ctx, loaded.Config, app.MaintenanceWindow{Start: start, End: start.Add(c.For), Reason: c.Reason}, now)
	if err != nil {
		return fmt.Errorf("start maintenance: %w", err)
	}
	fmt.Fprintf(p.stdout, "Maintenance %d: %s\n", w.ID, window(w.Start, w.End))
	return nil
}

type maintenanceStop struct {
	ID int64 `arg:"" optional:"" help:"Which one, from the list; without it, what is under way."`
}

// Run ends maintenance.
func (c maintenanceStop) Run(p *process) error {
	loaded, err := p.load()
	if err != nil {
		return err
	}
	stopped, until, err := app.StopMaintenance(p.ctx, loaded.Config, c.ID, time.Now())
	if err != nil {
		return fmt.Errorf("stop maintenance: %w", err)
	}
	for _, w := range stopped {
		fmt.Fprintf(p.stdout, "Stopped maintenance %d: %s\n", w.ID, window(w.Start, w.End))
	}
	if !until.IsZero() {
		fmt.Fprintf(p.stdout, "Maintenance goes on until %s: chatwoot-sla maintenance list shows why. Nobody is paged before.\n", until.UTC().Format("2006-01-02 15:04 UTC"))
	}
	return nil
}

type maintenanceList struct {
	Output string `enum:"text,json" default:"text" help:"text or json."`
}

// Run lists windows.
func (c maintenanceList) Run(p *process) error {
	loaded, err := p.load()
	if err != nil {
		return err
	}
	list, err := app.ListMaintenance(p.ctx, loaded.Config, time.Now())
	if err != nil {
		return fmt.Errorf("list maintenance: %w", err)
	}
	if c.Output == "json" {
		enc := json.NewEncoder(p.stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(append([]app.PlannedWindow{}, list...))
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tWHEN\tNOW\tREASON")
	for _, each := range list {
		id, now := "-", ""
		if each.ID != 0 {
			id = fmt.Sprint(each.ID)
		}
		if each.Active {
			now = "under way"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", id, window(each.Start, each.End), now, each.Reason)
	}
	return w.Flush()
}
