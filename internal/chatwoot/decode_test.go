package chatwoot_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
)

// at is an instant of 2026-06-22, the day of most examples.
func at(hour, minute, second int, fraction time.Duration) time.Time {
	return time.Date(2026, 6, 22, hour, minute, second, int(fraction), time.UTC)
}

// same compares what may hold pointers, and prints what they point to.
func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		g, _ := json.MarshalIndent(got, "", "  ")
		w, _ := json.MarshalIndent(want, "", "  ")
		t.Errorf("%s is\n%s\nwant\n%s", what, g, w)
	}
}

func TestExampleConversationPage(t *testing.T) {
	date := at(9, 17, 0, 0)
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", date.Format(http.TimeFormat))
		saysJSON(example(t, "conversations_page"))(w, r)
	})
	page, err := c.Conversations(t.Context(), chatwoot.Query{Status: chatwoot.Open})
	if err != nil {
		t.Fatal(err)
	}

	question := chatwoot.Preview{ID: 91004, Kind: chatwoot.Incoming, ContentType: "text", CreatedAt: at(9, 16, 2, 0)}
	note := chatwoot.Preview{ID: 90991, Kind: chatwoot.Outgoing, ContentType: "text", Private: true, CreatedAt: at(8, 52, 30, 0)}
	campaign := chatwoot.Preview{ID: 90960, Kind: chatwoot.Outgoing, ContentType: "text", Campaign: true, CreatedAt: at(7, 55, 12, 0)}
	same(t, "the page", page, chatwoot.Page{
		AllCount:   3,
		ServerTime: date,
		Conversations: []chatwoot.Conversation{
			{
				ID: 1482, InboxID: 5, Status: chatwoot.Open, UnreadCount: 2,
				CreatedAt:      at(9, 13, 1, 0),
				UpdatedAt:      at(9, 16, 2, 431207*time.Microsecond),
				LastActivityAt: at(9, 16, 2, 0),
				WaitingSince:   at(9, 13, 1, 0),
				Contact:        "Hannah Okafor",
				Newest:         &question, Spoken: &question,
			},
			{
				ID: 1479, InboxID: 6, Status: chatwoot.Open,
				CreatedAt:      time.Date(2026, 6, 19, 14, 2, 12, 0, time.UTC),
				UpdatedAt:      at(8, 52, 30, 133871*time.Microsecond),
				LastActivityAt: at(8, 52, 30, 0),
				WaitingSince:   at(8, 41, 10, 0),
				FirstReplyAt:   time.Date(2026, 6, 19, 15, 10, 44, 0, time.UTC),
				Contact:        "Jonas Petrov", Assignee: "Tomas Lindqvist", AssigneeType: "User", Team: "billing",
				Newest: &note, Spoken: &note,
			},
			{
				ID: 1475, InboxID: 5, Status: chatwoot.Open,
				CreatedAt:      at(7, 55, 12, 0),
				UpdatedAt:      at(7, 55, 12, 921544*time.Microsecond),
				LastActivityAt: at(7, 55, 12, 0),
				WaitingSince:   at(7, 55, 12, 0),
				Contact:        "wandering-lake-88",
				Newest:         &campaign, Spoken: &campaign,
			},
		},
	})
}

func TestExamplePagePastTheLastIsEmpty(t *testing.T) {
	c := client(t, saysJSON(example(t, "conversations_empty_page")))
	page, err := c.Conversations(t.Context(), chatwoot.Query{Status: chatwoot.Open, Page: 9})
	if err != nil || len(page.Conversations) != 0 || page.AllCount != 3 {
		t.Errorf("got %+v, %v; want no conversations and a count of 3", page, err)
	}
}

