package app

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/net/netutil"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/monitor"
	"github.com/hotdash/chatwoot-sla/internal/pipeline"
	"github.com/hotdash/chatwoot-sla/internal/queue"
	"github.com/hotdash/chatwoot-sla/internal/store"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

// The stages of jobs.
const (
	stageSettle  = "settle"  // asks Chatwoot
	stageForward = "forward" // WEBHOOK_FORWARD_URL
)

// stageNames has all stages, also those that are off.
var stageNames = []string{stageSettle, stageForward, stageDraft, stageNote, stageReply}

const (
	// A stage fetches as many jobs as it has workers ten times a second, on
	// Postgres four times, so these also bound how many a second can be done.
	// Chatwoot is spared by the client's budget, and by the polls that come first.
	settleWorkers  = 16
	forwardWorkers = 32

	// deliveriesAtOnce is how many deliveries share a commit at most.
	deliveriesAtOnce = 128

	// webhooksKept is how long a delivery is known again. The counts of a day are
	// needed the day after.
	webhooksKept = 30 * 24 * time.Hour

	restartAfter = 10 * time.Second // a queue that did not start
)

// queueEngine says which database holds the jobs.
func queueEngine(cfg config.Config) queue.Engine {
	return queue.Engine{Postgres: cfg.DatabaseURL.IsSet(), Schema: store.Schema}
}

// HoldJobs stops the work that webhooks ask for, or lets it go on; they are
// taken in all the same.
func (a *App) HoldJobs(on bool) { a.webhooks.queue.Pause(on) }

// webhooks is everything between Chatwoot's deliveries and what is done about
// them.
type webhooks struct {
	cfg     config.Config
	books   *books
	queue   *queue.Queue
	forward *webhook.Forwarder // nil: nobody wants them
	drafts  *drafts            // nil: off
	finder  *webhook.Finder    // nil: webhooks are not received
	days    *webhookDays
	log     *zap.Logger
	after   func(time.Duration) <-chan time.Time
	now     func() time.Time

	accepts  chan acceptance
	listener net.Listener
	server   *http.Server
}

// settleArgs is the job that makes known, and records, what became of a
// conversation.
type settleArgs struct {
	Conversation int64     `json:"conversation"`
	ReceivedAt   time.Time `json:"received_at"`
}

func (settleArgs) Kind() string { return "settle" }

// forwardArgs is the job that passes a webhook on. The body is as it came, to
// the byte.
type forwardArgs struct {
	Key          string `json:"key"`
	Conversation int64  `json:"conversation"` // by which a purge finds it
	Body         string `json:"body"`
}

func (forwardArgs) Kind() string { return "forward" }

func newWebhooks(cfg config.Config, o Options, b *books, m *monitor.Monitor, client *chatwoot.Client, drafting *drafts, reg prometheus.Registerer) (*webhooks, error) {
	w := &webhooks{
		cfg: cfg, books: b, log: o.Logger.Named("webhooks"), after: o.After, now: o.Now,
		accepts: make(chan acceptance), drafts: drafting,
	}
	own := prometheus.NewRegistry() // what the days are counted from
	w.days = &webhookDays{
		books: b, metrics: own, zone: cfg.ReportZone.Location, now: o.Now, after: o.After, log: w.log,
		unsaved: map[store.WebhookCount]int64{},
	}
	handlers := queue.NewHandlers()
	stages := []queue.Stage{{Name: stageSettle, Workers: settleWorkers}}
	queue.Handle(handlers, stageSettle, func(ctx context.Context, j queue.Job[settleArgs]) error { return settle(ctx, m, j.Args) })
	if cfg.WebhookForwardURL != "" {
		to, err := url.Parse(cfg.WebhookForwardURL)
		if err != nil {
			return nil, errors.New("WEBHOOK_FORWARD_URL is not an address") // config has parsed it
		}
		w.forward = &webhook.Forwarder{URL: to, Secret: cfg.WebhookForwardSecret.Reveal(), UserAgent: "chatwoot-sla/" + o.Version, Now: o.Now}
		stages = append(stages, queue.Stage{Name: stageForward, Workers: forwardWorkers})
		queue.Handle(handlers, stageForward, func(ctx context.Context, j queue.Job[forwardArgs]) error {
			return judgeForward(w.forward.Send(ctx, j.Args.Key, []byte(j.Args.Body)))
		})
	}
	if w.drafts != nil {
		stages = append(stages, w.drafts.handle(handlers)...)
	} else { // what is left of when they were on
		queue.Handle(handlers, stageSettle, func(ctx context.Context, j queue.Job[pipeline.CancelJob]) error {
			_, err := cancelResolved(ctx, b, j)
			return err
		})
	}
	var err error
	w.queue, err = queue.New(queue.Options{
		Engine: queueEngine(cfg), Stages: stages, Handlers: handlers, Logger: o.Logger.Named("queue"), Registerer: own,
	})
	if err != nil {
		return nil, err
	}
	if w.drafts != nil {
		w.drafts.queue = w.queue
	}
	handler, err := webhook.New(webhook.Options{
		AccountID:  cfg.AccountID,
		Inbox:      w,
		Form:       webhook.Form(cfg.WebhookSignature),
		Secrets:    cfg.WebhookSecret.Parts(),
		PathToken:  cfg.WebhookPathToken.Reveal(),
		MaxBytes:   cfg.WebhookMaxBytes,
		Hint:       m.Hint,
		ClockSkew:  client.ClockSkew,
		Now:        o.Now,
		Logger:     w.log,
		Registerer: own,
	})
	if err != nil {
		return nil, err
	}
	if handler.Configured() {
		w.finder = webhook.NewFinder(webhook.FinderOptions{
			AccountID:  cfg.AccountID,
			Inbox:      w,
			Candidates: func() []webhook.Candidate { return candidates(m.Picture().Unanswered) },
			Missing:    w.missing,
			History:    client.For(chatwoot.Lookup).History,
			Began:      w.began(m.ServerNow),
			Now:        m.ServerNow,
			After:      o.After,
			Logger:     w.log,
			Registerer: own,
		})
	}
	reg.MustRegister(own)
	w.server = handler.Server()
	return w, nil
}

