package health_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/health"
)

func newEvidence(t *testing.T, dir string, now time.Time) *health.Evidence {
	t.Helper()
	e, err := health.NewEvidence(health.EvidenceOptions{Dir: dir, Retention: 90 * 24 * time.Hour, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// tree lists the files and empty folders below dir, by their slashed paths.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if entries, err := os.ReadDir(path); err != nil || len(entries) > 0 {
				return err
			}
		}
		rel, err := filepath.Rel(dir, path)
		paths = append(paths, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestACheckLeavesAFileAndALine(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "artifacts")
	r := badNight(t)
	path, err := newEvidence(t, dir, night).WriteCheck(r)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "ops/chatwoot-health/health-check-20261123T221854.123Z.json"); path != want {
		t.Errorf("path is %s, want %s", path, want)
	}
	var want bytes.Buffer
	if err := health.WriteJSON(&want, r); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("the file holds %q, %v; want what WriteJSON writes", got, err)
	}
	const line = `time=2026-11-23T22:18:54.123Z exit_code=3 meaning="Authenticated API failed"` +
		` rails_health=passed rails_health_ms=42 rails_health_status=200` +
		` authenticated_api=failed authenticated_api_ms=7 authenticated_api_status=401 authenticated_api_reason=http_status authenticated_api_error="Failed with HTTP 401"` +
		` widget=failed widget_ms=0 widget_reason=timeout widget_error="Connection timeout after 0ms"` +
		` file=health-check-20261123T221854.123Z.json` + "\n"
	log := filepath.Join(dir, "support/2026-11-23/chatwoot-health.log")
	if got, err := os.ReadFile(log); err != nil || string(got) != line {
		t.Errorf("the log holds\n%s%v; want\n%s", got, err, line)
	}
	for path, want := range map[string]fs.FileMode{path: 0o640, log: 0o640, filepath.Dir(path): fs.ModeDir | 0o750, filepath.Dir(log): fs.ModeDir | 0o750} {
		if info, err := os.Stat(path); err != nil || info.Mode()&^0o027 != want&^0o027 || info.Mode().Perm()&0o027 > want.Perm()&0o027 {
			t.Errorf("%s has mode %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	if got := tree(t, dir); len(got) != 2 {
		t.Errorf("something besides the two files was left: %q", got)
	}
}

func TestDaysAndNamesAreUTC(t *testing.T) {
	dir := t.TempDir()
	r := badNight(t)
	r.Started = r.Started.In(time.FixedZone("NZDT", 13*3600))
	if _, err := newEvidence(t, dir, night).WriteCheck(r); err != nil {
		t.Fatal(err)
	}
	want := []string{"ops/chatwoot-health/health-check-20261123T221854.123Z.json", "support/2026-11-23/chatwoot-health.log"}
	if got := tree(t, dir); !slices.Equal(got, want) {
		t.Errorf("files are %q, want %q", got, want)
	}
}

// Several writers stand for the daemon and checks run by hand beside it.
func TestChecksInTheSameMillisecondGetFilesOfTheirOwn(t *testing.T) {
	dir := t.TempDir()
	r := badNight(t)
	const writers, each = 4, 5
	paths := make(chan string, writers*each)
	var wg sync.WaitGroup
	for range writers {
		e := newEvidence(t, dir, night)
		wg.Go(func() {
			for range each {
				path, err := e.WriteCheck(r)
				if err != nil {
					t.Error(err)
				}
				paths <- path
			}
		})
	}
	wg.Wait()
	close(paths)
	seen := make(map[string]bool)
	for path := range paths {
		seen[path] = true
	}
	if len(seen) != writers*each {
		t.Errorf("%d checks went to %d files", writers*each, len(seen))
	}
	if got := len(tree(t, filepath.Join(dir, "ops"))); got != writers*each {
		t.Errorf("the folder holds %d files, want %d", got, writers*each)
	}
	log, err := os.ReadFile(filepath.Join(dir, "support/2026-11-23/chatwoot-health.log"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(log), "\n"); got != writers*each || strings.Count(string(log), "time=") != got {
		t.Errorf("the log has %d lines, want %d:\n%s", got, writers*each, log)
	}
}

func TestATakenNameIsNeverReplaced(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "ops/chatwoot-health")
	if err := os.MkdirAll(folder, 0o750); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "health-check-20261123T221854.123Z.json"), "theirs")
	write(t, filepath.Join(folder, ".health-check-20261123T221854.124Z.json.tmp"), "being written")
	if err := os.Symlink("nowhere", filepath.Join(folder, "health-check-20261123T221854.125Z.json")); err != nil {
		t.Fatal(err)
	}
	path, err := newEvidence(t, dir, night).WriteCheck(badNight(t))
	if err != nil || filepath.Base(path) != "health-check-20261123T221854.126Z.json" {
		t.Errorf("wrote %s, %v; want the first free millisecond, .126Z", path, err)
	}
	if got, _ := os.ReadFile(filepath.Join(folder, "health-check-20261123T221854.123Z.json")); string(got) != "theirs" {
		t.Errorf("their file now holds %q", got)
	}
}

