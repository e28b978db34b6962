package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/pipeline"
)

// With is what else is written in the transaction of an operation, or not at
// all. Nil: nothing.
type With func(ctx context.Context, tx *sql.Tx) error

func (w With) do(ctx context.Context, tx *sql.Tx) error {
	if w == nil {
		return nil
	}
	return w(ctx, tx)
}

// SaveDraft keeps a draft whose note is to be posted.
func (s *Store) SaveDraft(ctx context.Context, d pipeline.Drafted, at time.Time, with With) error {
	doc, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encode a draft: %w", err)
	}
	return s.write(ctx, opApprovalWrite, "keep a draft", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, s.sql(`INSERT INTO main.drafts (message, conversation, document, created_at)
			VALUES ($1, $2, $3, $4) ON CONFLICT (message) DO NOTHING`), d.Message, d.Conversation, text(string(doc)), micros(at)); err != nil {
			return err
		}
		return with.do(ctx, tx)
	})
}

// Draft returns a draft that was kept, and since when its note may have been
// posted.
func (r *Reader) Draft(ctx context.Context, message int64) (d pipeline.Drafted, posting time.Time, found bool, err error) {
	err = r.do(ctx, opApprovalRead, "read a draft", func() error {
		var (
			doc   string
			since sql.Null[int64]
		)
		err := r.db.QueryRowContext(ctx, r.sql(`SELECT document, posting_at FROM main.drafts WHERE message = $1`), message).Scan(&doc, &since)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		found, posting = true, instant(since)
		return json.Unmarshal([]byte(doc), &d)
	})
	return d, posting, found, err
}

// PostingNote keeps since when the note of a draft may have been posted; zero:
// it was certainly not. It was on record as was, or nothing is changed.
func (s *Store) PostingNote(ctx context.Context, message int64, was, since time.Time) (kept bool, err error) {
	return s.attempt(ctx, "keep an attempt to post a note", `UPDATE main.drafts SET posting_at = $1
		WHERE message = $2 AND posting_at IS NOT DISTINCT FROM $3`, message, was, since)
}

// attempt replaces what is on record of an attempt to post.
func (s *Store) attempt(ctx context.Context, words, query string, message int64, was, since time.Time) (kept bool, err error) {
	err = s.write(ctx, opApprovalWrite, words, func(tx *sql.Tx) error {
		kept, err = changed(tx.ExecContext(ctx, s.sql(query), micros(since), message, micros(was)))
		return err
	})
	return kept && err == nil, err
}

