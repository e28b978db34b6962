package main

import (
	"fmt"

	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/app"
)

type serveCommand struct{}

// Run watches Chatwoot until the process is told to stop.
func (serveCommand) Run(p *process) error {
	loaded, err := p.load()
	if err != nil {
		return err
	}
	log, err := p.logger(loaded.Config)
	if err != nil {
		return err
	}
	for _, w := range loaded.Warnings() {
		log.Warn(w)
	}
	app.LimitMemory()
	daemon, err := app.New(app.Options{Config: loaded.Config, Settings: loaded.Settings(), Version: buildVersion(), Logger: log})
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if err := daemon.Run(p.ctx); err != nil {
		return err
	}
	log.Info("stopped", zap.String("version", buildVersion()))
	return nil
}
