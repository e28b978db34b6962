package alerts_test

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/apptest"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/promtest"
)

// listensAt is where the pages take the monitor to listen.
const listensAt = "http://localhost:9642"

// elsewhere are the commands that need a machine on which the monitor is
// installed.
var elsewhere = []string{"systemctl", "journalctl"}

// At three in the morning nobody corrects a command. Each runs here as it is
// printed, beside a monitor that works.
func TestCommandsOfTheAlertPagesWork(t *testing.T) {
	root := promtest.Root(t)
	dir := t.TempDir()
	binary := filepath.Join(dir, "chatwoot-sla")
	if out, err := exec.Command("go", "build", "-o", binary, filepath.Join(root, "cmd", "chatwoot-sla")).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	data := t.TempDir()
	drafting := apptest.StartDrafting(t, "DATA_DIR="+data)
	daemon := drafting.Daemon
	apptest.EveryLevel(daemon.Sim)
	daemon.Await("/metrics", "chatwoot_sla_approvals_oldest_timestamp_seconds [1-9]")
	daemon.Await("/metrics", "chatwoot_sla_evidence_last_write_timestamp_seconds [1-9]")
	daemon.Await("/metrics", "chatwoot_sla_poll_last_success_timestamp_seconds [1-9]")
	daemon.Await("/metrics", "chatwoot_sla_queue_jobs")
	for name, target := range map[string]string{"artifacts": daemon.Artifacts, "deploy": filepath.Join(root, "deploy")} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	hooks, err := url.Parse(daemon.Webhooks)
	if err != nil {
		t.Fatal(err)
	}
	environ := append(
		os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "CHATWOOT_BASE_URL="+daemon.Chatwoot, "CHATWOOT_TOKEN="+apptest.Token,
		"CHATWOOT_ACCOUNT_ID="+strconv.Itoa(chatwootsim.DemoAccountID), "DATA_DIR="+data,
		"CHATWOOT_WEBHOOK_SECRET="+apptest.WebhookSecret, "WEBHOOK_LISTEN_ADDR="+hooks.Host,
	)

	// That everything was read is written down a moment after the page shows it.
	for enough := time.After(3 * time.Minute); ; {
		first := exec.Command(binary, "checklist")
		first.Dir, first.Env = dir, environ
		out, err := first.CombinedOutput()
		if err == nil {
			break
		}
		select {
		case <-enough:
			t.Fatalf("the monitor does not come to pass its own checklist: %v\n%s", err, out)
		case <-time.After(50 * time.Millisecond):
		}
	}

	for page, text := range readPages(t) {
		t.Run(page, func(t *testing.T) {
			commands := regexp.MustCompile("(?s)## First three commands\n\n```sh\n(.*?)\n```\n").FindStringSubmatch(text)
			if commands == nil || strings.Count(commands[1], "\n") != 2 {
				t.Fatal("the page does not begin with three commands")
			}
			for line := range strings.SplitSeq(commands[1], "\n") {
				program, _, _ := strings.Cut(line, " ")
				if slices.Contains(elsewhere, program) {
					continue
				}
				cmd := exec.Command("sh", "-c", strings.ReplaceAll(line, listensAt, daemon.URL))
				cmd.Dir, cmd.Env = dir, environ
				if out, err := cmd.CombinedOutput(); err != nil || len(out) == 0 {
					t.Errorf("%s: %v\n%s", line, err, out)
				}
			}
		})
	}
}

func TestIndexNamesEveryAlertPage(t *testing.T) {
	index, err := os.ReadFile("../docs/runbooks/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for page := range readPages(t) {
		if !strings.Contains(string(index), "("+page+".md)") {
			t.Errorf("docs/runbooks/README.md does not link to %s.md", page)
		}
	}
}

// An alert about a stage is of no use to whoever finds another stage on its page.
func TestPagesAboutStagesNameEveryStage(t *testing.T) {
	rules, err := os.ReadFile("rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	stages := map[string]bool{}
	for _, m := range regexp.MustCompile(`eq \$labels\.stage "(\w+)"`).FindAllStringSubmatch(string(rules), -1) {
		stages[m[1]] = true
	}
	if len(stages) < 5 {
		t.Fatalf("the rules name only the stages %v; is the search still right?", stages)
	}
	pages := readPages(t)
	for _, page := range []string{"ChatwootStageDown", "ChatwootDeadLetters", "ChatwootRetryQueueHigh"} {
		for stage := range stages {
			if !strings.Contains(pages[page], "\n| `"+stage+"` |") {
				t.Errorf("%s.md has no row for the stage %s", page, stage)
			}
		}
	}
}

// Pages lead on to other files, which must be there.
func TestLinksOfTheAlertPagesLeadSomewhere(t *testing.T) {
	pages := readPages(t)
	for _, other := range []string{"README", "../alerts"} {
		text, err := os.ReadFile("../docs/runbooks/" + other + ".md")
		if err != nil {
			t.Fatal(err)
		}
		pages[other] = string(text)
	}
	for page, text := range pages {
		file := filepath.Join("../docs/runbooks", page+".md")
		for _, m := range regexp.MustCompile(`\]\(([^):]+)\)`).FindAllStringSubmatch(text, -1) {
			name, section, _ := strings.Cut(m[1], "#")
			target, err := os.ReadFile(filepath.Join(filepath.Dir(file), name))
			if err != nil {
				t.Errorf("%s: %v", file, err)
			}
			heading := regexp.MustCompile(`(?mi)^#+ ` + strings.ReplaceAll(section, "-", " ") + `$`)
			if section != "" && !heading.Match(target) {
				t.Errorf("%s: %s has no section %s", file, name, section)
			}
		}
	}
}

// readPages returns the text of each alert's page.
func readPages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../docs/runbooks/Chatwoot*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no runbook pages (%v)", err)
	}
	pages := make(map[string]string, len(files))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		pages[strings.TrimSuffix(filepath.Base(f), ".md")] = string(text)
	}
	return pages
}
