// Package pipeline turns a customer's message into a draft of the answer, a
// private note for the agents, and an item of the approval queue; and what a
// person approves into a reply.
//
// Each step may run more than once for the same message, because a process can
// be killed at any instant. What must not happen twice is therefore looked for
// before it is done: a note by its mark, a reply by its sender, time and text.
// The steps decide and call; where rows are kept, and who runs a step again, is
// the caller's business.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/sla"
)

// The jobs that carry a message through the steps. They name what they are
// about and hold no text: what customers write is in Chatwoot, and in the rows
// that can be purged.
type (
	// DraftJob asks for a draft of the answer to a message.
	DraftJob struct {
		Conversation int64     `json:"conversation"`
		Message      int64     `json:"message"`
		Inbox        int64     `json:"inbox"`
		At           time.Time `json:"at"` // when the customer sent it
	}

	// UndraftedJob is a DraftJob that has waited too long: a person is to answer
	// without a draft.
	UndraftedJob DraftJob

	// NoteJob tells the agents about a draft that was kept, and queues it.
	NoteJob struct {
		Conversation int64 `json:"conversation"`
		Message      int64 `json:"message"`
	}

	// ReplyJob sends what was approved.
	ReplyJob struct {
		Message int64 `json:"message"`
	}

	// CancelJob takes what waits for a conversation off the queue.
	CancelJob struct {
		Conversation int64     `json:"conversation"`
		At           time.Time `json:"at"`
	}
)

// Kind names DraftJob in the database.
func (DraftJob) Kind() string { return "draft" }

// Kind names UndraftedJob in the database.
func (UndraftedJob) Kind() string { return "undrafted" }

// Kind names NoteJob in the database.
func (NoteJob) Kind() string { return "note" }

// Kind names ReplyJob in the database.
func (ReplyJob) Kind() string { return "reply" }

// Kind names CancelJob in the database.
func (CancelJob) Kind() string { return "cancel_approvals" }

// Author is who wrote a message.
type Author string

// Authors of messages. Templates, campaigns and activity lines are Nobody's.
const (
	Customer Author = "customer"
	Agent    Author = "agent"
	Bot      Author = "bot"
	Nobody   Author = ""
)

// Post is a message of a conversation.
type Post struct {
	ID      int64
	At      time.Time
	By      Author
	Sender  int64  // Chatwoot's id of the agent or bot
	Name    string // of who wrote it; empty: unknown
	Private bool
	Mark    string // Chatwoot's source_id
	Text    string
}

// Chat is Chatwoot as the steps need it. A failed request that certainly
// changed nothing says so by an error with the method Undone, and one that the
// server is certainly done with by the method Finished.
type Chat interface {
	// Thread returns the last public messages of a conversation around one of
	// them, oldest first.
	Thread(ctx context.Context, conversation, message int64) ([]Post, error)
	// After returns every message that came after one, private notes included.
	After(ctx context.Context, conversation, message int64) ([]Post, error)
	Note(ctx context.Context, conversation int64, text, mark string) (id int64, err error)
	Reply(ctx context.Context, conversation int64, text string) (id int64, err error)
	// Me returns the id of the user who writes notes and replies.
	Me(ctx context.Context) (int64, error)
}

// Source is a passage of the knowledge base.
type Source struct {
	Title     string  `json:"title"`
	Content   string  `json:"content"`
	Relevance float64 `json:"relevance"` // 0 to 1
	Version   string  `json:"version"`
}

// Knowledge finds what is known about a question. An empty answer is none.
type Knowledge interface {
	Query(ctx context.Context, question string) ([]Source, error)
}

// Ask is what the agent service is told.
type Ask struct {
	Message  string
	Customer Context
	Sources  []Source
	History  []Turn // before the message, oldest first
}

// Context is what is known of the customer.
type Context struct {
	Name         string `json:"name,omitempty"`
	Conversation int64  `json:"conversation_id"`
	Inbox        int64  `json:"inbox_id,omitempty"`
	Level        string `json:"sla_level"`
}

// Turn is a message of the history.
type Turn struct {
	Role    string    `json:"role"` // customer, agent or bot
	Content string    `json:"content"`
	At      time.Time `json:"created_at"`
}

