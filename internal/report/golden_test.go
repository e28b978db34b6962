package report_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hotdash/chatwoot-sla/internal/report"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range min(len(gotLines), len(wantLines)) {
		if gotLines[i] != wantLines[i] {
			t.Fatalf("%s differs from line %d on; run with -update and review the change:\n%s\nwas\n%s", path, i+1, gotLines[i], wantLines[i])
		}
	}
	t.Fatalf("%s has %d lines, and now %d; run with -update and review the change", path, len(wantLines), len(gotLines))
}

func TestEveryFormatIsAsAgreed(t *testing.T) {
	for _, f := range report.Formats {
		t.Run(string(f), func(t *testing.T) {
			golden(t, "busy-week"+f.Extension(), write(t, busyWeek(t, 90).Report(), f))
		})
	}
}

func TestAPeriodWithoutAnythingIsAReportToo(t *testing.T) {
	for _, f := range report.Formats {
		t.Run(string(f), func(t *testing.T) {
			golden(t, "empty-week"+f.Extension(), write(t, reportOf(t, week()), f))
		})
	}
}
