package main

import (
	"fmt"
	"slices"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/checkup"
)

type checklistCommand struct {
	Output string `enum:"text,json" default:"text" help:"text or json."`
}

// Run goes through the checklist. Its verdict is the exit status, and that of
// the last window: an alert about it ends when it passes.
func (c checklistCommand) Run(p *process) error {
	loaded, err := p.load()
	if err != nil {
		return err
	}
	list, err := app.Checklist(p.ctx, app.Options{Config: loaded.Config, Settings: loaded.Settings(), Version: buildVersion()})
	if list.Items == nil {
		return err
	}
	if err != nil { // the list stands, only it is not all kept
		fmt.Fprintln(p.stderr, "chatwoot-sla: warning:", err)
	}
	return p.tell(list, c.Output)
}

type doctorCommand struct {
	Output string `enum:"text,json" default:"text" help:"text or json."`
}

// Run examines everything that can be wrong. It goes on where the settings have
// mistakes, which are the first finding.
func (c doctorCommand) Run(p *process) error {
	loaded, mistakes := p.loadQuietly()
	list := app.Doctor(p.ctx, app.Options{Config: loaded.Config, Settings: loaded.Settings(), Version: buildVersion()}, loaded.Warnings(), mistakes)
	return p.tell(list, c.Output)
}

// tell prints a list, whose verdict is the exit status.
func (p *process) tell(list checkup.List, output string) error {
	var err error
	if output == "json" {
		err = list.WriteJSON(p.stdout)
	} else {
		err = list.WriteText(p.stdout, terminal(p.stdout) && !slices.ContainsFunc(p.environ, wantsNoColor))
	}
	if err != nil {
		return fmt.Errorf("print the list: %w", err)
	}
	if !list.Passed {
		return exitCode(exitUsage)
	}
	return nil
}
