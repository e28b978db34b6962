package app

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/assist"
	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/monitor"
	"github.com/hotdash/chatwoot-sla/internal/pipeline"
	"github.com/hotdash/chatwoot-sla/internal/queue"
	"github.com/hotdash/chatwoot-sla/internal/sla"
	"github.com/hotdash/chatwoot-sla/internal/store"
	"github.com/hotdash/chatwoot-sla/internal/web"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

// The stages of drafts.
const (
	stageDraft = "draft" // AGENT_SDK_URL
	stageNote  = "note"  // asks Chatwoot, and writes
	stageReply = "reply" // likewise, to the customer
)

const (
	draftWorkers = 96 // they wait for a model, up to ten seconds each
	noteWorkers  = 16
	replyWorkers = 8

	// patience is for how long a message may wait for a draft while there is
	// trouble. Then a person answers without one.
	patience = 3 * time.Minute

	tidyInterval = 5 * time.Second
	tidyGathers  = 500 * time.Millisecond // how long changes wait for others, to be counted together
)

// drafts is what turns customers' messages into items of the approval queue,
// and approvals into replies.
type drafts struct {
	books    *books
	monitor  *monitor.Monitor
	pipeline *pipeline.Pipeline
	queue    *queue.Queue // set before anything runs
	metrics  *pipeline.Metrics
	close    func() // idle connections
	ttl      time.Duration
	keep     time.Duration
	log      *zap.Logger
	after    func(time.Duration) <-chan time.Time

	wake chan struct{} // of tidy

	mu      sync.Mutex
	told    chan struct{} // closed and replaced whenever an item was queued or has changed
	depth   pipeline.Depth
	counted bool
	waiting map[int64][]int64    // messages of pending items, by conversation
	looked  map[int64]time.Time  // version of a conversation's row up to which answers were looked for
	changed map[int64]rowChanged // conversations with pending items whose row has changed
	coming  map[int64]int        // items that are about to be queued, by conversation
}

type rowChanged struct {
	open    bool
	version time.Time
}

// newDrafts returns nil where drafts are off.
func newDrafts(cfg config.Config, o Options, b *books, m *monitor.Monitor, client *chatwoot.Client, reg prometheus.Registerer) (*drafts, error) {
	if cfg.LlamaIndexURL == "" || cfg.AgentSDKURL == "" {
		return nil, nil //nolint:nilnil // off is no error, and there is nothing to return
	}
	service := func(address string) (assist.Options, error) {
		u, err := url.Parse(address)
		return assist.Options{URL: u, UserAgent: "chatwoot-sla/" + o.Version, Registerer: reg}, err
	}
	knowledgeAt, err := service(cfg.LlamaIndexURL)
	if err != nil {
		return nil, errors.New("LLAMAINDEX_URL is not an address") // config has parsed it
	}
	agentAt, err := service(cfg.AgentSDKURL)
	if err != nil {
		return nil, errors.New("AGENT_SDK_URL is not an address")
	}
	knowledge, err := assist.NewKnowledge(knowledgeAt)
	if err != nil {
		return nil, err
	}
	agent, err := assist.NewAgent(agentAt)
	if err != nil {
		return nil, err
	}
	d := &drafts{
		books: b, monitor: m, ttl: cfg.ApprovalTTL, keep: cfg.ApprovalRetention, log: o.Logger.Named("drafts"), after: o.After,
		wake: make(chan struct{}, 1), told: make(chan struct{}),
		looked: map[int64]time.Time{}, changed: map[int64]rowChanged{}, coming: map[int64]int{},
	}
	d.close = func() {
		knowledge.Close()
		agent.Close()
	}
	d.metrics = pipeline.NewMetrics(reg, d.pending)
	d.pipeline, err = pipeline.New(pipeline.Options{
		Chat: &chat{client: client}, Knowledge: knowledge, Drafter: agent,
		Standing: d.standing, Ours: d.ours, TTL: cfg.ApprovalTTL, Now: m.ServerNow,
	})
	return d, err
}

// deepQueue is how many items may wait, by the runbook.
const deepQueue = 25

// approvalBacklog examines the approval queue after maintenance; nil where
// drafts are off.
func approvalBacklog(cfg config.Config) measure {
	if cfg.LlamaIndexURL == "" || cfg.AgentSDKURL == "" {
		return nil
	}
	return func(ctx context.Context, db *store.Reader) (found string, ok bool, fix string, err error) {
		depth, err := db.ApprovalDepth(ctx, time.Time{})
		waiting := 0
		for _, n := range depth.Pending {
			waiting += n
		}
		return fmt.Sprintf("%d drafts wait for approval, %d are the limit", waiting, deepQueue), waiting <= deepQueue,
			"Decide about them on the board, those first that are due first.", err
	}
}

