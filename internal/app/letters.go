package app

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/queue"
	"github.com/hotdash/chatwoot-sla/internal/store"
	"github.com/hotdash/chatwoot-sla/internal/web"
)

// ReadQueue lets use look at the jobs of the database, also while a daemon
// works them.
func ReadQueue(ctx context.Context, cfg config.Config, use func(*queue.Office) error) error {
	return withDatabase(ctx, cfg, func(db *store.Reader) error { return withOffice(cfg, db.Database(), use) })
}

// ChangeQueue is ReadQueue for what changes them.
func ChangeQueue(ctx context.Context, cfg config.Config, use func(*queue.Office) error) (err error) {
	db, err := store.OpenBeside(ctx, storeOptions(cfg, zap.NewNop(), nil))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return withOffice(cfg, db.Writer(), use)
}

func withOffice(cfg config.Config, db *sql.DB, use func(*queue.Office) error) error {
	office, err := queue.NewOffice(queueEngine(cfg), db)
	if err != nil {
		return err
	}
	return use(office)
}

// queueCount is a queue.Count as JSON.
type queueCount struct {
	Stage  string      `json:"stage"`
	State  queue.State `json:"state"`
	Jobs   int         `json:"jobs"`
	Oldest time.Time   `json:"oldest,omitzero"`
}

// queueService is a queue.Service as JSON.
type queueService struct {
	Stage     string         `json:"stage"`
	DownSince time.Time      `json:"down_since,omitzero"`
	RestsTill time.Time      `json:"rests_till,omitzero"`
	LastError *queue.Failure `json:"last_error,omitempty"`
}

// queueChange says which jobs are meant. All of them must be asked for.
type queueChange struct {
	IDs     []int64 `json:"ids"`
	Stage   string  `json:"stage"`
	All     bool    `json:"all"`
	Waiting bool    `json:"waiting"` // with purge: also those that wait
}

// mostListed is how many jobs the API lists unless it is told.
const mostListed = 100

// protected are the paths that show what waits, and change it.
func (w *webhooks) protected() map[string]web.Protected {
	return map[string]web.Protected{
		"GET /api/v1/queue":      w.listQueue,
		"GET /api/v1/queue/{id}": w.showJob,
		"POST /api/v1/queue/retry": w.changeQueue("retried", func(ctx context.Context, o *queue.Office, s queue.Selection, _ bool) (int, error) {
			return o.Retry(ctx, s)
		}),
		"POST /api/v1/queue/purge": w.changeQueue("purged", PurgeJobs),
	}
}

// reading and changing return an Office. On SQLite nothing is written through
// the connection that writes while a long list is read through it.

func (w *webhooks) reading() (*queue.Office, error) {
	db, err := w.books.store()
	if err != nil {
		return nil, err
	}
	return w.queue.Office(db.Database())
}

func (w *webhooks) changing() (*queue.Office, error) {
	db, err := w.books.store()
	if err != nil {
		return nil, err
	}
	return w.queue.Office(db.Writer())
}

// CheckStage returns an error for what is not the name of a stage. Empty is
// any.
func CheckStage(name string) error {
	if name == "" || slices.Contains(stageNames, name) {
		return nil
	}
	return fmt.Errorf("there is no stage %q; the stages are %s", name, strings.Join(stageNames, ", "))
}

// StagesOff returns the stages whose jobs nobody works.
func StagesOff(cfg config.Config) (off []string) {
	if cfg.WebhookForwardURL == "" {
		off = append(off, stageForward)
	}
	if cfg.LlamaIndexURL == "" || cfg.AgentSDKURL == "" {
		off = append(off, stageDraft, stageNote, stageReply)
	}
	return off
}

