// Command chatwoot-sla watches a Chatwoot helpdesk: whether it is up, and
// whether anybody waits too long for a first answer.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is set by the linker; without it, the build information tells.
var version string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// exitUsage is the status for everything that keeps a command from doing its
// work. The others, 2 to 4, belong to check; Go's own status for a panic or a
// bad flag, 2, would page as "Chatwoot's health check failed".
const exitUsage = 1

// process is what a command may use of the world.
type process struct {
	ctx            context.Context
	environ        []string
	stdout, stderr io.Writer
}

// exitCode is the error of a command that ends with a status of its own and
// has already said why.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit status %d", int(c)) }

type commands struct {
	Serve       serveCommand       `cmd:"" help:"Watch Chatwoot, until stopped."`
	Demo        demoCommand        `cmd:"" help:"Watch a simulated Chatwoot; needs no configuration."`
	Check       checkCommand       `cmd:"" help:"Check once that Chatwoot is up. Exits 0: up, 1: not configured, 2: health failed, 3: API failed, 4: both."`
	Doctor      doctorCommand      `cmd:"" help:"Examine settings, network, token, webhooks and database, and say what to do. Exits 0: nothing failed, 1: something did."`
	Report      reportCommand      `cmd:"" help:"Print the breach report of a period."`
	Incident    incidentCommand    `cmd:"" help:"Print the escalation of an incident, filled in, and add what only people know."`
	Checklist   checklistCommand   `cmd:"" help:"Go through the checklist after maintenance. Exits 0: nothing failed, 1: something did."`
	Maintenance maintenanceCommand `cmd:"" help:"Open and stop maintenance by hand, and list what is planned."`

	Backup  backupCommand  `cmd:"" help:"Copy the database to a file, also while the daemon runs."`
	Config  configCommand  `cmd:"" help:"Print every setting and where it comes from, secrets masked."`
	Webhook webhookCommand `cmd:"" help:"Set up webhooks, and find out why they do not arrive."`
	Queue   queueCommand   `cmd:"" help:"Look at jobs, and retry or purge those that were given up."`
	Version versionCommand `cmd:"" help:"Print the version."`

	Approvals approvalsCommand `cmd:"" help:"List the drafts that wait for approval, and delete those of a conversation."`

	Healthcheck healthcheckCommand `cmd:"" hidden:"" help:"Exit 0 if the daemon on LISTEN_ADDR answers."`
}

// run executes the command line and returns the exit status.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) (code int) {
	defer func() {
		if r := recover(); r != nil {
			if c, ok := r.(exitCode); ok { // kong has printed the help
				code = int(c)
				return
			}
			fmt.Fprintf(stderr, "chatwoot-sla: panic: %v\n%s", r, debug.Stack())
			code = exitUsage
		}
	}()

	var cli commands
	parser := kong.Must(&cli,
		kong.Name("chatwoot-sla"),
		kong.Description("Watches a Chatwoot helpdesk: is it up, and does anybody wait too long for a first answer?"),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(exitCode(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	parsed, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "chatwoot-sla: %v; run chatwoot-sla --help to see what there is\n", err)
		return exitUsage
	}
	err = parsed.Run(&process{ctx: ctx, environ: environ, stdout: stdout, stderr: stderr})
	var own exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &own):
		return int(own)
	}
	fmt.Fprintf(stderr, "chatwoot-sla: %v\n", err)
	return exitUsage
}

type versionCommand struct{}

func (versionCommand) Run(p *process) error {
	fmt.Fprintln(p.stdout, "chatwoot-sla", buildVersion())
	return nil
}

// buildVersion returns the linker's version, or the module's when the binary
// was made by go install.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
