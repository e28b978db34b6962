package health_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hotdash/chatwoot-sla/internal/health"
	"github.com/hotdash/chatwoot-sla/internal/health/healthcases"
	"github.com/hotdash/chatwoot-sla/internal/porttest"
)

const (
	testToken     = "EXAMPLE-token-not-real"
	testAccountID = 3
)

// scriptRun is one run of the backup script in a folder of its own.
type scriptRun struct {
	dir    string
	env    []string
	stdout string
	stderr string
	code   int
}

// newScriptRun prepares the settings for a check of url; a hostile .curlrc lies
// in the home folder.
func newScriptRun(t *testing.T, url string) *scriptRun {
	t.Helper()
	for _, tool := range []string{"curl", "awk"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the script needs %s: %v", tool, err)
		}
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, ".curlrc"), "location\ninsecure\n")
	return &scriptRun{dir: dir, env: []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + dir,
		"CHATWOOT_BASE_URL=" + url,
		"CHATWOOT_TOKEN=" + testToken,
		"CHATWOOT_ACCOUNT_ID=3",
		"PROBE_TIMEOUT=60", // patient with a busy machine
	}}
}

// hurry shortens the wait in a case that is about waiting in vain.
func (s *scriptRun) hurry(name string) {
	if strings.Contains(name, "hang") {
		s.env = append(s.env, "PROBE_TIMEOUT=3") // the last one counts
	}
}

func (s *scriptRun) command(t *testing.T) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	t.Helper()
	script, err := filepath.Abs("../../deploy/check-chatwoot-health.sh")
	if err != nil {
		t.Fatal(err)
	}
	shell := "sh"
	if dash, err := exec.LookPath("dash"); err == nil {
		shell = dash
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), shell, script)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.dir, s.env, &stdout, &stderr
	return cmd, &stdout, &stderr
}

func (s *scriptRun) run(t *testing.T) {
	t.Helper()
	cmd, stdout, stderr := s.command(t)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	s.stdout, s.stderr, s.code = stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
	if strings.Contains(s.stdout+s.stderr, testToken) {
		t.Errorf("the token is in the output:\n%s%s", s.stdout, s.stderr)
	}
}

func (s *scriptRun) wantExit(t *testing.T, code int) {
	t.Helper()
	if s.code != code {
		t.Errorf("exit code %d, want %d\n%s%s", s.code, code, s.stdout, s.stderr)
	}
}

// evidence returns the files that the run wrote, parsed.
func (s *scriptRun) evidence(t *testing.T) map[string]map[string]any {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(s.dir, "artifacts/ops/chatwoot-health/health-check-*"))
	if err != nil {
		t.Fatal(err)
	}
	docs := make(map[string]map[string]any)
	for _, path := range paths {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(body, []byte(testToken)) {
			t.Errorf("the token is in %s", path)
		}
		var doc map[string]any
		if err := json.Unmarshal(body, &doc); err != nil {
			t.Fatalf("%s: %v\n%s", path, err, body)
		}
		docs[filepath.Base(path)] = doc
	}
	return docs
}

func write(t *testing.T, path, body string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// healthy returns the handler of the first case that must pass.
func healthy() http.Handler { return healthcases.All(testToken, testAccountID)[0].Handler }

func TestScriptJudgesEveryCase(t *testing.T) {
	evidenceName := regexp.MustCompile(`^health-check-\d{8}T\d{6}\.\d{3}Z\.json$`)
	for _, c := range healthcases.All(testToken, testAccountID) {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			s := newScriptRun(t, serve(t, c.Handler))
			s.hurry(c.Name)
			s.run(t)
			s.wantExit(t, c.ExitCode)

			docs := s.evidence(t)
			if len(docs) != 1 {
				t.Fatalf("%d files of evidence, want 1: %v", len(docs), docs)
			}
			if got := tree(t, filepath.Join(s.dir, "artifacts")); len(got) != 1 {
				t.Errorf("something besides the evidence was left: %q", got)
			}
			for name, doc := range docs {
				if !evidenceName.MatchString(name) {
					t.Errorf("evidence is named %q", name)
				}
				if doc["schema"] != health.Schema || doc["exit_code"] != float64(c.ExitCode) {
					t.Errorf("evidence says schema %v, exit code %v", doc["schema"], doc["exit_code"])
				}
			}
		})
	}
}

