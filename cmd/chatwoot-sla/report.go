package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/report"
)

type reportCommand struct {
	From   string        `placeholder:"DAY" help:"First day or instant, such as 2026-11-01 or 2026-11-01T09:00:00Z; seven days before the end."`
	To     string        `placeholder:"DAY" help:"Day or instant at which it ends, not included; the last midnight."`
	Format report.Format `enum:"text,markdown,csv,json,html" default:"text" help:"text, markdown, csv, json or html."`
}

// Run prints the breach report of a period. It reads the database, also while
// the daemon runs.
func (c reportCommand) Run(p *process) error {
	loaded, err := p.load()
	if err != nil {
		return err
	}
	now := time.Now()
	period, err := report.ParsePeriod(c.From, c.To, now, loaded.ReportZone.Location)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	var out bytes.Buffer // half a report must not look like a whole one
	if err := app.Report(p.ctx, loaded.Config, period, now, c.Format, &out); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err = p.stdout.Write(out.Bytes())
	return err
}

type backupCommand struct {
	File string `arg:"" help:"Where to, a file that is not there yet."`
}

// Run copies the database, also while the daemon runs.
func (c backupCommand) Run(p *process) error {
	loaded, err := p.load()
	if err != nil {
		return err
	}
	return app.Backup(p.ctx, loaded.Config, c.File)
}
