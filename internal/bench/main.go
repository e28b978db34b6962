// Command bench measures what is promised about speed and memory, against the
// simulator and over loopback, and writes docs/benchmarks.md.
//
// Absolute times belong to the machine, so what is judged is a ratio or a
// margin between things that were measured in turns in the same run. A promise
// that is not kept is a row that says so; the exit status is 1 only when
// something could not be measured.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/sla"
)

// limit bounds the whole run.
const limit = 6 * time.Minute

// policy is the daemon's default promise, and promises those of all inboxes.
var (
	policy   = sla.Policy{Target: 30 * time.Minute, Warning: 15 * time.Minute, Urgent: 5 * time.Minute}
	promises = sla.Promises{Default: policy}
)

func promised([]chatwoot.Inbox) sla.Promises { return promises }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is what the measurements share.
type bench struct {
	self string // this binary, which plays the other processes, too
	dir  string // for files; removed at the end
	now  func() time.Time
}

// measurement fills the rows of one subject.
type measurement struct {
	name string
	run  func(*bench, context.Context) ([]row, error)
}

var measurements = []measurement{
	{"sync", (*bench).sync},
	{"polling", (*bench).polling},
	{"scrape", (*bench).scrape},
	{"ledger", (*bench).ledger},
	{"webhooks", (*bench).webhooks},
	{"drafts", (*bench).drafts},
	{"memory", (*bench).memory},
	{"level", (*bench).level},
	{"check", (*bench).check},
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		if child, ok := children[args[0]]; ok {
			return child(ctx, args[1:], stdin, stdout)
		}
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	write := flags.String("write", "", "`file` for the report; empty: it is only printed")
	only := flags.String("only", "", "measure this `subject` alone: sync, polling, scrape, ledger, webhooks, drafts, memory, level or check")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *write != "" && *only != "" {
		return errors.New("-only measures a part, and -write is for the whole report; use one of them")
	}

	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this binary: %w", err)
	}
	dir, err := os.MkdirTemp("", "chatwoot-sla-bench-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	b := &bench{self: self, dir: dir}
	b.now = time.Now

	r := results{date: b.now().UTC(), machine: machine()}
	found := false
	for _, m := range measurements {
		if *only != "" && m.name != *only {
			continue
		}
		found = true
		started := b.now()
		rows, err := m.run(b, ctx)
		if err != nil {
			return fmt.Errorf("measure %s: %w", m.name, err)
		}
		fmt.Fprintf(stderr, "%-8s %v\n", m.name, b.now().Sub(started).Round(100*time.Millisecond))
		r.rows = append(r.rows, rows...)
	}
	if !found {
		return fmt.Errorf("there is no subject %q; run with -h to see them", *only)
	}
	text := r.markdown()
	fmt.Fprint(stdout, text)
	if *write == "" {
		return nil
	}
	if err := os.WriteFile(*write, []byte(text), 0o644); err != nil { //nolint:gosec // a document that everybody may read
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
