package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Handoff is what a restart must know of a conversation that a bot has or had.
type Handoff struct {
	Conversation int64
	PendingAt    time.Time // version of the row that was last seen pending; zero: it no longer is
	BornPending  bool      // it was never seen open
	HandedAt     time.Time // when the bot let go; zero: it has not
}

// SaveHandoffs keeps some and forgets others. The first HandedAt of a
// conversation stays, and one that any replica saw open before was not born
// pending.
func (s *Store) SaveHandoffs(ctx context.Context, keep []Handoff, forget []int64) error {
	return s.write(ctx, opStateWrite, "save hand-offs", func(tx *sql.Tx) error {
		const columns = 4
		for part := range slices.Chunk(byConversation(keep), rowsAtOnce) {
			args := make([]any, 0, columns*len(part))
			for _, h := range part {
				args = append(args, h.Conversation, micros(h.PendingAt), h.BornPending, micros(h.HandedAt))
			}
			if _, err := tx.ExecContext(ctx, s.sql(`INSERT INTO main.handoffs AS h (conversation, pending_at, born_pending, handed_at)
				VALUES `+placeholders(len(part), columns)+` ON CONFLICT (conversation) DO UPDATE SET
				pending_at = EXCLUDED.pending_at,
				born_pending = (h.born_pending AND EXCLUDED.born_pending),
				handed_at = COALESCE(h.handed_at, EXCLUDED.handed_at)`), args...); err != nil {
				return err
			}
		}
		for part := range slices.Chunk(slices.Sorted(slices.Values(forget)), rowsAtOnce) {
			args := make([]any, len(part))
			for i, id := range part {
				args[i] = id
			}
			if _, err := tx.ExecContext(ctx, s.sql(`DELETE FROM main.handoffs WHERE conversation IN `+placeholders(1, len(part))), args...); err != nil {
				return err
			}
		}
		return nil
	})
}

// byConversation returns hs in the order in which every replica writes them,
// with the last of each conversation.
func byConversation(hs []Handoff) []Handoff {
	hs = slices.Clone(hs)
	slices.Reverse(hs)
	slices.SortStableFunc(hs, func(a, b Handoff) int { return int(min(1, max(-1, a.Conversation-b.Conversation))) })
	return slices.CompactFunc(hs, func(a, b Handoff) bool { return a.Conversation == b.Conversation })
}

// Handoffs returns what SaveHandoffs has kept.
func (r *Reader) Handoffs(ctx context.Context) ([]Handoff, error) {
	var all []Handoff
	err := r.do(ctx, opStateRead, "read hand-offs", func() error {
		all = nil
		rows, err := r.db.QueryContext(ctx, r.sql(`SELECT conversation, pending_at, born_pending, handed_at FROM main.handoffs ORDER BY conversation`))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var (
				h               Handoff
				pending, handed sql.Null[int64]
			)
			if err := rows.Scan(&h.Conversation, &pending, &h.BornPending, &handed); err != nil {
				return err
			}
			h.PendingAt, h.HandedAt = instant(pending), instant(handed)
			all = append(all, h)
		}
		return rows.Err()
	})
	return all, err
}

// SaveInboxes keeps the names of inboxes. Those that are not given keep theirs:
// outcomes of long ago belong to inboxes that Chatwoot has forgotten.
func (s *Store) SaveInboxes(ctx context.Context, names map[int64]string) error {
	return s.write(ctx, opStateWrite, "save inbox names", func(tx *sql.Tx) error {
		ids := make([]int64, 0, len(names))
		for id := range names {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		for part := range slices.Chunk(ids, rowsAtOnce) {
			args := make([]any, 0, 2*len(part))
			for _, id := range part {
				args = append(args, id, text(names[id]))
			}
			if _, err := tx.ExecContext(ctx, s.sql(`INSERT INTO main.inboxes (id, name) VALUES `+placeholders(len(part), 2)+`
				ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name`), args...); err != nil {
				return err
			}
		}
		return nil
	})
}

// Inboxes returns the last known name of every inbox.
func (r *Reader) Inboxes(ctx context.Context) (map[int64]string, error) {
	names := map[int64]string{}
	err := r.do(ctx, opStateRead, "read inbox names", func() error {
		rows, err := r.db.QueryContext(ctx, r.sql(`SELECT id, name FROM main.inboxes`))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var (
				id   int64
				name string
			)
			if err := rows.Scan(&id, &name); err != nil {
				return err
			}
			names[id] = name
		}
		return rows.Err()
	})
	return names, err
}