// changed reports whether a statement has changed a row.
func changed(res sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// DropDraft forgets a draft.
func (s *Store) DropDraft(ctx context.Context, message int64, with With) error {
	return s.write(ctx, opApprovalWrite, "forget a draft", func(tx *sql.Tx) error {
		if err := s.dropDraft(ctx, tx, message); err != nil {
			return err
		}
		return with.do(ctx, tx)
	})
}

func (s *Store) dropDraft(ctx context.Context, tx *sql.Tx, message int64) error {
	_, err := tx.ExecContext(ctx, s.sql(`DELETE FROM main.drafts WHERE message = $1`), message)
	return err
}

const itemColumns = `message, conversation, inbox, contact, customer_message, draft, confidence, action, sources, tags,
	sentiment, urgency, fallback, problem, priority, urgent_at, deadline_at, state, note, created_at, expires_at, changed_at,
	decision, decided_by, decided_at, reply, attempted_at, reply_message, sent_at, reason`

// PutApproval queues an item and forgets its draft. Fresh is false if there was
// an item of the same message, which stays as it is.
func (s *Store) PutApproval(ctx context.Context, it pipeline.Item, with With) (fresh bool, err error) {
	sources, err := json.Marshal(it.Sources)
	if err != nil {
		return false, fmt.Errorf("encode sources: %w", err)
	}
	tags, err := json.Marshal(it.Tags)
	if err != nil {
		return false, fmt.Errorf("encode tags: %w", err)
	}
	err = s.write(ctx, opApprovalWrite, "queue an item for approval", func(tx *sql.Tx) error {
		args := []any{
			it.Message, it.Conversation, it.Inbox, text(it.Contact), text(it.Question), text(it.Draft), it.Confidence, string(it.Action),
			text(string(sources)), text(string(tags)), text(it.Sentiment), text(it.Urgency), it.Fallback, string(it.Problem),
			string(it.Priority), micros(it.UrgentAt), it.Deadline.UnixMicro(), string(it.State), it.Note,
			it.CreatedAt.UnixMicro(), it.ExpiresAt.UnixMicro(), it.CreatedAt.UnixMicro(),
			string(it.Decision), text(it.DecidedBy), micros(it.DecidedAt), text(it.Reply), micros(it.AttemptedAt),
			nullID(it.ReplyID), micros(it.SentAt), text(it.Reason),
		}
		fresh, err = changed(tx.ExecContext(ctx, s.sql(`INSERT INTO main.approval_queue (`+itemColumns+`) VALUES `+
			placeholders(1, len(args))+` ON CONFLICT (message) DO NOTHING`), args...))
		if err != nil {
			return err
		}
		if err := s.dropDraft(ctx, tx, it.Message); err != nil {
			return err
		}
		return with.do(ctx, tx)
	})
	return fresh, err
}

func nullID(id int64) any {
	if id == 0 {
		return nil
	}
	return id
}

// row is a *sql.Row or *sql.Rows.
type row interface{ Scan(...any) error }

func scanItem(r row) (it pipeline.Item, err error) {
	var (
		sources, tags, action, problem, priority, state, decision string
		deadline, created, expires, changed                       int64
		urgent, decided, attempted, reply, sent                   sql.Null[int64]
	)
	if err := r.Scan(&it.Message, &it.Conversation, &it.Inbox, &it.Contact, &it.Question, &it.Draft, &it.Confidence, &action,
		&sources, &tags, &it.Sentiment, &it.Urgency, &it.Fallback, &problem, &priority, &urgent, &deadline, &state, &it.Note,
		&created, &expires, &changed, &decision, &it.DecidedBy, &decided, &it.Reply, &attempted, &reply, &sent, &it.Reason); err != nil {
		return it, err
	}
	it.Action, it.Problem, it.Priority = pipeline.Action(action), pipeline.Problem(problem), pipeline.Priority(priority)
	it.State, it.Decision = pipeline.State(state), pipeline.Decision(decision)
	it.UrgentAt, it.DecidedAt, it.AttemptedAt, it.SentAt = instant(urgent), instant(decided), instant(attempted), instant(sent)
	it.ReplyID = reply.V
	it.Deadline, it.CreatedAt = time.UnixMicro(deadline).UTC(), time.UnixMicro(created).UTC()
	it.ExpiresAt, it.ChangedAt = time.UnixMicro(expires).UTC(), time.UnixMicro(changed).UTC()
	if err := json.Unmarshal([]byte(sources), &it.Sources); err != nil {
		return it, fmt.Errorf("the sources of message %d are no JSON: %w", it.Message, err)
	}
	if err := json.Unmarshal([]byte(tags), &it.Tags); err != nil {
		return it, fmt.Errorf("the tags of message %d are no JSON: %w", it.Message, err)
	}
	return it, nil
}

func scanItems(rows *sql.Rows) (items []pipeline.Item, err error) {
	defer rows.Close()
	for rows.Next() {
		it, err := scanItem(rows)
		if err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	return items, rows.Err()
}

// Approvals returns the items that a filter selects.
func (r *Reader) Approvals(ctx context.Context, f pipeline.ItemFilter) (items []pipeline.Item, err error) {
	err = r.do(ctx, opApprovalRead, "read the approval queue", func() error {
		var (
			where []string
			args  []any
		)
		// States stand in the text, so that SQLite sees which index will do. They
		// are ours.
		var states []string
		for _, s := range f.States {
			if _, err := pipeline.ParseState(string(s)); err != nil {
				return err
			}
			states = append(states, `state = '`+string(s)+`'`)
		}
		if len(states) > 0 {
			where = append(where, `(`+strings.Join(states, ` OR `)+`)`)
		}
		if f.Conversation != 0 {
			args = append(args, f.Conversation)
			where = append(where, fmt.Sprintf(`conversation = $%d`, len(args)))
		}
		if !f.Since.IsZero() {
			args = append(args, f.Since.UnixMicro())
			where = append(where, fmt.Sprintf(`changed_at >= $%d`, len(args)))
		}
		query := `SELECT ` + itemColumns + ` FROM main.approval_queue`
		if len(where) > 0 {
			query += ` WHERE ` + strings.Join(where, ` AND `)
		}
		if f.LastChanged {
			query += ` ORDER BY changed_at DESC, message DESC`
		} else {
			query += ` ORDER BY deadline_at, message`
		}
		if f.Limit > 0 {
			query += fmt.Sprintf(` LIMIT %d OFFSET %d`, f.Limit, f.Skip)
		}
		rows, err := r.db.QueryContext(ctx, r.sql(query), args...)
		if err != nil {
			return err
		}
		items, err = scanItems(rows)
		return err
	})
	return items, err
}

// Approval returns the item of a message.
func (r *Reader) Approval(ctx context.Context, message int64) (it pipeline.Item, found bool, err error) {
	err = r.do(ctx, opApprovalRead, "read an item of the approval queue", func() error {
		it, err = scanItem(r.db.QueryRowContext(ctx, r.sql(`SELECT `+itemColumns+` FROM main.approval_queue WHERE message = $1`), message))
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		found = err == nil
		return err
	})
	return it, found, err
}

// ChangedApprovals returns the items that were queued or changed at or after an
// instant, in that order, without their texts. What is written at the same time
// may come to be seen in another order.
func (r *Reader) ChangedApprovals(ctx context.Context, since time.Time) (items []pipeline.Item, err error) {
	err = r.do(ctx, opApprovalRead, "read what changed in the approval queue", func() error {
		rows, err := r.db.QueryContext(ctx, r.sql(`SELECT message, conversation, state, priority, urgent_at, deadline_at, changed_at
			FROM main.approval_queue WHERE changed_at >= $1 ORDER BY changed_at, message`), since.UnixMicro())
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var (
				it                pipeline.Item
				state, priority   string
				deadline, changed int64
				urgent            sql.Null[int64]
			)
			if err := rows.Scan(&it.Message, &it.Conversation, &state, &priority, &urgent, &deadline, &changed); err != nil {
				return err
			}
			it.State, it.Priority, it.UrgentAt = pipeline.State(state), pipeline.Priority(priority), instant(urgent)
			it.Deadline, it.ChangedAt = time.UnixMicro(deadline).UTC(), time.UnixMicro(changed).UTC()
			items = append(items, it)
		}
		return rows.Err()
	})
	return items, err
}

// ApprovalDepth counts the items that wait for a decision at now.
func (r *Reader) ApprovalDepth(ctx context.Context, now time.Time) (d pipeline.Depth, err error) {
	d.Pending = map[pipeline.Priority]int{}
	err = r.do(ctx, opApprovalRead, "count the approval queue", func() error {
		rows, err := r.db.QueryContext(ctx, r.sql(`SELECT CASE WHEN priority = 'urgent' OR urgent_at <= $1 THEN 'urgent' ELSE 'normal' END AS p,
			COUNT(*), MIN(created_at) FROM main.approval_queue WHERE state = 'pending' GROUP BY 1`), now.UnixMicro())
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var (
				priority string
				n        int
				oldest   int64
			)
			if err := rows.Scan(&priority, &n, &oldest); err != nil {
				return err
			}
			d.Pending[pipeline.Priority(priority)] = n
			if t := time.UnixMicro(oldest).UTC(); d.Oldest.IsZero() || t.Before(d.Oldest) {
				d.Oldest = t
			}
		}
		return rows.Err()
	})
	return d, err
}