func TestExampleMessages(t *testing.T) {
	c := client(t, saysJSON(example(t, "messages")))
	var got []chatwoot.Message
	if err := c.Messages(t.Context(), 1479, 0, func(m []chatwoot.Message) bool {
		got = append(got, m...)
		return true
	}); err != nil {
		t.Fatal(err)
	}

	friday := func(hour, minute, second int) time.Time {
		return time.Date(2026, 6, 19, hour, minute, second, 0, time.UTC)
	}
	same(t, "the list", got, []chatwoot.Message{
		{
			ID: 90801, Kind: chatwoot.Incoming, CreatedAt: friday(14, 2, 12), SenderID: 202, SenderName: "Jonas Petrov", SenderType: "contact",
			Content:  "I returned a jacket last week and have not seen the refund.",
			SourceID: "CAE-example-0001@mail.example.com",
		},
		{
			ID: 90802, Kind: chatwoot.Template, CreatedAt: friday(14, 2, 13),
			Content: "Thanks for writing. We answer on weekdays between 9:00 and 17:00.",
		},
		{
			ID: 90803, Kind: chatwoot.Activity, CreatedAt: friday(14, 20, 5),
			Content: "Assigned to Tomas Lindqvist by Priya Raman",
		},
		{
			ID: 90812, Kind: chatwoot.Outgoing, CreatedAt: friday(15, 10, 44), SenderID: 11, SenderName: "Tomas Lindqvist", SenderType: "user",
			Content:  "Hello Jonas, I have asked our returns desk and will come back today.",
			SourceID: "conversation/b1e0c7a6-0a11-4f77-8f3e-9e5d6c2f1479/messages/90812@support.example.com",
		},
		{
			ID: 90988, Kind: chatwoot.Incoming, CreatedAt: at(8, 41, 10, 0), SenderID: 202, SenderName: "Jonas Petrov", SenderType: "contact",
			Content:  "Still nothing on my statement.",
			SourceID: "CAE-example-0002@mail.example.com",
		},
		{
			ID: 90991, Kind: chatwoot.Outgoing, Private: true, CreatedAt: at(8, 52, 30, 0), SenderID: 11, SenderName: "Tomas Lindqvist", SenderType: "user",
			Content: "Waiting for the carrier's answer before replying.",
		},
	})
	var human []int64
	for _, m := range got {
		if m.Human() {
			human = append(human, m.ID)
		}
	}
	same(t, "the list of human replies", human, []int64{90812})
}

func TestExampleProfile(t *testing.T) {
	base := serve(t, saysJSON(example(t, "profile")))
	inAccount := func(id int64) func(*chatwoot.Options) {
		return func(o *chatwoot.Options) { o.AccountID = id }
	}
	t.Run("administrator of the account", func(t *testing.T) {
		p, a, err := dial(t, base).Profile(t.Context())
		if err != nil || p.ID != 19 || len(p.Accounts) != 2 || !a.Administrator() {
			t.Errorf("got %+v, %+v, %v", p, a, err)
		}
		same(t, "the account", a, chatwoot.Account{ID: 3, Name: "Example Outfitters", Status: "active", Role: "administrator"})
	})
	t.Run("agent in another account of the same token", func(t *testing.T) {
		_, a, err := dial(t, base, inAccount(8)).Profile(t.Context())
		if err != nil || a.ID != 8 || a.Administrator() {
			t.Errorf("got %+v, %v; want account 8 and no administrator", a, err)
		}
	})
	t.Run("an account that the token does not see", func(t *testing.T) {
		p, _, err := dial(t, base, inAccount(5)).Profile(t.Context())
		if p.ID != 19 {
			t.Errorf("the owner is %d, want 19 with the error too", p.ID)
		}
		wantError(t, err, chatwoot.AccountHidden, 200, false, "GET /api/v1/profile", "account 5", "2 accounts", "address bar")
	})
}

func TestExampleInboxes(t *testing.T) {
	got, err := client(t, saysJSON(example(t, "inboxes"))).Inboxes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	office := chatwoot.Day{Opens: 9 * 60, Closes: 17 * 60}
	berlin := &chatwoot.WorkingHours{Zone: "Europe/Berlin", Days: [7]chatwoot.Day{1: office, 2: office, 3: office, 4: office, 5: office}}
	same(t, "the list", got, []chatwoot.Inbox{
		{ID: 8, Name: "Storefront API", ChannelType: "Channel::Api"}, // its hours are not in force
		{ID: 6, Name: "Support mail", ChannelType: "Channel::Email", Hours: berlin},
		{ID: 5, Name: "Website chat", ChannelType: "Channel::WebWidget", Hours: berlin},
	})
}

func TestWorkingHours(t *testing.T) {
	tests := []struct {
		name, day string
		want      chatwoot.Day
	}{
		{"hours with minutes", `"open_hour":8,"open_minutes":30,"close_hour":17,"close_minutes":45`, chatwoot.Day{Opens: 510, Closes: 1065}},
		{"closed", `"closed_all_day":true,"open_hour":null,"open_minutes":null,"close_hour":null,"close_minutes":null`, chatwoot.Day{}},
		{"closed, with hours from before", `"closed_all_day":true,"open_hour":9,"open_minutes":0,"close_hour":17,"close_minutes":0`, chatwoot.Day{}},
		{"open all day", `"open_all_day":true,"open_hour":0,"open_minutes":0,"close_hour":23,"close_minutes":59`, chatwoot.Day{Closes: 1440}},
		{"open all day, without hours", `"open_all_day":true,"open_hour":null,"open_minutes":null,"close_hour":null,"close_minutes":null`, chatwoot.Day{Closes: 1440}},
		{"until the last minute that can be chosen", `"open_hour":18,"open_minutes":0,"close_hour":23,"close_minutes":59`, chatwoot.Day{Opens: 1080, Closes: 1440}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := `{"payload":[{"id":5,"working_hours_enabled":true,"timezone":"UTC","working_hours":[{"day_of_week":7,"open_hour":1},{"day_of_week":2,` + tt.day + `}]}]}`
			got, err := client(t, saysJSON(body)).Inboxes(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			same(t, "the list", got, []chatwoot.Inbox{{ID: 5, Hours: &chatwoot.WorkingHours{Zone: "UTC", Days: [7]chatwoot.Day{2: tt.want}}}})
		})
	}
}

