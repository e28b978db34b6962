// Package app fits the parts of the daemon together: it starts them, lets them
// run, and stops them. Whatever decides anything is in another package.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // business hours name zones, and not every image has them

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
	"go.yaml.in/yaml/v2"
	"golang.org/x/net/netutil"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/health"
	"github.com/hotdash/chatwoot-sla/internal/incident"
	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/maintenance"
	"github.com/hotdash/chatwoot-sla/internal/metrics"
	"github.com/hotdash/chatwoot-sla/internal/monitor"
	"github.com/hotdash/chatwoot-sla/internal/sla"
	"github.com/hotdash/chatwoot-sla/internal/web"
)

// maxConnections bounds the clients of the main listener.
const maxConnections = 512

// Options configures an App.
type Options struct {
	Config  config.Config // as config.Load accepts it
	Version string
	Logger  *zap.Logger

	// Settings are the same as they may be shown. Without them, what changed in
	// maintenance is not known.
	Settings []config.Setting

	// Now and After are the clock; nil: this machine's. The demo's is faster.
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time
}

// App is the daemon. New starts to listen, Run does everything else.
type App struct {
	cfg      config.Config
	log      *zap.Logger
	now      func() time.Time
	after    func(time.Duration) <-chan time.Time
	client   *chatwoot.Client
	books    *books
	ledger   *ledger.Ledger
	webhooks *webhooks
	drafts   *drafts // nil: off
	evidence *health.Evidence
	monitor  *monitor.Monitor
	watcher  *health.Watcher
	upkeep   *upkeep
	incident *incidents
	registry *prometheus.Registry
	listener net.Listener
	server   *http.Server
}

// New wires the daemon. It makes no request and writes no file; the listener
// is open when it returns, so that Addr tells the port of ":0".
func New(o Options) (*App, error) {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.After == nil {
		o.After = time.After
	}
	cfg := o.Config
	a := &App{cfg: cfg, log: o.Logger, now: o.Now, after: o.After, registry: prometheus.NewRegistry()}
	a.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(o.Version),
	)

	requests := metrics.NewRequests(a.registry, chatwoot.Endpoints)
	var err error
	a.client, err = newClient(cfg, o.Version, o.Now, requests.Observe)
	if err != nil {
		return nil, err
	}
	planned, err := maintenance.New(cfg.MaintenanceRules, cfg.MaintenanceDuration)
	if err != nil {
		return nil, fmt.Errorf("MAINTENANCE_RRULE cannot be used: %w", err)
	}
	promiser, err := newPromiser(cfg, planned, o.Logger.Named("promises"), o.Now)
	if err != nil {
		return nil, err
	}
	promised := promiser.promises(nil)
	a.books = newBooks(cfg, o, a.registry, func() time.Time { return a.monitor.ServerNow() })
	a.monitor, err = monitor.New(monitor.Options{
		Client: a.client,
		Promises: func(inboxes []chatwoot.Inbox) sla.Promises {
			a.books.saveInboxes(inboxes)
			return promiser.promises(inboxes)
		},
		Changed: func(conversation int64, open bool, version time.Time) {
			if a.drafts != nil {
				a.drafts.rowRead(conversation, open, version)
			}
		},
		Ledger:            a.books,
		PollInterval:      cfg.PollInterval,
		ReconcileInterval: cfg.ReconcileInterval,
		Logger:            o.Logger.Named("monitor"),
		Registerer:        a.registry,
		Now:               o.Now,
		After:             o.After,
	})
	if err != nil {
		return nil, err
	}
	a.registry.MustRegister(metrics.NewSLA(metrics.SLAOptions{
		Promises:   promised,
		Board:      func() *sla.Board { return a.monitor.Picture().Board },
		Now:        a.monitor.ServerNow,
		Inboxes:    a.metricInboxes,
		MaxInboxes: cfg.MetricsMaxInboxes,
	}))
	a.ledger, err = ledger.New(ledger.Options{
		Store:      a.books,
		Inboxes:    a.inboxIDs,
		InboxLabel: a.inboxLabel,
		Logger:     o.Logger.Named("ledger"),
		Registerer: a.registry,
		Now:        a.monitor.ServerNow,
		After:      o.After,
	})
	if err != nil {
		return nil, err
	}
	a.books.ledger = a.ledger
	a.drafts, err = newDrafts(cfg, o, a.books, a.monitor, a.client, a.registry)
	if err != nil {
		return nil, err
	}
	a.webhooks, err = newWebhooks(cfg, o, a.books, a.monitor, a.client, a.drafts, a.registry)
	if err != nil {
		return nil, err
	}
	checker, err := newChecker(cfg, a.client, a.books, o.Now)
	if err != nil {
		return nil, err
	}
	a.registry.MustRegister(metrics.NewProbeRatios(checker.Names(), ledger.WindowNames(), a.books.successRatio))
	a.evidence, err = newEvidence(cfg, o.Now)
	if err != nil {
		return nil, err
	}
	a.operate(o, planned, checker)
	a.watcher, err = health.NewWatcher(health.WatcherOptions{
		Checker:  checker,
		Interval: cfg.HealthInterval,
		Now:      o.Now,
		After:    o.After,
		Evidence: a.evidence,
		Observe: func(r health.Result) {
			a.incident.observe(r)
			a.books.probed(r)
		},
		EvidenceInterval: cfg.EvidenceInterval,
		InMaintenance:    a.upkeep.active,
		Logger:           o.Logger.Named("health"),
		Registerer:       a.registry,
	})
	if err != nil {
		return nil, err
	}
	a.incident.watcher = a.watcher
	if err := a.listen(o.Version); err != nil {
		return nil, err
	}
	if err := a.webhooks.listen(); err != nil {
		return nil, errors.Join(err, a.listener.Close())
	}
	return a, nil
}

