package main

import (
	"bufio"
	"fmt"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/apptest"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
)

// The commands beside a daemon that has the database.
func TestOperationsBesideTheDaemon(t *testing.T) {
	sim := chatwootsim.New(chatwootsim.Options{Token: testToken, AccountID: testAccount, NoThrottle: true})
	defer sim.Close()
	s := httptest.NewServer(sim)
	defer s.Close()
	dir := t.TempDir()
	env := append(settingsFor(s.URL), "LISTEN_ADDR=127.0.0.1:0", "HEALTH_INTERVAL=10s", "POLL_INTERVAL=5s")
	daemon := self(t, dir, env, "serve")
	stderr, err := daemon.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
	}()
	log := bufio.NewScanner(stderr)
	address := started(t, log)
	go func() { // or the daemon could not write its log any more
		for log.Scan() {
		}
	}()
	await := func(path, want string) {
		t.Helper()
		enough := time.After(2 * time.Minute)
		for !strings.Contains(body(t, address+path), want) {
			select {
			case <-time.After(50 * time.Millisecond):
			case <-enough:
				t.Fatalf("%s does not come to contain %q:\n%s", path, want, body(t, address+path))
			}
		}
	}
	run := func(want string, args ...string) {
		t.Helper()
		out, err := self(t, dir, env, args...).CombinedOutput()
		if _, failed := err.(*exec.ExitError); err != nil && !failed || !strings.Contains(string(out), want) { //nolint:errorlint // exec returns it as it is
			t.Errorf("%q: %v, and %q is missing in:\n%s", args, err, want, out)
		}
	}
	// What a page shows may be in the database a moment later.
	eventually := func(want string, args ...string) {
		t.Helper()
		for enough := time.After(2 * time.Minute); ; {
			out, err := self(t, dir, env, args...).CombinedOutput()
			if strings.Contains(string(out), want) {
				return
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-enough:
				t.Fatalf("%q: %v, and it does not come to say %q:\n%s", args, err, want, out)
			}
		}
	}
	await("/metrics", "chatwoot_sla_maintenance_active 0")
	run("there has been no incident yet", "incident")
	run("Maintenance 1: ", "maintenance", "start", "--for", "2h", "--reason", "upgrade, then reboot")
	await("/metrics", "chatwoot_sla_maintenance_active 1")
	await("/", "upgrade, then reboot")
	run("under way  upgrade, then reboot", "maintenance", "list")
	run("Stopped maintenance 1: ", "maintenance", "stop")
	await("/metrics", "chatwoot_sla_maintenance_active 0")
	run("no maintenance is under way", "maintenance", "stop")
	run("Maintenance 2: ", "maintenance", "start", "--for", "2h", "--reason", "as planned, and longer")
	planned := slices.Concat(env, []string{fmt.Sprintf("MAINTENANCE_RRULE=FREQ=DAILY;BYHOUR=%d", time.Now().UTC().Hour()), "MAINTENANCE_DURATION=2h"})
	out, err := self(t, dir, planned, "maintenance", "stop").CombinedOutput()
	if want := regexp.MustCompile(`Stopped maintenance 2: .*\nMaintenance goes on until .*:00 UTC: .*Nobody is paged before\.\n`); err != nil || !want.Match(out) {
		t.Errorf("in a window that was planned, too: %v\n%s", err, out)
	}

	await("/metrics", `chatwoot_sla_probe_success{probe="rails_health"} 1`)
	eventually("✓ SLA monitoring active", "checklist") // which a fault would put off
	apptest.BetweenChecks(t, address)                  // or the probes would fail one after the other
	heal := sim.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultStatus, Status: 503})
	await("/metrics", `chatwoot_sla_incident_active{level="2"} 1`)
	eventually("**Status**: ONGOING", "incident", "--output", "markdown")
	run("Added to incident 1, ongoing for ", "incident", "note", "--action", "restarted Puma, then Sidekiq", "--next", "roll back")
	run("**Subject**: Chatwoot Health Check Failure - Level 2\n\n**Status**: ONGOING\n", "incident", "--output", "markdown")
	run("3. restarted Puma, then Sidekiq\n", "incident", "1")
	run("platform health, authenticated API", "incident", "list")
	run(`"schema": "chatwoot-sla/incident/v1"`, "incident", "--output", "json")
	run("there is no incident 9; chatwoot-sla incident list shows", "incident", "9")
	run("✗ Full health check: exit code 4", "checklist")
	run("✓ SLA monitoring active", "checklist")
	run("✓ Database: SQLite", "doctor")

	heal()
	await("/metrics", `chatwoot_sla_incident_active{level="2"} 0`)
	eventually("**Status**: RESOLVED", "incident", "--output", "markdown")
	run("Added to incident 1, over for ", "incident", "note", "--action", "restarted nginx")
}