// standing tells how a customer stands who wrote a message. What was promised
// for a first answer is what is owed for any.
func (d *drafts) standing(j pipeline.DraftJob) pipeline.Standing {
	p := d.monitor.Picture()
	st := pipeline.Standing{Inbox: j.Inbox}
	start, deadline := j.At, time.Time{}
	if p.Board != nil {
		of := func(l sla.Listed) bool { return l.ID == j.Conversation }
		for _, l := range p.Board.List(d.monitor.ServerNow(), of) {
			st.Inbox = l.Inbox
			if l.Clock.State == sla.Waiting {
				start, deadline = l.Clock.Start, l.Clock.Deadline
			}
		}
	}
	promise := p.Promises.For(st.Inbox)
	if deadline.IsZero() {
		deadline = promise.Deadline(start)
	}
	st.Deadline = deadline
	st.Level = promise.Level(sla.Clock{State: sla.Waiting, Start: start, Deadline: deadline}, d.monitor.ServerNow())
	early := promise
	early.Target -= early.Urgent
	if early.Target > 0 {
		st.UrgentAt = early.Deadline(start)
	} else {
		st.UrgentAt = start
	}
	return st
}

// ours returns the approved replies of a conversation.
func (d *drafts) ours(ctx context.Context, conversation int64) ([]pipeline.OwnReply, error) {
	db, err := d.books.store()
	if err != nil {
		return nil, err
	}
	return db.OwnReplies(ctx, conversation)
}

// jobs returns what a delivery asks of the pipeline.
func (d *drafts) jobs(w webhook.Delivery) []queue.Args {
	switch w.Reason {
	case webhook.CustomerMessage:
		j := pipeline.DraftJob{Conversation: w.ConversationID, Message: w.MessageID, At: w.ReceivedAt}
		if e, err := chatwoot.DecodeEvent(w.Body); err == nil && e.Message != nil { // it has been decoded before
			j.At = e.Message.CreatedAt
			j.Inbox = e.Conversation.InboxID
		}
		return []queue.Args{j}
	case webhook.Resolution:
		return []queue.Args{pipeline.CancelJob{Conversation: w.ConversationID, At: w.ReceivedAt}}
	}
	return nil
}

// handle takes over the jobs of the pipeline.
func (d *drafts) handle(h *queue.Handlers) []queue.Stage {
	queue.Handle(h, stageDraft, d.draft)
	queue.Handle(h, stageNote, d.undrafted) // which waits for no AGENT_SDK_URL
	queue.Handle(h, stageNote, d.note)
	queue.Handle(h, stageReply, d.reply)
	queue.Handle(h, stageSettle, d.cancel)
	return []queue.Stage{
		{Name: stageDraft, Workers: draftWorkers}, {Name: stageNote, Workers: noteWorkers}, {Name: stageReply, Workers: replyWorkers},
	}
}

// judgeStep says what an error of a step means to its job.
func judgeStep(err error) error {
	if wait, ok := errors.AsType[*pipeline.Wait](err); ok {
		if wait.Service {
			return queue.RetryAfter(err, wait.For)
		}
		return queue.Later(err, wait.For)
	}
	if _, ok := errors.AsType[*pipeline.Unavailable](err); ok {
		return queue.Down(err)
	}
	if e, ok := errors.AsType[*chatwoot.Error](err); ok {
		switch {
		case e.Kind == chatwoot.Throttled:
			return queue.RetryAfter(err, e.RetryAfter)
		case e.Temporary():
			return queue.Down(err)
		}
	}
	return err
}

func (d *drafts) draft(ctx context.Context, j queue.Job[pipeline.DraftJob]) error {
	return makeDraft(ctx, d, j, j.Args, func() (pipeline.Drafted, pipeline.Skipped, error) {
		return d.pipeline.Draft(ctx, j.Args, j.Last)
	})
}

func (d *drafts) undrafted(ctx context.Context, j queue.Job[pipeline.UndraftedJob]) error {
	of := pipeline.DraftJob(j.Args)
	return makeDraft(ctx, d, j, of, func() (pipeline.Drafted, pipeline.Skipped, error) {
		return d.pipeline.Undrafted(ctx, of)
	})
}

