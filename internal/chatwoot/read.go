package chatwoot

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// Sort is an order of the conversation list.
type Sort string

const (
	OldestFirst     Sort = "created_at_asc"
	NewestFirst     Sort = "created_at_desc"
	RecentlyActive  Sort = "last_activity_at_desc"
	AnyStatus            = Status("all") // for Query.Status only
	maxMessagePages      = 20
)

// Query selects conversations.
type Query struct {
	Status Status // Open, …, or AnyStatus; required
	Sort   Sort
	Page   int // from 1; 0: 1

	// UpdatedWithin, rounded up to seconds, selects conversations that were
	// saved in that time by the server's clock, all on one page. Servers from
	// 3.10 on know it. 0: no such limit.
	UpdatedWithin time.Duration
}

// Conversations returns one page. Past the last page it is empty; page sizes
// are the server's choice, so only an empty page is the end.
func (c *Client) Conversations(ctx context.Context, q Query) (Page, error) {
	v := url.Values{"status": {string(q.Status)}, "assignee_type": {"all"}}
	if q.Sort != "" {
		v.Set("sort_by", string(q.Sort))
	}
	if q.Page > 1 {
		v.Set("page", strconv.Itoa(q.Page))
	}
	if q.UpdatedWithin > 0 {
		seconds := (q.UpdatedWithin + time.Second - 1) / time.Second
		v.Set("updated_within", strconv.FormatInt(int64(seconds), 10))
	}
	var page Page
	err := c.get(ctx, request{
		endpoint: EndpointConversations,
		path:     c.accountPath("conversations"),
		query:    v,
	}, func(a answer) (err error) {
		page, err = decodePage(a.body)
		page.ServerTime = a.date
		return err
	})
	return page, err
}

// Conversation returns one conversation. A deleted one is NotFound.
func (c *Client) Conversation(ctx context.Context, id int64) (Conversation, error) {
	var conv Conversation
	err := c.get(ctx, request{
		endpoint: EndpointConversation,
		path:     c.accountPath("conversations", strconv.FormatInt(id, 10)),
		label:    c.accountPath("conversations", "{id}"),
	}, func(a answer) (err error) {
		conv, err = decodeConversation(a.body)
		return err
	})
	return conv, err
}

// Messages calls each for the messages of a conversation with ids above after,
// oldest first, a page at a time, until they end or each returns false.
func (c *Client) Messages(ctx context.Context, conversation, after int64, each func([]Message) bool) error {
	label := c.accountPath("conversations", "{id}", "messages")
	for range maxMessagePages {
		var messages []Message
		err := c.get(ctx, request{
			endpoint: EndpointMessages,
			path:     c.accountPath("conversations", strconv.FormatInt(conversation, 10), "messages"),
			label:    label,
			query:    url.Values{"after": {strconv.FormatInt(after, 10)}},
		}, func(a answer) (err error) {
			messages, err = decodeMessages(a.body)
			for _, m := range messages {
				if m.ID <= after {
					return fmt.Errorf("asked for messages after %d, got message %d again", after, m.ID)
				}
			}
			return err
		})
		if err != nil {
			return err
		}
		if !each(messages) || len(messages) < messagesPerPage {
			return nil
		}
		for _, m := range messages {
			after = max(after, m.ID)
		}
	}
	return &Error{
		Endpoint: "GET " + label, Kind: TooLarge, Status: http.StatusOK,
		Err: fmt.Errorf("the conversation has more than %d messages", maxMessagePages*messagesPerPage),
	}
}

// messagesPerPage is what Chatwoot answers to after= at most.
const messagesPerPage = 100

// RecentMessages returns the newest messages of a conversation with ids below
// before, oldest first; before 0 is no limit. Private notes and activity lines
// are left out, and recentPerPage are the most that Chatwoot tells.
func (c *Client) RecentMessages(ctx context.Context, conversation, before int64) ([]Message, error) {
	v := url.Values{"filter_internal_messages": {"1"}}
	if before > 0 {
		v.Set("before", strconv.FormatInt(before, 10))
	}
	var messages []Message
	err := c.get(ctx, request{
		endpoint: EndpointMessages,
		path:     c.accountPath("conversations", strconv.FormatInt(conversation, 10), "messages"),
		label:    c.accountPath("conversations", "{id}", "messages"),
		query:    v,
	}, func(a answer) (err error) {
		messages, err = decodeMessages(a.body)
		return err
	})
	return messages, err
}

