package main

import (
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/hotdash/chatwoot-sla/internal/config"
)

// load reads the settings from the environment and the working directory. It
// prints all mistakes before it fails.
func (p *process) load() (*config.Loaded, error) {
	loaded, err := p.loadQuietly()
	if err != nil {
		fmt.Fprintf(p.stderr, "chatwoot-sla: the configuration is not complete:\n%v\n", err)
		return loaded, exitCode(exitUsage)
	}
	return loaded, nil
}

func (p *process) loadQuietly() (*config.Loaded, error) {
	return config.Load(config.Options{Environ: p.environ, Dir: ".", UID: os.Getuid(), Now: time.Now()})
}

type configCommand struct {
	Output string `enum:"text,json" default:"text" help:"text or json."`
}

// Run prints the settings, also those of a configuration with mistakes.
func (c configCommand) Run(p *process) error {
	loaded, mistakes := p.load()
	if err := c.print(p, loaded); err != nil {
		return fmt.Errorf("print settings: %w", err)
	}
	for _, w := range loaded.Warnings() {
		fmt.Fprintln(p.stderr, "chatwoot-sla: warning:", w)
	}
	return mistakes
}

func (c configCommand) print(p *process, loaded *config.Loaded) error {
	if c.Output == "json" {
		type setting struct {
			Name   string `json:"name"`
			Value  string `json:"value"`
			Origin string `json:"origin"`
		}
		list := []setting{}
		for _, s := range loaded.Settings() {
			list = append(list, setting{s.Name, s.Value, s.Origin})
		}
		return printJSON(p.stdout, list)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SETTING\tVALUE\tFROM")
	for _, s := range loaded.Settings() {
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.Name, s.Value, s.Origin)
	}
	return w.Flush()
}

// logger returns a logger to stderr, in the configured format and level.
func (p *process) logger(cfg config.Config) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(cfg.LogLevel)
	if err != nil {
		return nil, fmt.Errorf("LOG_LEVEL: %w", err)
	}
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	enc.TimeKey = "time"
	enc.EncodeDuration = zapcore.StringDurationEncoder
	var encoder zapcore.Encoder
	if cfg.LogFormat == "console" || cfg.LogFormat == "auto" && terminal(p.stderr) {
		enc.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		enc.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(enc)
	} else {
		encoder = zapcore.NewJSONEncoder(enc)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(p.stderr)), level)), nil
}

// terminal reports whether a person reads w as it is written.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