// makeDraft keeps what a job makes of a message, for the note.
func makeDraft[T queue.Args](ctx context.Context, d *drafts, j queue.Job[T], of pipeline.DraftJob, drafted func() (pipeline.Drafted, pipeline.Skipped, error)) error {
	db, err := d.books.store()
	if err != nil {
		return err
	}
	if _, known, err := db.Approval(ctx, of.Message); err != nil || known {
		return err // it was purged from the deliveries and came again
	}
	made, why, err := drafted()
	if err != nil {
		return judgeStep(err)
	}
	if why == "" {
		err = db.SaveDraft(ctx, made, d.monitor.ServerNow(), func(ctx context.Context, tx *sql.Tx) error {
			if err := d.queue.InsertTx(ctx, tx, pipeline.NoteJob{Conversation: made.Conversation, Message: made.Message}); err != nil {
				return err
			}
			return queue.CompleteTx(ctx, tx, j)
		})
	}
	if err == nil {
		d.metrics.Drafted(made, why)
	}
	return err
}

func (d *drafts) note(ctx context.Context, j queue.Job[pipeline.NoteJob]) error {
	db, err := d.books.store()
	if err != nil {
		return err
	}
	made, posting, found, err := db.Draft(ctx, j.Args.Message)
	if err != nil || !found { // not found: purged
		return err
	}
	// A row that is read from here on may tell of an answer that came too late
	// to be seen below.
	d.expect(made.Conversation, 1)
	defer d.expect(made.Conversation, -1)
	complete := func(ctx context.Context, tx *sql.Tx) error { return queue.CompleteTx(ctx, tx, j) }
	id, why, err := d.pipeline.Note(ctx, made, pipeline.Intent{
		Since: posting, Keep: func(ctx context.Context, was, at time.Time) (bool, error) {
			return db.PostingNote(ctx, made.Message, was, at)
		},
	})
	switch {
	case err != nil:
		return judgeStep(err)
	case why != "":
		return db.DropDraft(ctx, made.Message, complete)
	}
	fresh, err := db.PutApproval(ctx, d.pipeline.Item(made, id), complete)
	if err != nil {
		return err
	}
	if !fresh {
		d.log.Info("there was an item for this message already, which stays as it is", zap.Int64("message_id", made.Message))
	}
	d.tell()
	return nil
}

func (d *drafts) reply(ctx context.Context, j queue.Job[pipeline.ReplyJob]) error {
	db, err := d.books.store()
	if err != nil {
		return err
	}
	it, found, err := db.Approval(ctx, j.Args.Message)
	if err != nil || !found || it.State != pipeline.Sending {
		return err
	}
	outcome, err := d.pipeline.Reply(ctx, it, pipeline.Intent{
		Since: it.AttemptedAt, Keep: func(ctx context.Context, was, at time.Time) (bool, error) {
			return db.SendingReply(ctx, it.Message, was, at)
		},
	}, j.Last)
	if err != nil {
		return judgeStep(err)
	}
	kept, err := db.FinishReply(ctx, it.Message, outcome, d.monitor.ServerNow(), func(ctx context.Context, tx *sql.Tx) error {
		return queue.CompleteTx(ctx, tx, j)
	})
	if err != nil || !kept {
		return err
	}
	d.metrics.Replied(outcome)
	if outcome.State == pipeline.Unknown || outcome.State == pipeline.Failed {
		d.log.Warn("an approved reply needs somebody to look at it", zap.Int64("conversation_id", it.Conversation),
			zap.Int64("message_id", it.Message), zap.String("state", string(outcome.State)))
	}
	d.tell()
	return nil
}

func (d *drafts) cancel(ctx context.Context, j queue.Job[pipeline.CancelJob]) error {
	items, err := cancelResolved(ctx, d.books, j)
	d.over(items)
	return err
}

// cancelResolved cancels the items of a conversation that was resolved.
func cancelResolved(ctx context.Context, b *books, j queue.Job[pipeline.CancelJob]) ([]pipeline.Item, error) {
	db, err := b.store()
	if err != nil {
		return nil, err
	}
	return db.CancelApprovals(ctx, j.Args.Conversation, nil, pipeline.Resolved, j.Args.At, func(ctx context.Context, tx *sql.Tx) error {
		return queue.CompleteTx(ctx, tx, j)
	})
}

// over counts items that no longer wait.
func (d *drafts) over(items []pipeline.Item) {
	for _, it := range items {
		d.metrics.Decided(it)
	}
	if len(items) > 0 {
		d.tell()
	}
}

// tell wakes whoever shows the queue.
func (d *drafts) tell() {
	d.mu.Lock()
	close(d.told)
	d.told = make(chan struct{})
	d.mu.Unlock()
	d.poke()
}