func TestExampleIndex(t *testing.T) {
	failing := `{"version":"4.2.0","timestamp":"2026-06-22 09:20:00","queue_services":"ok","data_services":"failing"}`
	tests := []struct {
		name, body string
		want       chatwoot.Index
	}{
		{"all well", example(t, "api_index"), chatwoot.Index{Version: "4.15.1", QueueServices: "ok", DataServices: "ok"}},
		{"a dependency fails, and the status is 200", failing, chatwoot.Index{Version: "4.2.0", QueueServices: "ok", DataServices: "failing"}},
	}
	for _, tt := range tests {
		got, err := client(t, saysJSON(tt.body)).Index(t.Context())
		if err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v; want %+v", tt.name, got, err, tt.want)
		}
	}
}

func TestExampleHealth(t *testing.T) {
	path, err := client(t, saysJSON(example(t, "health"))).Health(t.Context(), "/health")
	if err != nil || path != "/health" {
		t.Errorf("got %q, %v", path, err)
	}
}

func TestExampleWebhooks(t *testing.T) {
	asked := &chatwoot.Preview{ID: 91004, Kind: chatwoot.Incoming, ContentType: "text", CreatedAt: at(9, 16, 2, 0)}
	answered := &chatwoot.Preview{ID: 91010, Kind: chatwoot.Outgoing, ContentType: "text", CreatedAt: at(9, 24, 18, 0)}
	conversation := func(change func(*chatwoot.Conversation)) *chatwoot.Conversation {
		c := chatwoot.Conversation{
			ID: 1482, InboxID: 5, Status: chatwoot.Open, Contact: "Hannah Okafor",
			CreatedAt: at(9, 13, 1, 0), WaitingSince: at(9, 13, 1, 0), UnreadCount: 2, Newest: asked,
		}
		change(&c)
		return &c
	}
	reply := at(9, 24, 18, 30*time.Millisecond)
	tests := []struct {
		file  string
		want  chatwoot.Event
		human bool
	}{
		{
			file: "webhook_message_created_incoming",
			want: chatwoot.Event{
				Name: "message_created", AccountID: 3,
				Message: &chatwoot.Message{
					ID: 91004, Kind: chatwoot.Incoming, CreatedAt: at(9, 16, 2, 417*time.Millisecond),
					SenderID: 201, SenderName: "Hannah Okafor", Content: "Any news? The label still does not print.",
				},
				Conversation: conversation(func(c *chatwoot.Conversation) {
					c.UpdatedAt, c.LastActivityAt = at(9, 16, 2, 431207*time.Microsecond), at(9, 16, 2, 0)
				}),
			},
		},
		{
			file: "webhook_message_created_agent",
			want: chatwoot.Event{
				Name: "message_created", AccountID: 3,
				Message: &chatwoot.Message{
					ID: 91010, Kind: chatwoot.Outgoing, CreatedAt: reply,
					SenderID: 11, SenderName: "Tomas Lindqvist", SenderType: "user", Content: "Hello Hannah, please try the new label I just sent.",
				},
				Conversation: conversation(func(c *chatwoot.Conversation) {
					c.UpdatedAt, c.LastActivityAt = at(9, 24, 18, 61994*time.Microsecond), at(9, 24, 18, 0)
					c.FirstReplyAt, c.WaitingSince, c.UnreadCount = reply, time.Time{}, 0
					c.Assignee, c.AssigneeType, c.Newest = "Tomas Lindqvist", "User", answered
				}),
			},
			human: true,
		},
		{
			// The note is newer than conversation.messages, which shows public messages only.
			file: "webhook_message_created_private_note",
			want: chatwoot.Event{
				Name: "message_created", AccountID: 3,
				Message: &chatwoot.Message{
					ID: 91007, Kind: chatwoot.Outgoing, Private: true, CreatedAt: at(9, 20, 0, 188*time.Millisecond),
					SenderID: 19, SenderName: "SLA Watch", SenderType: "user", Content: "SLA warning: the first reply is due at 09:28 UTC.",
				},
				Conversation: conversation(func(c *chatwoot.Conversation) {
					c.UpdatedAt, c.LastActivityAt = at(9, 20, 0, 204410*time.Microsecond), at(9, 20, 0, 0)
				}),
			},
		},
		{
			file: "webhook_conversation_status_changed_resolved",
			want: chatwoot.Event{
				Name: "conversation_status_changed", AccountID: 3,
				Conversation: conversation(func(c *chatwoot.Conversation) {
					c.Status = chatwoot.Resolved
					c.UpdatedAt, c.LastActivityAt = at(9, 41, 30, 550120*time.Microsecond), at(9, 24, 18, 0)
					c.FirstReplyAt, c.WaitingSince, c.UnreadCount = reply, time.Time{}, 0
					c.Assignee, c.AssigneeType, c.Newest = "Tomas Lindqvist", "User", answered
				}),
			},
		},
		{
			file: "webhook_conversation_updated_assignment",
			want: chatwoot.Event{
				Name: "conversation_updated", AccountID: 3, Assigned: true,
				Conversation: conversation(func(c *chatwoot.Conversation) {
					c.UpdatedAt, c.LastActivityAt = at(9, 22, 7, 118020*time.Microsecond), at(9, 20, 0, 0)
					c.Assignee, c.AssigneeType = "Tomas Lindqvist", "User"
				}),
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			got, err := chatwoot.DecodeEvent([]byte(example(t, tt.file)))
			if err != nil {
				t.Fatal(err)
			}
			same(t, "the event", got, tt.want)
			if got.Message != nil && got.Message.Human() != tt.human {
				t.Errorf("Human() = %v", got.Message.Human())
			}
		})
	}
}

