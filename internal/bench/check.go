package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
)

const (
	checkRounds  = 30
	checkSlowest = 300 * time.Millisecond
)

// check times processes of the built binary: its start, and a health check.
func (b *bench) check(ctx context.Context) ([]row, error) {
	binary := filepath.Join(b.dir, "chatwoot-sla")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "github.com/hotdash/chatwoot-sla/cmd/chatwoot-sla") //nolint:gosec // the name of a file in our own folder
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build: %w\n%s", err, out)
	}

	sim := newSimulator(b.now)
	defer sim.Close()
	sim.Inject(chatwootsim.Fault{Path: "/api/v1/profile", Kind: chatwootsim.FaultLatency, Delay: checkSlowest})
	url, stop, err := serve(sim)
	if err != nil {
		return nil, err
	}
	defer stop()

	timed := func(command string) (time.Duration, error) {
		cmd := exec.CommandContext(ctx, binary, command) //nolint:gosec // the binary that was just built
		cmd.Env, cmd.Dir = environ(url, b.dir), b.dir
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		began := b.now()
		if err := cmd.Run(); err != nil {
			return 0, fmt.Errorf("%s: %w\n%s", command, err, &out)
		}
		return b.now().Sub(began), nil
	}
	var starts, own, together []time.Duration
	for range checkRounds {
		start, err := timed("version")
		if err != nil {
			return nil, err
		}
		whole, err := timed("check")
		if err != nil {
			return nil, err
		}
		starts = append(starts, start)
		own = append(own, whole-start-checkSlowest)
		together = append(together, whole-checkSlowest)
	}
	s, o := median(starts), median(own)
	return []row{
		{
			what:     "check, beyond its slowest probe and the start of a process",
			measured: milliseconds(o), target: "≤ 20 ms", met: o <= 20*time.Millisecond,
			absolute: fmt.Sprintf("the probe takes %s; %s beyond it with the start", milliseconds(checkSlowest), milliseconds(median(together))),
		},
		{
			what:     "start of the process: version, from exec to exit",
			measured: milliseconds(s), target: "< 30 ms", met: s < 30*time.Millisecond,
			absolute: fmt.Sprintf("median of %d", checkRounds),
		},
	}, nil
}
