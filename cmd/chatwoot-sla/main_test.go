package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/health/healthcases"
)

const (
	testToken   = "EXAMPLE-token-that-must-not-be-printed"
	testAccount = 3
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"chatwoot-sla": main})
}

// TestScripts runs the command as its users do. Beside testscript's own verbs
// there are:
//
//	chatwoot CASE   a Chatwoot in the situation of that name in healthcases;
//	                sets the variables that point at it
//	exits N CMD…    runs a command that must end with status N
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("TMPDIR", e.WorkDir) // the demo's folder must not outlive it
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"chatwoot": func(ts *testscript.TestScript, _ bool, args []string) {
				for _, c := range healthcases.All(testToken, testAccount) {
					if c.Name != strings.Join(args, " ") {
						continue
					}
					s := httptest.NewServer(c.Handler)
					ts.Defer(s.Close)
					ts.Setenv("CHATWOOT_BASE_URL", s.URL)
					ts.Setenv("CHATWOOT_TOKEN", testToken)
					ts.Setenv("CHATWOOT_ACCOUNT_ID", strconv.Itoa(testAccount))
					return
				}
				ts.Fatalf("there is no case %q", args)
			},
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				got := 0
				var exit *exec.ExitError
				if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
					got = exit.ExitCode()
				} else {
					ts.Check(err)
				}
				if got != want {
					ts.Fatalf("exit status %d, want %d", got, want)
				}
			},
		},
	})
}

// self is this test binary in the role of chatwoot-sla.
func self(t *testing.T, dir string, env []string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("chatwoot-sla") // testscript.Main has put it there
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

func settingsFor(url string) []string {
	return []string{
		"CHATWOOT_BASE_URL=" + url, "CHATWOOT_TOKEN=" + testToken, "CHATWOOT_ACCOUNT_ID=" + strconv.Itoa(testAccount),
		"WEBHOOK_LISTEN_ADDR=127.0.0.1:0", "MAINTENANCE_RRULE=off",
	}
}

// The command and the shell script that backs it up are held to the same
// cases.
func TestCheckJudgesEveryCase(t *testing.T) {
	for _, c := range healthcases.All(testToken, testAccount) {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(c.Handler)
			t.Cleanup(s.Close)
			dir := t.TempDir()
			cmd := self(t, dir, settingsFor(s.URL), "check")
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			started := time.Now()
			err := cmd.Run()
			took := time.Since(started)
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if got := cmd.ProcessState.ExitCode(); got != c.ExitCode {
				t.Errorf("exit status %d, want %d\n%s", got, c.ExitCode, &out)
			}
			// Ten seconds for both probes together, not each: the bound is
			// the runbook's twenty, and there is room for a busy machine.
			if took > 18*time.Second {
				t.Errorf("the check took %v", took)
			}
			if bytes.Contains(out.Bytes(), []byte(testToken)) {
				t.Errorf("the token is printed:\n%s", &out)
			}
			files, err := filepath.Glob(filepath.Join(dir, "artifacts/ops/chatwoot-health/health-check-*.json"))
			if err != nil || len(files) != 1 {
				t.Errorf("evidence files %v (%v), want one", files, err)
			}
		})
	}
}

func TestPanicExitsOne(t *testing.T) {
	var stdout, stderr bytes.Buffer
	// Without a context, the check panics.
	code := run(nil, []string{"check"}, append(settingsFor("http://127.0.0.1:1"), "ARTIFACTS_DIR="+t.TempDir()), &stdout, &stderr) //nolint:staticcheck // on purpose
	if code != exitUsage || !strings.Contains(stderr.String(), "panic") {
		t.Errorf("exit status %d, want %d\n%s", code, exitUsage, &stderr)
	}
}

// started reads a daemon's log up to the line that tells its address.
func started(t *testing.T, log *bufio.Scanner) string {
	t.Helper()
	for log.Scan() {
		var line struct{ Msg, Listening string }
		if err := json.Unmarshal(log.Bytes(), &line); err != nil {
			t.Fatalf("log line %q: %v", log.Text(), err)
		}
		if line.Msg == "started" {
			return "http://" + line.Listening
		}
	}
	t.Fatalf("the log ended without an address: %v", log.Err())
	return ""
}

func body(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestServeStopsOnSIGTERM(t *testing.T) {
	sim := chatwootsim.New(chatwootsim.Options{Token: testToken, AccountID: testAccount})
	sim.CustomerOpens(time.Now().Add(-40*time.Minute), sim.Inboxes()[0], "Hello?")
	s := httptest.NewServer(sim)
	defer s.Close()

	cmd := self(t, t.TempDir(), append(settingsFor(s.URL), "LISTEN_ADDR=127.0.0.1:0", "SHUTDOWN_TIMEOUT=2m"), "serve")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	log := bufio.NewScanner(stderr)
	address := started(t, log)

	breached := regexp.MustCompile(`chatwoot_sla_waiting_conversations\{inbox="\d+",level="breach"\} 1`)
	for deadline := time.Now().Add(2 * time.Minute); !breached.MatchString(body(t, address+"/metrics")); {
		if time.Now().After(deadline) {
			t.Fatal("the waiting conversation does not show in the metrics")
		}
		<-time.After(50 * time.Millisecond)
	}
	if page := body(t, address); !strings.Contains(page, "min") || strings.Contains(page, testToken) {
		t.Errorf("page:\n%s", page)
	}

	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var rest strings.Builder
	for log.Scan() {
		rest.WriteString(log.Text() + "\n")
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("serve ended with %v\n%s", err, rest.String())
	}
	if !strings.Contains(rest.String(), `"stopped"`) || strings.Contains(rest.String(), testToken) {
		t.Errorf("log:\n%s", rest.String())
	}
}

func TestServeExplainsAPortInUse(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	cmd := self(t, t.TempDir(), append(settingsFor(s.URL), "LISTEN_ADDR="+s.Listener.Addr().String()), "serve")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != exitUsage || !strings.Contains(string(out), "LISTEN_ADDR") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestDemoShowsEveryLevelAndLeavesNothingBehind(t *testing.T) {
	temp := t.TempDir()
	cmd := self(t, t.TempDir(), []string{"TMPDIR=" + temp, "LISTEN_ADDR=127.0.0.1:0", "WEBHOOK_LISTEN_ADDR=127.0.0.1:0"}, "demo")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	address := ""
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C") {
		if at, found := strings.CutPrefix(strings.TrimSpace(lines.Text()), "board"); found {
			address = strings.TrimSpace(at)
		}
	}
	if address == "" {
		t.Fatal("the demo prints no address of the board")
	}
	for deadline := time.Now().Add(2 * time.Minute); ; {
		var status struct {
			Waiting map[string]int `json:"waiting_conversations"`
		}
		if err := json.Unmarshal([]byte(body(t, address+"api/v1/status")), &status); err != nil {
			t.Fatal(err)
		}
		if w := status.Waiting; w["normal"] > 0 && w["warning"] > 0 && w["urgent"] > 0 && w["breach"] > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not all levels show within two minutes: %v", status.Waiting)
		}
		<-time.After(50 * time.Millisecond)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the demo ended with %v", err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("the demo left %v behind (%v)", left, err)
	}
}

func TestVersionOfABuild(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(context.Background(), []string{"version"}, nil, &stdout, &stderr); code != 0 || !strings.HasPrefix(stdout.String(), "chatwoot-sla ") {
		t.Errorf("exit status %d: %s%s", code, &stdout, &stderr)
	}
}