// What hides /api also hides that a dependency is failing, and a page that
// answers every address is no Chatwoot.
func TestScriptWantsToSeeTheDependencies(t *testing.T) {
	page := func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<p>Please sign in.</p>") }
	instead := func(path string, h http.HandlerFunc) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/", healthy())
		mux.HandleFunc(path, h)
		return mux
	}
	tests := []struct {
		name    string
		handler http.Handler
		code    int
	}{
		{"/api is not found", instead("/api", http.NotFound), 2},
		{"/api is a page", instead("/api", page), 2},
		{"/api names no dependency", instead("/api", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"version":"4.15.1"}`) }), 2},
		{"everything is a page", http.HandlerFunc(page), 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScriptRun(t, serve(t, tt.handler))
			s.run(t)
			s.wantExit(t, tt.code)
		})
	}
}

func TestScriptSpeaksTheAgreedWords(t *testing.T) {
	find := func(name string) http.Handler {
		for _, c := range healthcases.All(testToken, testAccountID) {
			if c.Name == name {
				return c.Handler
			}
		}
		t.Fatalf("there is no case %q", name)
		return nil
	}
	tests := []struct{ name, want string }{
		{"profile says 401 to the token", "Authenticated API: Failed with HTTP 401\n    What to do: Token expired or invalid."},
		{"everything hangs", "Platform Health: Connection timeout after 3000ms"},
		{"/api reports failing data services", "Chatwoot reports data_services failing"},
		{"neither health route, so /api answers", "ms  /api  Chatwoot 4.15.1"},
		{"no /rails/health, so /health answers", "ms  /health  Chatwoot 4.15.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScriptRun(t, serve(t, find(tt.name)))
			s.hurry(tt.name)
			s.run(t)
			if !strings.Contains(s.stdout, tt.want) {
				t.Errorf("output lacks %q:\n%s", tt.want, s.stdout)
			}
		})
	}
}

func TestScriptFindsNobodyListening(t *testing.T) {
	s := newScriptRun(t, "http://"+porttest.Refusing(t))
	s.run(t)
	s.wantExit(t, 4)
	if !strings.Contains(s.stdout, "Connection failed") {
		t.Errorf("output does not say that the connection failed:\n%s", s.stdout)
	}
}

func TestScriptEvidenceUsesTheFieldsOfTheSchema(t *testing.T) {
	var full bytes.Buffer
	report := health.Report{Results: []health.Result{{Probe: health.RailsHealth, Status: 200, Success: true}}}
	if err := health.WriteJSON(&full, report); err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := json.Unmarshal(full.Bytes(), &want); err != nil {
		t.Fatal(err)
	}
	sameFields := func(got, want map[string]any) {
		t.Helper()
		for field, v := range got {
			w, known := want[field]
			if !known {
				t.Errorf("field %q is not in the schema", field)
			} else if kind(v) != kind(w) {
				t.Errorf("field %q is %v, in the schema %v", field, v, w)
			}
		}
	}
	s := newScriptRun(t, serve(t, healthy()))
	s.run(t)
	for _, doc := range s.evidence(t) {
		sameFields(doc, want)
		sameFields(doc["probes"].([]any)[0].(map[string]any), want["probes"].([]any)[0].(map[string]any))
	}
}

func kind(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case float64:
		return "number"
	case bool:
		return "bool"
	case []any:
		return "list"
	}
	return "object"
}

func TestScriptReadsDotenvWithoutExecutingIt(t *testing.T) {
	url := serve(t, healthy())
	tests := []struct {
		name, dotenv string
		env          []string
		code         int
	}{
		{"the runbook's block, comments included", "# Chatwoot\nCHATWOOT_BASE_URL=" + url + "\nCHATWOOT_TOKEN=" + testToken + "\nCHATWOOT_ACCOUNT_ID=3  # ours\n", nil, 0},
		{"quotes, export, line ends of Windows", "export CHATWOOT_BASE_URL=\"" + url + "/\" # here\r\nCHATWOOT_API_TOKEN='" + testToken + "'\r\nCHATWOOT_ACCOUNT_ID = 3\r\n", nil, 0},
		{"the environment wins", "CHATWOOT_BASE_URL=" + url + "\nCHATWOOT_TOKEN=" + testToken + "\nCHATWOOT_ACCOUNT_ID=4\n", []string{"CHATWOOT_ACCOUNT_ID=3"}, 0},
		{"the token is in a file", "CHATWOOT_BASE_URL=" + url + "\nCHATWOOT_TOKEN_FILE=secret\nCHATWOOT_ACCOUNT_ID=3\n", nil, 0},
		{"the token is in a file that the environment names", "CHATWOOT_BASE_URL=" + url + "\nCHATWOOT_TOKEN=other\nCHATWOOT_ACCOUNT_ID=3\n", []string{"CHATWOOT_API_TOKEN_FILE=secret"}, 0},
		{"an empty variable counts as unset", "CHATWOOT_BASE_URL=" + url + "\nCHATWOOT_TOKEN=" + testToken + "\nCHATWOOT_ACCOUNT_ID=3\n", []string{"CHATWOOT_ACCOUNT_ID="}, 0},
		{"a name that only begins like ours", "CHATWOOT_BASE_URL=" + url + "\nCHATWOOT_TOKEN=" + testToken + "\nCHATWOOT_ACCOUNT_ID_OLD=3\n", nil, 1},
		{"commands stay text", "CHATWOOT_BASE_URL=" + url + "\nCHATWOOT_TOKEN=$(touch executed)`touch executed`\nCHATWOOT_ACCOUNT_ID=3\ntouch executed\n", nil, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScriptRun(t, "")
			s.env = append(s.env[:2], tt.env...)
			write(t, filepath.Join(s.dir, ".env"), tt.dotenv)
			write(t, filepath.Join(s.dir, "secret"), testToken+"\n")
			s.run(t)
			s.wantExit(t, tt.code)
			if _, err := os.Stat(filepath.Join(s.dir, "executed")); err == nil {
				t.Error("the script executed .env")
			}
		})
	}
}

func TestScriptRefusesADotenvThatOthersCanWrite(t *testing.T) {
	for _, mode := range []os.FileMode{0o620, 0o602} {
		s := newScriptRun(t, serve(t, healthy()))
		path := filepath.Join(s.dir, ".env")
		write(t, path, "")
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		s.run(t)
		s.wantExit(t, 1)
		if !strings.Contains(s.stderr, "chmod go-w .env") {
			t.Errorf("stderr does not say what to run:\n%s", s.stderr)
		}
	}
}

func TestScriptNamesEveryMistakeAtOnce(t *testing.T) {
	tests := []struct {
		name string
		env  []string
		want []string
	}{
		{"nothing is set", nil, []string{
			"CHATWOOT_BASE_URL environment variable not set", "CHATWOOT_TOKEN environment variable not set", "CHATWOOT_ACCOUNT_ID environment variable not set",
		}},
		{"nothing is well formed", []string{
			"CHATWOOT_BASE_URL=chat.example.com", "CHATWOOT_TOKEN=two words", "CHATWOOT_ACCOUNT_ID=your-account-id", "CHATWOOT_HEALTH_PATH=health", "PROBE_TIMEOUT=soon",
		}, []string{"CHATWOOT_BASE_URL is not an address", "CHATWOOT_TOKEN holds", "CHATWOOT_ACCOUNT_ID is not a number", "CHATWOOT_HEALTH_PATH is not a path", "PROBE_TIMEOUT is not a number"}},
		{"the address holds a password", []string{"CHATWOOT_BASE_URL=https://user:" + testToken + "@chat.example.com", "CHATWOOT_TOKEN=t", "CHATWOOT_ACCOUNT_ID=3"}, []string{"without user or password"}},
		{"the token would end curl's quotes", []string{"CHATWOOT_BASE_URL=https://chat.example.com", "CHATWOOT_TOKEN=x\"\noutput = \"stolen", "CHATWOOT_ACCOUNT_ID=3"}, []string{"CHATWOOT_TOKEN holds"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScriptRun(t, "")
			s.env = append(s.env[:2], tt.env...)
			s.run(t)
			s.wantExit(t, 1)
			for _, want := range tt.want {
				if !strings.Contains(s.stderr, want) {
					t.Errorf("stderr lacks %q:\n%s", want, s.stderr)
				}
			}
		})
	}
}

// replace puts a program of the given name before the real one.
func (s *scriptRun) replace(t *testing.T, name, body string) {
	t.Helper()
	bin := t.TempDir()
	write(t, filepath.Join(bin, name), "#!/bin/sh\n"+body)
	if err := os.Chmod(filepath.Join(bin, name), 0o700); err != nil {
		t.Fatal(err)
	}
	s.env[0] = "PATH=" + bin + ":" + os.Getenv("PATH")
}

// Each probe lets the other one pass only once both have begun.
func TestScriptRunsTheProbesSideBySide(t *testing.T) {
	ok := healthy()
	var both sync.WaitGroup
	both.Add(2)
	s := newScriptRun(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api" {
			both.Done()
			both.Wait()
		}
		ok.ServeHTTP(w, r)
	})))
	s.run(t)
	s.wantExit(t, 0)
}

func TestScriptGivesAProbeTenSecondsInAll(t *testing.T) {
	s := newScriptRun(t, "http://chat.example.com")
	s.env = slices.DeleteFunc(s.env, func(v string) bool { return strings.HasPrefix(v, "PROBE_TIMEOUT=") })
	s.replace(t, "curl", `printf '%s\n' "$*" >>"$HOME/asked"; printf '{}\n200 7.25'`)
	s.run(t)
	asked, err := os.ReadFile(filepath.Join(s.dir, "asked"))
	if err != nil {
		t.Fatal(err)
	}
	for path, limit := range map[string]string{"/rails/health": "10.000", "/api": "2.750", "/api/v1/profile": "10"} {
		want := regexp.MustCompile(`(?m)--max-time ` + regexp.QuoteMeta(limit) + ` .*http://chat\.example\.com` + path + `$`)
		if !want.Match(asked) {
			t.Errorf("no request for %s with %s seconds:\n%s", path, limit, asked)
		}
	}
}

