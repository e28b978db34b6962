package chatwootsim_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
)

func TestListParameters(t *testing.T) {
	s := start(t, chatwootsim.Options{NoThrottle: true})
	at := func(minute int) time.Time { return noon.Add(time.Duration(minute) * time.Minute) }
	// 1: waiting, in chat; 2: answered and high, in mail, with agent 11 and billing;
	// 3: bot has it; 4: resolved; 5: snoozed; 6: urgent, with the bot, labelled.
	s.CustomerOpens(at(0), chat, "needle in a haystack")
	s.CustomerOpens(at(1), mailbox, "")
	s.AgentReplies(at(2), 2)
	s.SetPriority(at(2), 2, "high")
	s.Assign(at(3), 2, 11)
	s.SetTeam(at(3), 2, 4)
	s.CustomerOpens(at(4), assistant, "")
	s.CustomerOpens(at(5), chat, "needles")
	s.SetStatus(at(6), 4, "resolved")
	s.CustomerOpens(at(7), chat, "")
	s.SetStatus(at(8), 5, "snoozed")
	s.CustomerOpens(at(9), apiInbox, "")
	s.SetPriority(at(9), 6, "urgent")
	s.AssignBot(at(9), 6)
	s.SetLabels(at(9), 6, "vip", "refund")
	s.AgentLooks(at(10), 1)
	s.do("POST", account+"/conversations/1/messages", chatwootsim.DemoToken, `{"content":"[@SLA](mention://user/19/SLA)","private":true}`)
	s.clock.Set(at(10))

	for _, tt := range []struct {
		query string
		want  string // ids
		all   int
	}{
		{"", "6 2 1", 3}, // the note was posted at noon, and activity goes with it
		{"status=open", "6 2 1", 3},
		{"status=pending", "3", 1},
		{"status=snoozed", "5", 1},
		{"status=resolved", "4", 1},
		{"status=all", "6 5 4 3 2 1", 6},
		{"status[]=open&status[]=pending&sort_by=created_at_asc", "1 2 3 6", 4},
		{"status=open,pending", "", 0},
		{"status=nonsense", "", 0},
		{"status=", "", 0},
		{"assignee_type=assigned", "2", 3},
		{"assignee_type=unassigned", "6 1", 3}, // a bot is nobody
		{"assignee_type=me", "", 3},
		{"assignee_type=all", "6 2 1", 3},
		{"inbox_id=6", "2", 1},
		{"inbox_id=", "", 0},
		{"team_id=4", "2", 1},
		{"labels=vip", "6", 1},
		{"labels=vip,none", "6", 1},
		{"labels[]=none&labels[]=refund", "6", 1},
		{"labels=none", "", 0},
		{"conversation_type=unattended", "6 1", 2},
		{"conversation_type=mention", "1", 1},
		{"conversation_type=participating", "1", 1},
		{"q=needle", "4 1", 2}, // whatever the status
		{"sort_by=last_activity_at_asc", "1 2 6", 3},
		{"sort_by=latest", "6 2 1", 3},
		{"sort_by=created_at_asc", "1 2 6", 3},
		{"sort_by=created_at_desc", "6 2 1", 3},
		{"sort_by=priority_desc", "6 2 1", 3},
		{"sort_by=priority_asc", "2 6 1", 3},
		{"sort_by=waiting_since_asc", "1 6 2", 3}, // nulls last, both ways
		{"sort_by=waiting_since_desc", "6 1 2", 3},
		{"sort_by=priority_desc_created_at_asc", "6 2 1", 3},
		{"sort_by=unread", "6 2 1", 3},
		{"sort_by=nonsense", "6 2 1", 3},
		{"page=0", "6 2 1", 3},
		{"page=-4", "6 2 1", 3},
		{"page=x", "6 2 1", 3},
		{"page=2", "", 3},
		{"page=99999999999999", "", 3},
		{"updated_within=60", "", 3}, // exactly 60 s ago is not within
		{"updated_within=61", "6", 3},
		{"updated_within=421&status=all", "6 5 4 3 2", 6},
		{"updated_within=421&status=all&page=7", "6 5 4 3 2", 6},
		{"updated_within=", "6 2 1", 3},
		{"updated_within=x", "", 3},
	} {
		t.Run(tt.query, func(t *testing.T) {
			got := s.list(tt.query)
			if ids := strings.Trim(fmt.Sprint(got.ids()), "[]"); ids != tt.want || got.Data.Meta.All != tt.all {
				t.Errorf("ids %q of %d, want %q of %d", ids, got.Data.Meta.All, tt.want, tt.all)
			}
		})
	}

	meta := s.list("").Data.Meta
	if meta.Mine != 0 || meta.Assigned != 1 || meta.Unassigned != 2 {
		t.Errorf("counts %+v", meta)
	}
	if a := s.get(account + "/conversations/meta?status=all&assignee_type=me"); a.body != `{"meta":{"mine_count":0,"assigned_count":1,"unassigned_count":5,"all_count":6}}` {
		t.Errorf("meta: %s", a.body)
	}
}

func TestPagesCoverEverythingOnce(t *testing.T) {
	s := start(t, chatwootsim.Options{NoThrottle: true})
	s.Fill(60, noon)
	var seen []int64
	for page, want := range []int{25, 25, 10, 0, 0} {
		got := s.list(fmt.Sprintf("sort_by=created_at_asc&page=%d", page+1))
		if len(got.Data.Payload) != want || got.Data.Meta.All != 60 {
			t.Errorf("page %d: %d of %d, want %d of 60", page+1, len(got.Data.Payload), got.Data.Meta.All, want)
		}
		seen = append(seen, got.ids()...)
	}
	slices.Sort(seen)
	if len(slices.Compact(seen)) != 60 {
		t.Errorf("%d conversations on all pages, want 60", len(seen))
	}
	if a := s.get(account + "/conversations?page=4"); !strings.HasSuffix(a.body, `,"payload":[]}}`) {
		t.Errorf("past the end: %s", a.body)
	}
}

