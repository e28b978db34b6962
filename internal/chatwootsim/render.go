package chatwootsim

import (
	"fmt"
	"strings"
	"time"
)

// renderer writes the world as Chatwoot's templates do. The same conversation
// and the same message look different in lists, on their own endpoint and in
// webhooks.
type renderer struct{ *world }

// row returns c as lists and the show endpoint have it. The slice is shared
// and must not be changed.
func (w *world) row(c *conversation, now time.Time) []byte {
	if c.row != nil && (c.rowUntil.IsZero() || now.Before(c.rowUntil)) {
		return c.row
	}
	var d doc
	d.b = make([]byte, 0, 6<<10)
	until := w.replyUntil(c)
	canReply := until.IsZero() || now.Before(until)
	d.object("", func() { renderer{w}.conversation(&d, c, canReply) })
	c.row, c.rowUntil = d.b, time.Time{}
	if canReply {
		c.rowUntil = until
	}
	return c.row
}

// replyUntil is when the channel stops taking answers: a day after the
// customer's last message where the messenger's owner says so. Zero: never.
func (w *world) replyUntil(c *conversation) time.Time {
	switch c.inbox.channel {
	case "Channel::Whatsapp", "Channel::Instagram", "Channel::FacebookPage", "Channel::Tiktok":
		if m := c.newest(func(m *message) bool { return m.kind == incoming }); m != nil {
			return m.at.Add(24 * time.Hour)
		}
		return c.created
	}
	return time.Time{}
}

func (r renderer) conversation(d *doc, c *conversation, canReply bool) {
	newest := c.newest(func(*message) bool { return true })
	spoken := c.newest(func(m *message) bool { return m.kind != activity })
	d.object("meta", func() {
		d.object("sender", func() {
			d.raw("additional_attributes", "{}")
			d.str("availability_status", presence(c.contact.online))
			r.contactFields(d, c)
			d.raw("custom_attributes", "{}")
			if !c.contact.lastActive.IsZero() {
				d.unix("last_activity_at", c.contact.lastActive)
			}
			d.unix("created_at", c.contact.created)
		})
		d.str("channel", c.inbox.channel)
		if c.assignee != nil {
			d.object("assignee", func() { r.assignee(d, c.assignee) })
			if r.modern {
				d.str("assignee_type", assigneeType(c.assignee))
			}
		}
		if c.team != nil {
			d.object("team", func() { r.teamFields(d, c.team) })
		}
		d.boolean("hmac_verified", false)
	})
	d.num("id", c.id)
	d.array("messages", func() {
		if newest != nil {
			d.object("", func() { r.embedded(d, c, newest, false) })
		}
	})
	d.num("account_id", r.account)
	d.str("uuid", r.uuid(c))
	d.object("additional_attributes", func() { r.origin(d, c) })
	d.unix("agent_last_seen_at", c.agentSeen)
	d.unix("assignee_last_seen_at", c.assigneeSeen)
	d.boolean("can_reply", canReply)
	d.unix("contact_last_seen_at", c.contactSeen)
	d.raw("custom_attributes", "{}")
	d.num("inbox_id", c.inbox.id)
	d.strs("labels", c.labels)
	d.boolean("muted", c.muted)
	d.iso("snoozed_until", c.snoozedUntil)
	d.str("status", c.status)
	d.unix("created_at", c.created)
	d.micros("updated_at", c.updated)
	d.unix("timestamp", c.lastActivity)
	d.unix("first_reply_created_at", c.firstReply)
	d.num("unread_count", c.unread())
	if spoken == nil {
		d.null("last_non_activity_message")
	} else {
		d.object("last_non_activity_message", func() { r.embedded(d, c, spoken, false) })
	}
	d.unix("last_activity_at", c.lastActivity)
	d.strOrNull("priority", c.priority)
	d.unix("waiting_since", c.waiting)
	d.null("sla_policy_id")
}

func presence(online bool) string {
	if online {
		return "online"
	}
	return "offline"
}

func assigneeType(u *user) string {
	if u.bot {
		return "AgentBot"
	}
	return "User"
}

func (r renderer) uuid(c *conversation) string { return uuid(r.seed, uint64(c.id), 'c') }

// sourceID names the customer within the channel.
func (r renderer) sourceID(c *conversation) string {
	if c.inbox.channel == email {
		return c.contact.email
	}
	return uuid(r.seed, uint64(c.id), 's')
}

