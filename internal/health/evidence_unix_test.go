//go:build unix

package health_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A limit on the size of files stands for a full disk: a write stops in the
// middle. The limit is the whole process's, so it is set in one of its own.
func TestAFullDiskLeavesNothingHalfWritten(t *testing.T) {
	const dirVariable = "HEALTH_TEST_FULL_DISK"
	if dir := os.Getenv(dirVariable); dir != "" {
		var unlimited syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &unlimited); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 600, Max: unlimited.Max}); err != nil {
			t.Fatal(err)
		}
		defer syscall.Setrlimit(syscall.RLIMIT_FSIZE, &unlimited) // or coverage could not be written
		_, err := newEvidence(t, dir, night).WriteCheck(badNight(t))
		if !errors.Is(err, syscall.EFBIG) {
			t.Errorf("error is %v, want the write to be refused", err)
		}
		return
	}

	dir := t.TempDir()
	log := filepath.Join(dir, "support/2026-11-23/chatwoot-health.log")
	if err := os.MkdirAll(filepath.Dir(log), 0o750); err != nil {
		t.Fatal(err)
	}
	before := strings.Repeat("x", 499) + "\n"
	write(t, log, before)

	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), dirVariable+"="+dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if got := tree(t, dir); len(got) != 2 { // the log and the empty evidence folder
		t.Errorf("left on the disk: %q", got)
	}
	if got, err := os.ReadFile(log); err != nil || string(got) != before {
		t.Errorf("the log holds %q, %v; want what was there before", got, err)
	}
}
