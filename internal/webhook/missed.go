package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
)

const (
	// missedAfter is how long a webhook may be on its way.
	missedAfter = time.Minute

	// missedFor is for how long a message is looked for.
	missedFor = time.Hour

	missedInterval = 30 * time.Second // between looks

	readsAtOnce = 8 // conversations
)

// Candidate is a conversation in which a customer may wait for an answer, and of
// whose messages webhooks should have told.
type Candidate struct {
	Conversation int64
	OpenedAt     time.Time // when the conversation was created
	Newest       int64     // message, which need not be the customer's
	At           time.Time // when that was written
}

// FinderOptions configures a Finder. All but the Logger and the Registerer are
// required.
type FinderOptions struct {
	AccountID int64
	Inbox     Inbox // takes in what was missed

	// Candidates returns the conversations to look at.
	Candidates func() []Candidate
	// Missing returns those of some keys that were never accepted.
	Missing func(ctx context.Context, keys []string) ([]string, error)
	// History reads a conversation, the newest page first.
	History func(ctx context.Context, conversation int64, each func([]chatwoot.Message) (more bool)) error
	// Began returns when webhooks were first received.
	Began func(context.Context) (time.Time, error)

	Now        func() time.Time // Chatwoot's clock
	After      func(time.Duration) <-chan time.Time
	Logger     *zap.Logger
	Registerer prometheus.Registerer
}

// Finder finds the customers' messages that no webhook told of: Chatwoot
// delivers at most once. They are taken in as if it had.
type Finder struct {
	o      FinderOptions
	missed prometheus.Counter
	looked map[int64]look // of the candidates
}

// look is how far a conversation was read. Which of its messages came is known
// of no conversation from its newest message alone, so each new one has it read
// again, and only as far back as the time before.
type look struct {
	newest int64 // as the candidate named it
	upTo   int64 // message; what was younger may still have been on its way
}

// NewFinder returns a Finder.
func NewFinder(o FinderOptions) *Finder {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	f := &Finder{o: o, looked: map[int64]look{}, missed: prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: namespace, Name: "webhook_missed_total",
		Help: "Messages of customers that no webhook told of within a minute, and that polling found.",
	})}
	if o.Registerer != nil {
		o.Registerer.MustRegister(f.missed)
	}
	return f
}

// Run looks until ctx ends.
func (f *Finder) Run(ctx context.Context) error {
	failing := false
	for {
		err := f.Look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			failing = false
			f.o.Logger.Debug("looked for messages without webhooks")
		case !failing:
			failing = true
			f.o.Logger.Info("missed webhooks cannot be looked for; it is tried again", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-f.o.After(missedInterval):
		}
	}
}

// Look looks once.
func (f *Finder) Look(ctx context.Context) error {
	began, err := f.o.Began(ctx)
	if err != nil {
		return err
	}
	now := f.o.Now()
	from, to := now.Add(-missedFor), now.Add(-missedAfter)
	if began = began.Truncate(time.Second); began.After(from) { // Chatwoot tells whole seconds
		from = began
	}
	looked := map[int64]look{} // forgets those that are no candidates any more
	var due []Candidate
	for _, c := range f.o.Candidates() {
		last, known := f.looked[c.Conversation]
		if known {
			looked[c.Conversation] = last
		}
		if c.At.Before(from) || c.At.After(to) || known && last.newest == c.Newest {
			continue
		}
		due = append(due, c)
	}
	f.looked = looked
	upTo, errs := make([]int64, len(due)), make([]error, len(due))
	var g errgroup.Group // what is taken in at the same time shares a commit
	g.SetLimit(readsAtOnce)
	for i, c := range due {
		read := looked[c.Conversation].upTo
		g.Go(func() error {
			upTo[i], errs[i] = f.read(ctx, c, read, from, to)
			return nil
		})
	}
	_ = g.Wait()
	for i, c := range due {
		if errs[i] != nil {
			errs[i] = fmt.Errorf("conversation %d: %w", c.Conversation, errs[i])
			continue
		}
		looked[c.Conversation] = look{newest: c.Newest, upTo: upTo[i]}
	}
	return errors.Join(errs...)
}

// read takes in the unanswered messages of a conversation that were written in
// [from, to] and never came. Messages up to read were looked at before; it
// returns up to which they now are.
func (f *Finder) read(ctx context.Context, c Candidate, read int64, from, to time.Time) (upTo int64, err error) {
	upTo = read
	var unanswered []chatwoot.Message
	err = f.o.History(ctx, c.Conversation, func(page []chatwoot.Message) (more bool) {
		for _, m := range slices.Backward(page) {
			switch {
			case m.Human() || m.CreatedAt.Before(from) || m.ID <= read:
				return false
			case m.CreatedAt.After(to):
				continue
			case m.Kind == chatwoot.Incoming && !m.Private:
				unanswered = append(unanswered, m)
			}
			upTo = max(upTo, m.ID)
		}
		return true
	})
	if chatwoot.Is(err, chatwoot.NotFound) {
		return upTo, nil // deleted since the last poll
	}
	if err != nil || len(unanswered) == 0 {
		return upTo, err
	}
	slices.Reverse(unanswered)
	keys := make([]string, len(unanswered))
	for i, m := range unanswered {
		keys[i] = messageKey(f.o.AccountID, m.ID)
	}
	missing, err := f.o.Missing(ctx, keys)
	if err != nil {
		return 0, err
	}
	for i, m := range unanswered {
		if !slices.Contains(missing, keys[i]) {
			continue
		}
		d, err := f.delivery(c, m)
		if err != nil {
			return 0, err
		}
		fresh, err := f.o.Inbox.Accept(ctx, d)
		if err != nil {
			return 0, err
		}
		if fresh {
			f.missed.Inc()
			f.o.Logger.Info("a customer's message came without a webhook",
				zap.Int64("conversation_id", c.Conversation), zap.Int64("message_id", m.ID), zap.Time("written", m.CreatedAt))
		}
	}
	return upTo, nil
}

// delivery returns what a webhook would have brought, as far as it matters.
func (f *Finder) delivery(c Candidate, m chatwoot.Message) (Delivery, error) {
	type object map[string]any
	sender := object{}
	if m.SenderID != 0 {
		sender["id"] = m.SenderID
	}
	body, err := json.Marshal(object{
		"event": chatwoot.MessageCreated, "id": m.ID, "message_type": "incoming", "private": false, "content_type": "text",
		"content":    m.Content,
		"created_at": m.CreatedAt.UTC().Format("2006-01-02T15:04:05.000Z"),
		"sender":     sender,
		"account":    object{"id": f.o.AccountID},
		"conversation": object{
			"id": c.Conversation, "status": chatwoot.Open, "created_at": c.OpenedAt.Unix(), "messages": []any{},
		},
	})
	if err != nil {
		return Delivery{}, fmt.Errorf("write the webhook that did not come: %w", err)
	}
	return Delivery{
		Key: messageKey(f.o.AccountID, m.ID), Event: chatwoot.MessageCreated, Reason: CustomerMessage,
		AccountID: f.o.AccountID, ConversationID: c.Conversation, MessageID: m.ID, Status: chatwoot.Open,
		UpdatedAt: m.CreatedAt, ReceivedAt: f.o.Now(), Missed: true, Body: body,
	}, nil
}