// contactFields are those that every rendering of a contact has in a row.
func (r renderer) contactFields(d *doc, c *conversation) {
	d.strOrNull("email", c.contact.email)
	d.num("id", c.contact.id)
	d.str("name", c.contact.name)
	d.null("phone_number")
	d.boolean("blocked", c.muted)
	d.null("identifier")
	d.str("thumbnail", "")
}

// customer is a contact as messages and webhooks carry it.
func (r renderer) customer(d *doc, c *conversation) {
	d.raw("additional_attributes", "{}")
	d.raw("custom_attributes", "{}")
	r.contactFields(d, c)
	d.str("type", "contact")
}

// author is whoever wrote m; nothing is written for nobody.
func (r renderer) author(d *doc, c *conversation, m *message, webhook bool) {
	switch {
	case m.customer:
		d.object("sender", func() { r.customer(d, c) })
	case m.from == nil:
	case m.from.bot:
		d.object("sender", func() {
			d.num("id", m.from.id)
			d.str("name", m.from.name)
			d.str("avatar_url", "")
			d.str("type", "agent_bot")
		})
	default:
		d.object("sender", func() { r.person(d, m.from, webhook) })
	}
}

func (r renderer) person(d *doc, u *user, webhook bool) {
	d.num("id", u.id)
	d.str("name", u.name)
	d.str("available_name", u.name)
	d.str("avatar_url", "")
	d.str("type", "user")
	if webhook { // presence is not known where webhooks are made
		d.null("availability_status")
	} else {
		d.str("availability_status", "online")
	}
	d.str("thumbnail", "")
}

func (r renderer) assignee(d *doc, u *user) {
	if u.bot {
		d.num("id", u.id)
		d.str("name", u.name)
		d.str("description", "Answers first")
		d.str("thumbnail", "")
		d.str("bot_type", "webhook")
		return
	}
	r.agent(d, u)
}

func (r renderer) agent(d *doc, u *user) {
	d.num("id", u.id)
	d.num("account_id", r.account)
	d.str("availability_status", "online")
	d.boolean("auto_offline", true)
	d.boolean("confirmed", true)
	d.str("email", u.email)
	if r.modern {
		d.str("provider", "email")
	}
	d.str("available_name", u.name)
	d.str("name", u.name)
	d.str("role", u.role())
	d.str("thumbnail", "")
	d.null("custom_role_id")
}

func (r renderer) teamFields(d *doc, t *team) {
	d.num("id", t.id)
	d.str("name", t.name)
	d.str("description", t.description)
	d.boolean("allow_auto_assign", true)
	d.num("account_id", r.account)
	d.boolean("is_member", false)
}

// embedded is a message inside a conversation.
func (r renderer) embedded(d *doc, c *conversation, m *message, webhook bool) {
	d.num("id", m.id)
	content(d, m)
	d.num("account_id", r.account)
	d.num("inbox_id", c.inbox.id)
	d.num("conversation_id", c.id)
	d.num("message_type", int64(m.kind))
	d.unix("created_at", m.at)
	d.iso("updated_at", m.at)
	d.boolean("private", m.private)
	d.str("status", "sent")
	d.strOrNull("source_id", m.sourceID)
	d.str("content_type", m.contentType)
	d.object("content_attributes", func() { r.attributes(d, c, m) })
	switch {
	case m.customer:
		d.str("sender_type", "Contact")
		d.num("sender_id", c.contact.id)
	case m.from == nil:
		d.null("sender_type")
		d.null("sender_id")
	default:
		d.str("sender_type", assigneeType(m.from))
		d.num("sender_id", m.from.id)
	}
	d.raw("external_source_ids", "{}")
	d.object("additional_attributes", func() { additional(d, m) })
	if m.noContent {
		d.null("processed_message_content")
	} else {
		d.str("processed_message_content", m.content)
	}
	d.raw("sentiment", "{}")
	d.object("conversation", func() {
		if c.assignee == nil || c.assignee.bot {
			d.null("assignee_id")
		} else {
			d.num("assignee_id", c.assignee.id)
		}
		d.num("unread_count", c.unread())
		d.unix("last_activity_at", c.lastActivity)
		d.object("contact_inbox", func() { d.str("source_id", r.sourceID(c)) })
	})
	r.author(d, c, m, webhook)
}

func content(d *doc, m *message) {
	if m.noContent {
		d.null("content")
		return
	}
	d.str("content", m.content)
}

func additional(d *doc, m *message) {
	if m.campaign != 0 {
		d.num("campaign_id", m.campaign)
	}
}

