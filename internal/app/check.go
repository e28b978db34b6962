package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/health"
)

// Check makes one health check and writes its evidence. The report is good
// when the error is not nil, too: then only the evidence is missing.
func Check(ctx context.Context, o Options) (health.Report, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	client, err := newClient(o.Config, o.Version, o.Now, nil)
	if err != nil {
		return health.Report{}, err
	}
	defer client.Close()
	checker, err := newChecker(o.Config, client, nil, o.Now)
	if err != nil {
		return health.Report{}, err
	}
	evidence, err := newEvidence(o.Config, o.Now)
	if err != nil {
		return health.Report{}, err
	}
	report := checker.Check(ctx)
	_, err = evidence.WriteCheck(report)
	return report, err
}

// newChecker returns a checker of Chatwoot's probes. The widget is probed by
// the daemon only: a process of its own for every probe would have to start a
// new widget session each time, and each leaves a contact behind. Nil sessions
// are a process that is not the daemon.
func newChecker(cfg config.Config, client *chatwoot.Client, sessions sessions, now func() time.Time) (*health.Checker, error) {
	client = client.For(chatwoot.Probe)
	probes := []health.Probe{
		{Name: health.RailsHealth, Run: func(ctx context.Context) health.Outcome { return probePlatform(ctx, client, cfg.HealthPath) }},
		{Name: health.AuthenticatedAPI, Run: func(ctx context.Context) health.Outcome { return probeProfile(ctx, client) }},
	}
	if sessions != nil && cfg.EmbedToken.IsSet() {
		probes = append(probes, health.Probe{Name: health.Widget, Informational: true, Run: widgetProbe(client, cfg.EmbedToken.Reveal(), sessions)})
	}
	return health.NewChecker(health.CheckerOptions{Probes: probes, Host: cfg.BaseURL.Host, Now: now})
}

// probePlatform asks the health path, and side by side /api, which says 200
// even while what Chatwoot depends on fails, and says so.
func probePlatform(ctx context.Context, client *chatwoot.Client, path string) health.Outcome {
	var (
		index    chatwoot.Index
		indexErr error
		wg       sync.WaitGroup
	)
	wg.Go(func() {
		// The checker recovers from panics in its own goroutines. One in this
		// would end the process with Go's status, 2, which is a verdict.
		defer func() {
			if r := recover(); r != nil {
				indexErr = fmt.Errorf("read /api: panic: %v", r)
			}
		}()
		index, indexErr = client.Index(ctx)
	})
	answered, err := client.Health(ctx, path)
	wg.Wait()

	o := outcome(answered, err)
	switch {
	case indexErr == nil:
		o.Version = index.Version
		o.Detail = "Chatwoot " + index.Version
		o.Dependencies = map[string]string{"queue_services": index.QueueServices, "data_services": index.DataServices}
	case err == nil:
		// Every Chatwoot serves /api. Without it nothing is known about what
		// Chatwoot depends on, and a page that any proxy may serve with 200
		// would pass for health.
		return outcome("/api", indexErr)
	}
	return o
}

func probeProfile(ctx context.Context, client *chatwoot.Client) health.Outcome {
	_, account, err := client.Profile(ctx)
	o := outcome("/api/v1/profile", err)
	if err == nil {
		o.Detail = fmt.Sprintf("%s of account %d, %s", account.Role, account.ID, account.Name)
	}
	return o
}

// sessions keeps the widget's session from one process to the next.
type sessions interface {
	savedSession(context.Context) string
	saveSession(string)
}

// widgetProbe keeps the session that the first page hands out, without which
// every page makes a contact and five an hour are allowed.
func widgetProbe(client *chatwoot.Client, websiteToken string, kept sessions) func(context.Context) health.Outcome {
	var mu sync.Mutex
	session := ""
	return func(ctx context.Context) health.Outcome {
		mu.Lock()
		defer mu.Unlock()
		if session == "" {
			session = kept.savedSession(ctx)
		}
		next, err := client.Widget(ctx, websiteToken, session)
		if err == nil && next != session {
			session = next
			kept.saveSession(session)
		}
		return outcome("/widget", err)
	}
}

// outcome words the result of a request for the health checker.
func outcome(endpoint string, err error) health.Outcome {
	o := health.Outcome{Endpoint: endpoint, Status: http.StatusOK}
	if err == nil {
		return o
	}
	o.Err, o.Status = err, 0
	var e *chatwoot.Error
	if !errors.As(err, &e) {
		return o
	}
	o.Status, o.Detail, o.Reason = e.Status, e.Detail, reasons[e.Kind]
	if e.Err != nil {
		o.Err = e.Err
	}
	return o
}

var reasons = map[chatwoot.Kind]string{
	chatwoot.Unreachable:   health.ReasonConnection,
	chatwoot.NameUnknown:   health.ReasonDNS,
	chatwoot.BadTLS:        health.ReasonTLS,
	chatwoot.TimedOut:      health.ReasonTimeout,
	chatwoot.Canceled:      health.ReasonCanceled,
	chatwoot.Redirected:    health.ReasonRedirect,
	chatwoot.Unauthorized:  health.ReasonHTTPStatus,
	chatwoot.NotFound:      health.ReasonHTTPStatus,
	chatwoot.Throttled:     health.ReasonHTTPStatus,
	chatwoot.Refused:       health.ReasonHTTPStatus,
	chatwoot.ServerError:   health.ReasonHTTPStatus,
	chatwoot.NotJSON:       health.ReasonNotJSON,
	chatwoot.Malformed:     health.ReasonNotJSON,
	chatwoot.TooLarge:      health.ReasonNotJSON,
	chatwoot.AccountHidden: health.ReasonAccount,
}