func TestALineTornByACrashStaysOnItsOwn(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "support/2026-11-23/chatwoot-health.log")
	if err := os.MkdirAll(filepath.Dir(log), 0o750); err != nil {
		t.Fatal(err)
	}
	write(t, log, "time=2026-11-23T22:1")
	if _, err := newEvidence(t, dir, night).WriteCheck(badNight(t)); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(log); err != nil || !strings.HasPrefix(string(got), "time=2026-11-23T22:1\ntime=2026-11-23T22:18:54.123Z ") {
		t.Errorf("the log holds %q, %v", got, err)
	}
}

func TestAFolderThatWillNotTakeEvidenceIsNamed(t *testing.T) {
	blocked := func(t *testing.T, path string) string {
		dir := t.TempDir()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		write(t, path, "in the way")
		return dir
	}
	t.Run("the file", func(t *testing.T) {
		dir := blocked(t, "ops")
		path, err := newEvidence(t, dir, night).WriteCheck(badNight(t))
		wantHint(t, err, filepath.Join(dir, "ops/chatwoot-health"))
		if path != "" {
			t.Errorf("path is %q, want none", path)
		}
		log, err := os.ReadFile(filepath.Join(dir, "support/2026-11-23/chatwoot-health.log"))
		if err != nil || len(log) == 0 || bytes.Contains(log, []byte("file=")) {
			t.Errorf("the log holds %q, %v; want a line that names no file", log, err)
		}
	})
	t.Run("the log", func(t *testing.T) {
		dir := blocked(t, "support")
		path, err := newEvidence(t, dir, night).WriteCheck(badNight(t))
		wantHint(t, err, filepath.Join(dir, "support/2026-11-23"))
		if _, statErr := os.Stat(path); statErr != nil {
			t.Errorf("the file was not written: %v", statErr)
		}
	})
	t.Run("the artifacts folder", func(t *testing.T) {
		dir := filepath.Join(blocked(t, "artifacts"), "artifacts")
		_, err := newEvidence(t, dir, night).WriteCheck(badNight(t))
		wantHint(t, err, filepath.Join(dir, "ops/chatwoot-health"))
	})
}

func wantHint(t *testing.T, err error, folder string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), folder) || !strings.Contains(err.Error(), "ARTIFACTS_DIR") {
		t.Errorf("error is %v; want one that names %s and ARTIFACTS_DIR", err, folder)
	}
}