// message is a message on its own endpoint; echo is the caller's echo_id as
// JSON, "" for none.
func (r renderer) message(d *doc, c *conversation, m *message, echo string) {
	d.num("id", m.id)
	content(d, m)
	d.num("inbox_id", c.inbox.id)
	if echo != "" {
		d.raw("echo_id", echo)
	}
	d.num("conversation_id", c.id)
	d.num("message_type", int64(m.kind))
	d.str("content_type", m.contentType)
	d.str("status", "sent")
	d.object("content_attributes", func() { r.attributes(d, c, m) })
	d.unix("created_at", m.at)
	d.boolean("private", m.private)
	d.strOrNull("source_id", m.sourceID)
	r.author(d, c, m, false)
}

// attributes are content_attributes: what the channel keeps with a message.
func (r renderer) attributes(d *doc, c *conversation, m *message) {
	mailed := c.inbox.channel == email
	switch {
	case mailed && m.kind == incoming && m.customer:
		r.received(d, c, m)
	case mailed && m.kind == outgoing && m.from != nil:
		d.raw("cc_emails", "[]")
		d.raw("bcc_emails", "[]")
		d.raw("to_emails", "[]")
		if m.attributes != "" {
			unwrapped(d, m.attributes)
		} else if m.human() {
			d.object("email", func() {
				for _, part := range []struct{ key, text string }{
					{"html_content", "<p>" + m.content + "</p>"},
					{"text_content", m.content},
				} {
					d.object(part.key, func() {
						d.str("full", part.text)
						d.str("reply", part.text)
					})
				}
			})
		}
	case m.attributes != "":
		unwrapped(d, m.attributes)
	case c.inbox.channel == webWidget && m.customer:
		d.null("in_reply_to")
	}
}

// unwrapped writes the members of a JSON object.
func unwrapped(d *doc, object string) {
	if inner := strings.TrimSpace(object[1 : len(object)-1]); inner != "" {
		d.key("")
		d.b = append(d.b, inner...)
	}
}

func (r renderer) received(d *doc, c *conversation, m *message) {
	d.object("email", func() {
		d.null("bcc")
		d.null("cc")
		kind := "text/plain; charset=UTF-8"
		if m.html != "" {
			kind = "multipart/alternative"
		}
		d.str("content_type", kind)
		d.str("date", m.at.UTC().Format("2006-01-02T15:04:05-07:00"))
		d.strs("from", []string{c.contact.email})
		d.null("headers")
		d.object("html_content", func() {
			if m.html != "" {
				quotedParts(d, m.html)
			}
		})
		d.null("in_reply_to")
		d.str("message_id", m.sourceID)
		d.boolean("multipart", m.html != "")
		d.num("number_of_attachments", 0)
		d.null("references")
		d.str("subject", m.subject)
		d.object("text_content", func() { quotedParts(d, m.content) })
		d.strs("to", []string{"help@example.com"})
		d.boolean("auto_reply", false)
	})
	d.null("cc_email")
	d.null("bcc_email")
}

func quotedParts(d *doc, text string) {
	d.str("full", text)
	d.str("reply", text)
	d.str("quoted", text)
}

// origin is the conversation's additional_attributes: where it came from.
func (r renderer) origin(d *doc, c *conversation) {
	n := uint64(c.id)
	switch c.inbox.channel {
	case webWidget:
		d.object("browser", func() {
			d.str("device_name", "Unknown")
			d.str("browser_name", pick([]string{"Firefox", "Chrome", "Safari", "Edge"}, r.seed, n, 'b'))
			d.str("platform_name", pick([]string{"Linux", "Windows", "macOS", "Android", "iOS"}, r.seed, n, 'p'))
			d.str("browser_version", fmt.Sprintf("%d.0", 120+mix(r.seed, n, 'v')%30))
			d.str("platform_version", "Unknown")
		})
		d.str("referer", pick([]string{
			"https://shop.example.com/", "https://shop.example.com/returns", "https://shop.example.com/cart?step=2&lang=de",
		}, r.seed, n, 'r'))
		d.object("initiated_at", func() {
			zone := time.FixedZone("CEST", 2*60*60)
			d.str("timestamp", c.created.In(zone).Format("Mon Jan 02 2006 15:04:05 GMT-0700 (Central European Summer Time)"))
		})
		d.str("browser_language", pick([]string{"en", "de", "fr", "ja", "pt"}, r.seed, n, 'l'))
	case email:
		d.str("source", "email")
		d.null("in_reply_to")
		d.object("initiated_at", func() { d.iso("timestamp", c.created) })
		d.str("mail_subject", c.subject)
		d.boolean("auto_reply", false)
	}
}

