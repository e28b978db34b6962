package chatwootsim_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
)

// The examples are the shapes of a real 4.15.1 server with an administrator's
// token. Keys must agree in both directions, element by element, because which
// keys are there depends on the element: a contact that never wrote has no
// last_activity_at, a message without author no sender, an unassigned
// conversation no meta.assignee, an inbox only what its channel has. So each
// case rebuilds the example's situation first.
func TestAnswersHaveTheKeysOfTheExamples(t *testing.T) {
	s := start(t, chatwootsim.Options{NoThrottle: true})
	s.CampaignOpens(noon.Add(-time.Minute), chat)
	mail := s.CustomerOpens(noon, mailbox, "I returned a jacket last week and have not seen the refund.")
	s.Greets(noon.Add(time.Second), mail)
	s.Assign(noon.Add(time.Minute), mail, 11)
	s.AgentReplies(noon.Add(2*time.Minute), mail)
	s.CustomerWrites(noon.Add(3*time.Minute), mail, "Still nothing on my statement.")
	s.SetTeam(noon.Add(3*time.Minute), mail, 4)
	s.SetLabels(noon.Add(3*time.Minute), mail, "refund", "vip")
	s.AgentNotes(noon.Add(4*time.Minute), mail)
	s.CustomerOpens(noon.Add(5*time.Minute), chat, "Any news?")
	s.clock.Advance(5 * time.Minute)

	for file, path := range map[string]string{
		"conversations_page.json":       account + "/conversations?sort_by=created_at_desc",
		"conversations_empty_page.json": account + "/conversations?page=9",
		"conversation_meta.json":        account + "/conversations/meta",
		"messages.json":                 fmt.Sprintf("%s/conversations/%d/messages", account, mail),
		"profile.json":                  "/api/v1/profile",
		"inboxes.json":                  account + "/inboxes",
		"api_index.json":                "/api",
		"health.json":                   "/health",
	} {
		t.Run(file, func(t *testing.T) {
			got := decode[any](t, s.get(path))
			if file == "inboxes.json" { // the one with a bot has no example
				list := got.(map[string]any)
				list["payload"] = slices.DeleteFunc(list["payload"].([]any), func(in any) bool {
					return in.(map[string]any)["id"] == float64(assistant)
				})
			}
			compareKeys(t, file, example(t, file), got)
		})
	}
}

func TestWebhooksHaveTheKeysOfTheExamples(t *testing.T) {
	receiver := newReceiver(t)
	s := start(t, chatwootsim.Options{Webhooks: []chatwootsim.Webhook{{URL: receiver.URL}}})
	step := func(name, file string, act func()) {
		t.Run(file, func(t *testing.T) {
			receiver.clear()
			act()
			s.Flush()
			got := receiver.one(t, name)
			compareKeys(t, file, example(t, file), got)
		})
	}
	var c int64
	step("message_created", "webhook_message_created_incoming.json", func() { c = s.CustomerOpens(noon, chat, "Any news?") })
	step("message_created", "webhook_message_created_private_note.json", func() { s.AgentNotes(noon.Add(time.Minute), c) })
	step("conversation_updated", "webhook_conversation_updated_assignment.json", func() { s.Assign(noon.Add(2*time.Minute), c, 11) })
	step("message_created", "webhook_message_created_agent.json", func() {
		// Answered by hand, because the dashboard's answer would be the assignee's.
		s.do("POST", fmt.Sprintf("%s/conversations/%d/messages", account, c), chatwootsim.DemoToken, `{"content":"Please try the new label."}`)
	})
	step("conversation_status_changed", "webhook_conversation_status_changed_resolved.json", func() {
		s.SetLabels(noon.Add(4*time.Minute), c, "shipping")
		s.SetStatus(noon.Add(4*time.Minute), c, "resolved")
	})
}

func example(t *testing.T, file string) any {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "chatwoot", "testdata", "examples", file))
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// compareKeys reports keys that only one side has, and values of different
// JSON types unless one of them is null.
func compareKeys(t *testing.T, path string, want, got any) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		if !ok {
			t.Errorf("%s is no object", path)
			return
		}
		for _, k := range slices.Sorted(maps.Keys(want)) {
			if _, ok := got[k]; !ok {
				t.Errorf("%s.%s is missing", path, k)
				continue
			}
			compareKeys(t, path+"."+k, want[k], got[k])
		}
		for _, k := range slices.Sorted(maps.Keys(got)) {
			if _, ok := want[k]; !ok {
				t.Errorf("%s.%s is not in the example", path, k)
			}
		}
	case []any:
		got, ok := got.([]any)
		if !ok || len(got) != len(want) {
			t.Errorf("%s = %v, want %d elements", path, got, len(want))
			return
		}
		for i := range want {
			compareKeys(t, fmt.Sprintf("%s[%d]", path, i), want[i], got[i])
		}
	default:
		if want != nil && got != nil && fmt.Sprintf("%T", want) != fmt.Sprintf("%T", got) {
			t.Errorf("%s is %T, want %T", path, got, want)
		}
	}
}