// WaitingApprovals returns the messages of the items that wait for a decision,
// by conversation.
func (r *Reader) WaitingApprovals(ctx context.Context) (messages map[int64][]int64, err error) {
	messages = map[int64][]int64{}
	err = r.do(ctx, opApprovalRead, "read what waits for approval", func() error {
		rows, err := r.db.QueryContext(ctx, r.sql(`SELECT conversation, message FROM main.approval_queue WHERE state = 'pending' ORDER BY conversation, message`))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var conversation, message int64
			if err := rows.Scan(&conversation, &message); err != nil {
				return err
			}
			messages[conversation] = append(messages[conversation], message)
		}
		return rows.Err()
	})
	return messages, err
}

// OwnReplies returns the replies of a conversation that were sent, or may have
// been.
func (r *Reader) OwnReplies(ctx context.Context, conversation int64) (ours []pipeline.OwnReply, err error) {
	err = r.do(ctx, opApprovalRead, "read the approved replies of a conversation", func() error {
		rows, err := r.db.QueryContext(ctx, r.sql(`SELECT message, reply_message, reply, attempted_at FROM main.approval_queue
			WHERE conversation = $1 AND (reply_message IS NOT NULL OR attempted_at IS NOT NULL AND state IN ('sending', 'unknown', 'settled'))`), conversation)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var (
				o         pipeline.OwnReply
				id, since sql.Null[int64]
			)
			if err := rows.Scan(&o.Message, &id, &o.Text, &since); err != nil {
				return err
			}
			o.ID, o.Since = id.V, instant(since)
			ours = append(ours, o)
		}
		return rows.Err()
	})
	return ours, err
}

