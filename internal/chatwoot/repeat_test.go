package chatwoot

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
)

// Chatwoot writes without white space, so that the newest message, when it is
// also the last that was spoken, stands twice in the same letters. In the
// indented example it does not.
func TestARepeatedMessageReadsLikeAnyOther(t *testing.T) {
	indented, err := os.ReadFile("testdata/examples/conversations_page.json")
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, indented); err != nil {
		t.Fatal(err)
	}
	got, err := decodePage(compact.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	want, err := decodePage(indented)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		g, _ := json.Marshal(got)
		w, _ := json.Marshal(want)
		t.Errorf("without white space the page reads as\n%s\nand with it as\n%s", g, w)
	}
	if first := got.Conversations[0]; first.Newest != first.Spoken {
		t.Error("the message that stands twice was read twice")
	}
}

func TestMessagesOfARowAreToldApart(t *testing.T) {
	const (
		customer = `{"message_type":0,"private":false}`
		note     = `{"message_type":1,"private":true}`
	)
	tests := []struct {
		name           string
		newest, spoken string
		wantNewest     *Preview
		wantSpoken     *Preview
	}{
		{"the same message", `[` + customer + `]`, customer, &Preview{Kind: Incoming}, &Preview{Kind: Incoming}},
		{"the same behind a space", `[` + customer + `]`, ` ` + customer, &Preview{Kind: Incoming}, &Preview{Kind: Incoming}},
		{"another message", `[` + customer + `]`, note, &Preview{Kind: Incoming}, &Preview{Kind: Outgoing, Private: true}},
		{"nothing was spoken", `[` + customer + `]`, `null`, &Preview{Kind: Incoming}, nil},
		{"no message", `[]`, `null`, nil, nil},
		{"messages are null", `null`, note, nil, &Preview{Kind: Outgoing, Private: true}},
		{"a message is null", `[null]`, `null`, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			row := strings.TrimSuffix(oneRow, `}`) + `,"messages":` + tt.newest + `,"last_non_activity_message":` + tt.spoken + `,"unread_count":7}`
			c, err := decodeConversation([]byte(row))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(c.Newest, tt.wantNewest) || !reflect.DeepEqual(c.Spoken, tt.wantSpoken) {
				t.Errorf("newest %+v and spoken %+v, want %+v and %+v", c.Newest, c.Spoken, tt.wantNewest, tt.wantSpoken)
			}
			if c.UnreadCount != 7 {
				t.Error("what follows the messages was lost")
			}
		})
	}
}

func TestObjectsNestAsDeepAsEncodingJSONAllows(t *testing.T) {
	for _, depth := range []int{maxDepth, maxDepth + 1} {
		data := []byte(strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth))
		s := &scanner{data: data}
		s.skip()
		if got, want := s.end() == nil, json.Valid(data); got != want {
			t.Errorf("%d objects inside each other are accepted: %v, encoding/json: %v", depth, got, want)
		}
	}
}
