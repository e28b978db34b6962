package chatwoot

import (
	"fmt"
	"strconv"
	"time"
)

// Status is the status of a conversation. Chatwoot may grow others than those
// named here; they decode as they come.
type Status string

const (
	Open     Status = "open"
	Pending  Status = "pending"
	Snoozed  Status = "snoozed"
	Resolved Status = "resolved"
)

// Conversation is the part of a list row that a monitor needs. A zero instant
// means that the event never happened. Instants other than UpdatedAt come
// truncated to whole seconds.
type Conversation struct {
	ID             int64 // the account's display id, as in Chatwoot's addresses
	InboxID        int64
	Status         Status
	CreatedAt      time.Time
	UpdatedAt      time.Time
	LastActivityAt time.Time
	WaitingSince   time.Time
	FirstReplyAt   time.Time
	UnreadCount    int // capped at 10 by Chatwoot

	Contact      string // the customer's name
	Assignee     string // empty when unassigned
	AssigneeType string // "User" or "AgentBot" from 4.8.0 on
	Team         string

	// Newest is the newest message of any kind, Spoken the newest that is not
	// an activity line; private notes count as spoken. Nil when there is none.
	Newest *Preview
	Spoken *Preview
}

// Preview is what a list row tells about a message.
type Preview struct {
	ID          int64
	Kind        MessageKind
	ContentType string
	Private     bool
	Campaign    bool // sent by a campaign, whoever is named as sender
	CreatedAt   time.Time
}

// Page is one answer of the conversation list.
type Page struct {
	Conversations []Conversation
	AllCount      int       // conversations under the filter, whatever the page
	ServerTime    time.Time // the answer's Date header; zero when it had none
}

// usualPage is how many rows Chatwoot puts on a page unless it is told
// otherwise.
const usualPage = 25

// decodePage wants a list, not a null; of a member that comes twice the last
// counts, as in encoding/json.
func decodePage(data []byte) (Page, error) {
	s := &scanner{data: data}
	var p Page
	seen := false
	s.object(func(key []byte) {
		if string(key) != "data" {
			s.skip()
			return
		}
		p, seen = Page{}, false
		s.object(func(key []byte) {
			switch string(key) {
			case "meta":
				s.object(func(key []byte) {
					if string(key) == "all_count" {
						p.AllCount = int(s.integer())
						return
					}
					s.skip()
				})
			case "payload":
				p.Conversations, seen = make([]Conversation, 0, usualPage), s.peek() == '['
				s.array(func() { p.Conversations = append(p.Conversations, s.conversation()) })
			default:
				s.skip()
			}
		})
	})
	if err := s.end(); err != nil {
		return Page{}, err
	}
	if !seen {
		return Page{}, fmt.Errorf("data.payload is missing: this is not a conversation list")
	}
	return p, nil
}

func decodeConversation(data []byte) (Conversation, error) {
	s := &scanner{data: data}
	c := s.conversation()
	if err := s.end(); err != nil {
		return Conversation{}, err
	}
	return c, nil
}

// conversation consumes a conversation as lists, show and webhooks encode it.
func (s *scanner) conversation() Conversation {
	var (
		c      Conversation
		newest []byte // what c.Newest was decoded from
	)
	start := s.pos
	s.object(func(key []byte) {
		switch string(key) {
		case "id":
			c.ID = s.integer()
		case "inbox_id":
			c.InboxID = s.integer()
		case "status":
			c.Status = status(s.text())
		case "created_at":
			c.CreatedAt = s.instant()
		case "updated_at":
			c.UpdatedAt = s.instant()
		case "last_activity_at":
			c.LastActivityAt = s.instant()
		case "waiting_since":
			c.WaitingSince = s.instant()
		case "first_reply_created_at":
			c.FirstReplyAt = s.instant()
		case "unread_count":
			c.UnreadCount = int(s.integer())
		case "messages":
			s.array(func() {
				s.peek()
				from := s.pos
				c.Newest = s.preview()
				newest = s.data[from:s.pos]
			})
		case "last_non_activity_message":
			// Most often this is the newest message again, letter for letter.
			if c.Newest != nil && s.repeats(newest) {
				c.Spoken = c.Newest
			} else {
				c.Spoken = s.preview()
			}
		case "meta":
			s.object(func(key []byte) {
				switch string(key) {
				case "sender":
					c.Contact = s.named()
				case "assignee":
					c.Assignee = s.named()
				case "assignee_type":
					c.AssigneeType = s.str()
				case "team":
					c.Team = s.named()
				default:
					s.skip()
				}
			})
		default:
			s.skip()
		}
		if s.err != nil {
			s.err = fmt.Errorf("conversation%s, %.40q: %w", numbered(c.ID), key, s.err)
		}
	})
	if s.err == nil && (c.ID <= 0 || c.CreatedAt.IsZero() || c.Status == "") {
		s.pos = start
		s.fail("a conversation without id, status or created_at")
	}
	return c
}

// numbered is the end of a name whose number may not have been read yet.
func numbered(id int64) string {
	if id == 0 {
		return ""
	}
	return " " + strconv.FormatInt(id, 10)
}

// status avoids an allocation for the values that there are.
func status(b []byte) Status {
	for _, known := range [...]Status{Open, Pending, Snoozed, Resolved} {
		if string(b) == string(known) {
			return known
		}
	}
	return Status(b)
}

// preview consumes a message or a null.
func (s *scanner) preview() *Preview {
	if s.null() {
		return nil
	}
	var p Preview
	s.object(func(key []byte) {
		switch string(key) {
		case "id":
			p.ID = s.integer()
		case "message_type":
			p.Kind = s.messageKind()
		case "content_type":
			p.ContentType = s.str()
		case "private":
			p.Private = s.boolean()
		case "created_at":
			p.CreatedAt = s.instant()
		case "additional_attributes":
			s.object(func(key []byte) {
				if string(key) == "campaign_id" {
					p.Campaign = s.present()
					return
				}
				s.skip()
			})
		default:
			s.skip()
		}
	})
	return &p
}

// present consumes any value and reports whether it was anything but null.
func (s *scanner) present() bool {
	if s.null() {
		return false
	}
	s.skip()
	return true
}

// named consumes an object or a null and returns the object's name.
func (s *scanner) named() (name string) {
	s.object(func(key []byte) {
		if string(key) == "name" {
			name = s.str()
			return
		}
		s.skip()
	})
	return name
}
