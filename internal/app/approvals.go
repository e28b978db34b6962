package app

import (
	"context"
	"database/sql"
	"errors"

	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/pipeline"
	"github.com/hotdash/chatwoot-sla/internal/store"
)

// Approvals returns items of the approval queue from the database, also while a
// daemon has it.
func Approvals(ctx context.Context, cfg config.Config, f pipeline.ItemFilter) (items []pipeline.Item, err error) {
	err = withDatabase(ctx, cfg, func(db *store.Reader) error {
		items, err = db.Approvals(ctx, f)
		return err
	})
	return items, err
}

// PurgeApprovals deletes what the database keeps of a conversation: drafts,
// approvals, and jobs in any state, which may hold a webhook. It works also
// while a daemon has the database. It returns how many rows that were.
func PurgeApprovals(ctx context.Context, cfg config.Config, conversation int64) (n int64, err error) {
	db, err := store.OpenBeside(ctx, storeOptions(cfg, zap.NewNop(), nil))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var jobs int64
	n, err = db.PurgeApprovals(ctx, conversation, func(ctx context.Context, tx *sql.Tx) error {
		jobs, err = queueEngine(cfg).ForgetTx(ctx, tx, "conversation", conversation)
		return err
	})
	return n + jobs, err
}
