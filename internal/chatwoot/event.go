package chatwoot

import (
	"fmt"
	"strings"
)

// Event is a webhook delivery. Message is set for message events, Conversation
// for these and for conversation events; of all others only Name is known.
type Event struct {
	Name         string
	AccountID    int64 // 0 when the event names none, as conversation events before 4.14.2
	Message      *Message
	Conversation *Conversation
}

// DecodeEvent reads the body of a webhook delivery. The conversation's fields
// describe the moment of delivery, not of the event.
func DecodeEvent(body []byte) (Event, error) {
	var e Event
	s := &scanner{data: body}
	s.object(func(key []byte) {
		switch string(key) {
		case "event":
			e.Name = s.str()
		case "account":
			s.object(func(key []byte) {
				if string(key) == "id" {
					e.AccountID = s.integer()
					return
				}
				s.skip()
			})
		default:
			s.skip()
		}
	})
	if err := s.end(); err != nil {
		return Event{}, fmt.Errorf("decode webhook: %w", err)
	}
	if e.Name == "" {
		return Event{}, fmt.Errorf("decode webhook: event is missing")
	}

	s = &scanner{data: body}
	switch {
	case strings.HasPrefix(e.Name, "message_"):
		var m Message
		s.object(func(key []byte) {
			if string(key) == "conversation" {
				c := s.conversation()
				e.Conversation = &c
				return
			}
			s.messageField(&m, key)
		})
		e.Message = &m
		if s.err == nil && (m.ID <= 0 || m.CreatedAt.IsZero() || e.Conversation == nil) {
			s.fail("a message event without id, created_at or conversation")
		}
	case strings.HasPrefix(e.Name, "conversation_") && !strings.HasPrefix(e.Name, "conversation_typing"):
		c := s.conversation()
		e.Conversation = &c
	}
	if s.err != nil {
		return Event{}, fmt.Errorf("decode webhook %q: %w", e.Name, s.err)
	}
	return e, nil
}
