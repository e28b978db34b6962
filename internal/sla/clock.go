package sla

import "time"

// Verdict is an answer to a yes-or-no question that the evidence at hand may
// leave open.
type Verdict uint8

const (
	Unsure Verdict = iota
	Yes
	No
)

// Conversation holds the facts about one open conversation that its clock
// depends on. All instants are Chatwoot's; a zero instant means "never".
type Conversation struct {
	CreatedAt    time.Time
	WaitingSince time.Time // the first message nobody has answered, by Chatwoot's own and incomplete rules
	FirstReplyAt time.Time // the first public message by a human, wherever in the conversation it stands
	HandoffAt    time.Time // when the bot let go of a conversation that was born pending

	CustomerWrote  Verdict // has the customer sent at least one message?
	CustomerOpened Verdict // did the conversation begin with that message?

	Thread *Thread // what the messages say; nil while they are unread
}

// Thread is what a reader of all messages of a conversation knows.
type Thread struct {
	CustomerAt time.Time // the customer's first message; zero: none
	BackAt     time.Time // the customer's first after the last end without an answer; zero: none
	EndedAt    time.Time // the first end since the later of both, as far as the messages tell; zero: none
	ReplyAt    time.Time // the first public human message after CustomerAt; zero: none
}

// State is what a first-response clock is doing.
type State uint8

const (
	Unknown  State = iota // nothing can be said: the messages must be read, or the promise learnt
	Idle                  // no clock: the customer has not written
	Waiting               // the customer has written and no human has answered
	Answered              // a human has answered
)

var stateNames = [...]string{"unknown", "idle", "waiting", "answered"}

func (s State) String() string { return stateNames[s] }

// Clock is the first-response clock of one conversation.
type Clock struct {
	State State

	// Unsettled says that the messages, read now, could change the rest:
	// read them if they are unread, and again whenever the row changes.
	Unsettled bool

	Start      time.Time // when the wait began, be it in closed time; zero unless Waiting or Answered
	Deadline   time.Time // zero unless Waiting or Answered
	AnsweredAt time.Time // zero unless Answered
}

// late reports whether k was answered, and after its deadline.
func (k Clock) late() bool { return k.State == Answered && k.AnsweredAt.After(k.Deadline) }

const (
	// opening is how long after a conversation's creation the message that
	// opened it may be saved. Chatwoot writes the two one after the other, and
	// fetches attachments in between.
	opening = 10 * time.Second

	// rounding absorbs Chatwoot's truncation of instants to whole seconds.
	rounding = time.Second
)

// Opens reports whether a message sent at the given instant may be the one
// that a conversation created at createdAt began with.
func Opens(createdAt, at time.Time) bool { return !at.After(createdAt.Add(opening)) }

// Clock works out the first-response clock of c.
//
// Chatwoot's row alone often cannot tell. waiting_since is set by whoever
// creates a conversation, cleared by bots, and moved by a bot's hand-off;
// first_reply_created_at is the agent's own opening in a thread the agent
// began, and stays empty when two replies arrive at once. Where that could
// change the result the clock is Unsettled, and the messages decide.
func (p Policy) Clock(c Conversation) Clock {
	if p.Unknown {
		return Clock{State: Unknown}
	}
	if t := c.Thread; t != nil {
		if !t.CustomerAt.IsZero() {
			return p.clockFromThread(c, *t)
		}
		if c.CustomerWrote != Yes { // otherwise the row is newer than the reading
			return Clock{State: Idle, Unsettled: true}
		}
	}
	if c.CustomerWrote == No {
		return Clock{State: Idle}
	}
	return p.clockFromRow(c)
}

func (p Policy) clockFromThread(c Conversation, t Thread) Clock {
	start := c.CreatedAt
	if !Opens(c.CreatedAt, t.CustomerAt) {
		start = t.CustomerAt // we opened it; the promise begins with the customer's words
	}
	// Whoever comes back after an end without an answer begins to wait anew.
	start = latest(start, latest(c.HandoffAt, t.BackAt))

	// The row knows of answers that came after the messages were read. A first
	// reply from before the customer wrote is the agent's own opening.
	if !c.FirstReplyAt.IsZero() && !c.FirstReplyAt.Before(t.CustomerAt) {
		return p.answered(start, c.FirstReplyAt)
	}
	if !t.ReplyAt.IsZero() {
		return p.answered(start, t.ReplyAt)
	}
	if c.FirstReplyAt.IsZero() && c.waitingMoved() {
		start = latest(start, c.WaitingSince) // a hand-off that was not witnessed
	}
	// While waiting_since still points at the customer's first message, nobody
	// has answered, and no reading can say otherwise.
	untouched := !c.WaitingSince.IsZero() && (!c.waitingMoved() || !c.WaitingSince.After(latest(t.CustomerAt, t.BackAt)))
	k := p.waiting(start)
	k.Unsettled = !untouched
	return k
}

func (p Policy) clockFromRow(c Conversation) Clock {
	start := latest(c.CreatedAt, c.HandoffAt)
	unknown := Clock{State: Unknown, Unsettled: true}

	if reply := c.FirstReplyAt; !reply.IsZero() {
		switch {
		case Opens(c.CreatedAt, reply) && c.CustomerOpened != Yes:
			return unknown // perhaps the agent's own opening
		case !reply.After(p.Deadline(c.CreatedAt)):
			return p.answered(start, reply) // in time wherever the clock started
		case c.CustomerOpened == Yes:
			return p.answered(start, reply)
		}
		return unknown // late, unless we opened it and the customer wrote later
	}

	if c.WaitingSince.IsZero() || c.CustomerWrote != Yes {
		return unknown
	}
	if c.waitingMoved() && c.WaitingSince.After(c.HandoffAt.Add(rounding)) {
		return unknown // a hand-off, a bot's answer, or an answer Chatwoot lost
	}
	switch c.CustomerOpened {
	case Yes:
		return p.waiting(start)
	case No:
		return unknown // the promise began with the customer's first message, which the row does not date
	default:
		// Nobody has answered a customer who wrote. Most likely the customer
		// opened the conversation; to wait for certainty could hide a breach.
		k := p.waiting(start)
		k.Unsettled = true
		return k
	}
}

// waitingMoved reports whether waiting_since was set again after creation.
func (c Conversation) waitingMoved() bool {
	return c.WaitingSince.After(c.CreatedAt.Add(rounding))
}

func (p Policy) waiting(start time.Time) Clock {
	return Clock{State: Waiting, Start: start, Deadline: p.Deadline(start)}
}

func (p Policy) answered(start, at time.Time) Clock {
	return Clock{State: Answered, Start: start, Deadline: p.Deadline(start), AnsweredAt: at}
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
