package store_test

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/store"
	"github.com/hotdash/chatwoot-sla/internal/store/storetest"
)

// The child finds its database in these.
const (
	childEnv    = "STORE_TEST_CHILD"
	childDir    = "STORE_TEST_DIR"
	childURL    = "STORE_TEST_URL"
	childOffset = "STORE_TEST_OFFSET"
)

const batchSize = 20

// writeUntilKilled is the child: it writes batch after batch and says so.
func writeUntilKilled() {
	s, err := store.Open(context.Background(), store.Options{
		DataDir: os.Getenv(childDir), DatabaseURL: os.Getenv(childURL), Account: storetest.Account,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	id, _ := strconv.ParseInt(os.Getenv(childOffset), 10, 64)
	for {
		var b ledger.Batch
		for range batchSize {
			id++
			b.Put = append(b.Put, storetest.Decided(id, ledger.Met, storetest.Noon.Add(time.Duration(id)*time.Second)))
		}
		if _, err := s.Write(context.Background(), b); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(id) // acknowledged up to here
	}
}

func TestKilledProcessLosesNothingThatWasAcknowledged(t *testing.T) {
	for name, empty := range engines {
		t.Run(name, func(t *testing.T) {
			o := empty(t)
			total := 0
			for round := range 4 {
				total = writeAndKill(t, o, total, 1+3*round)
				found := readAll(t, o)
				for id := 1; id <= total; id++ {
					if found[int64(id)] != 1 {
						t.Fatalf("outcome %d was acknowledged and is there %d times", id, found[int64(id)])
					}
				}
				if len(found)%batchSize != 0 {
					t.Fatalf("%d outcomes: a batch was written in part", len(found))
				}
				total = int(slices.Max(slices.Collect(maps.Keys(found))))
			}
		})
	}
}

// writeAndKill kills a child after it has acknowledged some batches, and
// returns up to which outcome it has.
func writeAndKill(t *testing.T, o store.Options, from, batches int) (acknowledged int) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childEnv+"=1", childDir+"="+o.DataDir, childURL+"="+o.DatabaseURL, childOffset+"="+strconv.Itoa(from))
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		if acknowledged, err = strconv.Atoi(lines.Text()); err != nil {
			t.Fatal(err)
		}
		if n+1 == batches {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = child.Wait() // killed
	if acknowledged < from+batches*batchSize {
		t.Fatalf("the child acknowledged only up to %d", acknowledged)
	}
	return acknowledged
}

func readAll(t *testing.T, o store.Options) map[int64]int {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	found := map[int64]int{}
	err = s.Decided(t.Context(), time.Unix(0, 0), storetest.Noon.AddDate(1, 0, 0), func(e ledger.Entry) error {
		found[e.Conversation]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
