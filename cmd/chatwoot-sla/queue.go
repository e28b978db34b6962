package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/queue"
)

type queueCommand struct {
	List  queueList  `cmd:"" help:"List the jobs that wait or run, or those that were given up."`
	Show  queueShow  `cmd:"" help:"Show one job and all that went wrong."`
	Retry queueRetry `cmd:"" help:"Give dead letters all of their attempts again."`
	Purge queuePurge `cmd:"" help:"Forget dead letters, or all jobs of a stage that is off, for good."`
}

type queueList struct {
	Dead   bool   `help:"Dead letters instead: the jobs that were given up."`
	Stage  string `help:"Only those of a stage, such as forward."`
	Limit  int    `default:"100" help:"How many at most, up to 1000."`
	Output string `enum:"table,json" default:"table" help:"table or json."`
}

// Run lists jobs, oldest first.
func (c queueList) Run(p *process) error {
	loaded, err := p.load()
	if err != nil {
		return err
	}
	if err := app.CheckStage(c.Stage); err != nil {
		return err
	}
	selected := queue.Selection{Dead: c.Dead, Stage: c.Stage}
	return app.ReadQueue(p.ctx, loaded.Config, func(o *queue.Office) error {
		jobs, err := o.List(p.ctx, selected, c.Limit)
		if err != nil {
			return err
		}
		total, err := o.Count(p.ctx, selected)
		if err != nil {
			return err
		}
		hints := p.stdout
		if c.Output == "json" {
			if err := printJSON(p.stdout, jobs); err != nil {
				return err
			}
			hints = p.stderr
		} else if err := c.table(p.stdout, jobs); err != nil {
			return err
		}
		if len(jobs) < total {
			fmt.Fprintf(hints, "These are the oldest %d of %d.\n", len(jobs), total)
		}
		if c.Dead {
			return nil
		}
		for _, stage := range app.StagesOff(loaded.Config) {
			n, err := o.Count(p.ctx, queue.Selection{Stage: stage})
			if err != nil {
				return err
			}
			if n > 0 && (c.Stage == "" || c.Stage == stage) {
				fmt.Fprintf(hints, "The stage %s is off. Jobs that wait until it is on: %d. To forget them: chatwoot-sla queue purge --waiting --stage %s\n", stage, n, stage)
			}
		}
		dead, err := o.Count(p.ctx, queue.Selection{Dead: true, Stage: c.Stage})
		if dead > 0 {
			fmt.Fprintf(hints, "Dead letters, which are not listed here: %d. To see them: chatwoot-sla queue list --dead\n", dead)
		}
		return err
	})
}

func (c queueList) table(to io.Writer, jobs []queue.Letter) error {
	if len(jobs) == 0 {
		fmt.Fprintln(to, map[bool]string{true: "There are no dead letters.", false: "Nothing waits."}[c.Dead])
		return nil
	}
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTAGE\tSTATE\tSINCE\tFAILURES\tLAST ERROR")
	for _, j := range jobs {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d\t%s\n", j.ID, j.Stage, stateWords(j), j.CreatedAt.Format(time.DateTime), j.Failures, cmp.Or(j.Error, "-"))
	}
	return w.Flush()
}

// stateWords names the reason of a dead letter with its state.
func stateWords(j queue.Letter) string {
	if j.Reason == "" {
		return string(j.State)
	}
	return fmt.Sprintf("%s (%s)", j.State, j.Reason)
}

type queueShow struct {
	ID     int64  `arg:"" help:"As queue list prints it."`
	Output string `enum:"text,json" default:"text" help:"text or json."`
}

// Run shows one job.
func (c queueShow) Run(p *process) error {
	loaded, err := p.load()
	if err != nil {
		return err
	}
	return app.ReadQueue(p.ctx, loaded.Config, func(o *queue.Office) error {
		j, err := o.Show(p.ctx, c.ID)
		if err != nil {
			return err
		}
		if c.Output == "json" {
			return printJSON(p.stdout, j)
		}
		fmt.Fprintf(p.stdout, "Job %d, %s in stage %s: %s\n", j.ID, j.Kind, j.Stage, stateWords(j))
		fmt.Fprintf(p.stdout, "  taken in  %s\n", j.CreatedAt.Format(time.RFC3339))
		if !j.DueAt.IsZero() {
			fmt.Fprintf(p.stdout, "  due       %s\n", j.DueAt.Format(time.RFC3339))
		}
		if !j.EndedAt.IsZero() {
			fmt.Fprintf(p.stdout, "  ended     %s\n", j.EndedAt.Format(time.RFC3339))
		}
		failure := func(what string, f queue.Failure) {
			fmt.Fprintf(p.stdout, "  %-9s %s\n", what, f.At.Format(time.RFC3339))
			for line := range strings.Lines(f.Error) {
				fmt.Fprintf(p.stdout, "            %s\n", strings.TrimRight(line, "\n"))
			}
		}
		for i, f := range j.Failed {
			failure(fmt.Sprintf("failure %d", i+1), f)
		}
		if j.PutOff.Error != "" {
			failure("put off", j.PutOff) // at no cost, for its service
		}
		if j.State == queue.DeadLetter {
			fmt.Fprintf(p.stdout, "When the cause is put right: chatwoot-sla queue retry %d\n", j.ID)
		}
		return nil
	})
}

// chosenJobs says which jobs are meant. All of them must be asked for.
type chosenJobs struct {
	IDs   []int64 `arg:"" optional:"" name:"id" help:"As queue list --dead prints them."`
	Stage string  `help:"Those of a stage."`
	All   bool    `help:"All of them."`
}

func (c chosenJobs) change(p *process, done string, change func(context.Context, *queue.Office, queue.Selection) (int, error)) error {
	if len(c.IDs) == 0 && c.Stage == "" && !c.All {
		return errors.New("say which jobs: ids as queue list --dead prints them, --stage NAME, or --all")
	}
	loaded, err := p.load()
	if err != nil {
		return err
	}
	if err := app.CheckStage(c.Stage); err != nil {
		return err
	}
	return app.ChangeQueue(p.ctx, loaded.Config, func(o *queue.Office) error {
		n, err := change(p.ctx, o, queue.Selection{IDs: c.IDs, Stage: c.Stage})
		if err != nil {
			return err
		}
		if n == 0 && len(c.IDs) > 0 {
			return fmt.Errorf("none of these can be %s; queue list --dead has the dead letters", done)
		}
		fmt.Fprintf(p.stdout, "%d %s\n", n, done)
		return nil
	})
}

type queueRetry struct{ chosenJobs }

// Run gives dead letters their attempts again. A daemon that runs takes them up
// at once.
func (c queueRetry) Run(p *process) error {
	return c.change(p, "retried", func(ctx context.Context, o *queue.Office, s queue.Selection) (int, error) { return o.Retry(ctx, s) })
}

type queuePurge struct {
	chosenJobs

	Waiting bool `help:"Also jobs that wait, which are then never done."`
}

// Run forgets jobs.
func (c queuePurge) Run(p *process) error {
	return c.change(p, "purged", func(ctx context.Context, o *queue.Office, s queue.Selection) (int, error) {
		return app.PurgeJobs(ctx, o, s, c.Waiting)
	})
}

func printJSON(w io.Writer, doc any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(doc)
}