// operate wires what knows of maintenance and incidents.
func (a *App) operate(o Options, planned *maintenance.Schedule, checker *health.Checker) {
	list := checklist{
		cfg: a.cfg, checker: checker, now: o.Now, current: currentBaseline(o), webhooks: webhooksResumed(a.cfg), approvals: approvalBacklog(a.cfg),
		lastRead: func() time.Time { return a.monitor.Picture().SyncedAt },
	}
	a.upkeep = &upkeep{
		schedule: planned,
		db:       a.books.store,
		tried:    a.books.tried,
		run:      list.examine,
		evidence: a.evidence,
		baseline: func() baseline { return list.current(a.watcher.Version()) },
		began:    o.Now(),
		backfill: a.cfg.LedgerBackfill,
		now:      o.Now,
		after:    o.After,
		log:      a.log.Named("maintenance"),
		picture: func() (read bool, problem string) {
			p := a.monitor.Picture()
			return p.Board != nil, p.Problem
		},
		workers: a.webhooks.queue.Pause,
		plan:    maintenance.NewPlan(planned, nil),
	}
	a.books.inMaintenance, a.books.whenOpen = a.upkeep.active, a.upkeep.refresh
	a.incident = &incidents{
		db:        a.books.store,
		plan:      a.upkeep.plans,
		evidence:  a.evidence,
		shared:    a.cfg.DatabaseURL.IsSet(),
		freshness: 2*a.cfg.HealthInterval + 30*time.Second,
		statusURL: a.cfg.StatusURL,
		now:       o.Now,
		after:     o.After,
		log:       a.log.Named("incidents"),
		queue:     a.backlog,
		passed:    map[string]time.Time{},
	}
	a.registry.MustRegister(metrics.NewOperations(metrics.OperationsOptions{
		Plan:           a.upkeep.plans,
		Notice:         a.cfg.MaintenanceNotice,
		Incident:       a.incident.Current,
		Failed:         a.upkeep.checklistFailed,
		ChecklistItems: checklistItems(),
		Now:            o.Now,
	}))
}

// newClient returns the one client through which everything reads Chatwoot.
func newClient(cfg config.Config, version string, now func() time.Time, observe func(string, int, time.Duration)) (*chatwoot.Client, error) {
	return chatwoot.New(chatwoot.Options{
		BaseURL:           cfg.BaseURL,
		Token:             cfg.Token.Reveal(),
		AccountID:         cfg.AccountID,
		RequestsPerMinute: cfg.RequestsPerMinute,
		UserAgent:         "chatwoot-sla/" + version,
		Now:               now,
		Observe:           observe,
	})
}

func newEvidence(cfg config.Config, now func() time.Time) (*health.Evidence, error) {
	return health.NewEvidence(health.EvidenceOptions{Dir: cfg.ArtifactsDir, Retention: cfg.EvidenceRetention, Now: now})
}

func buildInfo(version string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: metrics.Namespace, Name: "build_info",
		Help:        "The version that runs; always 1.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	g.Set(1)
	return g
}

