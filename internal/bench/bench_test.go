package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

func TestReportSaysWhatWasMissed(t *testing.T) {
	r := results{
		date:    time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC),
		machine: "Go 1, 2 cores",
		rows: []row{
			{what: "speed", measured: "2.6 ×", target: "≤ 2.5 ×", absolute: "5 ms"},
			{what: "size", measured: "9 bytes", target: "≤ 10 bytes", met: true, absolute: "9 MiB"},
		},
	}
	text := r.markdown()
	for _, want := range []string{
		"Measured on 2026-03-02, Go 1, 2 cores.",
		"| speed | 2.6 × | ≤ 2.5 × | **no** | 5 ms |\n",
		"| size | 9 bytes | ≤ 10 bytes | yes | 9 MiB |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
}

func TestMedianIsTheMiddleInAnyOrder(t *testing.T) {
	if got := median([]time.Duration{9, 1, 5}); got != 5 {
		t.Errorf("median = %v, want 5", got)
	}
}

func TestSeriesAreSummedByLabel(t *testing.T) {
	s := parseSeries(`# HELP waiting Those who wait, level="breach" {x} 7
waiting{inbox="1",level="breach"} 2
waiting{inbox="2",level="breach"} 3
waiting{inbox="2",level="urgent"} 5
waiting_since{level="breach"} 100
names{name="a } b",level="breach"} 1
up 1
`)
	if got := s.sum("waiting", `level="breach"`); got != 5 {
		t.Errorf("sum = %v, want 5", got)
	}
	if s["up"] != 1 {
		t.Errorf("up = %v, want 1", s["up"])
	}
}

// The baselines are fair only if they wait where a sync waits.
func TestRecorderGroupsWhatIsUnderWayTogether(t *testing.T) {
	var arrived sync.WaitGroup // holds the answers of a group until all of it is there
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived.Done()
		arrived.Wait()
		_, _ = w.Write([]byte("12345"))
	}))
	t.Cleanup(server.Close)
	rec := &recorder{through: newTransport()}
	client := &http.Client{Transport: rec}
	want := []int{1, 3, 2}
	send := func(n int) error {
		arrived.Add(n)
		var g errgroup.Group
		for range n {
			g.Go(func() error {
				resp, err := client.Get(server.URL)
				if err != nil {
					return err
				}
				arrived.Wait()
				_, err = discard(resp)
				return errors.Join(err, resp.Body.Close())
			})
		}
		return g.Wait()
	}
	for _, n := range want {
		if err := send(n); err != nil {
			t.Fatal(err)
		}
	}
	var got []int
	for _, g := range rec.groups {
		got = append(got, len(g))
	}
	if !slices.Equal(got, want) {
		t.Fatalf("groups of %v, want %v", got, want)
	}

	arrived.Add(6)
	together := [][]*http.Request{slices.Concat(rec.groups...)} // the server waits for all six
	total, err := replay(t.Context(), together, discard)
	if err != nil || total != 30 {
		t.Errorf("replayed %d bytes (%v), want 30", total, err)
	}
}