// Suggestion is what the agent service answers.
type Suggestion struct {
	Reply      string
	Confidence float64 // percent
	Action     string
	Sources    []string
	Tags       []string
	Sentiment  string
	Urgency    string
}

// Drafter writes drafts.
type Drafter interface {
	Draft(ctx context.Context, ask Ask) (Suggestion, error)
}

// Unavailable is the error of a service that cannot be used now, whoever asks.
type Unavailable struct{ Err error }

func (e *Unavailable) Error() string { return e.Err.Error() }

// Unwrap returns what happened.
func (e *Unavailable) Unwrap() error { return e.Err }

// Wait is the error of a step that is to be tried again in a while, and has not
// failed.
type Wait struct {
	Err     error
	For     time.Duration
	Service bool // the service asks for it, whoever comes; otherwise it is this step alone
}

func (e *Wait) Error() string { return e.Err.Error() }

// Unwrap returns what happened.
func (e *Wait) Unwrap() error { return e.Err }

// Standing is how a customer stands against what was promised.
type Standing struct {
	Inbox    int64
	Deadline time.Time
	UrgentAt time.Time // from when on the level is urgent
	Level    sla.Level
}

// OwnReply is a reply that was approved, and that Chatwoot has or may have.
type OwnReply struct {
	Message int64 // of the customer, that it answers
	ID      int64 // Chatwoot's; 0: it is not known whether Chatwoot has it
	Text    string
	Since   time.Time // when it was first tried to send it
}

// is reports whether a message is the reply. Me is who sends replies.
func (o OwnReply) is(m Post, me int64) bool {
	if o.ID != 0 {
		return m.ID == o.ID
	}
	return m.Sender == me && m.At.After(o.Since.Add(-clockSlack)) && plain(m.Text) == plain(o.Text)
}

// Options configures New. All fields but Settle are required.
type Options struct {
	Chat      Chat
	Knowledge Knowledge
	Drafter   Drafter

	// Standing tells how the customer stands who wrote a message.
	Standing func(DraftJob) Standing

	// Ours returns the replies of a conversation that were approved, and sent or
	// perhaps sent. One is among them before Chatwoot is asked to send it.
	Ours func(ctx context.Context, conversation int64) ([]OwnReply, error)

	TTL time.Duration    // for which an item waits for a decision
	Now func() time.Time // Chatwoot's clock

	// Settle is how long a request that was given up may still have its effect;
	// 0: 16 s, a second more than Chatwoot's own limit.
	Settle time.Duration
}

// Pipeline runs the steps. It is safe for concurrent use.
type Pipeline struct{ o Options }

// New returns a Pipeline.
func New(o Options) (*Pipeline, error) {
	if o.Chat == nil || o.Knowledge == nil || o.Drafter == nil || o.Standing == nil || o.Ours == nil || o.Now == nil || o.TTL <= 0 {
		return nil, errors.New("pipeline: chat, knowledge, drafter, standing, own replies, clock and a time to live are required")
	}
	if o.Settle == 0 {
		o.Settle = 16 * time.Second
	}
	return &Pipeline{o}, nil
}

// Skipped is why nothing more is to be done for a message; empty: something is.
type Skipped string

// Why a message needs no draft, or its item no decision.
const (
	Answered Skipped = "answered" // a person was faster
	Gone     Skipped = "gone"     // the message or its conversation was deleted
	Resolved Skipped = "resolved" // the conversation is no longer open
)

// Drafted is a draft that no agent has been told of yet.
type Drafted struct {
	Conversation int64     `json:"conversation"`
	Message      int64     `json:"message"`
	Inbox        int64     `json:"inbox"`
	Contact      string    `json:"contact"`
	Question     string    `json:"question"`
	Draft        string    `json:"draft"`
	Confidence   float64   `json:"confidence"`
	Action       Action    `json:"action"`
	Sources      []Source  `json:"sources"`
	Tags         []string  `json:"tags"`
	Sentiment    string    `json:"sentiment"`
	Urgency      string    `json:"urgency"`
	Fallback     bool      `json:"fallback"` // nothing was found in the knowledge base, or it did not answer
	Problem      Problem   `json:"problem"`
	Priority     Priority  `json:"priority"`
	Deadline     time.Time `json:"deadline"`
	UrgentAt     time.Time `json:"urgent_at"`
}

// historyLength is how many messages the agent service is told.
const historyLength = 20

