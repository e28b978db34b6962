package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	otherTeller = time.Second           // between looks for what other replicas have changed
	gathers     = 20 * time.Millisecond // how long changes wait for others, to be told together
	commits     = 5 * time.Second       // how long after its time a change may come to be seen
	keepAlive   = 15 * time.Second
)

// events tells of every item that is queued or changes, as server-sent events.
// They name items and quote nothing; what they say is in /api/v1/approvals. They
// carry no ids: who was away reads that, and misses nothing.
func (s *server) events(w http.ResponseWriter, r *http.Request, _ string) {
	out := http.NewResponseController(w)
	send := func(text string) error {
		err := out.SetWriteDeadline(time.Now().Add(keepAlive)) //nolint:forbidigo // the kernel's clock, whatever ours is
		if err != nil {
			return err
		}
		if _, err := w.Write([]byte(text)); err != nil {
			return err
		}
		return out.Flush()
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep them for itself
	newest := s.State().Now
	known := map[int64]time.Time{} // versions that were told; those from before need not be
	if items, err := s.Approvals.Changed(r.Context(), newest.Add(-commits)); err == nil {
		for _, it := range items {
			known[it.Message] = it.ChangedAt
		}
	}
	told := s.Approvals.Told()
	if err := send(": approvals\n\n"); err != nil { // what comes from here on is told
		return
	}
	look, alive := time.NewTicker(otherTeller), time.NewTicker(keepAlive/2)
	defer look.Stop()
	defer alive.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-s.Closing:
			return
		case <-alive.C:
			if send(": alive\n\n") != nil {
				return
			}
			continue
		case <-told:
			told = s.Approvals.Told()
			select {
			case <-time.After(gathers):
			case <-r.Context().Done():
				return
			}
		case <-look.C:
		}
		items, err := s.Approvals.Changed(r.Context(), newest.Add(-commits))
		if err != nil { // the database is away; what changes meanwhile is told later
			continue
		}
		for _, it := range items {
			if known[it.Message].Equal(it.ChangedAt) {
				continue
			}
			text, err := json.Marshal(map[string]any{
				"id": it.Message, "conversation_id": it.Conversation, "state": it.State,
				"priority": it.PriorityAt(s.State().Now), "deadline": it.Deadline, "changed_at": it.ChangedAt,
			})
			if err != nil || send(fmt.Sprintf("event: approval\ndata: %s\n\n", text)) != nil {
				return
			}
			if it.ChangedAt.After(newest) {
				newest = it.ChangedAt
			}
			known[it.Message] = it.ChangedAt
		}
		for id, at := range known {
			if at.Before(newest.Add(-commits)) {
				delete(known, id)
			}
		}
	}
}