func TestUpdatedWithinTurnsPagesOff(t *testing.T) {
	for ignore, want := range map[bool]int{false: 60, true: 25} {
		s := start(t, chatwootsim.Options{IgnoreUpdatedWithin: ignore})
		s.Fill(60, noon)
		if got := s.list("updated_within=7200"); len(got.Data.Payload) != want {
			t.Errorf("ignoring it %v: %d rows, want %d", ignore, len(got.Data.Payload), want)
		}
	}
}

// Some rows are rendered from a cache and some lists sorted from one; after
// any change both must say what a fresh server would.
func TestListsFollowChanges(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	a := s.CustomerOpens(noon, chat, "")
	b := s.CustomerOpens(noon.Add(time.Second), chat, "")
	check := func(step string, want ...int64) {
		t.Helper()
		if got := s.list("").ids(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", step, got, want)
		}
	}
	check("both", b, a)
	s.CustomerWrites(noon.Add(time.Minute), a, "")
	check("activity", a, b)
	s.SetStatus(noon.Add(2*time.Minute), a, "snoozed")
	check("snoozed", b)
	s.SetStatus(noon.Add(3*time.Minute), a, "open")
	check("back", a, b)
	s.Delete(noon, b)
	check("deleted", a)
	s.AgentLooks(noon.Add(4*time.Minute), a)
	if got := s.list("").Data.Payload[0].Unread; got != 0 {
		t.Errorf("unread %d after a look", got)
	}
	if got := s.get(fmt.Sprintf("%s/conversations/%d", account, b)).status; got != 404 {
		t.Errorf("deleted: %d, want 404", got)
	}
}

func TestAgentsSeeTheirInboxesOnly(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	s.CustomerOpens(noon, chat, "")
	mine := s.CustomerOpens(noon, mailbox, "")
	got := decode[list](t, s.do("GET", account+"/conversations", s.AgentToken(mailbox), ""))
	if !slices.Equal(got.ids(), []int64{mine}) || got.Data.Meta.All != 1 {
		t.Errorf("agent sees %v of %d", got.ids(), got.Data.Meta.All)
	}
	none := decode[list](t, s.do("GET", account+"/conversations", s.AgentToken(), ""))
	if len(none.ids()) != 0 || none.Data.Meta.All != 0 {
		t.Errorf("agent without inboxes sees %v", none.ids())
	}
}

func TestSourceIDFindsTheCustomer(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	s.CustomerOpens(noon, chat, "")
	c := s.CustomerOpens(noon, mailbox, "")
	type sender struct {
		Meta struct {
			Sender struct {
				Email string `json:"email"`
			} `json:"sender"`
		} `json:"meta"`
	}
	address := decode[sender](t, s.get(fmt.Sprintf("%s/conversations/%d", account, c))).Meta.Sender.Email
	if got := s.list("source_id=" + url.QueryEscape(address)).ids(); !slices.Equal(got, []int64{c}) {
		t.Errorf("found %v, want %d", got, c)
	}
}

func TestMessagePages(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	c := s.CustomerOpens(noon, chat, "")
	first := s.CustomerWrites(noon.Add(time.Second), c, "")
	for i := range 128 {
		s.CustomerWrites(noon.Add(time.Duration(i+2)*time.Second), c, "")
	}
	s.AgentNotes(noon.Add(3*time.Minute), c)
	imported := s.CustomerWrites(noon.Add(-time.Hour), c, "from another system")
	opening, note := first-1, imported-1 // 132 messages from opening to imported
	for _, tt := range []struct {
		query       string
		count       int
		first, last int64
	}{
		// Ids cut, instants sort: the imported one has the highest id and comes first.
		{"", 20, note - 19, note},
		{fmt.Sprintf("before=%d", opening+5), 5, opening, opening + 4},
		{fmt.Sprintf("before=%d", imported), 20, note - 19, note},
		{fmt.Sprintf("after=%d", opening), 100, imported, opening + 99},
		{fmt.Sprintf("after=%d", note), 1, imported, imported},
		{"after=0", 100, imported, opening + 98},
		{fmt.Sprintf("after=%d&before=%d", opening, imported), 131, opening, note},
		{fmt.Sprintf("after=%d&before=%d&filter_internal_messages=1", opening, imported), 130, opening, note - 1},
	} {
		t.Run(tt.query, func(t *testing.T) {
			got := decode[struct {
				Payload []struct {
					ID        int64 `json:"id"`
					CreatedAt int64 `json:"created_at"`
				} `json:"payload"`
			}](t, s.get(fmt.Sprintf("%s/conversations/%d/messages?%s", account, c, tt.query))).Payload
			if len(got) != tt.count || got[0].ID != tt.first || got[len(got)-1].ID != tt.last {
				t.Fatalf("%d messages from %d to %d, want %d from %d to %d",
					len(got), got[0].ID, got[len(got)-1].ID, tt.count, tt.first, tt.last)
			}
			for i := 1; i < len(got); i++ {
				if got[i].CreatedAt < got[i-1].CreatedAt {
					t.Errorf("%d is older than the one before", got[i].ID)
				}
			}
		})
	}
}
