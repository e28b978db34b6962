package chatwoot

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// tree reads any document into the values that encoding/json would use.
func (s *scanner) tree() any {
	switch c := s.peek(); c {
	case '{':
		m := map[string]any{}
		s.object(func(key []byte) {
			k := strings.ToValidUTF8(string(key), "\uFFFD")
			m[k] = s.tree()
		})
		return m
	case '[':
		list := []any{}
		s.array(func() { list = append(list, s.tree()) })
		return list
	case '"':
		return s.str()
	case 't', 'f':
		return s.boolean()
	case 'n':
		s.null()
		return nil
	default:
		return json.Number(s.number())
	}
}

// The scanner is an optimisation: its specification is encoding/json.
func FuzzScannerAgreesWithEncodingJSON(f *testing.F) {
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
	for _, s := range []string{
		``, ` `, `nul`, `null x`, `-`, `-0`, `01`, `1.`, `.5`, `1e`, `1e+`, `1E-7`, `--1`, `+1`, `1 2`, `tru`, `[1 2]`, `[1,]`, `[,1]`, `{"a":1,}`,
		`{"a" 1}`, `{a:1}`, `{"a":1 "b":2}`, `"\u12"`, `"\u12G4"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\ude00\ud83d"`, `"\ud83dx"`, `"\x"`, "\"\x01\"", "\"\xff\"",
		`"\"`, `"`, `{"a":{"b":[{"c":null}]}}`, `[[[[`, `]`, `}`, `{"a":1}}`, "\ufeff{}", `"\u0000"`, `{"\u0069d":1}`, "\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		skipping := &scanner{data: data}
		skipping.skip()
		if got, want := skipping.end() == nil, json.Valid(data); got != want {
			t.Fatalf("skip accepts %q: %v, encoding/json: %v (%v)", data, got, want, skipping.err)
		}
		if skipping.err != nil {
			return
		}
		reading := &scanner{data: data}
		got := reading.tree()
		if err := reading.end(); err != nil {
			t.Fatalf("%q skips but does not read: %v", data, err)
		}
		var want any
		dec := json.NewDecoder(strings.NewReader(string(data)))
		dec.UseNumber()
		if err := dec.Decode(&want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(normal(got), normal(want)) {
			t.Fatalf("%q reads as %#v, encoding/json: %#v", data, got, want)
		}
	})
}

// normal irons out how many replacement characters stand for broken UTF-8.
func normal(v any) any {
	switch v := v.(type) {
	case string:
		for strings.Contains(v, "\uFFFD\uFFFD") {
			v = strings.ReplaceAll(v, "\uFFFD\uFFFD", "\uFFFD")
		}
		return v
	case []any:
		for i := range v {
			v[i] = normal(v[i])
		}
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[normal(k).(string)] = normal(e)
		}
		return out
	}
	return v
}

func TestScannerRefusesDepthWithoutBound(t *testing.T) {
	for _, depth := range []int{maxDepth - 1, maxDepth, maxDepth + 1} {
		data := []byte(strings.Repeat("[", depth) + strings.Repeat("]", depth))
		s := &scanner{data: data}
		s.skip()
		if got, want := s.end() == nil, json.Valid(data); got != want {
			t.Errorf("depth %d accepted: %v, encoding/json: %v", depth, got, want)
		}
	}
}

func TestInstantReadsEveryEncoding(t *testing.T) {
	second := time.Date(2026, 6, 22, 9, 14, 31, 0, time.UTC)
	tests := []struct {
		json string
		want time.Time
	}{
		{`null`, time.Time{}},
		{`0`, time.Time{}},
		{`0.0`, time.Time{}},
		{`""`, time.Time{}},
		{`1782119671`, second},
		{`1782119671.921544`, second.Add(921544 * time.Microsecond)},
		{`"2026-06-22T09:14:31.921Z"`, second.Add(921 * time.Millisecond)},
		{`"2026-06-22T11:14:31+02:00"`, second},
	}
	for _, tt := range tests {
		s := &scanner{data: []byte(tt.json)}
		got := s.instant()
		if err := s.end(); err != nil || !got.Equal(tt.want) {
			t.Errorf("instant %s = %v, %v; want %v", tt.json, got, err, tt.want)
		}
	}
	for _, bad := range []string{`"yesterday"`, `-1`, `true`, `{}`, `1e300`, `1782119671000`, `"2026-06-22"`} {
		s := &scanner{data: []byte(bad)}
		if got := s.instant(); s.end() == nil {
			t.Errorf("instant %s = %v, want an error", bad, got)
		}
	}
}

// Every way to damage a page must be an error: a shorter list would silence
// pages about the conversations it lacks.
func TestDamagedPageIsNeverAShorterList(t *testing.T) {
	data, err := os.ReadFile("testdata/examples/conversations_page.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decodePage(data); err != nil {
		t.Fatal(err)
	}
	trimmed := strings.TrimSpace(string(data))
	for cut := range len(trimmed) {
		if p, err := decodePage([]byte(trimmed[:cut])); err == nil {
			t.Fatalf("cut after %d of %d bytes decodes to %d conversations", cut, len(trimmed), len(p.Conversations))
		}
	}
	damages := map[string][2]string{
		"bad escape in a skipped string":   {`"thumbnail": ""`, `"thumbnail": "\q"`},
		"control character, skipped":       {`"thumbnail": ""`, "\"thumbnail\": \"\x02\""},
		"missing comma in a skipped list":  {`"labels": [`, `"labels": [1 2,`},
		"broken number, skipped":           {`"account_id": 3`, `"account_id": 03`},
		"bare word, skipped":               {`"muted": false`, `"muted": flase`},
		"created_at is a word":             {`"created_at": 1782119581`, `"created_at": "soon"`},
		"id is a string":                   {`"id": 1482,`, `"id": "1482",`},
		"status is missing its value":      {`"status": "open"`, `"status": null`},
		"payload is an object":             {`"payload": [`, `"payload": {"a": [`},
		"payload has another name":         {`"payload"`, `"items"`},
		"a row is null":                    {`"payload": [`, `"payload": [ null,`},
		"the list is followed by another":  {trimmed, trimmed + trimmed},
		"an HTML page stands in its place": {trimmed, "<!DOCTYPE html><html></html>"},
	}
	for name, d := range damages {
		broken := strings.Replace(trimmed, d[0], d[1], 1)
		if broken == trimmed {
			t.Errorf("%s: the example has no %s", name, d[0])
			continue
		}
		if p, err := decodePage([]byte(broken)); err == nil {
			t.Errorf("%s: decodes to %d conversations", name, len(p.Conversations))
		}
	}
}

func ExampleDecodeEvent() {
	body := `{"event":"message_created","account":{"id":3},"id":91004,"message_type":"incoming","created_at":"2026-06-22T09:16:02.104Z",
		"conversation":{"id":1482,"status":"open","created_at":1782119581,"first_reply_created_at":null,"waiting_since":1782119581}}`
	e, err := DecodeEvent([]byte(body))
	fmt.Println(e.Name, e.Message.Kind == Incoming, e.Conversation.ID, e.Conversation.FirstReplyAt.IsZero(), err)
	// Output: message_created true 1482 true <nil>
}
