package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"
)

// Delivery is a webhook that is to be processed.
type Delivery struct {
	ID           string // Chatwoot's, of the attempt; empty: it named none
	Key          string // the same whenever Chatwoot tells of the same event
	Conversation int64
	Message      int64  // 0 when it is about the conversation
	Status       string // of the conversation, after the event
	UpdatedAt    time.Time
	ReceivedAt   time.Time
	Missed       bool // no webhook came; a poll found it
}

// AcceptDeliveries keeps those deliveries that were not kept before, and says
// which they are. With is called with their places, in the transaction that
// keeps them; what it writes is kept with them or not at all.
func (s *Store) AcceptDeliveries(ctx context.Context, ds []Delivery, with func(*sql.Tx, []int) error) (fresh []bool, err error) {
	err = s.write(ctx, opWebhookWrite, "keep webhooks", func(tx *sql.Tx) error {
		fresh = make([]bool, len(ds))
		place := make(map[string]int, len(ds))
		for i, d := range slices.Backward(ds) {
			place[d.Key] = i
		}
		// Replicas may keep the same deliveries at the same time, and each waits
		// for the other's rows: all of them insert in one order.
		inOrder := slices.SortedStableFunc(slices.Values(ds), func(a, b Delivery) int { return cmp.Compare(a.Key, b.Key) })
		const columns = 8
		args := make([]any, 0, columns*len(ds))
		for _, d := range inOrder {
			args = append(args, text(d.Key), nullable(text(d.ID)), d.Conversation, d.Message, text(d.Status),
				micros(d.UpdatedAt), micros(d.ReceivedAt), d.Missed)
		}
		rows, err := tx.QueryContext(ctx, s.sql(`INSERT INTO main.deliveries
			(event_key, delivery_id, conversation, message, status, updated_at, received_at, missed)
			VALUES `+placeholders(len(ds), columns)+` ON CONFLICT DO NOTHING RETURNING event_key`), args...)
		if err != nil {
			return err
		}
		var places []int
		for rows.Next() {
			var key string
			if err := rows.Scan(&key); err != nil {
				return errors.Join(err, rows.Close())
			}
			fresh[place[key]] = true
			places = append(places, place[key])
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		slices.Sort(places)
		return with(tx, places)
	})
	if err != nil {
		return nil, err
	}
	return fresh, nil
}

// MissingDeliveries returns those of some keys that were never kept, in their
// order.
func (r *Reader) MissingDeliveries(ctx context.Context, keys []string) ([]string, error) {
	known := map[string]bool{}
	err := r.do(ctx, opWebhookRead, "look for webhooks", func() error {
		for part := range slices.Chunk(keys, rowsAtOnce) {
			args := make([]any, len(part))
			for i, key := range part {
				args[i] = text(key)
			}
			err := r.keys(ctx, known, `SELECT event_key FROM main.deliveries WHERE event_key IN `+placeholders(1, len(part)), args...)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return known[key] }), nil
}

func (r *Reader) keys(ctx context.Context, into map[string]bool, query string, args ...any) error {
	rows, err := r.db.QueryContext(ctx, r.sql(query), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return err
		}
		into[key] = true
	}
	return rows.Err()
}

// PruneWebhooks forgets the deliveries from before an instant, which would be
// taken for new ones if they came again, and what was counted on days before.
func (s *Store) PruneWebhooks(ctx context.Context, before time.Time) error {
	return s.write(ctx, opWebhookWrite, "prune webhooks", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, s.sql(`DELETE FROM main.deliveries WHERE received_at < $1`), micros(before))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, s.sql(`DELETE FROM main.webhook_counts WHERE day < $1`), before.UTC().Format(time.DateOnly))
		return err
	})
}

// WebhookCount names something that is counted by day.
type WebhookCount struct{ Day, Name, Label string }

// AddWebhookCounts adds to what was counted.
func (s *Store) AddWebhookCounts(ctx context.Context, counts map[WebhookCount]int64) error {
	if len(counts) == 0 {
		return nil
	}
	return s.write(ctx, opWebhookWrite, "count webhooks", func(tx *sql.Tx) error {
		for _, c := range sortedCounts(counts) {
			if _, err := tx.ExecContext(ctx, s.sql(`INSERT INTO main.webhook_counts AS w (day, name, label, count) VALUES ($1, $2, $3, $4)
				ON CONFLICT (day, name, label) DO UPDATE SET count = w.count + EXCLUDED.count`),
				c.Day, c.Name, text(c.Label), counts[c]); err != nil {
				return err
			}
		}
		return nil
	})
}

// sortedCounts returns the keys in the order in which every replica writes
// them.
func sortedCounts(counts map[WebhookCount]int64) []WebhookCount {
	keys := make([]WebhookCount, 0, len(counts))
	for c := range counts {
		keys = append(keys, c)
	}
	slices.SortFunc(keys, func(a, b WebhookCount) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Label, b.Label))
	})
	return keys
}

// WebhookCounts returns what was counted on a day.
func (r *Reader) WebhookCounts(ctx context.Context, day string) (map[WebhookCount]int64, error) {
	counts := map[WebhookCount]int64{}
	err := r.do(ctx, opWebhookRead, "read the counts of webhooks", func() error {
		rows, err := r.db.QueryContext(ctx, r.sql(`SELECT name, label, count FROM main.webhook_counts WHERE day = $1`), day)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			c := WebhookCount{Day: day}
			var n int64
			if err := rows.Scan(&c.Name, &c.Label, &n); err != nil {
				return err
			}
			counts[c] = n
		}
		return rows.Err()
	})
	return counts, err
}

// BeginWebhooks notes when webhooks were first received, unless that is known,
// and returns what is known. Nothing from before was missed.
func (s *Store) BeginWebhooks(ctx context.Context, at time.Time) (time.Time, error) {
	return s.begin(ctx, metaWebhooksBegan, at)
}