// recentPerPage is what Chatwoot answers without after= at most.
const recentPerPage = 20

// History calls each for the messages of a conversation, as RecentMessages
// returns them, the newest page first, until they end or each returns false.
func (c *Client) History(ctx context.Context, conversation int64, each func([]Message) (more bool)) error {
	for before := int64(0); ; {
		page, err := c.RecentMessages(ctx, conversation, before)
		if err != nil {
			return err
		}
		if !each(page) || len(page) < recentPerPage {
			return nil
		}
		first := slices.MinFunc(page, func(a, b Message) int { return cmp.Compare(a.ID, b.ID) }).ID
		if before != 0 && first >= before {
			return &Error{
				Endpoint: "GET " + c.accountPath("conversations", "{id}", "messages"), Kind: Malformed, Status: http.StatusOK,
				Err: fmt.Errorf("asked for messages before %d, got message %d", before, first),
			}
		}
		before = first
	}
}

// Profile is who a token belongs to.
type Profile struct {
	ID       int64     `json:"id"`
	Accounts []Account `json:"accounts"`
}

// Account is an account as the profile lists it.
type Account struct {
	ID     int64  `json:"id"`
	Name   string `json:"name"`
	Status string `json:"status"` // active or suspended
	Role   string `json:"role"`   // administrator or agent
}

// Administrator reports whether the token sees every conversation of the
// account; others see those of their own inboxes only.
func (a Account) Administrator() bool { return a.Role == "administrator" }

// Profile returns the token's owner and the account that c reads. The error is
// of kind AccountHidden when the token is good but the account is not its own.
func (c *Client) Profile(ctx context.Context) (Profile, Account, error) {
	const path = "/api/v1/profile"
	var p Profile
	err := c.get(ctx, request{endpoint: EndpointProfile, path: path}, func(a answer) error {
		if err := json.Unmarshal(a.body, &p); err != nil {
			return err
		}
		if p.ID == 0 {
			return fmt.Errorf("id is missing: this is not a profile")
		}
		return nil
	})
	if err != nil {
		return Profile{}, Account{}, err
	}
	for _, a := range p.Accounts {
		if a.ID == c.account {
			return p, a, nil
		}
	}
	return p, Account{}, &Error{
		Endpoint: "GET " + path, Kind: AccountHidden, Status: http.StatusOK,
		Detail: fmt.Sprintf("account %d is not among the %d accounts of this token", c.account, len(p.Accounts)),
	}
}

// Inbox is a channel that customers write to.
type Inbox struct {
	ID          int64
	Name        string
	ChannelType string
	Hours       *WorkingHours // nil: open at all times
}

// WorkingHours are the hours that an inbox is open, every week.
type WorkingHours struct {
	Zone string // name in the TZ database
	Days [7]Day // by time.Weekday
}

// Day is when an inbox is open on a day, in minutes after midnight. On a day
// that is closed both are 0; the end of the day is 1440.
type Day struct{ Opens, Closes int }