// Names of single values.
const (
	metaAccount       = "account"
	metaLedgerFrom    = "ledger_from"
	metaSyncedTo      = "synced_to"
	metaWidgetSession = "widget_session"
	metaWebhooksBegan = "webhooks_began_at"
)

// SyncedTo returns the instant up to which everything was observed and
// recorded, by Chatwoot's clock; zero: nothing was.
func (r *Reader) SyncedTo(ctx context.Context) (time.Time, error) {
	return r.instantOf(ctx, metaSyncedTo)
}

// LedgerFrom returns the instant from which on the ledger has every outcome;
// zero: it was not begun. Of the time before, it has those of conversations that
// were still open, which are the ones that went badly.
func (r *Reader) LedgerFrom(ctx context.Context) (time.Time, error) {
	return r.instantOf(ctx, metaLedgerFrom)
}

// BeginLedger notes from which instant on the ledger will have every outcome,
// unless that is known, and returns what is known.
func (s *Store) BeginLedger(ctx context.Context, from time.Time) (time.Time, error) {
	return s.begin(ctx, metaLedgerFrom, from)
}

// begin keeps an instant unless one is kept, and returns what is kept.
func (s *Store) begin(ctx context.Context, name string, at time.Time) (began time.Time, err error) {
	err = s.do(ctx, opStateWrite, "begin "+name, func() error {
		v, err := s.setFirst(ctx, name, strconv.FormatInt(at.UnixMicro(), 10))
		if err == nil {
			began, err = parseInstant(v)
		}
		return err
	})
	return began, err
}

// WidgetSession returns the token that Chatwoot's widget gave the health probe;
// empty: none.
func (r *Reader) WidgetSession(ctx context.Context) (token string, err error) {
	err = r.do(ctx, opStateRead, "read the widget's session", func() error {
		token, err = r.value(ctx, metaWidgetSession)
		return err
	})
	return token, err
}

// SaveWidgetSession keeps the token for WidgetSession.
func (s *Store) SaveWidgetSession(ctx context.Context, token string) error {
	return s.write(ctx, opStateWrite, "save the widget's session", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, s.sql(`INSERT INTO main.meta (name, value) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value`), metaWidgetSession, text(token))
		return err
	})
}

func (r *Reader) instantOf(ctx context.Context, name string) (t time.Time, err error) {
	err = r.do(ctx, opStateRead, "read "+name, func() error {
		v, err := r.value(ctx, name)
		if err == nil {
			t, err = parseInstant(v)
		}
		return err
	})
	return t, err
}

// parseInstant reads what advance and begin write; empty is zero.
func parseInstant(v string) (time.Time, error) {
	if v == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q in the table meta is not a number of microseconds", v)
	}
	return time.UnixMicro(n).UTC(), nil
}

// value returns a single value; empty: none.
func (r *Reader) value(ctx context.Context, name string) (v string, err error) {
	err = r.db.QueryRowContext(ctx, r.sql(`SELECT value FROM main.meta WHERE name = $1`), name).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return v, err
}

// setFirst keeps a value unless there is one, and returns what is kept.
func (s *Store) setFirst(ctx context.Context, name, value string) (kept string, err error) {
	if _, err := s.writer.ExecContext(ctx, s.sql(`INSERT INTO main.meta (name, value) VALUES ($1, $2)
		ON CONFLICT (name) DO NOTHING`), name, value); err != nil {
		return "", err
	}
	return s.value(ctx, name)
}

// advance keeps an instant unless a later one is kept.
func (s *Store) advance(ctx context.Context, tx *sql.Tx, name string, t time.Time) error {
	_, err := tx.ExecContext(ctx, s.sql(`INSERT INTO main.meta AS m (name, value) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value
		WHERE CAST(EXCLUDED.value AS BIGINT) > CAST(m.value AS BIGINT)`), name, strconv.FormatInt(t.UnixMicro(), 10))
	return err
}