// webhookConversation is a conversation as webhooks carry it: other encodings
// of the same fields, and the newest message a customer could see.
func (r renderer) webhookConversation(d *doc, c *conversation, now time.Time) {
	public := c.newest(func(m *message) bool { return m.kind != activity && !m.private })
	until := r.replyUntil(c)
	d.object("additional_attributes", func() { r.origin(d, c) })
	d.boolean("can_reply", until.IsZero() || now.Before(until))
	d.str("channel", c.inbox.channel)
	d.object("contact_inbox", func() {
		d.num("id", 500+c.id)
		d.num("contact_id", c.contact.id)
		d.num("inbox_id", c.inbox.id)
		d.str("source_id", r.sourceID(c))
		d.iso("created_at", c.contact.created)
		d.iso("updated_at", c.contact.created)
		d.boolean("hmac_verified", false)
		d.str("pubsub_token", fmt.Sprintf("demo-pubsub-token-%d", c.contact.id))
	})
	d.num("id", c.id)
	d.num("inbox_id", c.inbox.id)
	d.array("messages", func() {
		if public != nil {
			d.object("", func() { r.embedded(d, c, public, true) })
		}
	})
	d.strs("labels", c.labels)
	d.object("meta", func() {
		d.object("sender", func() { r.customer(d, c) })
		switch {
		case c.assignee == nil:
			d.null("assignee")
		case c.assignee.bot:
			d.object("assignee", func() { r.assignee(d, c.assignee) })
		default:
			d.object("assignee", func() { r.person(d, c.assignee, true) })
		}
		if r.modern {
			if c.assignee == nil {
				d.null("assignee_type")
			} else {
				d.str("assignee_type", assigneeType(c.assignee))
			}
		}
		if c.team == nil {
			d.null("team")
		} else {
			d.object("team", func() {
				d.num("id", c.team.id)
				d.str("name", c.team.name)
			})
		}
		d.boolean("hmac_verified", false)
	})
	d.str("status", c.status)
	d.raw("custom_attributes", "{}")
	d.iso("snoozed_until", c.snoozedUntil)
	d.num("unread_count", c.unread())
	d.iso("first_reply_created_at", c.firstReply)
	d.strOrNull("priority", c.priority)
	d.unix("waiting_since", c.waiting)
	d.unix("agent_last_seen_at", c.agentSeen)
	d.unix("contact_last_seen_at", c.contactSeen)
	d.unix("last_activity_at", c.lastActivity)
	d.unix("timestamp", c.lastActivity)
	d.unix("created_at", c.created)
	d.micros("updated_at", c.updated)
	if r.modern {
		d.object("account", func() { r.accountName(d) })
	}
}

func (r renderer) accountName(d *doc) {
	d.num("id", r.account)
	d.str("name", accountName)
}

const accountName = "Example Outfitters"

// webhookMessage is message_created without the event's own fields.
func (r renderer) webhookMessage(d *doc, c *conversation, m *message, now time.Time) {
	d.object("account", func() { r.accountName(d) })
	d.object("additional_attributes", func() { additional(d, m) })
	d.object("content_attributes", func() { r.attributes(d, c, m) })
	d.str("content_type", m.contentType)
	content(d, m)
	d.object("conversation", func() { r.webhookConversation(d, c, now) })
	d.iso("created_at", m.at)
	d.num("id", m.id)
	d.object("inbox", func() {
		d.num("id", c.inbox.id)
		d.str("name", c.inbox.name)
	})
	d.str("message_type", m.kind.String())
	d.boolean("private", m.private)
	switch {
	case m.customer:
		d.object("sender", func() { r.webhookContact(d, c) })
	case m.from == nil:
		d.null("sender")
	default:
		d.object("sender", func() {
			d.num("id", m.from.id)
			d.str("name", m.from.name)
			if m.from.bot {
				d.str("type", "agent_bot")
				return
			}
			d.str("email", m.from.email)
			d.str("type", "user")
		})
	}
	d.strOrNull("source_id", m.sourceID)
}

// webhookContact is a contact as itself: the only rendering without a type.
func (r renderer) webhookContact(d *doc, c *conversation) {
	d.object("account", func() { r.accountName(d) })
	d.raw("additional_attributes", "{}")
	d.str("avatar", "")
	d.raw("custom_attributes", "{}")
	r.contactFields(d, c)
}
