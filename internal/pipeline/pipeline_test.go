package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/pipeline"
	"github.com/hotdash/chatwoot-sla/internal/sla"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// me is the user who writes notes and replies.
const me = 19

// answer is an error of Chatwoot.
type answer struct{ undone, finished bool }

func (answer) Error() string    { return "no" }
func (a answer) Undone() bool   { return a.undone }
func (a answer) Finished() bool { return a.finished }

// chat is a conversation. Its tests are of what is decided; the real Chatwoot's
// behaviour is the simulator's affair.
type chat struct {
	posts []pipeline.Post
	fail  error // of the next Note or Reply
	keeps bool  // although it fails
}

func (c *chat) Thread(context.Context, int64, int64) ([]pipeline.Post, error) {
	var public []pipeline.Post
	for _, p := range c.posts {
		if !p.Private {
			public = append(public, p)
		}
	}
	return public, nil
}

func (c *chat) After(_ context.Context, _, message int64) ([]pipeline.Post, error) {
	i := slices.IndexFunc(c.posts, func(p pipeline.Post) bool { return p.ID > message })
	if i < 0 {
		return nil, nil
	}
	return c.posts[i:], nil
}

func (c *chat) post(p pipeline.Post) (int64, error) {
	err := c.fail
	c.fail = nil
	if err != nil && !c.keeps {
		return 0, err
	}
	p.ID, p.At, p.By, p.Sender = int64(len(c.posts)+11), noon, pipeline.Agent, me
	c.posts = append(c.posts, p)
	return p.ID, err
}

func (c *chat) Note(_ context.Context, _ int64, text, mark string) (int64, error) {
	return c.post(pipeline.Post{Private: true, Mark: mark, Text: text})
}

func (c *chat) Reply(_ context.Context, _ int64, text string) (int64, error) {
	return c.post(pipeline.Post{Text: text + "\n"}) // as Chatwoot may
}

func (c *chat) Me(context.Context) (int64, error) { return me, nil }

// services answer as they are told.
type services struct {
	sources    []pipeline.Source
	suggestion pipeline.Suggestion
	err        error
	asked      pipeline.Ask
}

func (s *services) Query(context.Context, string) ([]pipeline.Source, error) { return s.sources, nil }

func (s *services) Draft(_ context.Context, ask pipeline.Ask) (pipeline.Suggestion, error) {
	s.asked = ask
	return s.suggestion, s.err
}