// members is a JSON object whose values are JSON text.
type members map[string]string

// with returns a copy in which key has the value raw, or is absent if raw is
// empty.
func (m members) with(key, raw string) members {
	out := maps.Clone(m)
	out[key] = raw
	if raw == "" {
		delete(out, key)
	}
	return out
}

func (m members) String() string {
	raw := map[string]json.RawMessage{}
	for k, v := range m {
		raw[k] = json.RawMessage(v)
	}
	data, err := json.Marshal(raw)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// Every field of a conversation must read alike from the API and from both
// kinds of webhook, whichever of its encodings a server chooses.
func TestConversationFieldInEveryEncoding(t *testing.T) {
	const (
		unix    = `1782119671`
		float   = `1782119671.921544`
		iso     = `"2026-06-22T09:14:31.921Z"`
		missing = ``
	)
	second, micros, millis := at(9, 14, 31, 0), at(9, 14, 31, 921544*time.Microsecond), at(9, 14, 31, 921*time.Millisecond)
	never := time.Time{}
	created := func(c chatwoot.Conversation) any { return c.CreatedAt }
	updated := func(c chatwoot.Conversation) any { return c.UpdatedAt }
	active := func(c chatwoot.Conversation) any { return c.LastActivityAt }
	waiting := func(c chatwoot.Conversation) any { return c.WaitingSince }
	replied := func(c chatwoot.Conversation) any { return c.FirstReplyAt }
	status := func(c chatwoot.Conversation) any { return c.Status }
	unread := func(c chatwoot.Conversation) any { return c.UnreadCount }
	people := func(c chatwoot.Conversation) any {
		return [4]string{c.Contact, c.Assignee, c.AssigneeType, c.Team}
	}
	newest := func(c chatwoot.Conversation) any { return c.Newest }
	spoken := func(c chatwoot.Conversation) any { return c.Spoken }
	none := (*chatwoot.Preview)(nil)
	message := func(change string) string { // change is one member, or nothing
		m := members{"id": `91004`, "message_type": `1`, "content_type": `"text"`, "created_at": `1782119671`, "private": `false`}
		if key, raw, ok := strings.Cut(change, ":"); ok {
			m = m.with(strings.Trim(key, `"`), raw)
		}
		return m.String()
	}
	preview := func(change func(*chatwoot.Preview)) *chatwoot.Preview {
		p := chatwoot.Preview{ID: 91004, Kind: chatwoot.Outgoing, ContentType: "text", CreatedAt: second}
		change(&p)
		return &p
	}

	tests := []struct {
		name, key, raw string
		of             func(chatwoot.Conversation) any
		want           any
	}{
		{"created, unix", "created_at", unix, created, second},
		{"created, float", "created_at", float, created, micros},
		{"created, ISO", "created_at", iso, created, millis},
		{"updated, float to the microsecond", "updated_at", float, updated, micros},
		{"updated, a float without a fraction", "updated_at", `1782119671.0`, updated, second},
		{"updated, unix", "updated_at", unix, updated, second},
		{"updated, ISO", "updated_at", iso, updated, millis},
		{"updated, absent before 4.0.4", "updated_at", missing, updated, never},
		{"last activity, unix", "last_activity_at", unix, active, second},
		{"last activity, absent before 3.16", "last_activity_at", missing, active, never},
		{"first reply, unix as in the API", "first_reply_created_at", unix, replied, second},
		{"first reply, ISO as in webhooks", "first_reply_created_at", iso, replied, millis},
		{"first reply, ISO with another offset", "first_reply_created_at", `"2026-06-22T11:14:31+02:00"`, replied, second},
		{"first reply, 0 is none", "first_reply_created_at", `0`, replied, never},
		{"first reply, null is none", "first_reply_created_at", `null`, replied, never},
		{"first reply, absent is none", "first_reply_created_at", missing, replied, never},
		{"waiting, unix", "waiting_since", unix, waiting, second},
		{"waiting, ISO", "waiting_since", iso, waiting, millis},
		{"waiting, 0 is not waiting", "waiting_since", `0`, waiting, never},
		{"waiting, null is not waiting", "waiting_since", `null`, waiting, never},
		{"waiting, absent is not waiting", "waiting_since", missing, waiting, never},

		{"open", "status", `"open"`, status, chatwoot.Open},
		{"pending", "status", `"pending"`, status, chatwoot.Pending},
		{"snoozed", "status", `"snoozed"`, status, chatwoot.Snoozed},
		{"resolved", "status", `"resolved"`, status, chatwoot.Resolved},
		{"a status of tomorrow", "status", `"archived"`, status, chatwoot.Status("archived")},

		{"unread, capped", "unread_count", `10`, unread, 10},
		{"unread, null", "unread_count", `null`, unread, 0},
		{"unread, absent", "unread_count", missing, unread, 0},

		{
			"people, by the API from 4.8 on", "meta",
			`{"sender":{"id":1,"name":"Ana"},"assignee":{"id":2,"name":"Tomas"},"assignee_type":"User","team":{"id":3,"name":"billing"}}`,
			people,
			[4]string{"Ana", "Tomas", "User", "billing"},
		},
		{
			"people, 4.2 has no assignee_type", "meta", `{"sender":{"name":"Ana"},"assignee":{"id":2,"name":"Tomas"}}`,
			people,
			[4]string{"Ana", "Tomas", "", ""},
		},
		{
			"people, a bot is assigned", "meta",
			`{"sender":{"name":"Ana"},"assignee":{"id":2,"name":"Robo","description":null,"bot_type":"webhook"},"assignee_type":"AgentBot"}`,
			people,
			[4]string{"Ana", "Robo", "AgentBot", ""},
		},
		{
			"people, nobody by a webhook", "meta", `{"sender":null,"assignee":null,"assignee_type":null,"team":null}`,
			people,
			[4]string{},
		},
		{"people, nobody by the API", "meta", `{"channel":"Channel::Api"}`, people, [4]string{}},
		{"people, a customer without a name", "meta", `{"sender":{"id":1,"name":null}}`, people, [4]string{}},
		{"people, no meta", "meta", missing, people, [4]string{}},
		{
			"people, escapes and other scripts", "meta", `{"sender":{"name":"O\u0027Neil \ud83d\ude00 \"\u5c71\""}}`,
			people,
			[4]string{`O'Neil 😀 "山"`},
		},

		{"newest, there is none", "messages", `[]`, newest, none},
		{"newest, null", "messages", `null`, newest, none},
		{"newest, absent", "messages", missing, newest, none},
		{"newest, a public answer", "messages", "[" + message("") + "]", newest, preview(func(*chatwoot.Preview) {})},
		{
			"newest, an activity line", "messages", `[{"message_type":2,"content_type":"text","created_at":1782119671,"private":false}]`,
			newest, preview(func(p *chatwoot.Preview) { p.ID, p.Kind = 0, chatwoot.Activity }),
		},
		{"spoken, null", "last_non_activity_message", `null`, spoken, none},
		{"spoken, absent as in webhooks", "last_non_activity_message", missing, spoken, none},
		{
			"spoken, a private note", "last_non_activity_message", message(`"private":true`),
			spoken, preview(func(p *chatwoot.Preview) { p.Private = true }),
		},
		{
			"spoken, a campaign", "last_non_activity_message", message(`"additional_attributes":{"campaign_id":12}`),
			spoken, preview(func(p *chatwoot.Preview) { p.Campaign = true }),
		},
		{
			"spoken, no campaign", "last_non_activity_message", message(`"additional_attributes":{"campaign_id":null}`),
			spoken, preview(func(*chatwoot.Preview) {}),
		},
		{
			"spoken, attributes are null", "last_non_activity_message", message(`"additional_attributes":null`),
			spoken, preview(func(*chatwoot.Preview) {}),
		},
		{
			"spoken, a content type of tomorrow", "last_non_activity_message", message(`"content_type":"hologram"`),
			spoken, preview(func(p *chatwoot.Preview) { p.ContentType = "hologram" }),
		},
		{
			"spoken, a message type of tomorrow", "last_non_activity_message", message(`"message_type":9`),
			spoken, preview(func(p *chatwoot.Preview) { p.Kind = chatwoot.UnknownKind }),
		},
		{
			"spoken, its time as ISO", "last_non_activity_message", message(`"created_at":` + iso),
			spoken, preview(func(p *chatwoot.Preview) { p.CreatedAt = millis }),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			row := members{"id": `1482`, "inbox_id": `5`, "status": `"open"`, "created_at": unix}.with(tt.key, tt.raw)
			sources := map[string]func() (chatwoot.Conversation, error){
				"list": func() (chatwoot.Conversation, error) {
					c := client(t, saysJSON(fmt.Sprintf(`{"data":{"meta":{"all_count":1},"payload":[%s]}}`, row)))
					page, err := c.Conversations(t.Context(), chatwoot.Query{Status: chatwoot.Open})
					if err != nil || len(page.Conversations) != 1 {
						return chatwoot.Conversation{}, fmt.Errorf("%d rows, %w", len(page.Conversations), err)
					}
					return page.Conversations[0], nil
				},
				"show": func() (chatwoot.Conversation, error) {
					return client(t, saysJSON(row.String())).Conversation(t.Context(), 1482)
				},
				"conversation webhook": func() (chatwoot.Conversation, error) {
					return conversationOf(row.with("event", `"conversation_updated"`).with("changed_attributes", `null`))
				},
				"message webhook": func() (chatwoot.Conversation, error) {
					return conversationOf(members{
						"event": `"message_created"`, "id": `91004`, "created_at": iso, "message_type": `"incoming"`, "conversation": row.String(),
					})
				},
			}
			for source, read := range sources {
				c, err := read()
				if err != nil {
					t.Errorf("%s: %v", source, err)
					continue
				}
				same(t, source+": "+tt.key, tt.of(c), tt.want)
			}
		})
	}
}

