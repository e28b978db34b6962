package main

import (
	"fmt"
	"slices"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/health"
)

type checkCommand struct {
	Output string `enum:"text,json" default:"text" help:"text or json."`
}

// Run makes one health check. Its result is the exit status.
func (c checkCommand) Run(p *process) error {
	loaded, err := p.load()
	if err != nil {
		return err
	}
	for _, w := range loaded.Warnings() {
		fmt.Fprintln(p.stderr, "chatwoot-sla: warning:", w)
	}
	report, err := app.Check(p.ctx, app.Options{Config: loaded.Config, Version: buildVersion()})
	if report.Results == nil {
		return err
	}
	if err != nil { // the check stands, only its evidence is missing
		fmt.Fprintln(p.stderr, "chatwoot-sla: warning:", err)
	}
	if c.Output == "json" {
		err = health.WriteJSON(p.stdout, report)
	} else {
		err = health.WriteText(p.stdout, report, terminal(p.stdout) && !slices.ContainsFunc(p.environ, wantsNoColor))
	}
	if err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	if code := report.ExitCode(); code != 0 {
		return exitCode(code)
	}
	return nil
}

// wantsNoColor recognises the variable of no-color.org.
func wantsNoColor(variable string) bool {
	return len(variable) > len("NO_COLOR=") && variable[:len("NO_COLOR=")] == "NO_COLOR="
}
