package pipeline

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hotdash/chatwoot-sla/internal/sla"
)

// Priority is how soon somebody should decide. It is a label of a metric.
type Priority string

// Priorities of items.
const (
	Normal Priority = "normal"
	Urgent Priority = "urgent"
)

// Priorities lists every Priority.
var Priorities = [...]Priority{Normal, Urgent}

// State is where an item is.
type State string

// States of items. Those from Sent on are final, but for Unknown.
const (
	Pending   State = "pending"   // somebody is to decide
	Sending   State = "sending"   // approved; the reply is on its way
	Failed    State = "failed"    // approved, and certainly not sent: it can be decided again
	Sent      State = "sent"      // the reply is in the conversation
	Unknown   State = "unknown"   // it may have been sent: somebody must look
	Settled   State = "settled"   // somebody has, and the customer has what is needed
	Rejected  State = "rejected"  // no reply is wanted
	Cancelled State = "cancelled" // a person answered first, or the conversation is over
	Expired   State = "expired"   // nobody decided in time
)

// States lists every State.
var States = [...]State{Pending, Sending, Failed, Sent, Unknown, Settled, Rejected, Cancelled, Expired}

// ParseState returns the State of a name.
func ParseState(name string) (State, error) {
	names := make([]string, len(States))
	for i, s := range States {
		if string(s) == name {
			return s, nil
		}
		names[i] = string(s)
	}
	return "", fmt.Errorf("state %q is unknown; use one of %s", name, strings.Join(names, ", "))
}

// ItemFilter selects items; its zero value selects all, those first whose answer
// is owed first.
type ItemFilter struct {
	States       []State   // empty: any
	Conversation int64     // 0: any
	Since        time.Time // of their last change; zero: ever
	LastChanged  bool      // those come first that changed last
	Limit        int       // 0: no limit
	Skip         int       // so many are left out before; only with a Limit
}

// Action is what is suggested to do with a draft.
type Action string

// Suggested actions. Whatever else the agent service recommends is Review.
const (
	Approve  Action = "approve"
	Review   Action = "review"
	Escalate Action = "escalate"
)

// Problem is why there is no draft; empty: there is one.
type Problem string

// Why there is no draft.
const (
	NoDraft Problem = "no_draft" // the agent service did not make one
	NoText  Problem = "no_text"  // there was nothing to answer but an attachment
)

// Decision is what ended an item's wait. It is a label of a metric.
type Decision string

// Decisions about items.
const (
	Approved     Decision = "approved"
	Edited       Decision = "edited"
	DecidedNo    Decision = "rejected"
	WasCancelled Decision = "cancelled"
	RanOut       Decision = "expired"
)

// Decisions lists every Decision.
var Decisions = [...]Decision{Approved, Edited, DecidedNo, WasCancelled, RanOut}

// Item is an entry of the approval queue. Message is its id: there is one for
// each message of a customer.
type Item struct {
	Drafted

	State     State
	Note      int64 // Chatwoot's id of the private note
	CreatedAt time.Time
	ExpiresAt time.Time
	ChangedAt time.Time

	Decision    Decision // empty: none
	DecidedBy   string   // a name of API_TOKENS; empty: nobody
	DecidedAt   time.Time
	Reply       string // what was or is to be sent
	AttemptedAt time.Time
	ReplyID     int64 // Chatwoot's id of what was sent
	SentAt      time.Time
	Reason      string // of a rejection, a cancellation or a failure
}

// PriorityAt returns how soon somebody should decide, at now. An item turns
// urgent with its conversation.
func (it Item) PriorityAt(now time.Time) Priority {
	if it.Priority == Urgent || !it.UrgentAt.IsZero() && !now.Before(it.UrgentAt) {
		return Urgent
	}
	return Normal
}

const (
	// lowConfidence is the percentage below which a draft is not to be relied
	// on, and goodConfidence the one above which it may be sent as it is.
	lowConfidence  = 70
	goodConfidence = 80
)

// LowConfidence reports whether a draft is not to be relied on.
func (d Drafted) LowConfidence() bool { return d.Problem == "" && d.Confidence < lowConfidence }

// suggested takes over what the agent service says.
func (d *Drafted) suggested(s Suggestion) {
	d.Draft, d.Confidence = strings.TrimSpace(s.Reply), s.Confidence
	d.Tags, d.Sentiment, d.Urgency = s.Tags, strings.ToLower(s.Sentiment), strings.ToLower(s.Urgency)
	if d.Draft == "" {
		d.Problem = NoDraft
	}
	d.Action = action(s)
	if d.Problem != "" {
		d.Action = Escalate
	}
}

// action judges what the service recommends: it may be more careful than we
// are, and never bolder.
func action(s Suggestion) Action {
	recommended := strings.ToLower(strings.TrimSpace(s.Action))
	switch {
	case s.Confidence < lowConfidence, recommended == string(Escalate):
		return Escalate
	case s.Confidence > goodConfidence && (recommended == string(Approve) || recommended == "send" || recommended == ""):
		return Approve
	}
	return Review
}

// priority judges how soon somebody should decide.
func priority(d Drafted, level sla.Level) Priority {
	if level >= sla.Urgent || d.Urgency == "high" || d.Urgency == "urgent" || d.Urgency == "critical" {
		return Urgent
	}
	return Normal
}

// Verdict is what a person decides about an item.
type Verdict struct {
	Action string // approve, edit, reject, or Settle
	Reply  string // with edit
	Reason string // with reject; may be empty
	By     string
}

// Settle is the action of somebody who has looked after an item that is Unknown.
const Settle = "settle"

// longestReply is Chatwoot's limit.
const longestReply = 150_000

// ErrNothingToSend says that an item without a draft was approved as it is.
var ErrNothingToSend = errors.New("there is no draft to approve: write a reply, with action edit")

// Judge returns what a verdict makes of an item: its decision, and what is to be
// sent if anything is. Settle is none of them: it decides nothing, and is kept as
// it is said.
func (it Item) Judge(v Verdict) (Decision, string, error) {
	switch v.Action {
	case "approve":
		if strings.TrimSpace(it.Draft) == "" {
			return "", "", ErrNothingToSend
		}
		return Approved, Harmless(it.Draft), nil
	case "edit":
		reply := Harmless(strings.TrimSpace(v.Reply))
		switch {
		case reply == "":
			return "", "", errors.New("the reply is empty; write one, or use action reject")
		case utf8.RuneCountInString(reply) > longestReply:
			return "", "", fmt.Errorf("the reply is longer than the %d characters that Chatwoot takes", longestReply)
		}
		if plain(reply) == plain(Harmless(it.Draft)) {
			return Approved, reply, nil
		}
		return Edited, reply, nil
	case "reject":
		return DecidedNo, "", nil
	}
	return "", "", fmt.Errorf("action %q is unknown; use approve, edit, reject or settle", v.Action)
}