type rig struct {
	*pipeline.Pipeline
	chat  *chat
	s     *services
	now   time.Time
	since time.Time // the attempt that is on record
	ours  []pipeline.OwnReply
	level sla.Level
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{now: noon, chat: &chat{posts: []pipeline.Post{{ID: 11, At: noon, By: pipeline.Customer, Name: "Ana", Text: "Where is my order?"}}}}
	r.s = &services{suggestion: pipeline.Suggestion{Reply: "It left today.", Confidence: 85, Action: "approve"}}
	var err error
	r.Pipeline, err = pipeline.New(pipeline.Options{
		Chat: r.chat, Knowledge: r.s, Drafter: r.s, TTL: time.Hour, Now: func() time.Time { return r.now }, Settle: 16 * time.Second,
		Ours: func(context.Context, int64) ([]pipeline.OwnReply, error) { return r.ours, nil },
		Standing: func(pipeline.DraftJob) pipeline.Standing {
			return pipeline.Standing{Inbox: 5, Deadline: noon.Add(30 * time.Minute), UrgentAt: noon.Add(25 * time.Minute), Level: r.level}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var job = pipeline.DraftJob{Conversation: 1, Message: 11, Inbox: 5, At: noon}

func (r *rig) draft(t *testing.T) pipeline.Drafted {
	t.Helper()
	d, why, err := r.Draft(t.Context(), job, false)
	if err != nil || why != "" {
		t.Fatalf("skipped %q, %v", why, err)
	}
	return d
}

func (r *rig) intent() pipeline.Intent {
	return pipeline.Intent{Since: r.since, Keep: func(_ context.Context, was, at time.Time) (bool, error) {
		if !r.since.Equal(was) {
			return false, nil
		}
		r.since = at
		return true, nil
	}}
}

func TestDraftsAreJudged(t *testing.T) {
	tests := []struct {
		name       string
		confidence float64
		recommends string
		want       pipeline.Action
		low        bool
	}{
		{"confident", 81, "approve", pipeline.Approve, false},
		{"just not confident", 80, "approve", pipeline.Review, false},
		{"the least that is not low", 70, "approve", pipeline.Review, false},
		{"low", 69.9, "approve", pipeline.Escalate, true},
		{"confident, and the service is careful", 99, "Escalate", pipeline.Escalate, false},
		{"confident, and the service says what we do not know", 99, "ask_a_lawyer", pipeline.Review, false},
		{"confident, and the service says nothing", 99, "", pipeline.Approve, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.s.suggestion.Confidence, r.s.suggestion.Action = tt.confidence, tt.recommends
			d := r.draft(t)
			if d.Action != tt.want || d.LowConfidence() != tt.low || strings.Contains(pipeline.NoteText(d), "LOW CONFIDENCE") != tt.low {
				t.Errorf("the draft is %+v", d)
			}
		})
	}
}

func TestPriority(t *testing.T) {
	for _, tt := range []struct {
		urgency string
		level   sla.Level
		want    pipeline.Priority
	}{
		{"low", sla.Warning, pipeline.Normal},
		{"HIGH", sla.Normal, pipeline.Urgent},
		{"low", sla.Urgent, pipeline.Urgent},
		{"", sla.Breach, pipeline.Urgent},
	} {
		r := newRig(t)
		r.s.suggestion.Urgency, r.level = tt.urgency, tt.level
		if d := r.draft(t); d.Priority != tt.want {
			t.Errorf("urgency %q at level %v is %s, want %s", tt.urgency, tt.level, d.Priority, tt.want)
		}
	}
	it := newRig(t).Item(newRig(t).draft(t), 5)
	for at, want := range map[time.Duration]pipeline.Priority{25*time.Minute - 1: pipeline.Normal, 25 * time.Minute: pipeline.Urgent} {
		if got := it.PriorityAt(noon.Add(at)); got != want {
			t.Errorf("after %v it is %s, want %s", at, got, want)
		}
	}
}

func TestWhatTheServiceIsTold(t *testing.T) {
	r := newRig(t)
	r.chat.posts = []pipeline.Post{
		{ID: 1, By: pipeline.Customer, Text: "Hello"},
		{ID: 2, By: pipeline.Nobody, Text: "We are closed."},
		{ID: 3, By: pipeline.Agent, Private: true, Text: "a difficult one"},
		{ID: 4, By: pipeline.Agent, Text: "Hello!"},
		{ID: 5, By: pipeline.Bot, Text: "An article:"},
		{ID: 11, By: pipeline.Customer, Name: "Ana", Text: " Where is my order? "},
		{ID: 12, By: pipeline.Customer, Text: "I am waiting."},
	}
	d := r.draft(t)
	if d.Contact != "Ana" || r.s.asked.Customer.Name != "Ana" {
		t.Errorf("the customer is %q, and the service is told of %q", d.Contact, r.s.asked.Customer.Name)
	}
	var turns []string
	for _, turn := range r.s.asked.History {
		turns = append(turns, turn.Role+": "+turn.Content)
	}
	if want := []string{"customer: Hello", "agent: Hello!", "bot: An article:"}; !slices.Equal(turns, want) || r.s.asked.Message != "Where is my order?" {
		t.Errorf("the service is told %q after %q", r.s.asked.Message, turns)
	}
}

func TestMessagesThatNeedNoDraft(t *testing.T) {
	r := newRig(t)
	r.chat.posts = append(r.chat.posts, pipeline.Post{ID: 12, By: pipeline.Agent, Text: "It left today."})
	if _, why, err := r.Draft(t.Context(), job, false); why != pipeline.Answered || err != nil {
		t.Errorf("answered: %q, %v", why, err)
	}
	r.chat.posts = nil
	if _, why, err := r.Draft(t.Context(), job, false); why != pipeline.Gone || err != nil {
		t.Errorf("deleted: %q, %v", why, err)
	}
	r.chat.posts = []pipeline.Post{{ID: 11, By: pipeline.Customer, Text: " "}}
	if d := r.draft(t); d.Problem != pipeline.NoText || d.Action != pipeline.Escalate {
		t.Errorf("an attachment alone: %+v", d)
	}
}

func TestTheLastAttemptLeavesAnItem(t *testing.T) {
	r := newRig(t)
	r.s.err = &pipeline.Unavailable{Err: errors.New("HTTP 500")}
	if _, _, err := r.Draft(t.Context(), job, false); err == nil {
		t.Error("an attempt that is not the last does not fail")
	}
	d, why, err := r.Draft(t.Context(), job, true)
	if err != nil || why != "" || d.Problem != pipeline.NoDraft || d.Action != pipeline.Escalate {
		t.Errorf("the last leaves %+v, %q, %v", d, why, err)
	}
	r.s.err = &pipeline.Wait{Err: errors.New("HTTP 429"), For: time.Second}
	if _, _, err := r.Draft(t.Context(), job, true); err == nil {
		t.Error("a service that asks to wait is given up")
	}
}

func TestAMessageThatHasWaitedTooLongNeedsNoService(t *testing.T) {
	r := newRig(t)
	r.s.err = errors.New("it was asked")
	r.level = sla.Urgent
	d, why, err := r.Undrafted(t.Context(), job)
	if err != nil || why != "" || d.Problem != pipeline.NoDraft || d.Action != pipeline.Escalate || d.Priority != pipeline.Urgent || d.Question == "" {
		t.Errorf("it leaves %+v, %q, %v", d, why, err)
	}
	if r.s.asked.Message != "" {
		t.Error("the agent service was asked")
	}
	r.chat.posts[0].Text = ""
	if d, _, err := r.Undrafted(t.Context(), job); err != nil || d.Problem != pipeline.NoText {
		t.Errorf("an attachment alone: %+v, %v", d, err)
	}
	r.chat.posts = append(r.chat.posts, pipeline.Post{ID: 12, By: pipeline.Agent, Text: "It left today."})
	if _, why, err := r.Undrafted(t.Context(), job); why != pipeline.Answered || err != nil {
		t.Errorf("answered: %q, %v", why, err)
	}
}

func TestANoteIsPostedOnce(t *testing.T) {
	r := newRig(t)
	d := r.draft(t)
	for range 3 {
		id, why, err := r.Note(t.Context(), d, r.intent())
		if err != nil || why != "" || id != 12 {
			t.Fatalf("note %d, %q, %v", id, why, err)
		}
	}
	if len(r.chat.posts) != 2 {
		t.Errorf("the conversation is %+v", r.chat.posts)
	}

	r = newRig(t)
	r.chat.fail = answer{}
	if _, _, err := r.Note(t.Context(), d, r.intent()); err == nil || r.since.IsZero() {
		t.Errorf("an attempt whose end is not known: %v, on record since %v", err, r.since)
	}
	wait, ok := errors.AsType[*pipeline.Wait](second(r.Note(t.Context(), d, r.intent())))
	if !ok || wait.For != 16*time.Second {
		t.Errorf("the next attempt does not wait: %v", wait)
	}
	r.now = r.now.Add(16 * time.Second)
	if id, _, err := r.Note(t.Context(), d, r.intent()); err != nil || id != 12 {
		t.Errorf("after the wait: note %d, %v", id, err)
	}

	r = newRig(t)
	r.chat.fail = answer{finished: true}
	if _, _, err := r.Note(t.Context(), d, r.intent()); err == nil || !r.since.IsZero() {
		t.Errorf("an attempt that Chatwoot has refused: %v, on record since %v", err, r.since)
	}
	r.chat.posts = append(r.chat.posts, pipeline.Post{ID: 12, By: pipeline.Agent, Text: "It left today."})
	if _, why, err := r.Note(t.Context(), d, r.intent()); why != pipeline.Answered || err != nil {
		t.Errorf("an answer came first: %q, %v", why, err)
	}
	r.ours = []pipeline.OwnReply{{Message: 10, ID: 12}}
	if _, why, err := r.Note(t.Context(), d, r.intent()); why != "" || err != nil {
		t.Errorf("the approved answer to another message: %q, %v", why, err)
	}
}

func second[A, B any](_ A, _ B, err error) error { return err }

func last[A any](_ A, err error) error { return err }

func approvedItem(r *rig, t *testing.T) pipeline.Item {
	t.Helper()
	it := r.Item(r.draft(t), 5)
	it.State, it.Reply = pipeline.Sending, "It left today."
	return it
}

func TestAReplyIsSentOnce(t *testing.T) {
	tests := []struct {
		name     string
		fail     error
		keeps    bool // Chatwoot has the message although it fails
		last     bool
		want     pipeline.State // empty: it is tried again
		later    pipeline.State // with the next attempt, after a while
		messages int
	}{
		{name: "all is well", want: pipeline.Sent, messages: 1},
		{name: "it was certainly not sent", fail: answer{undone: true, finished: true}, later: pipeline.Sent, messages: 1},
		{name: "it was certainly not sent, for the last time", fail: answer{undone: true, finished: true}, last: true, want: pipeline.Failed},
		{name: "refused, and not there", fail: answer{finished: true}, later: pipeline.Sent, messages: 1},
		{name: "refused, and there all the same", fail: answer{finished: true}, keeps: true, want: pipeline.Sent, messages: 1},
		{name: "broken off, and not there", fail: answer{}, later: pipeline.Unknown},
		{name: "broken off, for the last time", fail: answer{}, last: true, later: pipeline.Unknown},
		{name: "broken off, and there", fail: answer{}, keeps: true, later: pipeline.Sent, messages: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			it := approvedItem(r, t)
			r.chat.fail, r.chat.keeps = tt.fail, tt.keeps
			got, err := r.Reply(t.Context(), it, r.intent(), tt.last)
			if got.State != tt.want || (err != nil) != (tt.want == "") {
				t.Fatalf("the outcome is %+v, %v; want %q", got, err, tt.want)
			}
			if tt.later != "" {
				if !r.since.IsZero() && !tt.keeps {
					if _, err := r.Reply(t.Context(), it, r.intent(), tt.last); second(0, 0, err) == nil {
						t.Error("it is looked for, and given up, while it may still come")
					}
				}
				r.now = r.now.Add(time.Minute)
				got, err = r.Reply(t.Context(), it, r.intent(), false)
				if got.State != tt.later || err != nil {
					t.Fatalf("later the outcome is %+v, %v; want %q", got, err, tt.later)
				}
			}
			if n := len(r.chat.posts) - 1; n != tt.messages {
				t.Errorf("%d messages were sent, want %d", n, tt.messages)
			}
			if got.State == pipeline.Sent && got.Reply != 12 {
				t.Errorf("the reply is %d", got.Reply)
			}
		})
	}
}

// Two processes may have the same job in hand, when one is taken for dead.
func TestOneAttemptAtATime(t *testing.T) {
	r := newRig(t)
	d, it := r.draft(t), approvedItem(r, t)
	stale := r.intent()
	r.since = noon // another process has begun
	for what, err := range map[string]error{
		"a note":  second(r.Note(t.Context(), d, stale)),
		"a reply": last(r.Reply(t.Context(), it, stale, true)),
	} {
		wait, ok := errors.AsType[*pipeline.Wait](err)
		if !ok || wait.For != 16*time.Second {
			t.Errorf("%s that another process posts: %v", what, err)
		}
	}
	if len(r.chat.posts) != 1 || !r.since.Equal(noon) {
		t.Errorf("the conversation is %+v, and on record is %v", r.chat.posts, r.since)
	}
}

// Two items of a conversation may be answered in the same words.
func TestAReplyIsNotTakenForAnother(t *testing.T) {
	r := newRig(t)
	it := approvedItem(r, t)
	r.chat.posts = append(r.chat.posts, pipeline.Post{ID: 12, At: noon, By: pipeline.Agent, Sender: me, Text: it.Reply})
	r.since = noon
	r.now = noon.Add(time.Minute)
	r.ours = []pipeline.OwnReply{{Message: 10, ID: 12, Text: it.Reply}}
	if got, err := r.Reply(t.Context(), it, r.intent(), false); err != nil || got.State != pipeline.Unknown {
		t.Errorf("the reply to another message: %+v, %v", got, err)
	}
	r.ours = []pipeline.OwnReply{{Message: it.Message, Text: it.Reply, Since: r.since}}
	for name, change := range map[string]func(*pipeline.Post){
		"somebody else's":  func(p *pipeline.Post) { p.Sender = me + 1 },
		"in other words":   func(p *pipeline.Post) { p.Text = "It left yesterday." },
		"long before that": func(p *pipeline.Post) { p.At = noon.Add(-time.Hour) },
		"a note":           func(p *pipeline.Post) { p.Private = true },
	} {
		p := r.chat.posts[1]
		change(&r.chat.posts[1])
		if got, err := r.Reply(t.Context(), it, r.intent(), false); err != nil || got.State != pipeline.Unknown {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		r.chat.posts[1] = p
	}
	if got, err := r.Reply(t.Context(), it, r.intent(), false); err != nil || got.State != pipeline.Sent || got.Reply != 12 {
		t.Errorf("its own: %+v, %v", got, err)
	}
}

func TestOvertaken(t *testing.T) {
	r := newRig(t)
	r.chat.posts = append(
		r.chat.posts,
		pipeline.Post{ID: 12, By: pipeline.Customer, Text: "?"}, pipeline.Post{ID: 13, By: pipeline.Agent, Private: true},
		pipeline.Post{ID: 14, By: pipeline.Agent, Text: "ours"}, pipeline.Post{ID: 15, By: pipeline.Bot}, pipeline.Post{ID: 16, By: pipeline.Customer},
	)
	for want, ours := range map[string][]pipeline.OwnReply{"[]": {{ID: 14}}, "[11 12]": nil} {
		r.ours = ours
		got, err := r.Overtaken(t.Context(), 1, []int64{11, 12, 16})
		if fmt.Sprint(got) != want || err != nil {
			t.Errorf("with %v of ours: %v, %v; want %s", ours, got, err, want)
		}
	}
}

// Chatwoot may have an approved reply, and tell of it, before it is known that
// it was sent: whatever else waits in the conversation still needs an answer.
func TestAReplyOnItsWayIsNoPersonsAnswer(t *testing.T) {
	const text = "It left today."
	ours := pipeline.Post{ID: 13, At: noon, By: pipeline.Agent, Sender: me, Text: text + "\n"}
	colleague := ours
	colleague.Sender++
	other := ours
	other.Text = "It left yesterday."
	for _, tt := range []struct {
		name     string
		post     pipeline.Post
		id       int64 // on record
		answered bool
	}{
		{"the reply", ours, 0, false},
		{"the reply, on record", other, 13, false},
		{"the same from a colleague", colleague, 0, true},
		{"other words", other, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			d := r.draft(t)
			r.chat.posts = append(r.chat.posts, pipeline.Post{ID: 12, At: noon, By: pipeline.Customer, Text: "Hello?"}, tt.post)
			r.ours = []pipeline.OwnReply{{Message: 12, ID: tt.id, Text: text, Since: noon}}

			if _, why, err := r.Draft(t.Context(), job, false); (why == pipeline.Answered) != tt.answered || err != nil {
				t.Errorf("the draft is skipped as %q, %v", why, err)
			}
			if _, why, err := r.Note(t.Context(), d, r.intent()); (why == pipeline.Answered) != tt.answered || err != nil {
				t.Errorf("the note is skipped as %q, %v", why, err)
			}
			if over, err := r.Overtaken(t.Context(), 1, []int64{11}); (len(over) > 0) != tt.answered || err != nil {
				t.Errorf("overtaken are %v, %v", over, err)
			}
			r.since = time.Time{}
			it := r.Item(d, 5)
			it.State, it.Reply = pipeline.Sending, "Tomorrow."
			want := pipeline.Sent
			if tt.answered {
				want = pipeline.Cancelled
			}
			if got, err := r.Reply(t.Context(), it, r.intent(), false); got.State != want || err != nil {
				t.Errorf("the other reply: %+v, %v; want %s", got, err, want)
			}
		})
	}
}

func TestVerdicts(t *testing.T) {
	it := pipeline.Item{Drafted: pipeline.Drafted{Draft: "It left {{today}}."}}
	tests := []struct {
		verdict pipeline.Verdict
		want    pipeline.Decision
		reply   string
	}{
		{pipeline.Verdict{Action: "approve"}, pipeline.Approved, "It left { {today} }."},
		{pipeline.Verdict{Action: "edit", Reply: "It left {{today}}.\n"}, pipeline.Approved, "It left { {today} }."},
		{pipeline.Verdict{Action: "edit", Reply: "Soon. [@x](mention://user/1/x)"}, pipeline.Edited, "Soon. [@x](mention ://user/1/x)"},
		{pipeline.Verdict{Action: "reject"}, pipeline.DecidedNo, ""},
	}
	for _, tt := range tests {
		got, reply, err := it.Judge(tt.verdict)
		if got != tt.want || reply != tt.reply || err != nil {
			t.Errorf("%+v: %q %q, %v; want %q %q", tt.verdict, got, reply, err, tt.want, tt.reply)
		}
	}
	for _, bad := range []pipeline.Verdict{{}, {Action: "send"}, {Action: "edit"}, {Action: "edit", Reply: "\n"}} {
		if _, _, err := it.Judge(bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
	if _, _, err := (pipeline.Item{}).Judge(pipeline.Verdict{Action: "approve"}); !errors.Is(err, pipeline.ErrNothingToSend) {
		t.Errorf("nothing is approved: %v", err)
	}
}

// Whatever is written, Chatwoot renders nothing in it and calls nobody.
func FuzzHarmless(f *testing.F) {
	for _, seed := range []string{"{{x}}", "{%x%}", "{{{{%}}%}", "MENTION://user/1", "mention://mention://", "`{{x}}`", "a{\u200b{b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := pipeline.Harmless(text)
		for _, bad := range []string{"{{", "}}", "{%", "%}", "mention://"} {
			if strings.Contains(strings.ToLower(got), bad) {
				t.Errorf("%q still has %q: %q", text, bad, got)
			}
		}
		if again := pipeline.Harmless(got); again != got {
			t.Errorf("a second time changes %q into %q", got, again)
		}
	})
}
