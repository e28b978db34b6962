// Package promtest runs what the daemon is watched with, for tests: the real
// Prometheus and Alertmanager, and their tools.
package promtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/porttest"
)

// programsVariable names the environment variable with a folder whose programs
// come before those of the system, to run the same tests on other releases.
const programsVariable = "PROMTEST_PROGRAMS"

// Debian prefixes the names of some.
var programs = map[string][]string{
	"prometheus":   {"prometheus"},
	"promtool":     {"promtool"},
	"alertmanager": {"alertmanager", "prometheus-alertmanager"},
	"amtool":       {"amtool"},
}

// Program returns the path of prometheus, promtool, alertmanager or amtool. A
// missing one fails the test: what it would have proven stays unproven.
func Program(t testing.TB, name string) string {
	t.Helper()
	names, ok := programs[name]
	if !ok {
		t.Fatalf("promtest knows no program %q", name)
	}
	if dir := os.Getenv(programsVariable); dir != "" {
		path, err := exec.LookPath(filepath.Join(dir, name))
		if err != nil {
			t.Fatalf("%s: %v", programsVariable, err)
		}
		return path
	}
	for _, n := range names {
		if path, err := exec.LookPath(n); err == nil {
			return path
		}
	}
	t.Fatalf("%s is not installed; run make deps", name)
	return ""
}

// Run runs a program to its end and returns what it printed on both streams.
// The error is not nil when it failed.
func Run(t testing.TB, name string, args ...string) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, Program(t, name), args...).CombinedOutput()
	return string(out), err
}

// Server is a program that answers over HTTP until the test ends.
type Server struct {
	URL  string // without a slash at its end
	Addr string // host:port
	Dir  string // its folder, for configuration and data

	t   testing.TB
	log *bytes.Buffer // read only after done is closed
	cmd *exec.Cmd

	done chan struct{} // closed when the process has ended
}

// serve starts a program that tells at ready when it can be used.
func serve(t testing.TB, dir, name, ready string, args func(addr string) []string) *Server {
	t.Helper()
	addr := porttest.Refusing(t) // neither Prometheus nor Alertmanager tells which port ":0" became
	s := &Server{URL: "http://" + addr, Addr: addr, Dir: dir, t: t, log: &bytes.Buffer{}, done: make(chan struct{})}
	s.cmd = exec.Command(Program(t, name), args(addr)...)
	s.cmd.Dir = dir
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		_ = s.cmd.Wait() // it is told to end, and says so
		close(s.done)
	}()
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, tail(s.log.Bytes(), 8<<10))
		}
	})
	Await(t, 3*time.Minute, name+" to be ready", func() error {
		select {
		case <-s.done:
			t.Fatalf("%s ended at once:\n%s", name, s.log)
		default:
		}
		_, err := Get(s.URL + ready)
		return err
	})
	return s
}

func (s *Server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // fails when it has already ended
	select {
	case <-s.done:
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
}

// Reload makes the server read its configuration again.
func (s *Server) Reload() {
	s.t.Helper()
	resp, err := http.Post(s.URL+"/-/reload", "", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		s.t.Fatalf("reload: %s: %s", resp.Status, body)
	}
}

// Get returns the body of an answer with status 200.
func Get(url string) (string, error) {
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GET %s: %s: %s", url, resp.Status, body)
	}
	return string(body), nil
}

// Await calls check, four times a second, until it returns nil, and fails the
// test with its last error when that takes longer than limit.
func Await(t testing.TB, limit time.Duration, what string, check func() error) {
	t.Helper()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	expired := time.After(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-expired:
			t.Fatalf("waited %v for %s: %v", limit, what, err)
		case <-t.Context().Done():
			t.Fatalf("the test ended while waiting for %s: %v", what, errors.Join(err, t.Context().Err()))
		case <-tick.C:
		}
	}
}

func tail(b []byte, n int) []byte {
	if len(b) > n {
		return b[len(b)-n:]
	}
	return b
}
