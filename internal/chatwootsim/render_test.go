package chatwootsim_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
)

// Whatever a customer writes, in whatever channel, a decoder gets back what
// encoding/json would have sent.
func FuzzTextsSurvive(f *testing.F) {
	for _, text := range []string{
		"", "plain", `"quoted" \ and /`, "tab\tnewline\nreturn\rbell\a\x00\x1f\x7f", "<script>&amp;</script>", "é ü 日本語 😀👩🏽‍🚀",
		"\u2028\u2029\ufeff\ufffd", "cut \xc3", "\xff\xfe", "\xed\xa0\x80", `\u0041 {{x}}`, strings.Repeat("long ", 500),
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.TrimRight(text, "\n") == "" {
			t.Skip("an empty text is made up")
		}
		var want string
		b, err := json.Marshal(strings.TrimRight(text, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		s := chatwootsim.New(chatwootsim.Options{Now: func() time.Time { return noon }})
		for _, inbox := range s.Inboxes() {
			s.CustomerOpens(noon, inbox, text)
		}
		for _, path := range []string{"/conversations?status=all", "/conversations/1/messages", "/conversations/2/messages"} {
			var rec memory
			s.ServeHTTP(&rec, request(account+path))
			body := rec.body.String()
			if !json.Valid([]byte(body)) {
				t.Fatalf("%s: %q became invalid JSON: %s", path, text, body)
			}
			if strings.ContainsAny(body, "<>&\u2028\u2029") {
				t.Errorf("%s: %q is not escaped as Rails does", path, text)
			}
		}
		var rec memory
		s.ServeHTTP(&rec, request(account+"/conversations/2/messages"))
		var got struct {
			Payload []struct {
				Content    string `json:"content"`
				Attributes struct {
					Email struct {
						Text struct {
							Full string `json:"full"`
						} `json:"text_content"`
					} `json:"email"`
				} `json:"content_attributes"`
			} `json:"payload"`
		}
		if err := json.Unmarshal([]byte(rec.body.String()), &got); err != nil {
			t.Fatal(err)
		}
		if m := got.Payload[0]; m.Content != want || m.Attributes.Email.Text.Full != want {
			t.Errorf("%q came back as %q and %q", want, m.Content, m.Attributes.Email.Text.Full)
		}
	})
}

func TestOlderRowsLackNewerKeys(t *testing.T) {
	for version, want := range map[chatwootsim.Version]bool{chatwootsim.V42: false, chatwootsim.V415: true} {
		s := start(t, chatwootsim.Options{Version: version})
		c := s.CustomerOpens(noon, chat, "")
		s.Assign(noon, c, 11)
		body := s.get(fmt.Sprintf("%s/conversations/%d", account, c)).body
		for _, key := range []string{`"assignee_type"`, `"provider"`} {
			if strings.Contains(body, key) != want {
				t.Errorf("%s: %s present is %v", version, key, !want)
			}
		}
		if strings.Contains(s.get("/api/v1/profile").body, "onboarding_step") != want {
			t.Errorf("%s: onboarding_step", version)
		}
	}
}

func TestBotAssigneeIsNotAnAgent(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	c := s.CustomerOpens(noon, chat, "")
	s.AssignBot(noon, c)
	body := s.get(fmt.Sprintf("%s/conversations/%d", account, c)).body
	for _, want := range []string{`"assignee":{"id":1,"name":"Helper","description"`, `"assignee_type":"AgentBot"`, `"assignee_id":null`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
}

func TestNewestMessageMayBeActivityWhileTheSpokenOneIsNot(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	c := s.CustomerOpens(noon, chat, "Hello?")
	s.Assign(noon, c, 11)
	empty := s.OpenEmpty(noon, chat)
	type shown struct {
		Messages []struct {
			Kind   int  `json:"message_type"`
			Sender *any `json:"sender"`
		} `json:"messages"`
		Spoken *struct {
			Kind int `json:"message_type"`
		} `json:"last_non_activity_message"`
	}
	got := decode[shown](t, s.get(fmt.Sprintf("%s/conversations/%d", account, c)))
	if len(got.Messages) != 1 || got.Messages[0].Kind != 2 || got.Messages[0].Sender != nil || got.Spoken.Kind != 0 {
		t.Errorf("assigned: %+v", got)
	}
	got = decode[shown](t, s.get(fmt.Sprintf("%s/conversations/%d", account, empty)))
	if len(got.Messages) != 0 || got.Spoken != nil {
		t.Errorf("empty: %+v", got)
	}
}

// Readers, writers, faults and webhooks at once; the race detector judges.
func TestConcurrentUse(t *testing.T) {
	r := newReceiver(t)
	s := start(t, chatwootsim.Options{NoThrottle: true, Webhooks: []chatwootsim.Webhook{{URL: r.URL}}})
	s.Start(chatwootsim.Traffic{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 10 {
				s.list("sort_by=created_at_asc")
				s.get(account + "/conversations?status=all&updated_within=600")
				s.clock.Advance(10 * time.Second)
				c := s.CustomerOpens(s.clock.Now(), chat, "")
				s.AgentReplies(s.clock.Now(), c)
				end := s.Inject(chatwootsim.Fault{Path: "/nowhere", Kind: chatwootsim.FaultHang})
				s.get(fmt.Sprintf("%s/conversations/%d/messages", account, c))
				s.AgentToken(chat)
				s.get(account + "/agents")
				end()
				if i == 8 {
					s.Flush()
				}
				s.Truth()
			}
		})
	}
	wg.Wait()
	s.Flush()
	if len(r.all()) == 0 {
		t.Error("no webhooks arrived")
	}
}
