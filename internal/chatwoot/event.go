package chatwoot

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// The events about messages and conversations that Chatwoot sends to webhooks.
// The last two go to agent bots only.
const (
	MessageCreated            = "message_created"
	MessageUpdated            = "message_updated"
	ConversationCreated       = "conversation_created"
	ConversationUpdated       = "conversation_updated"
	ConversationStatusChanged = "conversation_status_changed"
	ConversationOpened        = "conversation_opened"
	ConversationResolved      = "conversation_resolved"
)

// Event is a webhook delivery. Message is set for message events, Conversation
// for these and for conversation events; of all others only Name and AccountID
// are known.
type Event struct {
	Name         string
	AccountID    int64 // 0 when the event names none, as conversation events before 4.14.2
	Message      *Message
	Conversation *Conversation

	// Assigned is whether a ConversationUpdated lists an assignee or a team
	// among the columns that changed.
	Assigned bool
}

// DecodeEvent reads the body of a webhook delivery. The conversation's fields
// describe the moment of delivery, not of the event.
//
// It is stricter than the other decoders: invalid UTF-8 and a member that
// comes twice are errors, at any depth. Chatwoot sends neither, and a body that
// two programs can read differently is not to be stored or passed on.
func DecodeEvent(body []byte) (Event, error) {
	if !utf8.Valid(body) {
		return Event{}, errors.New("decode webhook: the body is not valid UTF-8")
	}
	s := &scanner{data: body}
	s.unambiguous()
	if err := s.end(); err != nil {
		return Event{}, fmt.Errorf("decode webhook: %w", err)
	}

	var e Event
	s = &scanner{data: body}
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
	switch {
	case s.err != nil:
		return Event{}, fmt.Errorf("decode webhook: %w", s.err)
	case e.Name == "":
		return Event{}, errors.New("decode webhook: event is missing")
	}

	s = &scanner{data: body}
	switch e.Name {
	case MessageCreated, MessageUpdated:
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
	case ConversationCreated, ConversationUpdated, ConversationStatusChanged, ConversationOpened, ConversationResolved:
		c := s.conversation()
		e.Conversation = &c
		if e.Name == ConversationUpdated && s.err == nil {
			s = &scanner{data: body}
			e.Assigned = s.assigned()
		}
	}
	if s.err != nil {
		return Event{}, fmt.Errorf("decode webhook %s: %w", e.Name, s.err)
	}
	return e, nil
}

// assigned consumes a conversation_updated and reports whether it is about who
// has the conversation.
func (s *scanner) assigned() (found bool) {
	s.object(func(key []byte) {
		if string(key) != "changed_attributes" || s.peek() != '[' {
			s.skip()
			return
		}
		s.array(func() {
			if s.peek() != '{' {
				s.skip()
				return
			}
			s.object(func(column []byte) {
				switch string(column) {
				case "assignee_id", "assignee_agent_bot_id", "team_id":
					found = true
				}
				s.skip()
			})
		})
	})
	return found
}

// unambiguous consumes any value and fails if an object in it has a member
// twice.
func (s *scanner) unambiguous() {
	switch s.peek() {
	case '{':
		seen := map[string]bool{}
		s.object(func(key []byte) {
			if seen[string(key)] {
				s.fail("the member %.40q comes twice", key)
				return
			}
			seen[string(key)] = true
			s.unambiguous()
		})
	case '[':
		s.array(s.unambiguous)
	default:
		s.skip()
	}
}
