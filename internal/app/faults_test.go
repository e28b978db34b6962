package app_test

import (
	"bufio"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/apptest"
	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/pgtest"
	"github.com/hotdash/chatwoot-sla/internal/store"
)

// fast is how many times faster than real time it goes by where a daemon waits
// half a minute before it tries again.
const fast = 20

// desk is a daemon, where its ledger is, and what that must say in the end.
type desk struct {
	*apptest.Daemon
	t    *testing.T
	at   store.Options
	want map[int64]ledger.Outcome
}

func openDesk(t *testing.T, at store.Options) *desk {
	t.Helper()
	var settings []string
	if at.DataDir != "" {
		settings = append(settings, "DATA_DIR="+at.DataDir)
	}
	if at.DatabaseURL != "" {
		settings = append(settings, "DATABASE_URL="+at.DatabaseURL)
	}
	return &desk{apptest.StartFast(t, time.Now(), fast, settings...), t, at, map[int64]ledger.Outcome{}}
}

// works sees to it that levels and board follow Chatwoot, and lets an outcome
// of each kind be decided.
func (d *desk) works() {
	d.t.Helper()
	before := d.count(ledger.Breached)
	inbox, now := d.Sim.Inboxes()[0], d.Now()
	d.want[d.Sim.CustomerOpens(now.Add(-40*time.Minute), inbox, "Hello?")] = ledger.Breached
	answered := d.Sim.CustomerOpens(now.Add(-time.Second), inbox, "Hello?")
	d.Sim.AgentReplies(now, answered)
	d.want[answered] = ledger.Met
	resolved := d.Sim.CustomerOpens(now.Add(-time.Second), inbox, "Hello?")
	d.Sim.SetStatus(now, resolved, "resolved")
	d.want[resolved] = ledger.Excluded

	d.Await("/metrics", fmt.Sprintf(`chatwoot_sla_waiting_conversations\{inbox="%d",level="breach"\} %d`, inbox, before+1))
	d.Await("/api/v1/conversations?level=breach", fmt.Sprintf(`(?s)("state": "waiting".*){%d}`, before+1))
	d.Await("/", `late`)
	d.Await("/api/v1/status", `"state": "fresh"`)
}

func (d *desk) count(o ledger.Outcome) (n int) {
	for _, w := range d.want {
		if w == o {
			n++
		}
	}
	return n
}

// settles waits until the ledger holds what it must, each once.
func (d *desk) settles() {
	d.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		err := d.settled()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			d.t.Fatal(err)
		}
	}
	d.Await("/metrics", `chatwoot_sla_ledger_unwritten_conversations 0\n`)
}

func (d *desk) settled() (err error) {
	r, err := store.OpenReader(d.t.Context(), d.at)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	got := map[int64]ledger.Outcome{}
	err = r.Decided(d.t.Context(), time.Unix(0, 0), time.Now().AddDate(1, 0, 0), func(e ledger.Entry) error {
		if got[e.Conversation] != "" {
			d.t.Fatalf("conversation %d has two outcomes", e.Conversation)
		}
		got[e.Conversation] = e.Outcome
		return nil
	})
	if err == nil && !maps.Equal(got, d.want) {
		err = fmt.Errorf("the ledger holds %v, want %v", got, d.want)
	}
	return err
}

// said waits until the log has told an operator all of what is needed.
func (d *desk) said(words ...string) {
	d.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; d.Get("/healthz") {
		missing := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return strings.Contains(d.Log.String(), w) })
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("the log does not say %q:\n%s", missing, d.Log)
		}
	}
}

// fails holds a daemon whose database has begun to fail, and is healed, to what
// is promised of it.
func (d *desk) fails(heal func(), operation string) {
	d.t.Helper()
	d.works()
	d.Await("/metrics", `chatwoot_sla_store_errors_total\{operation="`+operation+`"\} [1-9]`)
	d.Await("/metrics", `chatwoot_sla_ledger_unwritten_conversations [1-9]`)
	d.works() // it still does
	heal()
	d.settles()
}

func TestPostgresGoesAwayAndComesBack(t *testing.T) {
	server := pgtest.New(t)
	d := openDesk(t, store.Options{DatabaseURL: server.URL("postgres")})
	d.works()
	d.settles()
	server.Stop(t)
	d.fails(func() { server.Start(t) }, "ledger_read")
	d.said("writing the ledger failed; levels and pages go on without it", "is Postgres running", "the ledger is written again",
		"the database fails; what is to be kept waits in memory", "the database works again")
}

func TestPostgresThatIsAwayAtTheStart(t *testing.T) {
	server := pgtest.New(t)
	at := store.Options{DatabaseURL: server.URL("postgres")}
	server.Stop(t)
	d := openDesk(t, at)
	d.works()
	d.Await("/metrics", `chatwoot_sla_store_errors_total\{operation="open"\} [1-9]`)
	server.Start(t)
	d.settles()
	d.said("the database cannot be reached; going on without it", "is Postgres running", "the database works again")
}

func databaseOf(dir string) string { return filepath.Join(dir, "chatwoot-sla.db") }

// holderEnv has the file that the child of TestFileThatAnotherProcessHolds is
// to hold.
const holderEnv = "APP_TEST_HOLDS"

// hold keeps others from writing a SQLite file until its input ends.
func hold(name string) {
	db, err := sql.Open("sqlite", name+"?_txlock=immediate&_busy_timeout=60000") // the daemon writes, too
	if err == nil {
		_, err = db.Begin()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("held")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	os.Exit(0)
}

func TestFileThatAnotherProcessHolds(t *testing.T) {
	dir := t.TempDir()
	d := openDesk(t, store.Options{DataDir: dir})
	d.works()
	d.settles()
	holder := exec.Command(os.Args[0])
	holder.Env, holder.Stderr = append(os.Environ(), holderEnv+"="+databaseOf(dir)), os.Stderr
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("the other process: %q, %v", line, err)
	}
	d.fails(func() {
		if err := errors.Join(in.Close(), holder.Wait()); err != nil {
			t.Error(err)
		}
	}, "ledger_write")
	d.said("another program holds the file", "the ledger is written again")
}
