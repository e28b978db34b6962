package chatwootsim_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
)

// never is the clock that stands at 0.
const never = -1

// What moves first_reply_created_at and waiting_since, in both generations.
// Instants are minutes after noon, at which every conversation is created.
func TestWhatMovesTheClocks(t *testing.T) {
	type script func(s *sim, at func(int) time.Time) int64
	opened := func(inbox int64, then func(s *sim, at func(int) time.Time, c int64)) script {
		return func(s *sim, at func(int) time.Time) int64 {
			c := s.CustomerOpens(at(0), inbox, "Hello?")
			then(s, at, c)
			return c
		}
	}
	type clocks struct{ firstReply, waitingSince int }
	same := func(firstReply, waitingSince int) map[chatwootsim.Version]clocks {
		return map[chatwootsim.Version]clocks{
			chatwootsim.V42: {firstReply, waitingSince}, chatwootsim.V415: {firstReply, waitingSince},
		}
	}
	differs := func(v42, v415 clocks) map[chatwootsim.Version]clocks {
		return map[chatwootsim.Version]clocks{chatwootsim.V42: v42, chatwootsim.V415: v415}
	}
	post := func(s *sim, c int64, token, body string) {
		if a := s.do("POST", fmt.Sprintf("%s/conversations/%d/messages", account, c), token, body); a.status != 200 {
			s.t.Errorf("post %s: %d %s", body, a.status, a.body)
		}
	}
	type S = *sim
	type A = func(int) time.Time
	tests := []struct {
		name   string
		script script
		want   map[chatwootsim.Version]clocks
	}{
		{"a customer opens", opened(chat, func(S, A, int64) {}), same(never, 0)},
		{"a campaign opens: waiting since creation, though nobody waits", func(s S, at A) int64 { return s.CampaignOpens(at(0), chat) }, same(never, 0)},
		{"the API creates it empty", func(s S, at A) int64 { return s.OpenEmpty(at(0), apiInbox) }, same(never, 0)},
		{"an agent opens: an answer at once", func(s S, at A) int64 { return s.AgentOpens(at(0), chat) }, same(0, never)},
		{"further customer messages keep the first", opened(chat, func(s S, at A, c int64) { s.CustomerWrites(at(3), c, "?") }), same(never, 0)},
		{"an agent answers", opened(chat, func(s S, at A, c int64) { s.AgentReplies(at(5), c) }), same(5, never)},
		{"the customer writes after an answer", opened(chat, func(s S, at A, c int64) {
			s.AgentReplies(at(5), c)
			s.CustomerWrites(at(7), c, "")
			s.CustomerWrites(at(9), c, "")
		}), same(5, 7)},
		{"a second answer leaves the first alone", opened(chat, func(s S, at A, c int64) {
			s.AgentReplies(at(5), c)
			s.CustomerWrites(at(7), c, "")
			s.AgentReplies(at(8), c)
		}), same(5, never)},
		{"two answers at once lose the first reply for good", opened(chat, func(s S, at A, c int64) {
			s.TwoRepliesAtOnce(at(5), c)
			s.AgentReplies(at(6), c)
		}), same(never, never)},
		{"a message with a user's token counts as human", opened(chat, func(s S, at A, c int64) {
			s.clock.Set(at(4))
			post(s, c, chatwootsim.DemoToken, `{"content":"Hi"}`)
		}), same(4, never)},
		{"a message with a bot's token does not", opened(chat, func(s S, at A, c int64) {
			s.clock.Set(at(4))
			post(s, c, s.BotToken(), `{"content":"Hi"}`)
		}), differs(clocks{never, 0}, clocks{never, never})},
		{"a bot answers", opened(chat, func(s S, at A, c int64) { s.BotReplies(at(2), c) }), differs(clocks{never, 0}, clocks{never, never})},
		{"an automation rule answers", opened(chat, func(s S, at A, c int64) { s.AutomationReplies(at(2), c) }), same(never, 0)},
		{"a posted message that names an automation rule", opened(chat, func(s S, at A, c int64) {
			post(s, c, chatwootsim.DemoToken, `{"content":"Hi","content_attributes":{"automation_rule_id":4}}`)
		}), same(never, 0)},
		{"a campaign message in a running conversation", opened(chat, func(s S, at A, c int64) {
			post(s, c, chatwootsim.DemoToken, `{"content":"Hi","campaign_id":4}`)
		}), same(never, 0)},
		{"a private note", opened(chat, func(s S, at A, c int64) { s.AgentNotes(at(2), c) }), same(never, 0)},
		{"a bot's private note", opened(chat, func(s S, at A, c int64) {
			post(s, c, s.BotToken(), `{"content":"draft","private":true}`)
		}), same(never, 0)},
		{"a greeting", opened(chat, func(s S, at A, c int64) { s.Greets(at(1), c) }), same(never, 0)},
		{"an assignment", opened(chat, func(s S, at A, c int64) { s.Assign(at(1), c, 11) }), same(never, 0)},
		{"a priority", opened(chat, func(s S, at A, c int64) { s.SetPriority(at(1), c, "urgent") }), same(never, 0)},
		{"a look", opened(chat, func(s S, at A, c int64) { s.AgentLooks(at(1), c) }), same(never, 0)},
		{"snoozed", opened(chat, func(s S, at A, c int64) { s.SetStatus(at(1), c, "snoozed") }), same(never, 0)},
		{"resolved without an answer", opened(chat, func(s S, at A, c int64) { s.SetStatus(at(4), c, "resolved") }), differs(clocks{never, 0}, clocks{never, never})},
		{"reopened by an agent", opened(chat, func(s S, at A, c int64) {
			s.SetStatus(at(4), c, "resolved")
			s.SetStatus(at(6), c, "open")
		}), differs(clocks{never, 0}, clocks{never, never})},
		{"reopened by the customer", opened(chat, func(s S, at A, c int64) {
			s.SetStatus(at(4), c, "resolved")
			s.CustomerWrites(at(6), c, "")
		}), differs(clocks{never, 0}, clocks{never, 6})},
		{"reopened by the customer after an answer", opened(chat, func(s S, at A, c int64) {
			s.AgentReplies(at(3), c)
			s.SetStatus(at(4), c, "resolved")
			s.CustomerWrites(at(6), c, "")
		}), same(3, 6)},
		{"handed off before anyone answered", opened(assistant, func(s S, at A, c int64) { s.HandOff(at(3), c) }), same(never, 0)},
		{"handed off after the bot answered", opened(assistant, func(s S, at A, c int64) {
			s.BotReplies(at(1), c)
			s.HandOff(at(3), c)
		}), differs(clocks{never, 0}, clocks{never, 3})},
		{"handed off after an agent answered", opened(assistant, func(s S, at A, c int64) {
			s.AgentReplies(at(1), c)
			s.HandOff(at(3), c)
		}), differs(clocks{1, never}, clocks{1, 3})},
		{"opened by an agent after the bot answered", opened(assistant, func(s S, at A, c int64) {
			s.BotReplies(at(1), c)
			s.SetStatus(at(3), c, "open")
		}), differs(clocks{never, 0}, clocks{never, never})},
	}
	for _, tt := range tests {
		for version, want := range tt.want {
			t.Run(fmt.Sprintf("%s/%s", version, tt.name), func(t *testing.T) {
				s := start(t, chatwootsim.Options{Version: version})
				at := func(minute int) time.Time { return noon.Add(time.Duration(minute) * time.Minute) }
				id := tt.script(s, at)
				got := decode[row](t, s.get(fmt.Sprintf("%s/conversations/%d", account, id)))
				unix := func(minute int) int64 {
					if minute == never {
						return 0
					}
					return at(minute).Unix()
				}
				if got.FirstReply != unix(want.firstReply) || got.WaitingSince != unix(want.waitingSince) {
					t.Errorf("first reply %+d s, waiting since %+d s after noon; want minutes %d and %d (%d: never)",
						got.FirstReply-noon.Unix(), got.WaitingSince-noon.Unix(), want.firstReply, want.waitingSince, never)
				}
			})
		}
	}
}