// Draft finds out what is known, and has an answer drafted. After the last
// attempt there is a result without a draft, so that a person sees the message
// all the same.
func (p *Pipeline) Draft(ctx context.Context, j DraftJob, last bool) (Drafted, Skipped, error) {
	d, level, before, why, err := p.read(ctx, j)
	if err != nil || why != "" {
		return Drafted{}, why, err
	}
	if d.Problem != "" {
		d.Priority = priority(d, level)
		return d, "", nil
	}
	sources, err := p.o.Knowledge.Query(ctx, d.Question)
	if err != nil && ctx.Err() != nil {
		return Drafted{}, "", err
	}
	d.Sources, d.Fallback = sources, len(sources) == 0 // why there are none, the adapter has counted
	s, err := p.o.Drafter.Draft(ctx, Ask{
		Message:  d.Question,
		Customer: Context{Name: d.Contact, Conversation: j.Conversation, Inbox: d.Inbox, Level: level.String()},
		Sources:  sources,
		History:  history(before),
	})
	var wait *Wait
	switch {
	case err == nil:
		d.suggested(s)
	case !last || errors.As(err, &wait) || ctx.Err() != nil:
		return Drafted{}, "", fmt.Errorf("draft an answer: %w", err)
	default:
		d.Problem = NoDraft
	}
	d.Priority = priority(d, level)
	return d, "", nil
}

// Undrafted returns what Draft does when it gives up, without asking anybody
// but Chatwoot.
func (p *Pipeline) Undrafted(ctx context.Context, j DraftJob) (Drafted, Skipped, error) {
	d, level, _, why, err := p.read(ctx, j)
	if err != nil || why != "" {
		return Drafted{}, why, err
	}
	if d.Problem == "" {
		d.Problem = NoDraft
	}
	d.Priority = priority(d, level)
	return d, "", nil
}

// read returns what is known of a message before it is drafted for, and what
// was said before it.
func (p *Pipeline) read(ctx context.Context, j DraftJob) (d Drafted, level sla.Level, before []Post, why Skipped, err error) {
	thread, err := p.o.Chat.Thread(ctx, j.Conversation, j.Message)
	if err != nil {
		if isGone(err) {
			return d, level, nil, Gone, nil
		}
		return d, level, nil, "", fmt.Errorf("read the conversation: %w", err)
	}
	i := slices.IndexFunc(thread, func(m Post) bool { return m.ID == j.Message })
	if i < 0 {
		return d, level, nil, Gone, nil
	}
	answers, err := p.answers(ctx, j.Conversation, thread[i+1:])
	if err != nil {
		return d, level, nil, "", err
	}
	if len(answers) > 0 {
		return d, level, nil, Answered, nil
	}
	standing := p.o.Standing(j)
	d = Drafted{
		Conversation: j.Conversation, Message: j.Message, Inbox: standing.Inbox, Contact: thread[i].Name,
		Question: strings.TrimSpace(thread[i].Text), Action: Escalate, Deadline: standing.Deadline, UrgentAt: standing.UrgentAt,
	}
	if d.Question == "" { // an attachment alone
		d.Problem = NoText
	}
	return d, standing.Level, thread[:i], "", nil
}

// history returns what was said before, as the agent service is told. Private
// notes, ours among them, are for agents.
func history(before []Post) []Turn {
	turns := []Turn{}
	for _, m := range before {
		if m.Private || m.By == Nobody || strings.TrimSpace(m.Text) == "" {
			continue
		}
		turns = append(turns, Turn{Role: string(m.By), Content: m.Text, At: m.At})
	}
	return turns[max(0, len(turns)-historyLength):]
}