// Decided is a decision of a person.
type Decided struct {
	Message  int64
	Decision pipeline.Decision
	State    pipeline.State // that it leads to
	By       string
	At       time.Time
	Reply    string // to send; empty: none
	Reason   string
}

// DecideApproval takes a decision about an item that waits for one. Of several
// at the same time one is taken; for the others taken is false, and the item is
// as the first has left it. A zero item was never there.
func (s *Store) DecideApproval(ctx context.Context, d Decided, with With) (it pipeline.Item, taken bool, err error) {
	return s.decide(ctx, d.Message, "decide about an item", with, `UPDATE main.approval_queue
		SET decision = $1, state = $2, decided_by = $3, decided_at = $4, reply = $5, reason = $6, changed_at = $7, attempted_at = NULL
		WHERE message = $8 AND ((state = 'pending' AND expires_at > $9) OR state = 'failed')`,
		string(d.Decision), string(d.State), text(d.By), d.At.UnixMicro(), text(d.Reply), text(d.Reason), d.At.UnixMicro(), d.Message, d.At.UnixMicro())
}

// SettleApproval keeps that somebody has looked after a reply that may not have
// been sent. Taken is false if the item is in another state.
func (s *Store) SettleApproval(ctx context.Context, message int64, by string, at time.Time) (it pipeline.Item, taken bool, err error) {
	return s.decide(ctx, message, "settle an item", nil, `UPDATE main.approval_queue
		SET state = 'settled', reason = $1, changed_at = $2 WHERE message = $3 AND state = 'unknown'`,
		text("settled by "+by), at.UnixMicro(), message)
}

// decide changes an item if it is as the query demands.
func (s *Store) decide(ctx context.Context, message int64, words string, with With, query string, args ...any) (it pipeline.Item, taken bool, err error) {
	err = s.write(ctx, opApprovalWrite, words, func(tx *sql.Tx) error {
		it, err = scanItem(tx.QueryRowContext(ctx, s.sql(query+` RETURNING `+itemColumns), args...))
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		taken = true
		return with.do(ctx, tx)
	})
	if err == nil && !taken {
		it, _, err = s.Approval(ctx, message)
	}
	return it, taken && err == nil, err
}

// SendingReply keeps since when the reply of an item may have been sent; zero:
// it was certainly not. It was on record as was, or nothing is changed.
func (s *Store) SendingReply(ctx context.Context, message int64, was, since time.Time) (kept bool, err error) {
	return s.attempt(ctx, "keep an attempt to send a reply", `UPDATE main.approval_queue SET attempted_at = $1
		WHERE message = $2 AND state = 'sending' AND attempted_at IS NOT DISTINCT FROM $3`, message, was, since)
}

// FinishReply keeps what became of the reply of an item. Kept is false if
// somebody else was first.
func (s *Store) FinishReply(ctx context.Context, message int64, o pipeline.Outcome, at time.Time, with With) (kept bool, err error) {
	var sent time.Time
	if o.State == pipeline.Sent {
		sent = at
	}
	err = s.write(ctx, opApprovalWrite, "keep what became of a reply", func(tx *sql.Tx) error {
		kept, err = changed(tx.ExecContext(ctx, s.sql(`UPDATE main.approval_queue
			SET state = $1, reply_message = $2, sent_at = $3, reason = $4, changed_at = $5
			WHERE message = $6 AND state = 'sending'`),
			string(o.State), nullID(o.Reply), micros(sent), text(o.Reason), at.UnixMicro(), message))
		if err != nil {
			return err
		}
		return with.do(ctx, tx)
	})
	return kept && err == nil, err
}

