package chatwootsim_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
)

// everything asks for all that a monitor reads.
func (s *sim) everything() string {
	s.t.Helper()
	all := s.get(account + "/conversations?status=all&updated_within=999999&sort_by=created_at_asc").body
	for _, truth := range s.Truth() {
		all += s.get(fmt.Sprintf("%s/conversations/%d/messages", account, truth.ID)).body
	}
	return all
}

func TestSameSeedAndInstantsGiveTheSameBytes(t *testing.T) {
	run := func(seed uint64, steps int) string {
		s := start(t, chatwootsim.Options{Seed: seed, NoThrottle: true})
		s.Start(chatwootsim.Traffic{})
		for i := range steps {
			s.clock.Set(noon.Add(time.Duration(i+1) * 2 * time.Hour / time.Duration(steps)))
			s.get("/api")
		}
		return s.everything()
	}
	once := run(1, 1)
	if often := run(1, 90); often != once {
		t.Error("the state depends on how often somebody asked")
	}
	if other := run(2, 1); other == once {
		t.Error("the seed changes nothing")
	}
}

// Judged by the plain rule: thirty minutes from the customer's first message,
// or from the hand-off of what a bot had.
func TestEveryStateExistsWhenTrafficStarts(t *testing.T) {
	for seed := range uint64(20) {
		s := start(t, chatwootsim.Options{Seed: seed})
		s.Start(chatwootsim.Traffic{})
		found := map[string]int{}
		for _, c := range s.Truth() {
			if c.CreatedAt.After(noon) || c.CreatedAt.Before(noon.Add(-2*time.Hour)) {
				t.Fatalf("seed %d: created at %s, outside the history", seed, c.CreatedAt)
			}
			found[c.Status]++
			from := c.CustomerAt
			if c.BornPending {
				from = c.HandoffAt
			}
			switch left := 30*time.Minute - noon.Sub(from); {
			case !c.DeletedAt.IsZero() || c.Status != "open":
			case from.IsZero():
				found["no clock"]++
			case !c.ReplyAt.IsZero() && c.ReplyAt.Sub(from) > 30*time.Minute:
				found["answered late"]++
			case !c.ReplyAt.IsZero():
				found["answered"]++
			case left < 0:
				found["breach"]++
			case left < 5*time.Minute:
				found["urgent"]++
			case left <= 15*time.Minute:
				found["warning"]++
			default:
				found["normal"]++
			}
		}
		for _, want := range []string{
			"open", "pending", "snoozed", "resolved", "no clock", "answered late", "answered", "breach", "urgent", "warning", "normal",
		} {
			if found[want] == 0 {
				t.Errorf("seed %d: nothing is %s; found %v", seed, want, found)
			}
		}
	}
}

func TestTrafficNeitherDriesUpNorPilesUp(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	s.Start(chatwootsim.Traffic{})
	s.Advance(noon.Add(24 * time.Hour))
	var met, breached, open, started int
	for _, c := range s.Truth() {
		if c.CreatedAt.After(noon) {
			started++
		}
		if c.Status == "open" && c.DeletedAt.IsZero() {
			open++
		}
		from := c.CustomerAt
		if c.BornPending {
			from = c.HandoffAt
		}
		switch {
		case from.IsZero() || c.ReplyAt.IsZero():
		case c.ReplyAt.Sub(from) > 30*time.Minute:
			breached++
		default:
			met++
		}
	}
	if started < 600 || started > 950 {
		t.Errorf("%d conversations in a day, want about 24 x 32", started)
	}
	if open < 10 || open > 90 {
		t.Errorf("%d open after a day", open)
	}
	if share := float64(breached) / float64(met+breached); share < 0.02 || share > 0.1 {
		t.Errorf("%.1f %% breached, want about five", 100*share)
	}
}

func TestPlansGiveWayToWhatHappenedMeanwhile(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	s.Start(chatwootsim.Traffic{})
	var settled []chatwootsim.Truth
	for _, c := range s.Truth() {
		if c.Status == "open" && c.DeletedAt.IsZero() {
			s.SetStatus(noon, c.ID, "resolved")
			settled = append(settled, c)
		}
	}
	s.Advance(noon.Add(3 * time.Hour))
	after := s.Truth()
	for _, c := range settled {
		if now := after[c.ID-1]; now.ReplyAt != c.ReplyAt || now.Status != "resolved" || !now.DeletedAt.IsZero() {
			t.Errorf("settled at noon as %+v, three hours later %+v", c, now)
		}
	}
}

func TestTrafficSendsNoWebhooksForItsHistory(t *testing.T) {
	r := newReceiver(t)
	s := start(t, chatwootsim.Options{Webhooks: []chatwootsim.Webhook{{URL: r.URL}}})
	s.Start(chatwootsim.Traffic{})
	s.Flush()
	if n := len(r.all()); n != 0 {
		t.Errorf("%d webhooks about the past", n)
	}
	s.Advance(noon.Add(10 * time.Minute))
	s.Flush()
	if n := len(r.all()); n == 0 {
		t.Error("no webhooks about the present")
	}
}

func TestFewAgentsFallBehind(t *testing.T) {
	late := func(agents int) (n int) {
		s := start(t, chatwootsim.Options{})
		s.Start(chatwootsim.Traffic{Agents: agents, ArrivalsPerHour: 60})
		s.Advance(noon.Add(6 * time.Hour))
		for _, c := range s.Truth() {
			if !c.CustomerAt.IsZero() && c.ReplyAt.Sub(c.CustomerAt) > 30*time.Minute {
				n++
			}
		}
		return n
	}
	if one, six := late(1), late(6); one < 2*six {
		t.Errorf("%d late with one agent, %d with six", one, six)
	}
}

func TestFillIsVariedAndLarge(t *testing.T) {
	s := start(t, chatwootsim.Options{NoThrottle: true})
	s.Fill(1000, noon)
	var bytes, waiting, answered int
	for page := range 40 {
		a := s.get(fmt.Sprintf("%s/conversations?sort_by=created_at_asc&page=%d", account, page+1))
		bytes += len(a.body)
		for _, c := range decode[list](t, a).Data.Payload {
			if c.CreatedAt < noon.Add(-2*time.Hour).Unix() || c.CreatedAt > noon.Unix() || c.LastActivityAt > noon.Unix() {
				t.Errorf("conversation %d: created %d, active %d, outside the two hours", c.ID, c.CreatedAt, c.LastActivityAt)
			}
			if c.WaitingSince != 0 {
				waiting++
			}
			if c.FirstReply != 0 {
				answered++
			}
		}
	}
	if page := bytes / 40; page < 155_000 || page > 185_000 {
		t.Errorf("a page has %d bytes, want about 170 KB", page)
	}
	if waiting < 400 || answered < 400 {
		t.Errorf("%d waiting, %d answered of 1000", waiting, answered)
	}
}