// listen opens the listener that has nothing on it but webhooks.
func (w *webhooks) listen() error {
	l, err := net.Listen("tcp", w.cfg.WebhookListenAddr)
	if err != nil {
		return fmt.Errorf("listen on WEBHOOK_LISTEN_ADDR: %w; is another chatwoot-sla running?", err)
	}
	w.listener = netutil.LimitListener(l, webhook.MaxConnections)
	return nil
}

// settle reads a conversation, unless a poll has done so since the webhook
// came.
func settle(ctx context.Context, m *monitor.Monitor, args settleArgs) error {
	if m.Picture().SyncedAt.After(args.ReceivedAt) {
		return nil
	}
	err := m.Settle(ctx, args.Conversation)
	var e *chatwoot.Error
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case e.Kind == chatwoot.Throttled:
		return queue.RetryAfter(err, e.RetryAfter)
	case e.Temporary():
		return queue.Down(err)
	}
	return err
}

// judgeForward says what an error of the Forwarder means to the job.
func judgeForward(err error) error {
	e, ok := errors.AsType[*webhook.ForwardError](err)
	switch {
	case !ok:
		return err
	case e.RetryAfter > 0:
		return queue.RetryAfter(err, e.RetryAfter)
	case e.Down():
		return queue.Down(err)
	}
	return err
}

// jobs returns what is to be done about a delivery.
func (w *webhooks) jobs(d webhook.Delivery) []queue.Args {
	jobs := []queue.Args{settleArgs{Conversation: d.ConversationID, ReceivedAt: d.ReceivedAt}}
	if w.forward != nil {
		jobs = append(jobs, forwardArgs{Key: d.Key, Conversation: d.ConversationID, Body: string(d.Body)})
	}
	if w.drafts != nil {
		jobs = append(jobs, w.drafts.jobs(d)...)
	}
	return jobs
}

// acceptance is a delivery that waits for its commit.
type acceptance struct {
	delivery webhook.Delivery
	answer   chan<- acceptanceAnswer // has room for the answer
}

type acceptanceAnswer struct {
	fresh bool
	err   error
}

// Accept implements webhook.Inbox.
func (w *webhooks) Accept(ctx context.Context, d webhook.Delivery) (fresh bool, err error) {
	select { // Chatwoot will not come again, so the start is worth a wait
	case <-w.books.tried:
	case <-ctx.Done():
		return false, errNotOpen
	}
	answer := make(chan acceptanceAnswer, 1)
	select {
	case w.accepts <- acceptance{d, answer}:
	case <-ctx.Done():
		return false, fmt.Errorf("wait for the database: %w", ctx.Err())
	}
	select {
	case a := <-answer:
		return a.fresh, a.err
	case <-ctx.Done():
		return false, fmt.Errorf("wait for the database: %w", ctx.Err())
	}
}