// Inboxes returns the inboxes that the token may see. The answer holds mail
// passwords and signing keys; only what Inbox names is decoded.
func (c *Client) Inboxes(ctx context.Context) ([]Inbox, error) {
	var list struct {
		Payload []wireInbox `json:"payload"`
	}
	err := c.get(ctx, request{endpoint: EndpointInboxes, path: c.accountPath("inboxes")}, func(a answer) error {
		if err := json.Unmarshal(a.body, &list); err != nil {
			return err
		}
		if list.Payload == nil {
			return fmt.Errorf("payload is missing: this is not a list of inboxes")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	inboxes := make([]Inbox, len(list.Payload))
	for i, in := range list.Payload {
		inboxes[i] = Inbox{ID: in.ID, Name: in.Name, ChannelType: in.ChannelType, Hours: in.hours()}
	}
	return inboxes, nil
}

// wireInbox is an inbox as Chatwoot sends it. The hours are there, with
// Chatwoot's defaults, also when they are not in force.
type wireInbox struct {
	ID           int64  `json:"id"`
	Name         string `json:"name"`
	ChannelType  string `json:"channel_type"`
	HoursInForce bool   `json:"working_hours_enabled"`
	Zone         string `json:"timezone"`
	WorkingHours []struct {
		DayOfWeek   int  `json:"day_of_week"` // 0: Sunday
		Closed      bool `json:"closed_all_day"`
		Open        bool `json:"open_all_day"`
		OpenHour    int  `json:"open_hour"` // null, and so 0, on closed days
		OpenMinute  int  `json:"open_minutes"`
		CloseHour   int  `json:"close_hour"`
		CloseMinute int  `json:"close_minutes"`
	} `json:"working_hours"`
}

// hours reads the hours as they are meant. Chatwoot cannot write 24:00, and
// has 23:59 for it, be it chosen or stored for a day that is open throughout.
func (w wireInbox) hours() *WorkingHours {
	if !w.HoursInForce {
		return nil
	}
	const endOfDay = 24 * 60
	h := &WorkingHours{Zone: w.Zone}
	for _, row := range w.WorkingHours {
		if row.DayOfWeek < 0 || row.DayOfWeek > 6 || row.Closed {
			continue
		}
		day := Day{Opens: row.OpenHour*60 + row.OpenMinute, Closes: row.CloseHour*60 + row.CloseMinute}
		if row.Open {
			day.Opens = 0
		}
		if row.Open || day.Closes == endOfDay-1 {
			day.Closes = endOfDay
		}
		h.Days[row.DayOfWeek] = day
	}
	return h
}

// Index is what GET /api tells.
type Index struct {
	Version       string `json:"version"`
	QueueServices string `json:"queue_services"`
	DataServices  string `json:"data_services"`
}

// Index returns Chatwoot's version and the state of its dependencies. The
// status is 200 even while they fail: judge them by their words.
func (c *Client) Index(ctx context.Context) (Index, error) {
	var i Index
	err := c.get(ctx, request{endpoint: EndpointIndex, path: "/api", public: true}, func(a answer) error {
		if err := json.Unmarshal(a.body, &i); err != nil {
			return err
		}
		if i.Version == "" {
			return fmt.Errorf("version is missing: this is not Chatwoot's /api")
		}
		return nil
	})
	return i, err
}

// Health asks path, and when the server has no such route /health (served from
// 4.11 on) and /api (always served), and returns the path that answered. What
// answered once is asked first from then on.
func (c *Client) Health(ctx context.Context, path string) (answered string, err error) {
	c.mu.Lock()
	remembered := c.healthPath
	c.mu.Unlock()
	tried := map[string]bool{"": true}
	for _, p := range []string{remembered, path, "/health", "/api"} {
		if tried[p] {
			continue
		}
		tried[p] = true
		err = c.get(ctx, request{endpoint: EndpointHealth, path: p, public: true, html: true}, func(answer) error { return nil })
		if Is(err, NotFound) {
			continue
		}
		if err == nil {
			c.mu.Lock()
			c.healthPath = p
			c.mu.Unlock()
		}
		return p, err
	}
	return path, err
}

const widgetPath = "/widget"

var widgetToken = regexp.MustCompile(`window\.authToken\s*=\s*['"]([^'"]+)['"]`)

// Widget loads the chat widget of a website and returns the conversation token
// that identifies us to it. Pass it back the next time: without one every call
// creates a contact, and five an hour are allowed.
func (c *Client) Widget(ctx context.Context, websiteToken, conversation string) (string, error) {
	q := url.Values{"website_token": {websiteToken}}
	if conversation != "" {
		q.Set("cw_conversation", conversation)
	}
	err := c.get(ctx, request{endpoint: EndpointWidget, path: widgetPath, query: q, public: true, html: true}, func(a answer) error {
		if m := widgetToken.FindSubmatch(a.body); m != nil {
			conversation = string(m[1])
			return nil
		}
		return fmt.Errorf("the page holds no widget")
	})
	return conversation, err
}

func (c *Client) accountPath(parts ...string) string {
	p := "/api/v1/accounts/" + strconv.FormatInt(c.account, 10)
	for _, part := range parts {
		p += "/" + part
	}
	return p
}
