package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// DefaultTimeout is the runbook's limit for each probe.
const DefaultTimeout = 10 * time.Second

// grace lets a probe that heeds its context still say where it was stuck.
const grace = 10 * time.Millisecond

// CheckerOptions configures a Checker.
type CheckerOptions struct {
	Probes  []Probe       // at least one, each name once
	Timeout time.Duration // for each probe; 0 means DefaultTimeout
	Host    string        // host (and port) of Chatwoot's base URL, for the report; optional
	Now     func() time.Time
}

// Checker runs probes. It is safe for concurrent use if the probes are.
type Checker struct {
	probes  []Probe
	timeout time.Duration
	host    string
	now     func() time.Time
}

// Names returns the names of the probes.
func (c *Checker) Names() []string {
	names := make([]string, len(c.probes))
	for i, p := range c.probes {
		names[i] = p.Name
	}
	return names
}

// NewChecker returns a Checker, or an error that names what the options lack.
func NewChecker(o CheckerOptions) (*Checker, error) {
	if len(o.Probes) == 0 {
		return nil, errors.New("new health checker: there is no probe; give at least one")
	}
	seen := make(map[string]bool)
	for _, p := range o.Probes {
		switch {
		case !slices.Contains([]string{RailsHealth, AuthenticatedAPI, Widget}, p.Name):
			return nil, fmt.Errorf("new health checker: probe %q is unknown; use %s, %s or %s", p.Name, RailsHealth, AuthenticatedAPI, Widget)
		case seen[p.Name]:
			return nil, fmt.Errorf("new health checker: probe %s is given twice; give it once", p.Name)
		case p.Run == nil:
			return nil, fmt.Errorf("new health checker: probe %s cannot run; set its Run", p.Name)
		}
		seen[p.Name] = true
	}
	if o.Timeout < 0 {
		return nil, fmt.Errorf("new health checker: time-out %v is negative; leave it 0 for %v", o.Timeout, DefaultTimeout)
	}
	if strings.ContainsAny(o.Host, "/@?# ") { // a whole URL may hold a password
		return nil, errors.New("new health checker: Host is not a bare host; use the Host of the base URL")
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Checker{probes: slices.Clone(o.Probes), timeout: o.Timeout, host: o.Host, now: o.Now}, nil
}

// Check runs all probes side by side and returns when each has answered, has
// run into the time-out, or ctx has ended. A probe that panics or never returns
// is a failed probe.
func (c *Checker) Check(ctx context.Context) Report { return c.check(ctx, c.probes) }

// recheck is Check for the named probes only.
func (c *Checker) recheck(ctx context.Context, names []string) Report {
	var probes []Probe
	for _, p := range c.probes {
		if slices.Contains(names, p.Name) {
			probes = append(probes, p)
		}
	}
	return c.check(ctx, probes)
}

func (c *Checker) check(ctx context.Context, probes []Probe) Report {
	report := Report{Host: c.host, Started: c.now(), Results: make([]Result, len(probes))}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()

	answers := make([]<-chan answer, len(probes))
	for i, p := range probes {
		answers[i] = c.start(ctx, p)
	}
	for i, p := range probes {
		report.Results[i] = c.result(p, report.Started, c.await(ctx, answers[i]))
	}
	report.Finished = c.now()
	return report
}

// answer is an Outcome and when it came.
type answer struct {
	Outcome
	at time.Time
}

// start runs p in a goroutine of its own, which ends when p does; the channel
// has room for the answer, so nobody needs to be waiting for it.
func (c *Checker) start(ctx context.Context, p Probe) <-chan answer {
	ch := make(chan answer, 1)
	go func() {
		out := Outcome{Err: errors.New("the probe ended without an answer"), Reason: ReasonOther}
		defer func() {
			if v := recover(); v != nil {
				out = Outcome{Err: fmt.Errorf("the probe panicked: %v", v), Reason: ReasonOther}
			}
			ch <- answer{Outcome: out, at: c.now()}
		}()
		out = p.Run(ctx)
	}()
	return ch
}

func (c *Checker) await(ctx context.Context, ch <-chan answer) answer {
	select {
	case a := <-ch:
		return a
	case <-ctx.Done():
	}
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case a := <-ch:
		return a
	case <-late.C:
		return answer{Outcome: Outcome{Err: ctx.Err()}, at: c.now()}
	}
}

func (c *Checker) result(p Probe, started time.Time, a answer) Result {
	res := Result{
		Probe:         p.Name,
		Informational: p.Informational,
		Status:        a.Status,
		Endpoint:      clean(a.Endpoint),
		Detail:        clean(a.Detail),
		Version:       clean(a.Version),
		Reason:        a.reason(),
		Started:       started,
		Duration:      max(a.at.Sub(started), 0),
	}
	if len(a.Dependencies) > 0 {
		res.Dependencies = make(map[string]string, len(a.Dependencies))
		for name, state := range a.Dependencies {
			res.Dependencies[clean(name)] = clean(state)
		}
	}
	if res.Reason == ReasonTimeout {
		res.Duration = min(res.Duration, c.timeout)
	}
	res.Success = res.Reason == ""
	if !res.Success {
		res.Error = res.describe(a.Err)
	}
	return res
}
