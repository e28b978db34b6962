package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

// demoSecret signs the webhooks of the simulated Chatwoot, which is known to
// everybody anyway.
const demoSecret = "EXAMPLE-demo-webhook-secret"

type demoCommand struct {
	Speed    float64 `default:"20" help:"How many times faster than real time goes by."`
	Seed     uint64  `default:"1" help:"Another seed is another day at the helpdesk."`
	Chatwoot string  `default:"127.0.0.1:0" placeholder:"HOST:PORT" help:"Address of the simulated Chatwoot."`
	Version  string  `name:"chatwoot-version" enum:"4.2.0,4.15.1" default:"4.15.1" help:"The Chatwoot to simulate: 4.2.0 or 4.15.1."`
}

// Run starts a simulated Chatwoot and the daemon against it. Files go to a
// folder that is removed again.
func (c demoCommand) Run(p *process) (err error) {
	if c.Speed <= 0 || c.Speed > 1000 {
		return fmt.Errorf("--speed %v is out of range; use a number above 0, up to 1000", c.Speed)
	}
	dir, err := os.MkdirTemp("", "chatwoot-sla-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	clock := chatwootsim.NewClock(time.Now(), c.Speed)
	listener, err := net.Listen("tcp", c.Chatwoot)
	if err != nil {
		return fmt.Errorf("listen for the simulated Chatwoot: %w", err)
	}
	address := "http://" + listener.Addr().String()
	sim := chatwootsim.New(chatwootsim.Options{
		Version: chatwootsim.Version(c.Version), Now: clock.Now, After: clock.After, Seed: c.Seed, FrontendURL: address,
		NoThrottle: true, // minutes pass in seconds, and so would Chatwoot's limits
	})
	defer sim.Close()
	// A busy helpdesk that is a little short of hands: something to see on
	// every level.
	sim.Start(chatwootsim.Traffic{ArrivalsPerHour: 60, Agents: 6, FirstReply: 9 * time.Minute, SlowShare: 0.12})
	// What a model would write takes its time.
	drafting := &chatwootsim.Assist{}
	drafting.Inject(chatwootsim.Fault{Path: chatwootsim.AgentPath, Kind: chatwootsim.FaultLatency, Delay: 700 * time.Millisecond})
	mux := http.NewServeMux()
	mux.Handle("/", sim)
	mux.Handle(chatwootsim.KnowledgePath, drafting)
	mux.Handle(chatwootsim.AgentPath, drafting)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		err = errors.Join(err, server.Close())
		if serr := <-served; !errors.Is(serr, http.ErrServerClosed) {
			err = errors.Join(err, serr)
		}
	}()

	loaded, err := config.Load(config.Options{Environ: append(c.settings(p, dir),
		"CHATWOOT_BASE_URL="+address,
		"CHATWOOT_TOKEN="+chatwootsim.DemoToken,
		"CHATWOOT_ACCOUNT_ID="+strconv.Itoa(chatwootsim.DemoAccountID),
		"CHATWOOT_REQUESTS_PER_MINUTE=3000",
		"WEBHOOK_LISTEN_ADDR=127.0.0.1:0",
		"CHATWOOT_WEBHOOK_SECRET="+demoSecret,
		"LLAMAINDEX_URL="+address,
		"AGENT_SDK_URL="+address,
		"API_TOKENS="+demoTokens,
	)})
	if err != nil {
		return fmt.Errorf("configure the demo: %w", err)
	}
	log, err := p.logger(loaded.Config)
	if err != nil {
		return err
	}
	daemon, err := app.New(app.Options{Config: loaded.Config, Settings: loaded.Settings(), Version: buildVersion(), Logger: log, Now: clock.Now, After: clock.After})
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	sim.Subscribe(chatwootsim.Webhook{
		URL: "http://" + daemon.WebhookAddr().String() + webhook.Path, Secret: demoSecret, Subscriptions: webhook.Subscriptions,
	})
	page := "http://" + daemon.Addr().String()
	fmt.Fprintf(p.stdout, `A simulated Chatwoot %s and the daemon that watches it; time runs %v times as fast.

  board          %s/
  metrics        %s/metrics
  conversations  %s/api/v1/conversations?level=breach,urgent
  approvals      %s/sign-in with the token %s

The simulated Chatwoot, for any Chatwoot client:

  address        %s
  account        %d
  token          %s

Stop with Ctrl-C; nothing is left behind.

`, c.Version, c.Speed, page, page, page, page, demoVisitorToken, address, chatwootsim.DemoAccountID, chatwootsim.DemoToken)
	ctx, cancel := context.WithCancel(p.ctx)
	decided := make(chan struct{})
	go func() {
		defer close(decided)
		(&approver{page: page, client: &http.Client{Timeout: 10 * time.Second}}).run(ctx)
	}()
	defer func() {
		cancel()
		<-decided
	}()
	return daemon.Run(ctx)
}

// settings returns what the demo takes from the environment, and its folders.
// What belongs to a real Chatwoot stays out.
func (c demoCommand) settings(p *process, dir string) []string {
	settings := []string{"LOG_LEVEL=warn"}
	for _, v := range p.environ {
		for _, name := range []string{
			"LISTEN_ADDR", "LOG_LEVEL", "LOG_FORMAT", "WEB_CONFIG_FILE",
			"CHATWOOT_SLA_MINUTES", "SLA_WARNING_MINUTES", "SLA_URGENT_MINUTES", "SLA_INBOX_MINUTES",
			"SLA_BUSINESS_HOURS", "SLA_PAUSE_DURING_MAINTENANCE", "MAINTENANCE_RRULE", "MAINTENANCE_DURATION", "MAINTENANCE_NOTICE", "REPORT_TIMEZONE",
		} {
			if len(v) > len(name) && v[:len(name)+1] == name+"=" {
				settings = append(settings, v)
			}
		}
	}
	return append(settings, "DATA_DIR="+filepath.Join(dir, "data"), "ARTIFACTS_DIR="+filepath.Join(dir, "artifacts"))
}