func (d *drafts) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// nextChange returns a channel that is closed when the queue changes.
func (d *drafts) nextChange() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.told
}

// pending returns how many items waited when it was last counted.
func (d *drafts) pending() (pipeline.Depth, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.depth, d.counted
}

// forWeb returns what the pages may ask; nil where drafts are off.
func (d *drafts) forWeb() *web.Approvals {
	if d == nil {
		return nil
	}
	return &web.Approvals{List: d.list, Show: d.show, Changed: d.changedSince, Decide: d.decide, Settle: d.settle, Depth: d.pending, Told: d.nextChange}
}

// list returns items for the pages.
func (d *drafts) list(ctx context.Context, f pipeline.ItemFilter) ([]pipeline.Item, error) {
	db, err := d.books.store()
	if err != nil {
		return nil, err
	}
	return db.Approvals(ctx, f)
}

// show returns the item of a message.
func (d *drafts) show(ctx context.Context, message int64) (pipeline.Item, bool, error) {
	db, err := d.books.store()
	if err != nil {
		return pipeline.Item{}, false, err
	}
	return db.Approval(ctx, message)
}

// changedSince returns the items that have changed since an instant.
func (d *drafts) changedSince(ctx context.Context, since time.Time) ([]pipeline.Item, error) {
	db, err := d.books.store()
	if err != nil {
		return nil, err
	}
	return db.ChangedApprovals(ctx, since)
}

// decide takes a person's decision. Taken is false if somebody else was faster.
func (d *drafts) decide(ctx context.Context, message int64, decision pipeline.Decision, reply string, v pipeline.Verdict) (it pipeline.Item, taken bool, err error) {
	db, err := d.books.store()
	if err != nil {
		return pipeline.Item{}, false, err
	}
	to := pipeline.Sending
	if decision == pipeline.DecidedNo {
		to = pipeline.Rejected
	}
	it, taken, err = db.DecideApproval(ctx, store.Decided{
		Message: message, Decision: decision, State: to, By: v.By, At: d.monitor.ServerNow(), Reply: reply, Reason: v.Reason,
	}, func(ctx context.Context, tx *sql.Tx) error {
		if to != pipeline.Sending {
			return nil
		}
		return d.queue.InsertTx(ctx, tx, pipeline.ReplyJob{Message: message})
	})
	if err == nil && taken {
		d.log.Info("decided about a draft", zap.Int64("conversation_id", it.Conversation), zap.Int64("message_id", message),
			zap.String("decision", string(decision)), zap.String("by", v.By))
		d.over([]pipeline.Item{it})
	}
	return it, taken, err
}

// settle takes a person's word that a reply that may not have been sent needs
// nothing more. Taken is false if that is not the item's state.
func (d *drafts) settle(ctx context.Context, message int64, by string) (it pipeline.Item, taken bool, err error) {
	db, err := d.books.store()
	if err != nil {
		return pipeline.Item{}, false, err
	}
	it, taken, err = db.SettleApproval(ctx, message, by, d.monitor.ServerNow())
	if err == nil && taken {
		d.log.Info("settled a reply that may not have been sent", zap.Int64("conversation_id", it.Conversation),
			zap.Int64("message_id", message), zap.String("by", by))
		d.tell()
	}
	return it, taken, err
}

func (d *drafts) expect(conversation int64, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.coming[conversation] += n; d.coming[conversation] == 0 {
		delete(d.coming, conversation)
	}
}

// rowRead is told of every row that the monitor reads.
func (d *drafts) rowRead(conversation int64, open bool, version time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.waiting[conversation]
	if !ok && d.coming[conversation] == 0 || open && !version.After(d.looked[conversation]) {
		return
	}
	d.changed[conversation] = rowChanged{open, version}
	d.poke()
}

// tidy keeps the queue true until ctx ends: it counts it, expires what nobody
// decided, queues without a draft what waits for one too long, and cancels what
// a person has answered. A webhook of an agent's answer is not processed; the
// row that it changes is read by the next poll.
func (d *drafts) tidy(ctx context.Context) error {
	var expired, pruned time.Time
	failing := false
	for ctx.Err() == nil {
		err := d.tidyOnce(ctx, &expired, &pruned)
		switch {
		case err == nil:
			failing = false
		case !failing && ctx.Err() == nil && !errors.Is(err, errNotOpen):
			failing = true
			d.log.Warn("the approval queue is not kept tidy; it is tried again", zap.Error(err))
		}
		wake := d.wake
		if err != nil {
			wake = nil
		}
		select {
		case <-ctx.Done():
		case <-wake:
			select {
			case <-ctx.Done():
			case <-d.after(tidyGathers):
			}
		case <-d.after(tidyInterval):
		}
	}
	return nil
}

