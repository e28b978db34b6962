package maintenance_test

import (
	"testing"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"
	"go.yaml.in/yaml/v2"
)

// Alertmanager knows nothing of RFC 5545, and has another way to say what the
// second Tuesday is. For ten years, in which all hundred windows lie, both say
// the same at every edge and in every hour between.
func TestAlertmanagerHasTheSameWindows(t *testing.T) {
	var same timeinterval.TimeInterval
	err := yaml.Unmarshal([]byte(`
weekdays: [tuesday]
days_of_month: ['8:14']
times: [{start_time: '02:00', end_time: '04:00'}]
`), &same)
	if err != nil {
		t.Fatal(err)
	}
	s := schedule(t, monthly, 2*time.Hour)
	windows := 0
	for at := now.Truncate(time.Hour); at.Before(now.AddDate(10, 0, 0)); at = at.Add(time.Hour) {
		w, active := s.Active(at)
		if same.ContainsTime(at) != active {
			t.Fatalf("at %v: active %v, and Alertmanager says %v", at, active, !active)
		}
		if !active || !w.Start.Equal(at) {
			continue
		}
		windows++
		for edge, want := range map[time.Time]bool{w.Start.Add(-time.Second): false, w.End.Add(-time.Minute): true, w.End: false} {
			if got := same.ContainsTime(edge); got != want {
				t.Errorf("at %v Alertmanager says %v, want %v", edge, got, want)
			}
		}
	}
	if windows < 100 {
		t.Errorf("only %d windows were compared, want a hundred", windows)
	}
}