// commit keeps what Accept is given until done is closed. A commit costs the
// same for one as for many, so those that came during one share the next.
func (w *webhooks) commit(done <-chan struct{}) {
	var batch []acceptance
	for {
		select {
		case a := <-w.accepts:
			batch = append(batch[:0], a)
		case <-done:
			return
		}
	gather:
		for len(batch) < deliveriesAtOnce {
			select {
			case a := <-w.accepts:
				batch = append(batch, a)
			default:
				break gather
			}
		}
		fresh, err := w.keep(batch)
		for i, a := range batch {
			answer := acceptanceAnswer{err: err}
			if err == nil {
				answer.fresh = fresh[i]
			}
			a.answer <- answer
		}
		clear(batch) // bodies are long
	}
}

// keep writes deliveries and their jobs in one transaction.
func (w *webhooks) keep(batch []acceptance) ([]bool, error) {
	db, err := w.books.store()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	rows := make([]store.Delivery, len(batch))
	for i, a := range batch {
		d := a.delivery
		rows[i] = store.Delivery{
			ID: d.ID, Key: d.Key, Conversation: d.ConversationID, Message: d.MessageID, Status: string(d.Status),
			UpdatedAt: d.UpdatedAt, ReceivedAt: d.ReceivedAt, Missed: d.Missed,
		}
	}
	return db.AcceptDeliveries(ctx, rows, func(tx *sql.Tx, fresh []int) error {
		var jobs []queue.Args
		for _, i := range fresh {
			jobs = append(jobs, w.jobs(batch[i].delivery)...)
		}
		return w.queue.InsertTx(ctx, tx, jobs...)
	})
}

// serve takes deliveries in until ctx ends, and lets those in hand finish.
func (w *webhooks) serve(ctx context.Context) error {
	done, committed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(committed)
		w.commit(done)
	}()
	defer func() {
		close(done)
		<-committed
	}()
	shut := make(chan error, 1)
	stopped := context.AfterFunc(ctx, func() {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.cfg.ShutdownTimeout)
		defer cancel()
		shut <- w.server.Shutdown(limit)
	})
	err := w.server.Serve(w.listener)
	if errors.Is(err, http.ErrServerClosed) {
		return <-shut
	}
	stopped()
	return err
}

// work runs the queue on the database, once that is open.
func (w *webhooks) work(ctx context.Context) error {
	for ctx.Err() == nil {
		db, err := w.opened(ctx)
		if err == nil {
			err = db.Ready(ctx)
		}
		if err == nil {
			err = w.queue.Run(ctx, db.Writer())
		}
		if err == nil || ctx.Err() != nil {
			return nil
		}
		w.log.Warn("jobs are not worked; it is tried again", zap.Error(err))
		select {
		case <-ctx.Done():
		case <-time.After(restartAfter):
		}
	}
	return nil
}

// count counts the jobs, also while the queue does not start.
func (w *webhooks) count(ctx context.Context) error {
	db, err := w.opened(ctx)
	if err == nil {
		w.queue.Count(ctx, db.Database())
	}
	return nil
}

// opened waits for the database to be open. The books say why it is not.
func (w *webhooks) opened(ctx context.Context) (*store.Store, error) {
	for {
		db, err := w.books.store()
		if err == nil {
			return db, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// find looks for missed messages until ctx ends.
func (w *webhooks) find(ctx context.Context) error {
	if w.finder == nil {
		<-ctx.Done()
		return nil
	}
	return w.finder.Run(ctx)
}

func (w *webhooks) missing(ctx context.Context, keys []string) ([]string, error) {
	db, err := w.books.store()
	if err != nil {
		return nil, err
	}
	return db.MissingDeliveries(ctx, keys)
}

// began returns a function that tells when webhooks were first received.
func (w *webhooks) began(now func() time.Time) func(context.Context) (time.Time, error) {
	var known time.Time
	return func(ctx context.Context) (time.Time, error) {
		if !known.IsZero() {
			return known, nil
		}
		db, err := w.books.store()
		if err != nil {
			return time.Time{}, err
		}
		known, err = db.BeginWebhooks(ctx, now())
		return known, err
	}
}

func candidates(unanswered []monitor.Unanswered) []webhook.Candidate {
	list := make([]webhook.Candidate, len(unanswered))
	for i, u := range unanswered {
		list[i] = webhook.Candidate(u)
	}
	return list
}
