package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
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

// idleAfter is how long a job that could be worked waits, while its stage works
// none, before a checklist says that nobody works it.
const idleAfter = time.Minute

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
	stages := []string{stageSettle} // jobs of one that was taken out of the settings may wait for ever
	if cfg.WebhookForwardURL != "" {
		stages = append(stages, stageForward)
	}
	if cfg.LlamaIndexURL != "" && cfg.AgentSDKURL != "" {
		stages = append(stages, stageDraft, stageNote, stageReply)
	}
	return func(ctx context.Context, db *store.Reader) (found string, ok bool, fix string, err error) {
		err = withOffice(cfg, db.Database(), func(o *queue.Office) error {
			depth, err := o.Depth(ctx)
			if err != nil {
				return err
			}
			worked, err := o.Worked(ctx)
			depth.Counts = slices.DeleteFunc(depth.Counts, func(c queue.Count) bool { return !slices.Contains(stages, c.Stage) })
			found, ok = resumed(depth, worked)
			return err
		})
		return found, ok, "Look at what waits: chatwoot-sla queue list. Is chatwoot-sla serve running, and are the services that its jobs need?", err
	}
}

// resumed judges what there is to do, given when each stage last worked. Dead
// letters wait for a person, and have an alert of their own.
func resumed(d queue.Depth, worked map[string]time.Time) (found string, ok bool) {
	var (
		oldest time.Time
		idle   []string
	)
	for _, c := range d.Counts {
		if c.State != queue.Ready && c.State != queue.Retry || !c.Oldest.Before(d.At) {
			continue
		}
		if oldest.IsZero() || c.Oldest.Before(oldest) {
			oldest = c.Oldest
		}
		limit := d.At.Add(-idleAfter)
		if c.Oldest.Before(limit) && worked[c.Stage].Before(limit) && !slices.Contains(idle, c.Stage) {
			idle = append(idle, c.Stage)
		}
	}
	found = fmt.Sprintf("ready: %d, wait to be tried again: %d, worked on: %d", d.Sum(queue.Ready), d.Sum(queue.Retry), d.Sum(queue.Running))
	if !oldest.IsZero() {
		found += fmt.Sprintf("; the oldest has been due for %v", d.At.Sub(oldest).Truncate(time.Second))
	}
	if len(idle) > 0 {
		found += "; nobody works the stage " + strings.Join(idle, " and ")
	}
	return found, len(idle) == 0 && d.Sum(queue.Retry) <= incident.MostWaiting
}
