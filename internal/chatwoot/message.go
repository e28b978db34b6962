package chatwoot

import (
	"fmt"
	"strings"
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
	Became     Status // of an activity line about a new status, where it says so outside its words
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

// Resolved reports whether m is the line that tells of a resolution. Chatwoot
// wrote such lines in words alone until after 4.15, in the account's language;
// known are the English ones.
func (m Message) Resolved() bool {
	if m.Kind != Activity {
		return false
	}
	return m.Became == Resolved || strings.HasPrefix(m.Content, "Conversation was marked resolved by ") ||
		strings.HasPrefix(m.Content, "Conversation was resolved by ")
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

// statusChange consumes what an activity line tells beside its words, and
// returns the new status if that is what it is about. Chatwoot keeps whatever
// an integration sends under the same name, so nothing here is an error.
func (s *scanner) statusChange() (became Status) {
	if s.peek() != '{' {
		s.skip()
		return ""
	}
	about := ""
	s.object(func(key []byte) {
		switch isText := s.peek() == '"'; {
		case isText && string(key) == "type":
			about = s.str()
		case isText && string(key) == "status":
			became = Status(s.str())
		default:
			s.skip()
		}
	})
	if about != "conversation_status_changed" {
		return ""
	}
	return became
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
			case "activity":
				m.Became = s.statusChange()
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