// answers returns those messages that are a person's answers. Replies that were
// approved are not: they answer one message, and not the others. They are asked
// for when the messages have been read, so that none of ours is taken for a
// person's because it was sent in between.
func (p *Pipeline) answers(ctx context.Context, conversation int64, messages []Post) ([]Post, error) {
	var found []Post
	for _, m := range messages {
		if m.By == Agent && !m.Private {
			found = append(found, m)
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	ours, err := p.o.Ours(ctx, conversation)
	if err != nil || len(ours) == 0 {
		return found, err
	}
	me, err := p.o.Chat.Me(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for an answer: %w", err)
	}
	return slices.DeleteFunc(found, func(m Post) bool {
		return slices.ContainsFunc(ours, func(o OwnReply) bool { return o.is(m, me) })
	}), nil
}

// Mark is the mark of the note about a customer's message.
func Mark(message int64) string { return "chatwoot-sla-draft-" + strconv.FormatInt(message, 10) }

// Intent is what is known of an earlier attempt to post, and how to keep what
// is known of this one. A zero instant is none. Keep replaces what was known and
// reports false, having changed nothing, if something else was.
type Intent struct {
	Since time.Time
	Keep  func(ctx context.Context, was, at time.Time) (kept bool, err error)
}

// begin keeps that an attempt to post begins, of which there is one at a time:
// two processes may have the same job in hand when one is taken for dead.
func (p *Pipeline) begin(ctx context.Context, in Intent, what string) (since time.Time, err error) {
	since = p.o.Now()
	kept, err := in.Keep(ctx, in.Since, since)
	if err == nil && !kept {
		err = &Wait{Err: fmt.Errorf("another process posts the %s, or it is not wanted any more", what), For: p.o.Settle}
	}
	return since, err
}

// undo keeps that an attempt to post had no effect and never will. If it is not
// the last one any more, another process has judged it.
func (in Intent) undo(ctx context.Context, since time.Time) error {
	_, err := in.Keep(ctx, since, time.Time{})
	return err
}

// Note posts the note about a draft unless it is there, and returns its id.
func (p *Pipeline) Note(ctx context.Context, d Drafted, in Intent) (id int64, why Skipped, err error) {
	after, err := p.o.Chat.After(ctx, d.Conversation, d.Message)
	if err != nil {
		if isGone(err) {
			return 0, Gone, nil
		}
		return 0, "", fmt.Errorf("look for the note: %w", err)
	}
	mark := Mark(d.Message)
	if i := slices.IndexFunc(after, func(m Post) bool { return m.Mark == mark }); i >= 0 {
		return after[i].ID, "", nil
	}
	answers, err := p.answers(ctx, d.Conversation, after)
	if err != nil {
		return 0, "", err
	}
	if len(answers) > 0 {
		return 0, Answered, nil
	}
	if err := p.settled(in.Since, "note"); err != nil {
		return 0, "", err
	}
	since, err := p.begin(ctx, in, "note")
	if err != nil {
		return 0, "", err
	}
	id, err = p.o.Chat.Note(ctx, d.Conversation, NoteText(d), mark)
	if err == nil {
		return id, "", nil
	}
	err = fmt.Errorf("post the note: %w", err)
	if finished(err) {
		err = errors.Join(err, in.undo(ctx, since))
	}
	if isGone(err) {
		return 0, Gone, nil
	}
	return 0, "", err
}

// settled returns a Wait while an attempt that was given up may still have its
// effect.
func (p *Pipeline) settled(since time.Time, what string) error {
	left := since.Add(p.o.Settle).Sub(p.o.Now())
	if since.IsZero() || left <= 0 {
		return nil
	}
	return &Wait{Err: fmt.Errorf("an earlier attempt to post the %s may still have its effect", what), For: left}
}

// Item makes the item of the queue from a draft whose note has been posted.
func (p *Pipeline) Item(d Drafted, note int64) Item {
	now := p.o.Now()
	return Item{
		Drafted: d, State: Pending, Note: note, CreatedAt: now, ExpiresAt: now.Add(p.o.TTL),
	}
}

// Outcome is what became of a reply. With an empty State it is still to be
// sent.
type Outcome struct {
	State  State
	Reply  int64 // Chatwoot's id of the message, when Sent
	Reason string
}

// Reply sends the reply of an item that is Sending, at most once.
func (p *Pipeline) Reply(ctx context.Context, it Item, in Intent, last bool) (Outcome, error) {
	after, err := p.o.Chat.After(ctx, it.Conversation, it.Message)
	if err != nil {
		return p.unsent(fmt.Errorf("look for the reply: %w", err), last && in.Since.IsZero())
	}
	if !in.Since.IsZero() {
		id, err := p.sent(ctx, after, it, in.Since)
		switch {
		case err != nil:
			return Outcome{}, err
		case id != 0:
			return Outcome{State: Sent, Reply: id}, nil
		}
		if err := p.settled(in.Since, "reply"); err != nil {
			return Outcome{}, err
		}
		return Outcome{State: Unknown, Reason: "an attempt to send it broke off, and it is not in the conversation; look there, and send it by hand if it did not reach the customer"}, nil
	}
	answers, err := p.answers(ctx, it.Conversation, after)
	if err != nil {
		return Outcome{}, err
	}
	if len(answers) > 0 {
		return Outcome{State: Cancelled, Reason: string(Answered)}, nil
	}
	since, err := p.begin(ctx, in, "reply")
	if err != nil {
		return Outcome{}, err
	}
	id, err := p.o.Chat.Reply(ctx, it.Conversation, it.Reply)
	if err == nil {
		return Outcome{State: Sent, Reply: id}, nil
	}
	err = fmt.Errorf("send the reply: %w", err)
	if !undone(err) {
		// Chatwoot calls every trouble a 422, also one after the message was
		// saved, and a connection may break when all is done. Look: at once if
		// Chatwoot is done with it, and otherwise with the next attempt.
		if !finished(err) {
			return Outcome{}, &Wait{Err: err, For: p.o.Settle}
		}
		after, lerr := p.o.Chat.After(ctx, it.Conversation, it.Message)
		if lerr != nil {
			return Outcome{}, &Wait{Err: errors.Join(err, lerr), For: p.o.Settle}
		}
		found, lerr := p.sent(ctx, after, it, since)
		switch {
		case lerr != nil:
			return Outcome{}, &Wait{Err: errors.Join(err, lerr), For: p.o.Settle}
		case found != 0:
			return Outcome{State: Sent, Reply: found}, nil
		}
	}
	if kerr := in.undo(ctx, since); kerr != nil {
		return Outcome{}, errors.Join(err, kerr)
	}
	return p.unsent(err, last)
}

// unsent says what becomes of a reply that was certainly not sent.
func (p *Pipeline) unsent(err error, last bool) (Outcome, error) {
	if last || isGone(err) {
		return Outcome{State: Failed, Reason: err.Error()}, nil
	}
	return Outcome{}, err
}

// clockSlack is how far apart Chatwoot's clock and ours may be.
const clockSlack = time.Minute

// sent looks for the reply of an item among the messages after it; 0: it is not
// there. Two items may be answered in the same words.
func (p *Pipeline) sent(ctx context.Context, after []Post, it Item, since time.Time) (int64, error) {
	me, err := p.o.Chat.Me(ctx)
	if err != nil {
		return 0, fmt.Errorf("look for the reply: %w", err)
	}
	ours, err := p.o.Ours(ctx, it.Conversation)
	if err != nil {
		return 0, err
	}
	own := OwnReply{Text: it.Reply, Since: since}
	for _, m := range after {
		others := func(o OwnReply) bool { return o.Message != it.Message && o.ID == m.ID }
		if m.By == Agent && !m.Private && own.is(m, me) && !slices.ContainsFunc(ours, others) {
			return m.ID, nil
		}
	}
	return 0, nil
}

// plain returns a text without what Chatwoot takes off or adds.
func plain(text string) string {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " \t\\")
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

// Overtaken returns which of the items that wait in a conversation a person has
// answered. Messages are those of the items.
func (p *Pipeline) Overtaken(ctx context.Context, conversation int64, messages []int64) ([]int64, error) {
	after, err := p.o.Chat.After(ctx, conversation, slices.Min(messages))
	if err != nil {
		if isGone(err) {
			return messages, nil
		}
		return nil, fmt.Errorf("look for an answer: %w", err)
	}
	answers, err := p.answers(ctx, conversation, after)
	if err != nil {
		return nil, err
	}
	var newest int64
	for _, m := range answers {
		newest = max(newest, m.ID)
	}
	return slices.DeleteFunc(slices.Clone(messages), func(id int64) bool { return id > newest }), nil
}

func undone(err error) bool {
	e, ok := errors.AsType[interface {
		error
		Undone() bool
	}](err)
	return ok && e.Undone()
}

func finished(err error) bool {
	e, ok := errors.AsType[interface {
		error
		Finished() bool
	}](err)
	return ok && e.Finished()
}

// ErrGone is wrapped by a Chat's error when the conversation does not exist any
// more.
var ErrGone = errors.New("the conversation is gone")

func isGone(err error) bool { return errors.Is(err, ErrGone) }
