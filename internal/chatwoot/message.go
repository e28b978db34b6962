package chatwoot

import (
	"fmt"
	"time"
)

// MessageKind is Chatwoot's message_type. The API encodes it as a number, the
// top level of a webhook as a word; both decode alike.
type MessageKind uint8

const (
	UnknownKind MessageKind = iota // a kind that this package does not know
	Incoming                       // from the customer
	Outgoing                       // from an agent, a bot, a campaign or an automation
	Activity                       // a line about the conversation, such as an assignment
	Template                       // greeting, out of office, e-mail collect, CSAT
)

func (s *scanner) messageKind() MessageKind {
	switch c := s.peek(); {
	case c == 'n':
		s.word("null")
		return UnknownKind
	case c == '"':
		switch string(s.text()) {
		case "incoming":
			return Incoming
		case "outgoing":
			return Outgoing
		case "activity":
			return Activity
		case "template":
			return Template
		}
		return UnknownKind
	default:
		if n := s.integer(); s.err == nil && 0 <= n && n <= 3 {
			return Incoming + MessageKind(n)
		}
		return UnknownKind
	}
}

// Message is one message of a conversation.
type Message struct {
	ID         int64 // unique in the installation, ascending
	Kind       MessageKind
	Private    bool
	CreatedAt  time.Time
	SenderID   int64
	SenderName string
	SenderType string // user, contact, agent_bot, captain_assistant; empty when there is no sender
	Automation bool   // written by an automation rule
	Echo       bool   // a reply that an agent typed in the channel's own app
	Campaign   bool   // only webhooks say so
	Content    string
	SourceID   string
}

// Human reports whether m is a public answer by a person, which is what
// Chatwoot itself counts as a reply. (Message#human_response? in its source.)
func (m Message) Human() bool {
	if m.Kind != Outgoing || m.Private || m.Automation || m.Campaign {
		return false
	}
	return m.SenderType == "user" || m.Echo
}

func decodeMessages(data []byte) ([]Message, error) {
	s := &scanner{data: data}
	var (
		messages []Message
		seen     bool
	)
	s.object(func(key []byte) {
		if string(key) != "payload" {
			s.skip()
			return
		}
		messages, seen = nil, s.peek() == '['
		s.array(func() { messages = append(messages, s.message()) })
	})
	if err := s.end(); err != nil {
		return nil, err
	}
	if !seen {
		return nil, fmt.Errorf("payload is missing: this is not a message list")
	}
	return messages, nil
}

func (s *scanner) message() Message {
	var m Message
	s.object(func(key []byte) { s.messageField(&m, key) })
	if s.err == nil && (m.ID <= 0 || m.CreatedAt.IsZero()) {
		s.fail("a message without id or created_at")
	}
	return m
}

// messageField consumes the member key of a message.
func (s *scanner) messageField(m *Message, key []byte) {
	switch string(key) {
	case "id":
		m.ID = s.integer()
	case "message_type":
		m.Kind = s.messageKind()
	case "private":
		m.Private = s.boolean()
	case "created_at":
		m.CreatedAt = s.instant()
	case "content":
		m.Content = s.str()
	case "source_id":
		m.SourceID = s.str()
	case "sender":
		s.object(func(key []byte) {
			switch string(key) {
			case "id":
				m.SenderID = s.integer()
			case "name":
				m.SenderName = s.str()
			case "type":
				m.SenderType = s.str()
			default:
				s.skip()
			}
		})
	case "content_attributes":
		s.object(func(key []byte) {
			switch string(key) {
			case "automation_rule_id":
				m.Automation = s.present()
			case "external_echo":
				m.Echo = s.peek() == 't'
				s.skip()
			default:
				s.skip()
			}
		})
	case "additional_attributes":
		s.object(func(key []byte) {
			if string(key) == "campaign_id" {
				m.Campaign = s.present()
				return
			}
			s.skip()
		})
	default:
		s.skip()
	}
	if s.err != nil {
		s.err = fmt.Errorf("message%s, %.40q: %w", numbered(m.ID), key, s.err)
	}
}
