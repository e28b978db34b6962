package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/config"
)

type healthcheckCommand struct{}

// Run asks the daemon on LISTEN_ADDR whether it answers, for containers whose
// image has no other program to ask with. It says nothing about Chatwoot.
//
// Every answer counts but a server error: behind WEB_CONFIG_FILE, a plain
// request gets 401, or 400 from a listener that speaks TLS, and both come from
// a daemon that is well.
func (healthcheckCommand) Run(p *process) error {
	// Other settings may be missing, as they are for the demo.
	loaded, _ := config.Load(config.Options{Environ: p.environ, Dir: ".", UID: os.Getuid()})
	ctx, cancel := context.WithTimeout(p.ctx, 5*time.Second)
	defer cancel()
	// Dialling no host, 0.0.0.0 or [::] reaches this machine.
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+loaded.ListenAddr+"/healthz", nil)
	if err != nil {
		return fmt.Errorf("LISTEN_ADDR %q is not host:port", loaded.ListenAddr)
	}
	transport := &http.Transport{DisableKeepAlives: true} // and no proxy
	response, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("nothing answers on LISTEN_ADDR: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("LISTEN_ADDR answers %s; see the daemon's log", response.Status)
	}
	return nil
}
