package chatwootsim_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
)

var noon = time.Date(2026, 6, 22, 12, 0, 0, 0, time.UTC)

// The inboxes that exist from the start.
const (
	chat      int64 = 5
	mailbox   int64 = 6
	apiInbox  int64 = 8
	assistant int64 = 9
)

const account = "/api/v1/accounts/3"

// sim is a simulator behind a real listener, with a clock that stands still.
type sim struct {
	*chatwootsim.Server
	t     *testing.T
	url   string
	clock *chatwootsim.ManualClock
}

func start(t *testing.T, opts chatwootsim.Options) *sim {
	t.Helper()
	clock := chatwootsim.NewManualClock(noon)
	opts.Now = clock.Now
	server := chatwootsim.New(opts)
	listener := httptest.NewServer(server)
	t.Cleanup(func() {
		server.Close()
		listener.Close()
	})
	return &sim{Server: server, t: t, url: listener.URL, clock: clock}
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (s *sim) do(method, path, token, body string, header ...string) answer {
	s.t.Helper()
	req, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json")
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Api-Access-Token", token)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header[header[i]] = []string{header[i+1]}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

func (s *sim) get(path string) answer {
	s.t.Helper()
	return s.do("GET", path, chatwootsim.DemoToken, "")
}

// decode reads a 200 as JSON.
func decode[T any](t *testing.T, a answer) T {
	t.Helper()
	var v T
	if a.status != http.StatusOK {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	d := json.NewDecoder(bytes.NewReader([]byte(a.body)))
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %.300s", err, a.body)
	}
	return v
}

type row struct {
	ID             int64   `json:"id"`
	Status         string  `json:"status"`
	CreatedAt      int64   `json:"created_at"`
	UpdatedAt      float64 `json:"updated_at"`
	FirstReply     int64   `json:"first_reply_created_at"`
	WaitingSince   int64   `json:"waiting_since"`
	Unread         int     `json:"unread_count"`
	CanReply       bool    `json:"can_reply"`
	InboxID        int64   `json:"inbox_id"`
	LastActivityAt int64   `json:"last_activity_at"`
}

type list struct {
	Data struct {
		Meta struct {
			Mine       int `json:"mine_count"`
			Assigned   int `json:"assigned_count"`
			Unassigned int `json:"unassigned_count"`
			All        int `json:"all_count"`
		} `json:"meta"`
		Payload []row `json:"payload"`
	} `json:"data"`
}

func (l list) ids() []int64 {
	ids := []int64{}
	for _, r := range l.Data.Payload {
		ids = append(ids, r.ID)
	}
	return ids
}

func (s *sim) list(query string) list {
	s.t.Helper()
	return decode[list](s.t, s.get(account+"/conversations?"+query))
}
