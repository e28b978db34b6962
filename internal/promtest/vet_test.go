package promtest_test

import (
	"strings"
	"testing"

	"github.com/hotdash/chatwoot-sla/internal/promtest"
)

func TestVet(t *testing.T) {
	c := promtest.Exported(t)
	c["chatwoot:recorded:rate5m"] = []string{"probe"}
	tests := []struct {
		name string
		expr string
		want string // part of the error; empty: none
	}{
		{"an exported metric", `chatwoot_sla_probe_success == 0`, ""},
		{"a metric that is not", `chatwoot_sla_probe_sucess == 0`, `chatwoot_sla_probe_sucess`},
		{"one deep inside", `sum(rate(chatwoot_sla_nothing_total[5m])) > 0 and on () vector(1)`, "chatwoot_sla_nothing_total"},
		{"a matcher of its own", `chatwoot_sla_waiting_conversations{level="breach"}`, ""},
		{"a matcher of the scrape", `chatwoot_sla_build_info{job="chatwoot-sla"}`, ""},
		{"a matcher that it has not", `chatwoot_sla_waiting_conversations{team="a"}`, `"team"`},
		{"an aggregation by its label", `sum by (inbox) (chatwoot_sla_conversations)`, ""},
		{"by one that it has not", `sum by (team) (chatwoot_sla_conversations)`, `"team"`},
		{"by one that is gone", `max by (level) (sum without (level) (chatwoot_sla_conversations))`, `"level"`},
		{"replicas put together", `max without (instance, pod) (chatwoot_sla_conversations)`, ""},
		{"names joined", `sum by (inbox) (chatwoot_sla_conversations) * on (inbox) group_left (name) chatwoot_sla_inbox_info`, ""},
		{"on a label that one side lacks", `sum(chatwoot_sla_conversations) * on (inbox) group_left (name) chatwoot_sla_inbox_info`, `"inbox"`},
		{"ignoring what one side has", `chatwoot_sla_probe_success and ignoring (probe) chatwoot_sla_poll_incomplete`, ""},
		{"ignoring what neither has", `chatwoot_sla_probe_success and ignoring (inbox) chatwoot_sla_poll_incomplete`, `"inbox"`},
		{"taking over a label that is not there", `sum by (inbox) (chatwoot_sla_conversations) * on (inbox) group_left (title) chatwoot_sla_inbox_info`, `"title"`},
		{"a quantile", `histogram_quantile(0.9, sum by (le, probe) (rate(chatwoot_sla_probe_duration_seconds_bucket[5m])))`, ""},
		{"buckets of what is no histogram", `rate(chatwoot_sla_polls_total_bucket[5m])`, "chatwoot_sla_polls_total_bucket"},
		{"a subquery", `max_over_time((time() - chatwoot_sla_poll_last_success_timestamp_seconds)[1h:1m])`, ""},
		{"a recording rule", `chatwoot:recorded:rate5m{probe="rails_health"}`, ""},
		{"what is no expression", `sum(`, "parse error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := c.Vet(tt.expr)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Vet(%s) = %v, want an error with %q", tt.expr, err, tt.want)
			}
		})
	}
}
