package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/sla"
)

const (
	memoryOpen  = 100_000
	memoryPolls = 6

	// Polls of the measured daemon are six times as frequent as by default, so
	// that a sixth of 1 % between them is 1 % in the usual time.
	memoryChanged = memoryOpen / 100 / 6
)

// memory weighs a snapshot, and a daemon that holds as many conversations.
func (b *bench) memory(ctx context.Context) ([]row, error) {
	perEntry := float64(heldByBoard(memoryOpen, b.now())) / memoryOpen
	board := row{
		what:     "memory of a snapshot of 100,000 open conversations, each",
		measured: fmt.Sprintf("%.0f bytes", perEntry), target: "≤ 150 bytes", met: perEntry <= 150,
		absolute: mib(uint64(perEntry * memoryOpen)),
	}
	process, err := b.daemonMemory(ctx)
	if err != nil {
		return nil, err
	}
	return []row{board, process}, nil
}

// heldByBoard returns the bytes that a board of n conversations keeps alive.
func heldByBoard(n int, now time.Time) uint64 {
	before := inUse()
	board := sla.NewBoard(promises, n, slices.Values(entries(n, 10, now)), nil)
	after := inUse()
	runtime.KeepAlive(board)
	return after - before
}

func inUse() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // the second one frees what the first one's finalizers let go
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// entries makes n open conversations as a monitor would: about half of them
// waiting, opened within two hours, each with a contact's name of its own and
// agents' names that are shared.
func entries(n, inboxes int, now time.Time) []sla.Entry {
	rng := rand.New(rand.NewPCG(1, 2))
	list := make([]sla.Entry, n)
	for i := range list {
		start := now.Add(-time.Duration(rng.IntN(7200)) * time.Second)
		e := sla.Entry{
			ID: int64(i + 1), Inbox: int64(i%inboxes + 1),
			Clock:   sla.Clock{State: sla.Waiting, Start: start, Deadline: policy.Deadline(start)},
			Contact: pick(rng, firstNames) + " " + pick(rng, lastNames),
		}
		if i/inboxes%2 == 1 {
			e.Clock.State, e.Clock.AnsweredAt = sla.Answered, start.Add(time.Duration(rng.IntN(3600))*time.Second)
			e.Assignee = pick(rng, agentNames)
		}
		list[i] = e
	}
	return list
}

func pick(rng *rand.Rand, from []string) string { return from[rng.IntN(len(from))] }

var (
	firstNames = []string{"Hannah", "Alexander", "Zoë", "Muhammad", "Ana", "Nguyễn", "Guadalupe", "Jo", "Francesca", "Søren"}
	lastNames  = []string{"Okafor", "Kim", "González", "van der Berg", "O'Brien", "Świątek", "Li", "Papadopoulos", "Smith", "Yılmaz"}
	agentNames = []string{"Priya Raman", "Tom Becker", "Lucía Ortega"}
)

// daemonMemory runs the whole daemon in a process of its own until it has read
// everything and polled a few times, and asks the kernel what it took.
func (b *bench) daemonMemory(ctx context.Context) (row, error) {
	r := row{what: "memory of the whole daemon with 100,000 open conversations, at its peak", target: "< 100 MiB"}
	if _, err := os.Stat("/proc/self/status"); err != nil {
		r.measured = "not measured: this system has no /proc"
		return r, nil
	}
	sim, err := b.start(ctx, "simulator", strconv.Itoa(memoryOpen))
	if err != nil {
		return row{}, err
	}
	defer sim.stop()
	began := b.now()
	daemon, err := b.start(ctx, "daemon", sim.url, b.dir)
	if err != nil {
		return row{}, err
	}
	defer daemon.stop()

	const deltas = `chatwoot_sla_polls_total{kind="delta",result="success"}`
	client := &http.Client{Timeout: 10 * time.Second}
	var pictureAfter time.Duration
	for polls, want := 0.0, 1.0+memoryPolls; polls < want; {
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return row{}, errors.New("the daemon did not poll in time")
		}
		s, err := gather(ctx, client, daemon.url)
		if err != nil {
			return row{}, err
		}
		open := s.sum("chatwoot_sla_conversations", "")
		if open == 0 {
			continue
		}
		if open != memoryOpen {
			return row{}, fmt.Errorf("the daemon knows %.0f open conversations, want %d", open, memoryOpen)
		}
		if pictureAfter == 0 {
			pictureAfter = b.now().Sub(began)
		}
		if s[deltas] > polls {
			polls = s[deltas]
			if err := touchRemote(ctx, client, sim.url, memoryChanged); err != nil {
				return row{}, err
			}
		}
	}
	peak, resident, err := usage(daemon.cmd.Process.Pid)
	if err != nil {
		return row{}, err
	}
	r.measured, r.met = mib(peak), peak < 100<<20
	r.absolute = fmt.Sprintf("%s after %d polls; first picture after %.1f s", mib(resident), memoryPolls, pictureAfter.Seconds())
	return r, nil
}

// touchRemote changes n conversations of a simulator process.
func touchRemote(ctx context.Context, client *http.Client, url string, n int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("%s/bench/touch?n=%d", url, n), nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("change conversations: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New("change conversations: " + resp.Status)
	}
	return nil
}

// usage returns the largest and the present resident size of a process, in
// bytes.
func usage(pid int) (peak, resident uint64, err error) {
	file := fmt.Sprintf("/proc/%d/status", pid)
	for key, to := range map[string]*uint64{"VmHWM": &peak, "VmRSS": &resident} {
		text := fieldOf(file, key, ":")
		kib, err := strconv.ParseUint(strings.TrimSuffix(text, " kB"), 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("read %s: %w", file, err)
		}
		*to = kib << 10
	}
	return peak, resident, nil
}