func conversationOf(webhook members) (chatwoot.Conversation, error) {
	e, err := chatwoot.DecodeEvent([]byte(webhook.String()))
	if err != nil {
		return chatwoot.Conversation{}, err
	}
	return *e.Conversation, nil
}

// A message reads alike from the API, which numbers its types, and from a
// webhook, which names them.
func TestMessageInEveryEncoding(t *testing.T) {
	const (
		user = `{"id":11,"name":"Tomas","type":"user"}`
		bot  = `{"id":4,"name":"Robo","type":"agent_bot"}`
	)
	outgoing := members{"id": `91004`, "created_at": `1782119671`, "private": `false`, "content": `"Hello"`, "sender": user}
	tests := []struct {
		name         string
		m            members
		number, word string // message_type in the API and in webhooks; a word that is empty is no webhook
		kind         chatwoot.MessageKind
		sender       string
		human        bool
	}{
		{"customer, by the API", outgoing.with("sender", `{"id":201,"type":"contact"}`), `0`, `"incoming"`, chatwoot.Incoming, "contact", false},
		{"customer, whose webhook has no sender type", outgoing.with("sender", `{"id":201}`), `0`, `"incoming"`, chatwoot.Incoming, "", false},
		{"agent", outgoing, `1`, `"outgoing"`, chatwoot.Outgoing, "user", true},
		{"agent, null attributes", outgoing.with("content_attributes", `null`).with("additional_attributes", `null`), `1`, `"outgoing"`, chatwoot.Outgoing, "user", true},
		{"agent, an attachment and no text", outgoing.with("content", `null`), `1`, `"outgoing"`, chatwoot.Outgoing, "user", true},
		{"agent, a content type of tomorrow", outgoing.with("content_type", `"hologram"`), `1`, `"outgoing"`, chatwoot.Outgoing, "user", true},
		{"private note", outgoing.with("private", `true`), `1`, `"outgoing"`, chatwoot.Outgoing, "user", false},
		{"bot", outgoing.with("sender", bot), `1`, `"outgoing"`, chatwoot.Outgoing, "agent_bot", false},
		{"Captain", outgoing.with("sender", `{"id":1,"type":"captain_assistant"}`), `1`, `"outgoing"`, chatwoot.Outgoing, "captain_assistant", false},
		{"automation, whose sender is absent in the API", outgoing.with("sender", ``), `1`, `"outgoing"`, chatwoot.Outgoing, "", false},
		{"automation, whose sender is null in webhooks", outgoing.with("sender", `null`), `1`, `"outgoing"`, chatwoot.Outgoing, "", false},
		{"automation in a user's name", outgoing.with("content_attributes", `{"automation_rule_id":7}`), `1`, `"outgoing"`, chatwoot.Outgoing, "user", false},
		{"no automation", outgoing.with("content_attributes", `{"automation_rule_id":null}`), `1`, `"outgoing"`, chatwoot.Outgoing, "user", true},
		{"campaign in a user's name", outgoing.with("additional_attributes", `{"campaign_id":12}`), `1`, `"outgoing"`, chatwoot.Outgoing, "user", false},
		{"reply typed in the channel's own app", outgoing.with("sender", ``).with("content_attributes", `{"external_echo":true}`), `1`, `"outgoing"`, chatwoot.Outgoing, "", true},
		{"no reply typed elsewhere", outgoing.with("sender", ``).with("content_attributes", `{"external_echo":false}`), `1`, `"outgoing"`, chatwoot.Outgoing, "", false},
		{"private echo", outgoing.with("private", `true`).with("content_attributes", `{"external_echo":true}`), `1`, `"outgoing"`, chatwoot.Outgoing, "user", false},
		{"template", outgoing.with("sender", ``), `3`, `"template"`, chatwoot.Template, "", false},
		{"activity, which makes no webhook", outgoing.with("sender", ``), `2`, ``, chatwoot.Activity, "", false},
		{"a message type of tomorrow", outgoing, `9`, `"hologram"`, chatwoot.UnknownKind, "user", false},
		{"a negative message type", outgoing, `-2`, ``, chatwoot.UnknownKind, "user", false},
		{"no message type", outgoing, ``, ``, chatwoot.UnknownKind, "user", false},
		{"message type null", outgoing, `null`, `null`, chatwoot.UnknownKind, "user", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sources := map[string]func() (chatwoot.Message, error){
				"API": func() (chatwoot.Message, error) {
					c := client(t, saysJSON(fmt.Sprintf(`{"meta":{},"payload":[%s]}`, tt.m.with("message_type", tt.number))))
					var got []chatwoot.Message
					err := c.Messages(t.Context(), 1482, 0, func(m []chatwoot.Message) bool { got = m; return true })
					if err != nil || len(got) != 1 {
						return chatwoot.Message{}, fmt.Errorf("%d messages, %w", len(got), err)
					}
					return got[0], nil
				},
				"webhook": func() (chatwoot.Message, error) {
					e, err := chatwoot.DecodeEvent([]byte(tt.m.with("message_type", tt.word).with("created_at", `"2026-06-22T09:14:31.000Z"`).
						with("event", `"message_created"`).with("conversation", `{"id":1482,"status":"open","created_at":1782119581}`).String()))
					if err != nil {
						return chatwoot.Message{}, err
					}
					return *e.Message, nil
				},
			}
			if tt.word == "" {
				delete(sources, "webhook")
			}
			for source, read := range sources {
				m, err := read()
				if err != nil {
					t.Errorf("%s: %v", source, err)
					continue
				}
				if m.Kind != tt.kind || m.SenderType != tt.sender || m.Human() != tt.human {
					t.Errorf("%s: kind %d by %q, human %v; want %d by %q, %v", source, m.Kind, m.SenderType, m.Human(), tt.kind, tt.sender, tt.human)
				}
				if want := at(9, 14, 31, 0); m.ID != 91004 || !m.CreatedAt.Equal(want) {
					t.Errorf("%s: message %d at %v", source, m.ID, m.CreatedAt)
				}
			}
		})
	}
}

