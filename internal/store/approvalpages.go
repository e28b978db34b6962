package store

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/pipeline"
)

// ApprovalPage selects a part of a list of items.
type ApprovalPage struct {
	States      []pipeline.State // empty: any
	Since       time.Time        // of their last change; zero: ever
	Skip, Limit int
}

// ApprovalPage returns items: those that wait for a decision in the order in
// which answers are owed, any others with the last change first.
func (r *Reader) ApprovalPage(ctx context.Context, p ApprovalPage) (items []pipeline.Item, err error) {
	err = r.do(ctx, opApprovalRead, "read a page of the approval queue", func() error {
		var (
			where []string
			args  []any
		)
		if !p.Since.IsZero() {
			where, args = append(where, `changed_at >= $1`), append(args, p.Since.UnixMicro())
		}
		// States stand in the text so that SQLite sees which index will do. They
		// are ours.
		var states []string
		for _, s := range p.States {
			if _, err := pipeline.ParseState(string(s)); err != nil {
				return err
			}
			states = append(states, `state = '`+string(s)+`'`)
		}
		if len(states) > 0 {
			where = append(where, `(`+strings.Join(states, ` OR `)+`)`)
		}
		query := `SELECT ` + itemColumns + ` FROM main.approval_queue`
		if len(where) > 0 {
			query += ` WHERE ` + strings.Join(where, ` AND `)
		}
		order := `changed_at DESC, message DESC`
		if slices.Equal(p.States, []pipeline.State{pipeline.Pending}) {
			order = `deadline_at, message`
		}
		query += ` ORDER BY ` + order + ` LIMIT ` + strconv.Itoa(p.Limit) + ` OFFSET ` + strconv.Itoa(p.Skip)
		rows, err := r.db.QueryContext(ctx, r.sql(query), args...)
		if err != nil {
			return err
		}
		items, err = scanItems(rows)
		return err
	})
	return items, err
}
