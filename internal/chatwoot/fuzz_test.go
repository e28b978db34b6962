package chatwoot

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// seed gives a fuzz target the examples, whole and cut, and some documents
// that differ from a good one in one place.
func seed(f *testing.F, more ...string) {
	f.Helper()
	examples, err := filepath.Glob("testdata/examples/*.json")
	if err != nil || len(examples) == 0 {
		f.Fatalf("no examples: %v", err)
	}
	for _, name := range examples {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	for _, s := range more {
		f.Add([]byte(s))
	}
}

// rows counts the elements of the list at path, as encoding/json sees it. Like
// the scanner, and unlike encoding/json with a struct, it tells upper case from
// lower.
func rows(t *testing.T, data []byte, path ...string) int {
	t.Helper()
	for _, key := range path {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(data, &object); err != nil {
			t.Fatalf("encoding/json refuses %q: %v", data, err)
		}
		data = object[key]
	}
	var list []json.RawMessage
	if err := json.Unmarshal(data, &list); err != nil || list == nil {
		t.Fatalf("%q has no list at %v: %v", data, path, err)
	}
	return len(list)
}

const (
	oneRow   = `{"id":1,"status":"open","created_at":1}`
	oneWrite = `{"id":1,"message_type":0,"created_at":1}`
)

func FuzzDecodePage(f *testing.F) {
	seed(
		f,
		`{"data":{"payload":[`+oneRow+`]}}`,
		`{"data":{"payload":[`+oneRow+`,null]}}`,
		`{"data":{"payload":null}}`,
		`{"data":{"payload":[]},"data":null}`,
		`{"data":null,"data":{"payload":[]}}`,
		`{"data":{"payload":[`+oneRow+`],"payload":[]}}`,
		`{"data":{"payload":[`+oneRow+`]},"data":{"payload":[`+oneRow+`]}}`,
		`{"data":{"payload":[`+oneRow+`],"payload":null}}`,
		`{"data":{"payload":[`+oneRow+`]},"Data":{"PAYLOAD":[]}}`,
		`{"\u0064ata":{"pay\u006coad":[`+oneRow+`]}}`,
	)
	f.Fuzz(func(t *testing.T, data []byte) {
		page, err := decodePage(data)
		if err != nil {
			if page.Conversations != nil || page.AllCount != 0 {
				t.Fatalf("%q: %v with %+v", data, err, page)
			}
			return
		}
		if got, want := len(page.Conversations), rows(t, data, "data", "payload"); got != want {
			t.Fatalf("%q has %d rows, %d were read", data, want, got)
		}
		for _, c := range page.Conversations {
			if c.ID <= 0 || c.Status == "" || c.CreatedAt.IsZero() {
				t.Fatalf("%q reads as %+v", data, c)
			}
		}
	})
}

func FuzzDecodeMessages(f *testing.F) {
	seed(
		f,
		`{"payload":[`+oneWrite+`]}`,
		`{"payload":[`+oneWrite+`,null]}`,
		`{"payload":null}`,
		`{"payload":[`+oneWrite+`],"payload":[]}`,
		`{"payload":[],"payload":[`+oneWrite+`]}`,
		`{"payload":[`+oneWrite+`],"payload":null}`,
	)
	f.Fuzz(func(t *testing.T, data []byte) {
		messages, err := decodeMessages(data)
		if err != nil {
			if messages != nil {
				t.Fatalf("%q: %v with %+v", data, err, messages)
			}
			return
		}
		if got, want := len(messages), rows(t, data, "payload"); got != want {
			t.Fatalf("%q has %d messages, %d were read", data, want, got)
		}
		for _, m := range messages {
			if m.ID <= 0 || m.CreatedAt.IsZero() {
				t.Fatalf("%q reads as %+v", data, m)
			}
		}
	})
}

func FuzzDecodeEvent(f *testing.F) {
	seed(
		f,
		`{"event":"contact_created","account":{"id":3}}`,
		`{"event":"conversation_updated","id":1,"status":"open","created_at":1}`,
		`{"event":"message_created","id":1,"created_at":"2026-06-22T09:16:02.417Z","conversation":`+oneRow+`}`,
		`{"event":"message_created","id":1,"conversation":`+oneRow+`}`,
		`{"event":"message_created","id":1,"created_at":1,"conversation":`+oneRow+`,"conversation":null}`,
		`{"event":"message_created","id":1,"created_at":1,"conversation":`+oneRow+`,"event":"contact_created"}`,
		`{"event":"message_created","event":null,"id":1}`,
	)
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := DecodeEvent(data)
		if err != nil {
			if e != (Event{}) {
				t.Fatalf("%q: %v with %+v", data, err, e)
			}
			return
		}
		if !json.Valid(data) || e.Name == "" {
			t.Fatalf("%q reads as %+v", data, e)
		}
		if m := e.Message; m != nil && (m.ID <= 0 || m.CreatedAt.IsZero() || e.Conversation == nil) {
			t.Fatalf("%q reads as a message %+v in %+v", data, m, e.Conversation)
		}
		if c := e.Conversation; c != nil && (c.ID <= 0 || c.Status == "" || c.CreatedAt.IsZero()) {
			t.Fatalf("%q reads as a conversation %+v", data, c)
		}
	})
}