// When a conversation was resolved is told by a line among its messages: newer
// servers say what it is about, older ones tell it in words.
func TestLineOfAResolution(t *testing.T) {
	for _, tt := range []struct {
		name, kind, content, attributes string
		want                            bool
	}{
		{"by an agent, in English", `2`, "Conversation was marked resolved by Ana", `{}`, true},
		{"by the customer", `2`, "Conversation was resolved by Maria", `{}`, true},
		{"by nobody for a week", `2`, "Conversation was marked resolved by system due to 7 days of inactivity", `{}`, true},
		{"in words that we do not know", `2`, "Conversa resolvida por Ana", `{}`, false},
		{"in attributes", `2`, "Conversa resolvida por Ana", `{"activity":{"type":"conversation_status_changed","status":"resolved","source":{"a":1}}}`, true},
		{"reopened", `2`, "Conversa reaberta por Ana", `{"activity":{"type":"conversation_status_changed","status":"open"}}`, false},
		{"an attribute about something else", `2`, "Ana", `{"activity":{"type":"label_added","status":"resolved"}}`, false},
		{"null attributes", `2`, "Ana", `{"activity":null}`, false},
		{"nothing in it", `2`, "Ana", `{"activity":{}}`, false},
		{"what an integration calls so", `1`, "Hello", `{"activity":"x"}`, false},
		{"and a list", `1`, "Hello", `{"activity":[{"type":1}]}`, false},
		{"and an object", `2`, "Hello", `{"activity":{"type":7,"status":["resolved"]}}`, false},
		{"assigned", `2`, "Assigned to Ana by Conversation was marked resolved by ", `{}`, false},
		{"a customer's words", `0`, "Conversation was marked resolved by Ana", `{}`, false},
		{"an agent's attributes", `1`, "Hello", `{"activity":{"type":"conversation_status_changed","status":"resolved"}}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := `{"payload":[{"id":5,"created_at":1782119671,"message_type":` + tt.kind + `,"content":"` + tt.content + `","content_attributes":` + tt.attributes + `}]}`
			var got []chatwoot.Message
			err := client(t, saysJSON(body)).Messages(t.Context(), 1, 0, func(m []chatwoot.Message) bool { got = m; return true })
			if err != nil || len(got) != 1 || got[0].Resolved() != tt.want {
				t.Errorf("got %+v, %v; want one, and Resolved() = %v", got, err, tt.want)
			}
		})
	}
}

func TestDecodeEventAcrossVersionsAndKinds(t *testing.T) {
	conversation := members{"id": `1482`, "status": `"open"`, "created_at": `1782119581`}
	message := members{"id": `91004`, "created_at": `"2026-06-22T09:14:31.000Z"`, "conversation": conversation.String()}
	tests := []struct {
		name                  string
		body                  members
		account               int64
		message, conversation bool
	}{
		{"a conversation event before 4.14.2 names no account", conversation.with("event", `"conversation_created"`), 0, false, true},
		{"a conversation event names its account", conversation.with("event", `"conversation_updated"`).with("account", `{"id":3}`), 3, false, true},
		{"the account is null", conversation.with("event", `"conversation_updated"`).with("account", `null`), 0, false, true},
		{"changes that are no list", conversation.with("event", `"conversation_updated"`).with("changed_attributes", `{"team_id":[1,2]}`), 0, false, true},
		{"an event that only agent bots get", conversation.with("event", `"conversation_opened"`), 0, false, true},
		{"a message event", message.with("event", `"message_updated"`).with("account", `{"id":3}`), 3, true, true},
		{"typing", members{"event": `"conversation_typing_on"`, "conversation": conversation.String(), "account": `{"id":3}`}, 3, false, false},
		{"a contact", members{"event": `"contact_created"`, "id": `201`, "account": `{"id":3}`}, 3, false, false},
		{"the widget opened", members{"event": `"webwidget_triggered"`, "id": `733`}, 0, false, false},
		{"an automation", conversation.with("event", `"automation_event.message_created"`), 0, false, false},
		{"a macro", conversation.with("event", `"macro.executed"`), 0, false, false},
		{"an event of tomorrow", members{"event": `"hologram_projected"`, "id": `"uuid"`}, 0, false, false},
		{"an event of tomorrow about a conversation", members{"event": `"conversation_hummed"`, "id": `"uuid"`}, 0, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := chatwoot.DecodeEvent([]byte(tt.body.String()))
			if err != nil {
				t.Fatal(err)
			}
			if want := tt.body["event"]; fmt.Sprintf("%q", e.Name) != want {
				t.Errorf("the event is %q, want %s", e.Name, want)
			}
			if e.AccountID != tt.account || (e.Message != nil) != tt.message || (e.Conversation != nil) != tt.conversation {
				t.Errorf("got account %d, message %v, conversation %v", e.AccountID, e.Message, e.Conversation)
			}
		})
	}
}

func TestDecodeEventRefuses(t *testing.T) {
	whole := example(t, "webhook_message_created_incoming")
	tests := []struct{ name, body string }{
		{"nothing", ``},
		{"a page", `<html></html>`},
		{"null", `null`},
		{"a list", `[{"event":"message_created"}]`},
		{"no event", `{"id":1}`},
		{"an empty event", `{"event":""}`},
		{"an event that is a number", `{"event":7}`},
		{"a cut body", whole[:len(whole)/2]},
		{"two bodies", whole + whole},
		{"an account that is a string", `{"event":"contact_created","account":{"id":"3"}}`},
		{"a message without id", `{"event":"message_created","created_at":1,"conversation":{"id":1,"status":"open","created_at":1}}`},
		{"a message without conversation", `{"event":"message_created","id":1,"created_at":1}`},
		{"a message without time", `{"event":"message_created","id":1,"conversation":{"id":1,"status":"open","created_at":1}}`},
		{"a message in no conversation", `{"event":"message_created","id":1,"created_at":1,"conversation":null}`},
		{"a message whose conversation has no id", `{"event":"message_created","id":1,"created_at":1,"conversation":{"status":"open","created_at":1}}`},
		{"a conversation without status", `{"event":"conversation_updated","id":1,"created_at":1}`},
		{"a time that is none", `{"event":"conversation_updated","id":1,"status":"open","created_at":1,"waiting_since":"soon"}`},
		{"a member that comes twice", `{"event":"contact_created","event":"contact_created"}`},
		{"a member that comes twice, once escaped", `{"event":"contact_created","\u0065vent":"contact_created"}`},
		{"a member that comes twice far below", `{"event":"contact_created","a":[{"b":{"c":1,"c":1}}]}`},
		{"text that is not UTF-8", "{\"event\":\"contact_created\",\"name\":\"\xff\"}"},
		{"nesting without end", `{"event":"contact_created","a":` + strings.Repeat("[", 10001) + strings.Repeat("]", 10001) + `}`},
	}
	for _, tt := range tests {
		if e, err := chatwoot.DecodeEvent([]byte(tt.body)); err == nil {
			t.Errorf("%s decodes to %+v", tt.name, e)
		}
	}
}