func TestPruneRemovesOnlyItsOwnOldFiles(t *testing.T) {
	dir := t.TempDir()
	keep := []string{
		"notes.txt",
		"ops/chatwoot-health/health-check-20260825T221854.123Z.json", // not a millisecond too old
		"ops/chatwoot-health/health-check-20260101T000000.000Z.json.bak",
		"ops/chatwoot-health/health-check-2026-01-01.json",
		"ops/chatwoot-health/health-check-20260101T000000Z.json",
		"ops/chatwoot-health/health-check-20261301T000000.000Z.json",
		"ops/chatwoot-health/.health-check-20260101T000000.000Z.json",
		"ops/chatwoot-health/README.md",
		"ops/health-check-20260101T000000.000Z.json",
		"support/2026-01-02/webhook-results.txt",
		"support/2026-08-25/chatwoot-health.log",
		"support/2026-1-1/chatwoot-health.log",
		"support/archive/chatwoot-health.log",
		"support/chatwoot-health.log",
	}
	remove := []string{
		"ops/chatwoot-health/health-check-20260825T221854.122Z.json",
		"ops/chatwoot-health/.health-check-20260101T000000.000Z.json.tmp",
		"support/2026-01-01/chatwoot-health.log", // and its folder with it
		"support/2026-01-02/chatwoot-health.log",
		"support/2026-08-24/chatwoot-health.log",
	}
	for _, path := range slices.Concat(keep, remove) {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		write(t, path, "x")
	}
	removed, err := newEvidence(t, dir, night).Prune()
	if err != nil || removed != len(remove) {
		t.Errorf("removed %d files, %v; want %d", removed, err, len(remove))
	}
	slices.Sort(keep)
	got := tree(t, dir)
	slices.Sort(got)
	if !slices.Equal(got, keep) {
		t.Errorf("left\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(keep, "\n"))
	}
}

func TestPruneFollowsNoSymbolicLink(t *testing.T) {
	const old = "health-check-20260101T000000.000Z.json"
	tests := []struct {
		name    string
		target  string // made beside the artifacts, holding old evidence
		link    string // in the artifacts
		refused string
	}{
		{"a linked evidence folder", "checks/" + old, "ops/chatwoot-health", "ops/chatwoot-health"},
		{"a linked ops folder", "chatwoot-health/" + old, "ops", "ops"},
		{"a linked support folder", "2026-01-01/chatwoot-health.log", "support", "support"},
		{"a linked day", "chatwoot-health.log", "support/2026-01-01", ""},
		{"a linked log", "log", "support/2026-01-01/chatwoot-health.log", ""},
		{"a linked file", "json", "ops/chatwoot-health/" + old, ""},
	}
	for _, tt := range tests {
		for where, inside := range map[string]bool{"outside": false, "inside": true} {
			t.Run(tt.name+" to "+where, func(t *testing.T) {
				base := t.TempDir()
				dir := filepath.Join(base, "artifacts")
				elsewhere := filepath.Join(base, "elsewhere")
				if inside {
					elsewhere = filepath.Join(dir, "elsewhere")
				}
				target := filepath.Join(elsewhere, tt.target)
				link := filepath.Join(dir, tt.link)
				for _, folder := range []string{filepath.Dir(target), filepath.Dir(link)} {
					if err := os.MkdirAll(folder, 0o750); err != nil {
						t.Fatal(err)
					}
				}
				write(t, target, "precious")
				pointee := elsewhere
				if strings.HasPrefix(tt.target, "checks/") || !strings.Contains(tt.target, "/") {
					pointee = filepath.Dir(target)
				}
				if strings.HasSuffix(tt.link, ".log") || strings.HasSuffix(tt.link, ".json") {
					pointee = target
				}
				rel, err := filepath.Rel(filepath.Dir(link), pointee)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(rel, link); err != nil {
					t.Fatal(err)
				}
				removed, err := newEvidence(t, dir, night).Prune()
				if removed != 0 {
					t.Errorf("removed %d files", removed)
				}
				if refused := err != nil && strings.Contains(err.Error(), tt.refused+" is not a folder of its own"); refused != (tt.refused != "") {
					t.Errorf("error is %v", err)
				}
				if _, err := os.Stat(target); err != nil {
					t.Errorf("what the link points at is gone: %v", err)
				}
				if _, err := os.Lstat(link); err != nil {
					t.Errorf("the link is gone: %v", err)
				}
			})
		}
	}
}

func TestPruneOfNothingIsNoError(t *testing.T) {
	if removed, err := newEvidence(t, filepath.Join(t.TempDir(), "none"), night).Prune(); removed != 0 || err != nil {
		t.Errorf("Prune = %d, %v", removed, err)
	}
}

func TestEvidenceOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]health.EvidenceOptions{"no folder": {}, "a negative retention": {Dir: "x", Retention: -1}} {
		if _, err := health.NewEvidence(o); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
