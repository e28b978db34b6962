package chatwoot_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
)

// pages serves a conversation of n messages, with ids from 1, as a real server
// does: the first hundred above after.
func pages(n int) func(after int) []int {
	return func(after int) (ids []int) {
		for id := after + 1; id <= n && len(ids) < 100; id++ {
			ids = append(ids, id)
		}
		return ids
	}
}

func TestMessagesPageByPage(t *testing.T) {
	upTo := func(from, to int) (ids []int) {
		for id := from; id <= to; id++ {
			ids = append(ids, id)
		}
		return ids
	}
	tests := []struct {
		name  string
		page  func(after int) []int
		after int64
		stop  int // each stops after so many pages; 0: never
		asked []int
		got   []int // how many messages each call brought
		kind  chatwoot.Kind
		says  string
	}{
		{name: "none", page: pages(0), asked: []int{0}, got: []int{0}},
		{name: "one", page: pages(1), asked: []int{0}, got: []int{1}},
		{name: "one short of a page", page: pages(99), asked: []int{0}, got: []int{99}},
		{name: "exactly a page", page: pages(100), asked: []int{0, 100}, got: []int{100, 0}},
		{name: "one more than a page", page: pages(101), asked: []int{0, 100}, got: []int{100, 1}},
		{name: "three pages", page: pages(250), asked: []int{0, 100, 200}, got: []int{100, 100, 50}},
		{name: "from the middle", page: pages(250), after: 180, asked: []int{180}, got: []int{70}},
		{name: "past the last", page: pages(250), after: 250, asked: []int{250}, got: []int{0}},
		{name: "stopped after the first page", page: pages(250), stop: 1, asked: []int{0}, got: []int{100}},
		{name: "stopped after the second", page: pages(250), stop: 2, asked: []int{0, 100}, got: []int{100, 100}},
		{
			name: "ids with gaps", page: func(after int) (ids []int) {
				for _, id := range pages(150)(after / 1000) {
					ids = append(ids, id*1000)
				}
				return ids
			},
			asked: []int{0, 100000}, got: []int{100, 50},
		},
		{
			name: "an imported page whose ids are out of order", page: func(after int) []int {
				ids := pages(130)(after)
				for i, j := 0, len(ids)-1; i < j; i, j = i+1, j-1 {
					ids[i], ids[j] = ids[j], ids[i]
				}
				return ids
			},
			asked: []int{0, 100}, got: []int{100, 30},
		},
		{
			name: "a server that repeats itself", page: func(int) []int { return upTo(1, 100) },
			asked: []int{0, 100}, got: []int{100},
			kind: chatwoot.Malformed, says: "message 1 again",
		},
		{
			name: "a server that ignores after", page: func(int) []int { return upTo(81, 100) }, after: 90,
			asked: []int{90}, got: nil,
			kind: chatwoot.Malformed, says: "message 81 again",
		},
		{
			name: "a server that counts after in", page: func(after int) []int { return upTo(after, 100) }, after: 90,
			asked: []int{90}, got: nil,
			kind: chatwoot.Malformed, says: "message 90 again",
		},
		{
			name: "a conversation without end", page: func(after int) []int { return upTo(after+1, after+100) },
			asked: []int{0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1100, 1200, 1300, 1400, 1500, 1600, 1700, 1800, 1900},
			got:   []int{100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100},
			kind:  chatwoot.TooLarge, says: "2000 messages",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var asked []int
			c := client(t, func(w http.ResponseWriter, r *http.Request) {
				after, err := strconv.Atoi(r.URL.Query().Get("after"))
				if err != nil {
					t.Error(err)
				}
				asked = append(asked, after)
				var rows []string
				for _, id := range tt.page(after) {
					rows = append(rows, fmt.Sprintf(`{"id":%d,"message_type":0,"created_at":1782119671}`, id))
				}
				saysJSON(`{"meta":{},"payload":[`+strings.Join(rows, ",")+`]}`)(w, r)
			})
			var got []int
			err := c.Messages(t.Context(), 1482, tt.after, func(m []chatwoot.Message) bool {
				got = append(got, len(m))
				return len(got) != tt.stop
			})
			if tt.kind == 0 && err != nil {
				t.Error(err)
			}
			if tt.kind != 0 {
				wantError(t, err, tt.kind, 200, tt.kind == chatwoot.Malformed,
					"GET /api/v1/accounts/3/conversations/{id}/messages: ", tt.says, "; ")
			}
			same(t, "the list of after=", asked, tt.asked)
			same(t, "the list of pages", got, tt.got)
		})
	}
}

func TestMessagesStopAtTheFirstPageThatFails(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("after") != "0" {
			says(500, "text/html", rubyHTML)(w, r)
			return
		}
		var rows []string
		for _, id := range pages(100)(0) {
			rows = append(rows, fmt.Sprintf(`{"id":%d,"message_type":0,"created_at":1782119671}`, id))
		}
		saysJSON(`{"payload":[`+strings.Join(rows, ",")+`]}`)(w, r)
	})
	got := 0
	err := c.Messages(t.Context(), 1482, 0, func(m []chatwoot.Message) bool { got += len(m); return true })
	wantError(t, err, chatwoot.ServerError, 500, temporary)
	if got != 100 {
		t.Errorf("%d messages came before the error, want 100", got)
	}
}

func TestHistoryPageByPage(t *testing.T) {
	// last returns the newest twenty below before, of a conversation of n.
	last := func(n int) func(before int) []int {
		return func(before int) (ids []int) {
			for id := max(1, min(n+1, before)-20); id < min(n+1, before); id++ {
				ids = append(ids, id)
			}
			return ids
		}
	}
	for _, tt := range []struct {
		name string
		page func(before int) []int
		stop int // each stops after so many pages; 0: never
		got  []int
		says string
	}{
		{name: "none", page: last(0), got: []int{0}},
		{name: "one short of a page", page: last(19), got: []int{19}},
		{name: "exactly a page", page: last(20), got: []int{20, 0}},
		{name: "three pages", page: last(45), got: []int{20, 20, 5}},
		{name: "stopped", page: last(45), stop: 2, got: []int{20, 20}},
		{name: "a server that ignores before", page: func(int) []int { return last(45)(1000) }, got: []int{20, 20}, says: "asked for messages before 26, got message 26"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := client(t, func(w http.ResponseWriter, r *http.Request) {
				before, err := strconv.Atoi(r.URL.Query().Get("before"))
				if err != nil {
					before = 1000
				}
				var list []string
				for _, id := range tt.page(before) {
					list = append(list, fmt.Sprintf(`{"id":%d,"message_type":0,"created_at":1782119671}`, id))
				}
				saysJSON(`{"payload":[`+strings.Join(list, ",")+`]}`)(w, r)
			})
			var got []int
			err := c.History(t.Context(), 7, func(page []chatwoot.Message) bool {
				got = append(got, len(page))
				return len(got) != tt.stop
			})
			same(t, "the list of pages", got, tt.got)
			if tt.says == "" && err != nil || tt.says != "" && (!chatwoot.Is(err, chatwoot.Malformed) || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("the error is %v, want %q", err, tt.says)
			}
		})
	}
}