func TestStatusAfterACustomerMessage(t *testing.T) {
	for _, tt := range []struct {
		name  string
		inbox int64
		from  string
		muted bool
		want  string
	}{
		{"resolved reopens", chat, "resolved", false, "open"},
		{"resolved reopens as pending where a bot is", assistant, "resolved", false, "pending"},
		{"snoozed opens", chat, "snoozed", false, "open"},
		{"snoozed opens even where a bot is", assistant, "snoozed", false, "open"},
		{"pending stays", chat, "pending", false, "pending"},
		{"muted stays resolved", chat, "resolved", true, "resolved"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, chatwootsim.Options{})
			c := s.CustomerOpens(noon, tt.inbox, "")
			s.SetStatus(noon, c, tt.from)
			if tt.muted {
				s.Mute(noon, c)
			}
			s.CustomerWrites(noon.Add(time.Minute), c, "")
			if got := decode[row](t, s.get(fmt.Sprintf("%s/conversations/%d", account, c))).Status; got != tt.want {
				t.Errorf("status %s, want %s", got, tt.want)
			}
		})
	}
}

func TestUpdatedAtMovesWithEverythingButLooks(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	c := s.CustomerOpens(noon, chat, "")
	at := noon
	get := func() row { return decode[row](t, s.get(fmt.Sprintf("%s/conversations/%d", account, c))) }
	for _, tt := range []struct {
		name  string
		act   func()
		moves bool
	}{
		{"customer message", func() { s.CustomerWrites(at, c, "") }, true},
		{"note", func() { s.AgentNotes(at, c) }, true},
		{"assignment", func() { s.Assign(at, c, 12) }, true},
		{"team", func() { s.SetTeam(at, c, 5) }, true},
		{"priority", func() { s.SetPriority(at, c, "low") }, true},
		{"status", func() { s.SetStatus(at, c, "snoozed") }, true},
		{"look", func() { s.AgentLooks(at, c) }, false},
	} {
		before := get().UpdatedAt
		at = at.Add(90 * time.Second).Add(125 * time.Microsecond)
		tt.act()
		after := get().UpdatedAt
		if moved := after != before; moved != tt.moves {
			t.Errorf("%s: updated_at from %f to %f", tt.name, before, after)
		}
		if want := float64(at.UnixMicro()) / 1e6; tt.moves && after != want {
			t.Errorf("%s: updated_at %f, want microseconds %f", tt.name, after, want)
		}
	}
}