func TestScriptNeverReplacesEvidence(t *testing.T) {
	s := newScriptRun(t, serve(t, healthy()))
	s.replace(t, "date", "echo 20261123T221854.097Z")
	folder := filepath.Join(s.dir, "artifacts/ops/chatwoot-health")
	if err := os.MkdirAll(folder, 0o750); err != nil {
		t.Fatal(err)
	}
	busy := filepath.Join(folder, ".health-check-20261123T221854.097Z.json.tmp")
	write(t, busy, "being written")
	for range 3 {
		s.run(t)
		s.wantExit(t, 0)
	}
	if got, err := os.ReadFile(busy); string(got) != "being written" {
		t.Errorf("another writer's file holds %q, %v", got, err)
	}
	docs := s.evidence(t)
	for _, stamp := range []string{"098", "099", "100"} {
		if _, written := docs["health-check-20261123T221854."+stamp+"Z.json"]; !written {
			t.Errorf("no evidence named .%sZ: %v", stamp, docs)
		}
	}
}

func TestScriptGoesOnWithoutAPlaceForEvidence(t *testing.T) {
	s := newScriptRun(t, serve(t, healthy()))
	write(t, filepath.Join(s.dir, "file"), "")
	s.env = append(s.env, "ARTIFACTS_DIR=file/artifacts")
	s.run(t)
	s.wantExit(t, 0)
	if !strings.Contains(s.stderr, "file/artifacts/ops/chatwoot-health") || !strings.Contains(s.stderr, "set ARTIFACTS_DIR") {
		t.Errorf("stderr does not name the folder and what to do:\n%s", s.stderr)
	}
}

func TestScriptKeepsTheTokenOutOfTheProcessList(t *testing.T) {
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Skip("there is no /proc to look into")
	}
	asked, release := make(chan struct{}, 1), make(chan struct{})
	ok := healthy()
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/profile" {
			asked <- struct{}{}
			<-release
		}
		ok.ServeHTTP(w, r)
	}))
	s := newScriptRun(t, url)
	cmd, stdout, _ := s.command(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-asked
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var seen bool
	for _, path := range lines {
		line, _ := os.ReadFile(path) // processes end while we look
		if bytes.Contains(line, []byte(testToken)) {
			t.Errorf("the token is in a command line: %q", line)
		}
		seen = seen || bytes.Contains(line, []byte(url+"/api/v1/profile"))
	}
	close(release)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, stdout)
	}
	if !seen {
		t.Error("curl's command line was not among those looked at")
	}
}
