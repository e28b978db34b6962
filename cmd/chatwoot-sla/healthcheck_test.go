package main

import (
	"bufio"
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
)

func TestHealthcheckFollowsTheDaemon(t *testing.T) {
	sim := httptest.NewServer(chatwootsim.New(chatwootsim.Options{Token: testToken, AccountID: testAccount}))
	defer sim.Close()
	daemon := self(t, t.TempDir(), append(settingsFor(sim.URL), "LISTEN_ADDR=0.0.0.0:0"), "serve")
	stderr, err := daemon.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer daemon.Process.Kill()
	log := bufio.NewScanner(stderr)
	address := strings.TrimPrefix(started(t, log), "http://")
	_, port, _ := strings.Cut(address, "]:") // of [::]:12345

	for _, form := range []string{address, "0.0.0.0:" + port, ":" + port, "127.0.0.1:" + port} {
		if code, out := healthcheck(t, "LISTEN_ADDR="+form); code != 0 {
			t.Errorf("LISTEN_ADDR=%s: exit status %d: %s", form, code, out)
		}
	}

	if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for log.Scan() { // to the end of its log
	}
	_ = daemon.Wait() // how it ends is tested elsewhere
	if code, out := healthcheck(t, "LISTEN_ADDR=127.0.0.1:"+port); code != exitUsage || !strings.Contains(out, "LISTEN_ADDR") {
		t.Errorf("without a daemon: exit status %d: %s", code, out)
	}
}

func TestHealthcheckCountsEveryAnswerButAServerError(t *testing.T) {
	answer := func(status int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	}
	tests := []struct {
		name   string
		server *httptest.Server
		want   int
	}{
		{"200", httptest.NewServer(answer(200)), 0},
		{"401, because it asks for a password", httptest.NewServer(answer(401)), 0},
		{"400, because it speaks TLS", httptest.NewTLSServer(answer(200)), 0},
		{"500", httptest.NewServer(answer(500)), exitUsage},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			defer tt.server.Close()
			if code, out := healthcheck(t, "LISTEN_ADDR="+tt.server.Listener.Addr().String()); code != tt.want {
				t.Errorf("exit status %d, want %d: %s", code, tt.want, out)
			}
		})
	}
}

// healthcheck runs the command with nothing but env.
func healthcheck(t *testing.T, env string) (code int, stderr string) {
	t.Helper()
	var stdout, errs bytes.Buffer
	code = run(t.Context(), []string{"healthcheck"}, []string{env}, &stdout, &errs)
	return code, errs.String()
}