func TestUnreadCountsWhatCameSinceTheLastLook(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	c := s.CustomerOpens(noon, chat, "")
	get := func() int { return decode[row](t, s.get(fmt.Sprintf("%s/conversations/%d", account, c))).Unread }
	for i := range 14 {
		s.CustomerWrites(noon.Add(time.Duration(i)*time.Second), c, "")
	}
	if got := get(); got != 10 {
		t.Errorf("unread %d, want it capped at 10", got)
	}
	s.AgentLooks(noon.Add(11*time.Second), c)
	if got := get(); got != 2 {
		t.Errorf("unread %d, want the 2 after the look", got)
	}
}

func TestSnoozedUntilWakesAtTheNextRound(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	c := s.CustomerOpens(noon, chat, "")
	path := fmt.Sprintf("%s/conversations/%d", account, c)
	until := noon.Add(7 * time.Minute)
	s.do("POST", path+"/toggle_status", chatwootsim.DemoToken, fmt.Sprintf(`{"status":"snoozed","snoozed_until":%d}`, until.Unix()))
	s.clock.Set(noon.Add(10*time.Minute - time.Second))
	if got := decode[row](t, s.get(path)).Status; got != "snoozed" {
		t.Errorf("before the round: %s", got)
	}
	s.clock.Set(noon.Add(10 * time.Minute))
	if got := decode[row](t, s.get(path)).Status; got != "open" {
		t.Errorf("at the round: %s", got)
	}
}

func TestReplyWindowOfAMessengerCloses(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	c := s.CustomerOpens(noon, s.AddInbox("Phone", "Channel::Whatsapp", false), "")
	path := fmt.Sprintf("%s/conversations/%d", account, c)
	for _, tt := range []struct {
		after time.Duration
		want  bool
	}{{24*time.Hour - 1, true}, {24 * time.Hour, false}} {
		s.clock.Set(noon.Add(tt.after))
		if got := decode[row](t, s.get(path)).CanReply; got != tt.want {
			t.Errorf("can_reply after %s = %v, want %v", tt.after, got, tt.want)
		}
	}
}

func TestTruthTellsWhatHappened(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	at := func(minute int) time.Time { return noon.Add(time.Duration(minute) * time.Minute) }
	campaign := s.CampaignOpens(at(0), chat)
	s.CustomerWrites(at(5), campaign, "")
	s.AgentNotes(at(6), campaign)
	s.AgentReplies(at(8), campaign)
	s.AgentReplies(at(9), campaign)
	handed := s.CustomerOpens(at(0), assistant, "")
	s.BotReplies(at(1), handed)
	s.HandOff(at(2), handed)
	s.SetStatus(at(3), handed, "pending")
	s.SetStatus(at(4), handed, "open")
	gone := s.AgentOpens(at(0), chat)
	s.SetStatus(at(1), gone, "resolved")
	s.Delete(at(2), gone)
	want := []chatwootsim.Truth{
		{ID: campaign, Inbox: chat, Status: "open", CreatedAt: at(0), CustomerAt: at(5), ReplyAt: at(8), OpenSince: at(0)},
		{ID: handed, Inbox: assistant, Status: "open", BornPending: true, CreatedAt: at(0), CustomerAt: at(0), HandoffAt: at(2), OpenSince: at(4)},
		{ID: gone, Inbox: chat, Status: "resolved", DeletedAt: at(2), CreatedAt: at(0), FirstResolvedAt: at(1), ResolvedAt: at(1)},
	}
	for i, got := range s.Truth() {
		if got != want[i] {
			t.Errorf("got  %+v\nwant %+v", got, want[i])
		}
	}
}
