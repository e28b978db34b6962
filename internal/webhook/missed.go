package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// Candidate is a conversation in which a customer waits for an answer, and of
// whose messages a webhook should have told.
type Candidate struct {
	Conversation int64
	OpenedAt     time.Time // when the conversation was created
	Message      int64     // the customer's newest; 0: unknown
	At           time.Time // when the customer wrote
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
	// LastMessage returns the newest message of a conversation that was
	// accepted; 0: none.
	LastMessage func(ctx context.Context, conversation int64) (int64, error)
	// Messages reads a conversation behind a message, oldest first.
	Messages func(ctx context.Context, conversation, after int64, each func([]chatwoot.Message) (more bool)) error
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
	looked map[int64]int64 // conversations whose unknown messages were read, up to which
}

// NewFinder returns a Finder.
func NewFinder(o FinderOptions) *Finder {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	f := &Finder{o: o, looked: map[int64]int64{}, missed: prometheus.NewCounter(prometheus.CounterOpts{
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
	if began.After(from) {
		from = began
	}
	var keys []string
	suspects := map[string]Candidate{}
	for _, c := range f.o.Candidates() {
		if c.At.Before(from) || c.At.After(to) {
			continue
		}
		key := messageKey(f.o.AccountID, c.Message)
		if c.Message == 0 {
			key = fmt.Sprint("unknown ", c.Conversation) // never accepted, so always missing
			if f.looked[c.Conversation] == c.At.Unix() {
				continue
			}
		}
		keys = append(keys, key)
		suspects[key] = c
	}
	if len(keys) == 0 {
		return nil
	}
	missing, err := f.o.Missing(ctx, keys)
	if err != nil {
		return err
	}
	errs := make([]error, len(missing))
	var g errgroup.Group // what is taken in at the same time shares a commit
	g.SetLimit(readsAtOnce)
	for i, key := range missing {
		g.Go(func() error {
			errs[i] = f.read(ctx, suspects[key], from, to)
			return nil
		})
	}
	_ = g.Wait()
	for i, key := range missing {
		c := suspects[key]
		if errs[i] != nil {
			errs[i] = fmt.Errorf("conversation %d: %w", c.Conversation, errs[i])
		} else if c.Message == 0 {
			f.looked[c.Conversation] = c.At.Unix()
		}
	}
	return errors.Join(errs...)
}

// read takes in the unanswered messages of a conversation that were written in
// [from, to] and never came.
func (f *Finder) read(ctx context.Context, c Candidate, from, to time.Time) error {
	after, err := f.o.LastMessage(ctx, c.Conversation)
	if err != nil {
		return err
	}
	if after == 0 && c.OpenedAt.Before(from) && c.Message != 0 {
		after = c.Message - 1 // a long conversation is not read from its beginning
	}
	var unanswered []chatwoot.Message
	err = f.o.Messages(ctx, c.Conversation, after, func(ms []chatwoot.Message) bool {
		for _, m := range ms {
			switch {
			case m.Human():
				unanswered = nil
			case m.Kind == chatwoot.Incoming && !m.Private && !m.CreatedAt.Before(from) && !m.CreatedAt.After(to):
				unanswered = append(unanswered, m)
			}
		}
		return true
	})
	if chatwoot.Is(err, chatwoot.NotFound) {
		return nil // deleted since the last poll
	}
	if err != nil {
		return err
	}
	for _, m := range unanswered {
		d, err := f.delivery(c, m)
		if err != nil {
			return err
		}
		fresh, err := f.o.Inbox.Accept(ctx, d)
		if err != nil {
			return err
		}
		if fresh {
			f.missed.Inc()
			f.o.Logger.Info("a customer's message came without a webhook",
				zap.Int64("conversation_id", c.Conversation), zap.Int64("message_id", m.ID), zap.Time("written", m.CreatedAt))
		}
	}
	return nil
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