func (d *drafts) tidyOnce(ctx context.Context, expired, pruned *time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	db, err := d.books.store()
	if err != nil {
		return err
	}
	now := d.monitor.ServerNow()
	if now.Sub(*expired) >= tidyInterval {
		items, err := db.ExpireApprovals(ctx, now)
		if err != nil {
			return err
		}
		d.over(items)
		if err := d.giveUp(ctx, db); err != nil {
			return err
		}
		*expired = now
	}
	if now.Sub(*pruned) >= pruneInterval {
		if err := d.prune(ctx, db, now.Add(-d.keep)); err != nil {
			return err
		}
		*pruned = now
	}
	if err := d.count(ctx, db, now); err != nil {
		return err
	}
	return d.overtaken(ctx, db)
}

// giveUp lets people answer what has waited too long for a draft.
func (d *drafts) giveUp(ctx context.Context, db *store.Store) error {
	n, err := d.queue.Reassign(ctx, db.Writer(), pipeline.DraftJob{}, pipeline.UndraftedJob{}, patience)
	if n > 0 {
		d.log.Warn("messages have waited too long for a draft, and people are asked to answer without one", zap.Int64("messages", n))
	}
	return err
}

// prune deletes what is old. What a job will still come for stays, however long
// Chatwoot is away: a person may have approved it.
func (d *drafts) prune(ctx context.Context, db *store.Store, before time.Time) error {
	notes, err := queue.Waiting[pipeline.NoteJob](ctx, d.queue, db.Database())
	if err != nil {
		return err
	}
	replies, err := queue.Waiting[pipeline.ReplyJob](ctx, d.queue, db.Database())
	if err != nil {
		return err
	}
	var busy []int64
	for _, j := range notes {
		busy = append(busy, j.Message)
	}
	for _, j := range replies {
		busy = append(busy, j.Message)
	}
	_, err = db.PruneApprovals(ctx, before, busy)
	return err
}

// count reads how many items wait, and which.
func (d *drafts) count(ctx context.Context, db *store.Store, now time.Time) error {
	depth, err := db.ApprovalDepth(ctx, now)
	if err != nil {
		return err
	}
	waiting, err := db.WaitingApprovals(ctx)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	first := !d.counted
	d.depth, d.counted, d.waiting = depth, true, waiting
	for id := range d.looked {
		if _, ok := waiting[id]; !ok {
			delete(d.looked, id)
		}
	}
	for id := range waiting {
		// The rows of what an earlier process has left may not change any more.
		if _, known := d.changed[id]; first && !known {
			d.changed[id] = rowChanged{open: true}
		}
	}
	return nil
}

// overtaken cancels the items of conversations that changed, where they need no
// draft any more.
func (d *drafts) overtaken(ctx context.Context, db *store.Store) error {
	d.mu.Lock()
	changed, waiting := d.changed, d.waiting
	d.changed = map[int64]rowChanged{}
	for id, row := range changed {
		if d.coming[id] > 0 { // it is looked into when all of them are there
			d.changed[id] = row
			delete(changed, id)
		}
	}
	d.mu.Unlock()
	for id, row := range changed {
		if err := d.overtakenIn(ctx, db, id, row, waiting[id]); err != nil {
			d.mu.Lock()
			for id, row := range changed { // what came meanwhile is newer
				if _, newer := d.changed[id]; !newer {
					d.changed[id] = row
				}
			}
			d.mu.Unlock()
			return err
		}
		delete(changed, id)
	}
	return nil
}

func (d *drafts) overtakenIn(ctx context.Context, db *store.Store, conversation int64, row rowChanged, messages []int64) error {
	if len(messages) == 0 {
		return nil
	}
	why := pipeline.Resolved
	if row.open {
		var err error
		why = pipeline.Answered
		messages, err = d.pipeline.Overtaken(ctx, conversation, messages)
		if err != nil {
			return fmt.Errorf("conversation %d: %w", conversation, err)
		}
	}
	if len(messages) > 0 {
		items, err := db.CancelApprovals(ctx, conversation, messages, why, d.monitor.ServerNow(), nil)
		if err != nil {
			return err
		}
		d.over(items)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if row.version.After(d.looked[conversation]) {
		d.looked[conversation] = row.version
	}
	return nil
}