func (w *webhooks) listQueue(rw http.ResponseWriter, r *http.Request, _ string) {
	s := queue.Selection{Stage: r.FormValue("stage"), Dead: r.FormValue("dead") == "true"}
	most := mostListed
	if text := r.FormValue("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			web.WriteProblem(rw, http.StatusBadRequest, "limit must be a whole number, 1 or more")
			return
		}
		most = n
	}
	if err := CheckStage(s.Stage); err != nil {
		web.WriteProblem(rw, http.StatusBadRequest, err.Error())
		return
	}
	office, err := w.reading()
	var jobs []queue.Letter
	if err == nil {
		jobs, err = office.List(r.Context(), s, most)
	}
	total := 0
	if err == nil {
		total, err = office.Count(r.Context(), s)
	}
	if err != nil {
		web.WriteProblem(rw, http.StatusServiceUnavailable, err.Error())
		return
	}
	doc := struct {
		At       time.Time      `json:"at,omitzero"` // of the counts
		Paused   bool           `json:"paused"`
		Counts   []queueCount   `json:"counts"`
		Services []queueService `json:"services"`
		Off      map[string]int `json:"off,omitempty"` // jobs that wait for stages that are off
		Total    int            `json:"total"`         // selected
		Jobs     []queue.Letter `json:"jobs"`          // the oldest of them
	}{Paused: w.queue.Paused(), Counts: []queueCount{}, Total: total, Jobs: jobs}
	if d, ok := w.queue.Depth(); ok {
		doc.At, doc.Off = d.At.UTC(), d.Off
		for _, c := range d.Counts {
			doc.Counts = append(doc.Counts, queueCount{c.Stage, c.State, c.Jobs, c.Oldest})
		}
	}
	for _, s := range w.queue.Services() {
		v := queueService{Stage: s.Stage, DownSince: s.DownSince.UTC(), RestsTill: s.RestsTill.UTC()}
		if s.Last.Error != "" {
			v.LastError = &s.Last
		}
		doc.Services = append(doc.Services, v)
	}
	web.WriteJSON(rw, http.StatusOK, doc)
}

func (w *webhooks) showJob(rw http.ResponseWriter, r *http.Request, _ string) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		web.WriteProblem(rw, http.StatusBadRequest, "the id of a job is a number")
		return
	}
	office, err := w.reading()
	var job queue.Letter
	if err == nil {
		job, err = office.Show(r.Context(), id)
	}
	switch {
	case errors.Is(err, queue.ErrNoJob):
		web.WriteProblem(rw, http.StatusNotFound, err.Error())
	case err != nil:
		web.WriteProblem(rw, http.StatusServiceUnavailable, err.Error())
	default:
		web.WriteJSON(rw, http.StatusOK, job)
	}
}

// PurgeJobs forgets the selected dead letters, and the jobs that wait if those
// are meant, too.
func PurgeJobs(ctx context.Context, o *queue.Office, s queue.Selection, waiting bool) (int, error) {
	n, err := o.Purge(ctx, s)
	if err != nil || !waiting {
		return n, err
	}
	more, err := o.PurgeWaiting(ctx, s)
	return n + more, err
}

// changeQueue answers with how many jobs were changed. Done is the word for it.
func (w *webhooks) changeQueue(done string, change func(ctx context.Context, o *queue.Office, s queue.Selection, waiting bool) (int, error)) web.Protected {
	return func(rw http.ResponseWriter, r *http.Request, by string) {
		var c queueChange
		body := http.MaxBytesReader(rw, r.Body, 1<<20)
		d := json.NewDecoder(body)
		d.DisallowUnknownFields()
		if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
			web.WriteProblem(rw, http.StatusBadRequest, fmt.Sprintf(`the body is not understood: %v; write {"ids":[1,2]}, {"stage":"forward"} or {"all":true}`, err))
			return
		}
		if len(c.IDs) == 0 && c.Stage == "" && !c.All {
			web.WriteProblem(rw, http.StatusBadRequest, `say which dead letters: {"ids":[1,2]}, {"stage":"forward"} or {"all":true}`)
			return
		}
		if err := CheckStage(c.Stage); err != nil {
			web.WriteProblem(rw, http.StatusBadRequest, err.Error())
			return
		}
		office, err := w.changing()
		n := 0
		if err == nil {
			n, err = change(r.Context(), office, queue.Selection{IDs: c.IDs, Stage: c.Stage}, c.Waiting)
		}
		if err != nil {
			web.WriteProblem(rw, http.StatusServiceUnavailable, err.Error())
			return
		}
		w.log.Info("jobs were "+done, zap.String("by", by), zap.Int("jobs", n))
		web.WriteJSON(rw, http.StatusOK, map[string]int{done: n})
	}
}
