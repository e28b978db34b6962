package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/config"
)

// lifted is a request budget that never makes anybody wait.
const lifted = 100_000_000

// children are the roles that this binary plays when it is started by itself.
var children = map[string]func(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error{
	"simulator": simulatorProcess,
	"daemon":    daemonProcess,
}

// process is a child that serves HTTP until its standard input is closed, and
// so also when this process dies.
type process struct {
	url   string
	cmd   *exec.Cmd
	stdin io.Closer
}

// start runs this binary in a role and returns when it listens.
func (b *bench) start(ctx context.Context, role string, args ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, b.self, append([]string{role}, args...)...) //nolint:gosec // it is this very binary
	// GOGC and the like would change what is measured.
	cmd.Env = []string{}
	cmd.Dir, cmd.Stderr = b.dir, os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the %s: %w", role, err)
	}
	p := &process{cmd: cmd, stdin: stdin}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("start the %s: it ended before it listened", role)
	}
	p.url = strings.TrimSpace(line)
	return p, nil
}

// stop ends the process and waits for it.
func (p *process) stop() {
	_ = p.stdin.Close()
	_ = p.cmd.Wait()
}

// untilClosed returns a context that ends when r does.
func untilClosed(ctx context.Context, r io.Reader) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, r)
		cancel()
	}()
	return ctx, cancel
}

// simulatorProcess serves a Chatwoot with args[0] open conversations, the
// newest ten minutes old. POST /bench/touch?n= changes n of them.
func simulatorProcess(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	ctx, cancel := untilClosed(ctx, stdin)
	defer cancel()
	now := time.Now //nolint:forbidigo // the clock of this process
	sim := newSimulator(now)
	defer sim.Close()
	sim.Fill(n, now().Add(-10*time.Minute))
	touch := toucher(sim)
	mux := http.NewServeMux()
	mux.Handle("/", sim)
	mux.HandleFunc("POST /bench/touch", func(_ http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("n"))
		touch(now(), n)
	})
	url, stop, err := serve(mux)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Fprintln(stdout, url)
	<-ctx.Done()
	return nil
}

func newSimulator(now func() time.Time) *chatwootsim.Server {
	return chatwootsim.New(chatwootsim.Options{Now: now, Seed: 1, NoThrottle: true})
}

// toucher returns a function that changes n open conversations, going round:
// customers write, and agents answer.
func toucher(sim *chatwootsim.Server) func(at time.Time, n int) {
	truths := sim.Truth()
	var next atomic.Int64
	return func(at time.Time, n int) {
		for range n {
			i := next.Add(1)
			id := truths[int(i)%len(truths)].ID
			if i%2 == 0 {
				sim.CustomerWrites(at, id, "")
			} else {
				sim.AgentReplies(at, id)
			}
		}
	}
}

// daemonProcess runs the daemon against the Chatwoot at args[0], polling every
// five seconds, with its files in args[1].
func daemonProcess(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	ctx, cancel := untilClosed(ctx, stdin)
	defer cancel()
	cfg, err := settings(args[0], args[1])
	if err != nil {
		return err
	}
	cfg.PollInterval = 5 * time.Second
	log, err := zap.NewProduction(zap.IncreaseLevel(zap.WarnLevel)) // to standard error
	if err != nil {
		return err
	}
	app.LimitMemory() // as chatwoot-sla serve does
	daemon, err := app.New(app.Options{Config: cfg, Version: "bench", Logger: log})
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, "http://"+daemon.Addr().String())
	return daemon.Run(ctx)
}

// settings returns the daemon's defaults, with the budget lifted and changes as
// NAME=value.
func settings(chatwootURL, dir string, changes ...string) (config.Config, error) {
	loaded, err := config.Load(config.Options{Environ: append(environ(chatwootURL, dir), changes...)})
	if err != nil {
		return config.Config{}, err
	}
	loaded.RequestsPerMinute = lifted
	return loaded.Config, nil
}

func environ(chatwootURL, dir string) []string {
	return []string{
		"CHATWOOT_BASE_URL=" + chatwootURL,
		"CHATWOOT_TOKEN=" + chatwootsim.DemoToken,
		"CHATWOOT_ACCOUNT_ID=" + strconv.Itoa(chatwootsim.DemoAccountID),
		"LISTEN_ADDR=127.0.0.1:0", "WEBHOOK_LISTEN_ADDR=127.0.0.1:0",
		"DATA_DIR=" + dir + "/data",
		"ARTIFACTS_DIR=" + dir + "/artifacts",
	}
}

// serve serves h on a free port until stop is called.
func serve(h http.Handler) (url string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	return "http://" + l.Addr().String(), func() {
		_ = server.Close()
		<-served
	}, nil
}

// newClient returns the daemon's client, through transport if it is not nil.
func newClient(chatwootURL, dir string, now func() time.Time, transport http.RoundTripper) (*chatwoot.Client, error) {
	cfg, err := settings(chatwootURL, dir)
	if err != nil {
		return nil, err
	}
	return chatwoot.New(chatwoot.Options{
		BaseURL: cfg.BaseURL, Token: cfg.Token.Reveal(), AccountID: cfg.AccountID,
		RequestsPerMinute: cfg.RequestsPerMinute, Now: now, Transport: transport,
	})
}

// gather returns the metrics of the daemon at url.
func gather(ctx context.Context, client *http.Client, url string) (series, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("scrape: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("scrape: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New("scrape: " + resp.Status)
	}
	return parseSeries(string(text)), nil
}

// series are the values of a scrape, by name and labels as they are written.
type series map[string]float64

func parseSeries(text string) series {
	s := series{}
	for line := range strings.Lines(text) {
		name, value, found := strings.Cut(strings.TrimSpace(line), "} ")
		if found {
			name += "}"
		} else {
			name, value, _ = strings.Cut(strings.TrimSpace(line), " ")
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			s[name] = v
		}
	}
	return s
}

// sum adds the series of a metric whose labels contain label.
func (s series) sum(metric, label string) float64 {
	var total float64
	for name, v := range s {
		if strings.HasPrefix(name, metric+"{") && strings.Contains(name, label) {
			total += v
		}
	}
	return total
}

// pause waits for d, or less if ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
