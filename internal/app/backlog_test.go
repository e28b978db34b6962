package app

import (
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/queue"
)

func TestJudgeBacklog(t *testing.T) {
	const ready, retry = queue.Ready, queue.Retry
	now := time.Date(2026, 3, 10, 4, 0, 0, 0, time.UTC)
	count := func(state queue.State, jobs int, waited time.Duration) queue.Count {
		return queue.Count{Stage: "forward", State: state, Jobs: jobs, Oldest: now.Add(-waited)}
	}
	tests := []struct {
		name          string
		counts        []queue.Count
		resumed       time.Duration
		known, passes bool
		problem       string
	}{
		{"nothing to do", nil, time.Hour, true, true, ""},
		{"jobs that have just come", []queue.Count{count(ready, 500, 5*time.Minute)}, time.Hour, true, true, ""},
		{"one that nobody takes up", []queue.Count{count(ready, 1, 5*time.Minute+1)}, time.Hour, true, false, "nothing is processed"},
		{"the same soon after maintenance", []queue.Count{count(ready, 1, time.Hour)}, 5 * time.Minute, false, false, ""},
		{"and not so soon", []queue.Count{count(ready, 1, time.Hour)}, 5*time.Minute + 1, true, false, "nothing is processed"},
		{"soon after maintenance all is worked off", []queue.Count{count(ready, 0, time.Hour)}, time.Minute, true, true, ""},
		{"fifty may wait", []queue.Count{count(retry, 50, time.Hour)}, time.Hour, true, true, ""},
		{"fifty-one may not", []queue.Count{count(retry, 30, time.Hour), count(retry, 21, 0)}, time.Hour, true, false, "51 jobs wait to be tried again, more than 50"},
		{"nor soon after maintenance", []queue.Count{count(retry, 51, 0), count(ready, 1, time.Hour)}, time.Minute, true, false, "51 jobs wait to be tried again, more than 50"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := judgeBacklog(queue.Depth{At: now, Counts: tt.counts}, tt.resumed)
			if c.Known != tt.known || c.Passes != tt.passes || c.Problem != tt.problem {
				t.Errorf("%+v, want known %v, passes %v, problem %q", c, tt.known, tt.passes, tt.problem)
			}
		})
	}
}
