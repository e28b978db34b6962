//go:build unix

// Package pgtest runs a real Postgres for tests.
//
// A test binary whose tests call Database ends its TestMain with Stop, so that
// the one server they share does not outlive it:
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
package pgtest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hotdash/chatwoot-sla/internal/porttest"
)

// startLimit is generous: the first start on a busy machine takes seconds.
const startLimit = time.Minute

var shared struct {
	once      sync.Once
	server    *Server
	err       error
	databases atomic.Int64
}

// Main runs the tests of a package and stops the server that they share. It
// returns the exit status.
func Main(m *testing.M) int {
	status := m.Run()
	if shared.server != nil {
		if err := shared.server.close(); err != nil {
			fmt.Fprintln(os.Stderr, "pgtest:", err)
			return max(status, 1)
		}
	}
	return status
}

// Suite is what goleak.VerifyTestMain takes instead of the testing.M, so that
// it looks when the server has stopped.
type Suite struct{ M *testing.M }

// Run is Main.
func (s Suite) Run() int { return Main(s.M) }

// Database makes an empty database on the server that all tests of the binary
// share, and returns its URL.
func Database(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() { shared.server, shared.err = start(context.Background()) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	name := fmt.Sprintf("test%d", shared.databases.Add(1))
	if err := shared.server.exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return shared.server.URL(name)
}

// Server is a Postgres of its own, for tests that stop it.
type Server struct {
	bin     string // folder of its programs
	home    string // folder of its files
	port    int
	held    net.Conn             // keeps the port from others while the server is stopped
	account *syscall.SysProcAttr // whose processes they are
	process *exec.Cmd
	done    chan error // the end of the process
}

// New starts a server that ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	s, err := start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// URL returns the address of a database. There is always one named "postgres".
func (s *Server) URL(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), Path: database}
	return u.String()
}

// Stop stops the server and keeps its data, as a restart would.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
}

// Start starts a server that was stopped, under the same address.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func start(ctx context.Context) (*Server, error) {
	s := &Server{}
	var err error
	if s.bin, err = programs(ctx); err != nil {
		return nil, err
	}
	if s.home, err = os.MkdirTemp("", "pgtest"); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.home))
	}
	if err := s.run(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// programs returns the folder of initdb and postgres, which Debian keeps out
// of the PATH.
func programs(ctx context.Context) (string, error) {
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dir := strings.TrimSpace(string(out))
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir, nil
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	slices.Sort(found)
	if len(found) == 0 {
		return "", errors.New("tests need PostgreSQL, and there is none: run make deps")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

// prepare makes the server's files.
func (s *Server) prepare(ctx context.Context) error {
	s.account = &syscall.SysProcAttr{}
	endWithParent(s.account)
	if os.Getuid() == 0 { // Postgres refuses to run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			return fmt.Errorf("%w: run make deps", err)
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil {
			return err
		}
		gid, err := strconv.Atoi(u.Gid)
		if err != nil {
			return err
		}
		s.account.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(s.home, uid, gid); err != nil {
			return err
		}
	}
	initdb := exec.CommandContext(ctx, filepath.Join(s.bin, "initdb"), "-D", s.data(),
		"-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = s.account, s.home
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	held, err := porttest.Hold()
	if err != nil {
		return err
	}
	s.held, s.port = held, held.LocalAddr().(*net.TCPAddr).Port
	return nil
}

func (s *Server) data() string { return filepath.Join(s.home, "data") }

// run starts the server as our own child, and waits until it answers.
func (s *Server) run(ctx context.Context) error {
	var out bytes.Buffer
	s.process = exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(s.bin, "postgres"), "-D", s.data(),
		"-p", strconv.Itoa(s.port), "-k", s.home, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")
	s.process.SysProcAttr, s.process.Dir = s.account, s.home
	s.process.Stdout, s.process.Stderr = &out, &out
	if err := s.process.Start(); err != nil {
		return err
	}
	s.done = make(chan error, 1)
	go func() { s.done <- s.process.Wait() }()

	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		err := s.exec(ctx, "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case ended := <-s.done:
			s.process = nil
			return fmt.Errorf("postgres ended: %w\n%s", cmp.Or(ended, errors.New("without an error")), out.String())
		case <-ctx.Done():
			return fmt.Errorf("postgres does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the server: connections are cut, and what was committed is kept.
func (s *Server) stop() error {
	if s.process == nil {
		return nil
	}
	if err := s.process.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	select {
	case err := <-s.done:
		if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
			return err
		}
	case <-time.After(startLimit):
		return errors.Join(errors.New("postgres did not stop"), s.process.Process.Kill())
	}
	s.process = nil
	return nil
}

func (s *Server) close() error { return errors.Join(s.stop(), s.held.Close(), os.RemoveAll(s.home)) }

// exec runs a statement as the owner of everything.
func (s *Server) exec(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}