// listen prepares the main listener and its handler.
func (a *App) listen(version string) error {
	authenticated, err := authenticates(a.cfg.WebConfigFile)
	if err != nil {
		return err
	}
	closing := make(chan struct{})
	handler, err := web.New(web.Options{
		Approvals:       a.drafts.forWeb(),
		Closing:         closing,
		State:           a.state,
		ConversationURL: a.client.ConversationURL,
		Metrics: promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{
			ErrorLog:      zap.NewStdLog(a.log.Named("metrics")),
			ErrorHandling: promhttp.ContinueOnError,
		}),
		Version:    version,
		Incidents:  a.incidentsOf,
		Report:     a.reportOn,
		ReportZone: a.cfg.ReportZone.Location,
		Tokens:     tokens(a.cfg),
		Hosts:      a.cfg.Hosts(),
		Protected:  a.webhooks.protected(),
		ShowNames:  authenticated || loopback(a.cfg.ListenAddr),
		Logger:     a.log.Named("web"),
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", a.cfg.ListenAddr)
	if err != nil {
		return fmt.Errorf("listen on LISTEN_ADDR: %w; is another chatwoot-sla running?", err)
	}
	a.listener = netutil.LimitListener(l, maxConnections)
	a.server = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          zap.NewStdLog(a.log.Named("web")),
	}
	a.server.RegisterOnShutdown(sync.OnceFunc(func() { close(closing) }))
	return nil
}

// tokens returns who may use what is protected.
func tokens(cfg config.Config) []web.Token {
	var list []web.Token
	for _, t := range cfg.Tokens() {
		list = append(list, web.Token{Name: t.Name, Text: t.Token.Reveal()})
	}
	return list
}

// loopback reports whether only this machine can reach addr.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// authenticates reports whether the web configuration file asks clients who
// they are. An empty name is no file.
func authenticates(file string) (bool, error) {
	if file == "" {
		return false, nil
	}
	if err := toolkit.Validate(file); err != nil {
		return false, fmt.Errorf("read WEB_CONFIG_FILE: %w; its format is that of Prometheus' web configuration", err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return false, fmt.Errorf("read WEB_CONFIG_FILE: %w", err)
	}
	var doc struct {
		Users map[string]any `yaml:"basic_auth_users"`
		TLS   struct {
			ClientAuth string `yaml:"client_auth_type"`
		} `yaml:"tls_server_config"`
	}
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return false, fmt.Errorf("read WEB_CONFIG_FILE: %w", err)
	}
	return len(doc.Users) > 0 || strings.EqualFold(doc.TLS.ClientAuth, "RequireAndVerifyClientCert"), nil
}

// Addr returns where the main listener is reached.
func (a *App) Addr() net.Addr { return a.listener.Addr() }

// WebhookAddr returns where webhooks are received.
func (a *App) WebhookAddr() net.Addr { return a.webhooks.listener.Addr() }

// Run runs the daemon until ctx ends or a part of it fails, and then stops all
// of it within the configured time. The error is nil after an orderly stop.
func (a *App) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parts := []part{
		{"web server", a.serve},
		{"monitor", a.monitor.Run},
		{"health checks", a.watcher.Run},
		{"database", a.books.run},
		{"ledger", a.books.onceTried(a.ledger.Run)},
		{"daily report", a.books.onceTried(a.daily)},
		{"webhook server", a.webhooks.serve},
		{"queue", a.books.onceTried(a.webhooks.work)},
		{"job counts", a.books.onceTried(a.webhooks.count)},
		{"missed webhooks", a.books.onceTried(a.webhooks.find)},
		{"webhook counts", a.books.onceTried(a.webhooks.days.run)},
		{"maintenance", a.books.onceTried(a.upkeep.watch)},
		{"incidents", a.books.onceTried(a.incident.watch)},
	}
	if a.drafts != nil {
		parts = append(parts, part{"approval queue", a.books.onceTried(a.drafts.tidy)})
	}
	type end struct {
		name string
		err  error
	}
	ends := make(chan end, len(parts))
	running := map[string]bool{}
	for _, p := range parts {
		running[p.name] = true
		go func() { ends <- end{p.name, p.guarded(ctx)} }()
	}
	a.log.Info("started", zap.Stringer("listening", a.Addr()), zap.Stringer("webhooks", a.WebhookAddr()), zap.String("chatwoot", a.cfg.BaseURL.Host),
		zap.Int64("account_id", a.cfg.AccountID), zap.Duration("sla", a.cfg.SLA))

	var errs []error
	var expired <-chan time.Time
	done := ctx.Done()
	for len(running) > 0 {
		select {
		case <-done:
			done, expired = nil, time.After(a.cfg.ShutdownTimeout)
			a.log.Info("stopping")
		case e := <-ends:
			delete(running, e.name)
			if e.err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", e.name, e.err))
			} else if ctx.Err() == nil {
				errs = append(errs, fmt.Errorf("%s: ended by itself", e.name))
			}
			cancel()
		case <-expired:
			for name := range running {
				errs = append(errs, fmt.Errorf("%s: did not stop within %v", name, a.cfg.ShutdownTimeout))
			}
			clear(running)
		}
	}
	a.client.Close()
	if a.drafts != nil {
		a.drafts.close()
	}
	if len(errs) == 0 { // otherwise something may still be using it
		errs = append(errs, a.books.close())
	}
	return errors.Join(errs...)
}

