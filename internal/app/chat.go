package app

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/pipeline"
)

// chat is Chatwoot as the steps of the pipeline need it.
type chat struct {
	client *chatwoot.Client
	me     atomic.Int64 // 0: not known yet
}

// Thread implements pipeline.Chat.
func (c *chat) Thread(ctx context.Context, conversation, message int64) ([]pipeline.Post, error) {
	recent, err := c.client.RecentMessages(ctx, conversation, 0)
	if err != nil {
		return nil, gone(err)
	}
	of := func(m chatwoot.Message) bool { return m.ID == message }
	if !slices.ContainsFunc(recent, of) { // much was said since
		before, err := c.client.RecentMessages(ctx, conversation, message+1)
		if err != nil {
			return nil, gone(err)
		}
		later := slices.DeleteFunc(recent, func(m chatwoot.Message) bool { return m.ID <= message })
		recent = slices.Concat(before, later)
	}
	return posts(recent), nil
}

// After implements pipeline.Chat.
func (c *chat) After(ctx context.Context, conversation, message int64) ([]pipeline.Post, error) {
	var all []chatwoot.Message
	err := c.client.Messages(ctx, conversation, message, func(ms []chatwoot.Message) bool {
		all = append(all, ms...)
		return true
	})
	if err != nil {
		return nil, gone(err)
	}
	return posts(all), nil
}

// Note implements pipeline.Chat.
func (c *chat) Note(ctx context.Context, conversation int64, text, mark string) (int64, error) {
	m, err := c.client.PostNote(ctx, conversation, chatwoot.Note{Content: text, SourceID: mark})
	return m.ID, gone(err)
}

// Reply implements pipeline.Chat.
func (c *chat) Reply(ctx context.Context, conversation int64, text string) (int64, error) {
	m, err := c.client.PostReply(ctx, conversation, text)
	return m.ID, gone(err)
}

// Me implements pipeline.Chat.
func (c *chat) Me(ctx context.Context) (int64, error) {
	if me := c.me.Load(); me != 0 {
		return me, nil
	}
	p, _, err := c.client.Profile(ctx)
	if err != nil {
		return 0, err
	}
	c.me.Store(p.ID)
	return p.ID, nil
}

// gone marks the error of a conversation that was deleted.
func gone(err error) error {
	if chatwoot.Is(err, chatwoot.NotFound) {
		return fmt.Errorf("%w: %w", pipeline.ErrGone, err)
	}
	return err
}

func posts(messages []chatwoot.Message) []pipeline.Post {
	list := make([]pipeline.Post, len(messages))
	for i, m := range messages {
		list[i] = pipeline.Post{
			ID: m.ID, At: m.CreatedAt, By: author(m), Sender: m.SenderID, Name: m.SenderName, Private: m.Private, Mark: m.SourceID, Text: m.Content,
		}
	}
	return list
}

func author(m chatwoot.Message) pipeline.Author {
	switch {
	case m.Kind == chatwoot.Incoming:
		return pipeline.Customer
	case m.Human() || m.Private && m.SenderType == "user":
		return pipeline.Agent
	case m.Kind == chatwoot.Outgoing && (m.SenderType == "agent_bot" || m.SenderType == "captain_assistant"):
		return pipeline.Bot
	}
	return pipeline.Nobody
}
