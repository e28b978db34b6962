package store

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// The values of the "operation" label.
const (
	opOpen        = "open"
	opLedgerRead  = "ledger_read"
	opLedgerWrite = "ledger_write"
	opProbeRead   = "probe_read"
	opProbeWrite  = "probe_write"
	opStateRead   = "state_read" // hand-offs, inboxes and single values
	opStateWrite  = "state_write"
	opBackup      = "backup"

	opWebhookRead   = "webhook_read"
	opWebhookWrite  = "webhook_write"
	opMaintenance   = "maintenance" // windows opened by hand, and checklists
	opIncidentRead  = "incident_read"
	opIncidentWrite = "incident_write"
	opApprovalRead  = "approval_read"
	opApprovalWrite = "approval_write"
)

// newErrors returns the counter of a registry: a database that could not be
// opened at first is opened again, and goes on counting.
func newErrors(reg prometheus.Registerer) *prometheus.CounterVec {
	errs := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "chatwoot_sla_store_errors_total",
		Help: "Operations that the database refused or did not finish.",
	}, []string{"operation"})
	for _, op := range []string{
		opOpen, opLedgerRead, opLedgerWrite, opProbeRead, opProbeWrite, opStateRead, opStateWrite, opBackup, opApprovalRead, opApprovalWrite,
		opWebhookRead, opWebhookWrite,
		opMaintenance, opIncidentRead, opIncidentWrite,
	} {
		errs.WithLabelValues(op)
	}
	if reg == nil {
		return errs
	}
	err := reg.Register(errs)
	if known, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if counter, ours := known.ExistingCollector.(*prometheus.CounterVec); ours {
			return counter
		}
	}
	if err != nil {
		panic(err) // as MustRegister would: the name is taken by somebody else
	}
	return errs
}