// part is a piece of the daemon that runs until its context ends.
type part struct {
	name string
	run  func(context.Context) error
}

// guarded turns a panic into an error: Go's own exit status for a panic is 2,
// which in this program's family means that Chatwoot is down.
func (p part) guarded(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return p.run(ctx)
}

// serve answers requests until ctx ends, and then lets those in hand finish.
func (a *App) serve(ctx context.Context) error {
	shut := make(chan error, 1)
	stopped := context.AfterFunc(ctx, func() {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.ShutdownTimeout)
		defer cancel()
		shut <- a.server.Shutdown(limit)
	})
	no := false
	quiet := a.log.WithOptions(zap.IncreaseLevel(zap.WarnLevel)) // it says again where we listen
	err := toolkit.Serve(a.listener, a.server, &toolkit.FlagConfig{
		WebListenAddresses: &[]string{a.cfg.ListenAddr},
		WebSystemdSocket:   &no,
		WebConfigFile:      &a.cfg.WebConfigFile,
	}, slog.New(zapslog.NewHandler(quiet.Core(), zapslog.WithName("web"))))
	if errors.Is(err, http.ErrServerClosed) {
		return <-shut
	}
	stopped()
	return err
}

// state is what the pages show now.
func (a *App) state() web.State {
	p := a.monitor.Picture()
	now := a.monitor.ServerNow()
	st := web.State{
		Now:        now,
		Promises:   p.Promises,
		Board:      p.Board,
		SyncedAt:   p.SyncedAt.Add(now.Sub(a.now())),
		StaleFrom:  now.Add(-max(3*a.cfg.PollInterval, 2*time.Minute)),
		Incomplete: p.Incomplete,
		Problem:    p.Problem,
		Inboxes:    make(map[int64]string, len(p.Inboxes)),
	}
	if p.Account != nil {
		st.Account, st.Partial = p.Account.Name, !p.Account.Administrator()
	}
	for _, in := range p.Inboxes {
		st.Inboxes[in.ID] = in.Name
	}
	st.Maintenance, st.Incident, st.StatusURL = a.maintenanceState(), a.incident.Current(), a.cfg.StatusURL
	report, ok := a.watcher.Latest()
	if !ok {
		return st
	}
	for _, r := range report.Results {
		s := a.watcher.State(r.Probe)
		st.Probes = append(st.Probes, web.Probe{
			Name: r.Probe, Title: health.Title(r.Probe), Known: s.Known, Up: s.Success, Since: s.Since,
			Latency: r.Duration, Endpoint: r.Endpoint, Error: r.Error,
		})
	}
	return st
}

// maintenanceState is what the pages tell of maintenance.
func (a *App) maintenanceState() web.Maintenance {
	now := a.now()
	plan, _ := a.upkeep.plans()
	var m web.Maintenance
	if w, ok := plan.Active(now); ok {
		m.Start, m.End, m.Reason = w.Start, w.End, a.upkeep.reason(w)
	}
	if w, ok := plan.Next(now); ok {
		m.NextStart, m.NextEnd, m.NextReason = w.Start, w.End, a.upkeep.reason(w)
		m.Announced = w.Start.Sub(now) <= a.cfg.MaintenanceNotice
	}
	return m
}

// incidentsOf returns the newest incidents, the last one first.
func (a *App) incidentsOf(ctx context.Context, limit int) ([]incident.Incident, error) {
	db, err := a.books.store()
	if err != nil {
		return nil, err
	}
	return db.Incidents(ctx, limit)
}

// inboxIDs returns the inboxes of the account, in the order of their ids.
func (a *App) inboxIDs() []int64 {
	inboxes := a.monitor.Picture().Inboxes
	ids := make([]int64, len(inboxes))
	for i, in := range inboxes {
		ids[i] = in.ID
	}
	slices.Sort(ids)
	return ids
}

// inboxLabel returns the value of the "inbox" label.
func (a *App) inboxLabel(inbox int64) string {
	return metrics.InboxLabel(inbox, a.inboxIDs(), a.cfg.MetricsMaxInboxes)
}

func (a *App) metricInboxes() []metrics.Inbox {
	inboxes := a.monitor.Picture().Inboxes
	out := make([]metrics.Inbox, len(inboxes))
	for i, in := range inboxes {
		out[i] = metrics.Inbox{ID: in.ID, Name: in.Name}
	}
	return out
}
