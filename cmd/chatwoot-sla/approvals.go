package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/pipeline"
)

type approvalsCommand struct {
	List  approvalsListCommand  `cmd:"" help:"List drafts that wait for approval; what customers wrote is not shown."`
	Purge approvalsPurgeCommand `cmd:"" help:"Delete what is kept of a conversation's drafts, as for a request for erasure."`
}

type approvalsListCommand struct {
	State        string `default:"pending" help:"pending, sending, failed, sent, unknown, rejected, cancelled, expired, or all."`
	Conversation int64  `placeholder:"N" help:"Those of one conversation."`
	Limit        int    `default:"100" help:"Most to list."`
	Output       string `enum:"text,json" default:"text" help:"text or json."`
}

// Run lists items of the approval queue. It reads the database, also while the
// daemon runs.
func (c approvalsListCommand) Run(p *process) error {
	f := pipeline.ItemFilter{Conversation: c.Conversation, Limit: c.Limit}
	if c.State != "all" {
		state, err := pipeline.ParseState(c.State)
		if err != nil {
			return fmt.Errorf("approvals: %w, or all", err)
		}
		f.States = []pipeline.State{state}
	}
	if c.Limit < 1 || c.Conversation < 0 {
		return fmt.Errorf("approvals: --limit and --conversation are positive numbers")
	}
	loaded, err := p.load()
	if err != nil {
		return err
	}
	items, err := app.Approvals(p.ctx, loaded.Config, f)
	if err != nil {
		return fmt.Errorf("approvals: %w", err)
	}
	now := time.Now()
	if c.Output == "json" {
		return c.json(p, items, now)
	}
	if len(items) == 0 {
		fmt.Fprintln(p.stdout, "no approvals")
		return nil
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tCONVERSATION\tSTATE\tPRIORITY\tDUE (UTC)\tCONFIDENCE\tSUGGESTED\tDECIDED BY")
	for _, it := range items {
		confidence := "-"
		if it.Problem == "" {
			confidence = fmt.Sprintf("%.0f %%", it.Confidence)
		}
		by := it.DecidedBy
		if by == "" {
			by = "-"
		}
		fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", it.Message, it.Conversation, it.State, it.PriorityAt(now),
			it.Deadline.UTC().Format(time.DateTime), confidence, it.Action, by)
	}
	return w.Flush()
}

func (approvalsListCommand) json(p *process, items []pipeline.Item, now time.Time) error {
	type doc struct {
		ID           int64             `json:"id"`
		Conversation int64             `json:"conversation_id"`
		State        pipeline.State    `json:"state"`
		Priority     pipeline.Priority `json:"priority"`
		Deadline     time.Time         `json:"deadline"`
		CreatedAt    time.Time         `json:"created_at"`
		Confidence   float64           `json:"confidence"`
		Problem      pipeline.Problem  `json:"problem,omitempty"`
		Action       pipeline.Action   `json:"suggested_action"`
		Decision     pipeline.Decision `json:"decision,omitempty"`
		DecidedBy    string            `json:"decided_by,omitempty"`
	}
	docs := []doc{}
	for _, it := range items {
		docs = append(docs, doc{
			it.Message, it.Conversation, it.State, it.PriorityAt(now), it.Deadline, it.CreatedAt, it.Confidence, it.Problem, it.Action, it.Decision, it.DecidedBy,
		})
	}
	out := json.NewEncoder(p.stdout)
	out.SetIndent("", "  ")
	return out.Encode(docs)
}

type approvalsPurgeCommand struct {
	Conversation int64 `required:"" placeholder:"N" help:"The number of the conversation in Chatwoot."`
}

// Run deletes the drafts and approvals of a conversation, also while the daemon
// runs.
func (c approvalsPurgeCommand) Run(p *process) error {
	if c.Conversation < 1 {
		return fmt.Errorf("approvals: --conversation %d is not the number of one", c.Conversation)
	}
	loaded, err := p.load()
	if err != nil {
		return err
	}
	n, err := app.PurgeApprovals(p.ctx, loaded.Config, c.Conversation)
	if err != nil {
		return fmt.Errorf("approvals: %w", err)
	}
	fmt.Fprintf(p.stdout, "deleted %d rows of conversation %d; its messages and notes in Chatwoot are deleted there\n", n, c.Conversation)
	return nil
}
