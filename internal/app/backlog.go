package app

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/incident"
	"github.com/hotdash/chatwoot-sla/internal/queue"
	"github.com/hotdash/chatwoot-sla/internal/store"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

// stuckAfter is how long a job that could be worked waits before webhooks count
// as not processed. After maintenance, what has piled up has as long.
const stuckAfter = 5 * time.Minute

// backlog says whether webhooks are processed, but not since when.
func (a *App) backlog() incident.Check {
	d, counted := a.webhooks.queue.Depth()
	if !counted || a.webhooks.queue.Paused() {
		return incident.Check{Name: processing}
	}
	plan, _ := a.upkeep.plans()
	resumed, _ := plan.Ended(a.now())
	return judgeBacklog(d, a.now().Sub(resumed.End))
}

const processing = "webhook processing"

// judgeBacklog says whether webhooks are processed: not if too many jobs wait
// after a failure or for their service, or if those that could be worked are
// not. Jobs keep this machine's time, however fast the clock is by which they
// were resumed.
func judgeBacklog(d queue.Depth, sinceResumed time.Duration) incident.Check {
	c := incident.Check{Name: processing, Known: true}
	late := slices.ContainsFunc(d.Counts, func(c queue.Count) bool {
		return c.State == queue.Ready && c.Jobs > 0 && d.At.Sub(c.Oldest) > stuckAfter
	})
	switch waiting := d.Sum(queue.Retry); {
	case waiting > incident.MostWaiting:
		c.Problem = fmt.Sprintf("%d jobs wait to be tried again, more than %d", waiting, incident.MostWaiting)
	case late && sinceResumed <= stuckAfter:
		c.Known = false // what has piled up has to be worked off first
	case late:
		c.Problem = "nothing is processed"
	default:
		c.Passes = true
	}
	return c
}

// webhooksResumed examines whether jobs are worked again. Nil: webhooks are
// off.
func webhooksResumed(cfg config.Config) measure {
	if !cfg.WebhookSecret.IsSet() && webhook.Form(cfg.WebhookSignature) != webhook.Unsigned {
		return nil
	}
	const most = 500
	return func(ctx context.Context, db *store.Reader) (found string, ok bool, fix string, err error) {
		err = withOffice(cfg, db.Database(), func(o *queue.Office) error {
			jobs, err := o.List(ctx, queue.Selection{}, most)
			running := 0
			for _, j := range jobs {
				if j.State == queue.Running {
					running++
				}
			}
			waiting := len(jobs) - running
			found = fmt.Sprintf("%d jobs wait, %d are worked on", waiting, running)
			if len(jobs) == most {
				found = fmt.Sprintf("%d jobs wait or more, %d are worked on", waiting, running)
			}
			ok = waiting <= incident.MostWaiting || running > 0
			return err
		})
		return found, ok, "Look at what waits: chatwoot-sla queue list. Is chatwoot-sla serve running, and are the services that its jobs need?", err
	}
}