// CancelApprovals takes the items of some messages off the queue, those that
// still wait for a decision; without messages, all of a conversation up to an
// instant. It returns what it cancelled.
func (s *Store) CancelApprovals(ctx context.Context, conversation int64, messages []int64, why pipeline.Skipped, at time.Time, with With) (items []pipeline.Item, err error) {
	err = s.write(ctx, opApprovalWrite, "cancel items", func(tx *sql.Tx) error {
		query := `UPDATE main.approval_queue
			SET state = 'cancelled', decision = 'cancelled', reason = $1, decided_at = $2, changed_at = $3
			WHERE state = 'pending' AND conversation = $4`
		args := []any{string(why), at.UnixMicro(), at.UnixMicro(), conversation}
		if len(messages) == 0 {
			query += ` AND created_at <= $5`
			args = append(args, at.UnixMicro())
		} else {
			query += ` AND message IN (` + list(messages) + `)`
		}
		rows, err := tx.QueryContext(ctx, s.sql(query+` RETURNING `+itemColumns), args...)
		if err != nil {
			return err
		}
		if items, err = scanItems(rows); err != nil {
			return err
		}
		return with.do(ctx, tx)
	})
	return items, err
}

// ExpireApprovals takes the items off the queue that nobody decided in time. It
// returns them.
func (s *Store) ExpireApprovals(ctx context.Context, now time.Time) (items []pipeline.Item, err error) {
	err = s.write(ctx, opApprovalWrite, "expire items", func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, s.sql(`UPDATE main.approval_queue
			SET state = 'expired', decision = 'expired', decided_at = $1, changed_at = $2
			WHERE state = 'pending' AND expires_at <= $3 RETURNING `+itemColumns), now.UnixMicro(), now.UnixMicro(), now.UnixMicro())
		if err != nil {
			return err
		}
		items, err = scanItems(rows)
		return err
	})
	return items, err
}

// PruneApprovals deletes the items that have not changed since an instant, and
// on which nothing is to be done. Items on their way and drafts without a note
// are among them, unless they are busy: whose jobs will not come back.
func (s *Store) PruneApprovals(ctx context.Context, before time.Time, busy []int64) (n int64, err error) {
	idle := ``
	if len(busy) > 0 {
		idle = ` AND message NOT IN (` + list(busy) + `)`
	}
	n, err = s.forget(ctx, "delete old items", nil, []any{before.UnixMicro()},
		`DELETE FROM main.approval_queue WHERE changed_at < $1 AND state NOT IN ('pending', 'sending')`,
		`DELETE FROM main.approval_queue WHERE changed_at < $1 AND state = 'sending'`+idle,
		`DELETE FROM main.drafts WHERE created_at < $1`+idle,
	)
	if err != nil || n == 0 {
		return n, err
	}
	return n, s.scrub(ctx, 0)
}

// purgeWaits is how long others who use the database are waited for.
const purgeWaits = 5 * time.Second

// PurgeApprovals deletes everything that is kept of what a conversation's
// customer wrote, whatever is still to be done with it.
func (s *Store) PurgeApprovals(ctx context.Context, conversation int64, with With) (n int64, err error) {
	n, err = s.forget(ctx, "purge a conversation", with, []any{conversation},
		`DELETE FROM main.drafts WHERE conversation = $1`, `DELETE FROM main.approval_queue WHERE conversation = $1`)
	if err != nil {
		return n, err
	}
	return n, s.scrub(ctx, purgeWaits)
}

// forget deletes rows by several queries with the same arguments.
func (s *Store) forget(ctx context.Context, words string, with With, args []any, queries ...string) (n int64, err error) {
	err = s.write(ctx, opApprovalWrite, words, func(tx *sql.Tx) error {
		for _, query := range queries {
			res, err := tx.ExecContext(ctx, s.sql(query), args...)
			if err != nil {
				return err
			}
			deleted, err := res.RowsAffected()
			if err != nil {
				return err
			}
			n += deleted
		}
		return with.do(ctx, tx)
	})
	return n, err
}

// scrub takes what was deleted out of the database's log as well. Others who use
// the database are waited for; without waiting, the next time does it.
func (s *Store) scrub(ctx context.Context, wait time.Duration) error {
	return s.do(ctx, opApprovalWrite, "clear the log of what was deleted", func() error {
		waiting, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		for {
			done, err := s.engine.scrub(ctx, s.writer)
			if err != nil || done || wait == 0 {
				return err
			}
			select {
			case <-waiting.Done():
				return cmp.Or(ctx.Err(), errors.New("another program reads the database, such as a backup: do the same again when it has ended"))
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
}

// list returns ids as they stand in a query.
func list(ids []int64) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = strconv.FormatInt(id, 10)
	}
	return strings.Join(texts, ",")
}
