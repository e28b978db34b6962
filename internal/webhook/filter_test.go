package webhook_test

import (
	"testing"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

// kinds are the seven kinds of event that are told apart, the last standing
// for all the others.
var kinds = []string{
	chatwoot.MessageCreated, chatwoot.MessageUpdated, chatwoot.ConversationCreated, chatwoot.ConversationUpdated,
	chatwoot.ConversationStatusChanged, webhook.PingEvent, "contact_updated",
}

// Every situation is tried under every kind of event: a reason that belongs to
// one kind must not leak into another.
func TestDecide(t *testing.T) {
	message := func(change func(*chatwoot.Message)) *chatwoot.Message {
		m := chatwoot.Message{ID: 91004, Kind: chatwoot.Outgoing}
		change(&m)
		return &m
	}
	from := func(kind string) *chatwoot.Message {
		return message(func(m *chatwoot.Message) { m.SenderType = kind })
	}
	incoming := message(func(m *chatwoot.Message) { m.Kind = chatwoot.Incoming })
	accept := func(r webhook.Reason) webhook.Decision { return webhook.Decision{Process: true, Reason: r} }
	ignore := func(r webhook.Reason) webhook.Decision { return webhook.Decision{Reason: r} }

	const created, changed, updated = chatwoot.MessageCreated, chatwoot.ConversationStatusChanged, chatwoot.ConversationUpdated
	situations := []struct {
		name     string
		message  *chatwoot.Message
		status   chatwoot.Status
		assigned bool
		on       string // the kind of event that it matters to
		want     webhook.Decision
	}{
		{"the customer writes", incoming, chatwoot.Open, false, created, accept(webhook.CustomerMessage)},
		{"the customer writes to a bot", incoming, chatwoot.Pending, false, created, ignore(webhook.ConversationNotOpen)},
		{"the customer writes, and it was resolved before this was told", incoming, chatwoot.Resolved, false, created, ignore(webhook.ConversationNotOpen)},
		{"an agent answers", from("user"), chatwoot.Open, false, created, ignore(webhook.AgentMessage)},
		{"an agent answers in the channel's own app", message(func(m *chatwoot.Message) { m.Echo = true }), chatwoot.Snoozed, false, created, ignore(webhook.AgentMessage)},
		{"a bot answers", from("agent_bot"), chatwoot.Open, false, created, ignore(webhook.BotMessage)},
		{"Captain answers", from("captain_assistant"), chatwoot.Open, false, created, ignore(webhook.BotMessage)},
		{"an automation's message", message(func(m *chatwoot.Message) { m.Automation = true }), chatwoot.Open, false, created, ignore(webhook.AutomationMessage)},
		{"a message of nobody's", from(""), chatwoot.Open, false, created, ignore(webhook.AutomationMessage)},
		{"a campaign in an agent's name", message(func(m *chatwoot.Message) { m.SenderType, m.Campaign = "user", true }), chatwoot.Open, false, created, ignore(webhook.CampaignMessage)},
		{"a greeting", message(func(m *chatwoot.Message) { m.Kind = chatwoot.Template }), chatwoot.Open, false, created, ignore(webhook.TemplateMessage)},
		{"an activity line", message(func(m *chatwoot.Message) { m.Kind = chatwoot.Activity }), chatwoot.Open, false, created, ignore(webhook.ActivityMessage)},
		{"a kind of message of tomorrow", message(func(m *chatwoot.Message) { m.Kind = chatwoot.UnknownKind }), chatwoot.Open, false, created, ignore(webhook.UnknownMessage)},
		{"a private note", message(func(m *chatwoot.Message) { m.SenderType, m.Private = "user", true }), chatwoot.Open, false, created, ignore(webhook.PrivateNote)},
		{"a private message that says it is the customer's", message(func(m *chatwoot.Message) { m.Kind, m.Private = chatwoot.Incoming, true }), chatwoot.Open, false, created, ignore(webhook.PrivateNote)},
		{"resolved", from("user"), chatwoot.Resolved, false, changed, accept(webhook.Resolution)},
		{"reopened", from("user"), chatwoot.Open, false, changed, ignore(webhook.NotResolved)},
		{"snoozed", from("user"), chatwoot.Snoozed, false, changed, ignore(webhook.NotResolved)},
		{"assigned", from("user"), chatwoot.Open, true, updated, ignore(webhook.Assignment)},
		{"assigned and resolved in one save", from("user"), chatwoot.Resolved, true, updated, ignore(webhook.Assignment)},
	}
	for _, s := range situations {
		for _, kind := range kinds {
			t.Run(s.name+"/"+kind, func(t *testing.T) {
				e := chatwoot.Event{Name: kind, Message: s.message, Conversation: &chatwoot.Conversation{ID: 1482, Status: s.status}}
				e.Assigned = s.assigned && kind == updated
				want := ignore(webhook.OtherEvent)
				switch {
				case kind == s.on:
					want = s.want
				case kind == webhook.PingEvent:
					want = ignore(webhook.Synthetic)
				case kind == created:
					want = ignore(webhook.AgentMessage)
				case kind == changed && s.status == chatwoot.Resolved:
					want = accept(webhook.Resolution)
				case kind == changed:
					want = ignore(webhook.NotResolved)
				}
				if got := webhook.Decide(e); got != want {
					t.Errorf("Decide = %+v, want %+v", got, want)
				}
			})
		}
	}
}

func TestDecideOnAnEventWithoutContent(t *testing.T) {
	for _, kind := range kinds {
		if got := webhook.Decide(chatwoot.Event{Name: kind}); got.Process {
			t.Errorf("%s with nothing in it is processed: %+v", kind, got)
		}
	}
}

func TestDecideOnTheExamples(t *testing.T) {
	for file, want := range map[string]webhook.Decision{
		"webhook_message_created_incoming":             {Process: true, Reason: webhook.CustomerMessage},
		"webhook_conversation_status_changed_resolved": {Process: true, Reason: webhook.Resolution},
		"webhook_message_created_agent":                {Reason: webhook.AgentMessage},
		"webhook_message_created_private_note":         {Reason: webhook.PrivateNote},
		"webhook_conversation_updated_assignment":      {Reason: webhook.Assignment},
	} {
		e, err := chatwoot.DecodeEvent([]byte(example(t, file)))
		if err != nil {
			t.Fatal(err)
		}
		if got := webhook.Decide(e); got != want {
			t.Errorf("%s: %+v, want %+v", file, got, want)
		}
	}
}
