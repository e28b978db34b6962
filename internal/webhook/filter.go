package webhook

import "github.com/hotdash/chatwoot-sla/internal/chatwoot"

// Reason is why a delivery is processed or ignored. It is part of the answer
// to the sender.
type Reason string

// Why a delivery is processed.
const (
	CustomerMessage Reason = "customer_message" // in an open conversation
	Resolution      Reason = "resolved"
)

// Why a delivery is ignored.
const (
	PrivateNote         Reason = "private_note"
	ActivityMessage     Reason = "activity_message"
	TemplateMessage     Reason = "template_message"   // greeting, out of office, CSAT
	CampaignMessage     Reason = "campaign_message"   // whoever is named as its sender
	AutomationMessage   Reason = "automation_message" // a rule's, or nobody's
	BotMessage          Reason = "bot_message"
	AgentMessage        Reason = "agent_message"
	UnknownMessage      Reason = "unknown_message" // of a kind that Chatwoot did not have yet
	ConversationNotOpen Reason = "conversation_not_open"
	NotResolved         Reason = "not_resolved"
	Assignment          Reason = "assignment"
	OtherEvent          Reason = "other_event"
	Synthetic           Reason = "ping"
)

// alreadyReceived is the reason of the answer to a duplicate.
const alreadyReceived Reason = "already_received"

// PingEvent is the event of Ping's deliveries. No Chatwoot sends it.
const PingEvent = "ping"

// Decision is what is to become of a delivery.
type Decision struct {
	Process bool
	Reason  Reason
}

// Decide judges an event.
func Decide(e chatwoot.Event) Decision {
	switch {
	case e.Name == PingEvent:
		return Decision{Reason: Synthetic}
	case e.Name == chatwoot.MessageCreated && e.Message != nil && e.Conversation != nil:
		return decideMessage(*e.Message, e.Conversation.Status)
	case e.Name == chatwoot.ConversationStatusChanged && e.Conversation != nil:
		if e.Conversation.Status != chatwoot.Resolved {
			return Decision{Reason: NotResolved}
		}
		return Decision{Process: true, Reason: Resolution}
	case e.Assigned:
		return Decision{Reason: Assignment}
	}
	return Decision{Reason: OtherEvent}
}

func decideMessage(m chatwoot.Message, status chatwoot.Status) Decision {
	switch {
	case m.Private:
		return Decision{Reason: PrivateNote}
	case m.Kind == chatwoot.Incoming && status != chatwoot.Open:
		return Decision{Reason: ConversationNotOpen}
	case m.Kind == chatwoot.Incoming:
		return Decision{Process: true, Reason: CustomerMessage}
	case m.Kind == chatwoot.Activity:
		return Decision{Reason: ActivityMessage}
	case m.Kind == chatwoot.Template:
		return Decision{Reason: TemplateMessage}
	case m.Kind != chatwoot.Outgoing:
		return Decision{Reason: UnknownMessage}
	case m.Campaign:
		return Decision{Reason: CampaignMessage}
	case m.Human():
		return Decision{Reason: AgentMessage}
	case m.SenderType == "agent_bot" || m.SenderType == "captain_assistant":
		return Decision{Reason: BotMessage}
	}
	return Decision{Reason: AutomationMessage}
}
