package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

type webhookCommand struct {
	Register webhookRegister `cmd:"" help:"Create the webhook in Chatwoot, or correct its subscriptions."`
	Ping     webhookPing     `cmd:"" help:"Send a signed test delivery and explain the answer."`
	Verify   webhookVerify   `cmd:"" help:"Say why a recorded delivery's signature does not match."`
}

// maxSecretFile bounds a file that should hold a secret.
const maxSecretFile = 64 << 10

// loadWebhook reads the settings, of which those about webhooks have to be
// good: ping and verify also run where nothing else is configured.
func (p *process) loadWebhook() (config.Config, error) {
	loaded, err := config.Load(config.Options{Environ: p.environ, Dir: ".", UID: os.Getuid()})
	mistakes, ok := errors.AsType[*config.Mistakes](err)
	if !ok {
		return loaded.Config, err
	}
	matters := slices.DeleteFunc(slices.Clone(mistakes.All), func(m config.Mistake) bool {
		isDotenv := strings.Contains(m.Variable, "/")
		return !isDotenv && !strings.Contains(m.Variable, "WEBHOOK_")
	})
	if len(matters) == 0 {
		return loaded.Config, nil
	}
	fmt.Fprintf(p.stderr, "chatwoot-sla: the configuration has mistakes:\n%v\n", &config.Mistakes{All: matters})
	return loaded.Config, exitCode(exitUsage)
}

// webhookSecrets returns the secrets of a file, or if none is named those of
// the settings.
func webhookSecrets(cfg config.Config, file string) ([]string, error) {
	if file == "" {
		return cfg.WebhookSecret.Parts(), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the secret: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecretFile))
	if err != nil {
		return nil, fmt.Errorf("read the secret: %w", err)
	}
	secrets := config.NewSecret(strings.TrimRight(string(text), "\r\n")).Parts()
	if len(secrets) == 0 {
		return nil, fmt.Errorf("read the secret: %s is empty", file)
	}
	return secrets, nil
}

// webhookURL completes an address of the receiver that was given without a
// path.
func webhookURL(given string, cfg config.Config) (*url.URL, error) {
	u, err := url.Parse(given)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("--url is not an address; write it like https://sla.example.com%s", webhook.Path)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = webhook.Path
		if cfg.WebhookPathToken.IsSet() {
			u.Path += "/" + cfg.WebhookPathToken.Reveal()
		}
	}
	return u, nil
}

// shownURL is u without the path token.
func shownURL(u *url.URL, cfg config.Config) string {
	if token := cfg.WebhookPathToken.Reveal(); token != "" {
		return strings.ReplaceAll(u.String(), token, "[path token]")
	}
	return u.String()
}

type webhookVerify struct {
	File       string `required:"" placeholder:"PATH" help:"The body, byte for byte as it was received."`
	Signature  string `help:"The header X-Chatwoot-Signature."`
	Timestamp  string `help:"The header X-Chatwoot-Timestamp."`
	SecretFile string `placeholder:"PATH" help:"File with the secret; without it, CHATWOOT_WEBHOOK_SECRET counts."`
	At         string `placeholder:"TIME" help:"When it was received, as 2026-06-22T09:16:02Z or in unix seconds; without it, now."`
	Output     string `enum:"text,json" default:"text" help:"text or json."`
}

// Run exits 0 if the receiver would accept the delivery, and 1 otherwise.
func (c webhookVerify) Run(p *process) error {
	cfg, err := p.loadWebhook()
	if err != nil {
		return err
	}
	e := webhook.Evidence{Form: webhook.Form(cfg.WebhookSignature), Timestamp: c.Timestamp, Signature: c.Signature, At: time.Now()}
	if e.Form == webhook.Unsigned {
		e.Form = webhook.Timestamped // a signature was given, so it can be judged
	}
	if e.Secrets, err = webhookSecrets(cfg, c.SecretFile); err != nil {
		return err
	}
	if e.At, err = c.at(e.At); err != nil {
		return err
	}
	if e.Body, err = os.ReadFile(c.File); err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	x := webhook.Explain(e)
	if c.Output == "json" {
		err = printJSON(p.stdout, x)
	} else {
		c.print(p.stdout, x, len(e.Secrets))
	}
	if err == nil && !x.Accepted {
		err = exitCode(exitUsage)
	}
	return err
}

func (c webhookVerify) print(w io.Writer, x webhook.Explanation, secrets int) {
	switch {
	case x.Accepted && secrets > 1:
		fmt.Fprintf(w, "The signature is good. Secret %d of %d made it.\n", x.Secret, secrets)
	case x.Accepted:
		fmt.Fprintln(w, "The signature is good.")
	case x.Matches:
		fmt.Fprintln(w, "The delivery would be refused, though secret and body belong to the signature:")
	default:
		fmt.Fprintln(w, "The delivery would be refused:")
	}
	for _, f := range x.Findings {
		printFinding(w, f)
	}
}

func printFinding(w io.Writer, f webhook.Finding) {
	fmt.Fprintf(w, "\n  %s\n    What to do: %s\n", f.Problem, f.Fix)
}

func (c webhookVerify) at(now time.Time) (time.Time, error) {
	if c.At == "" {
		return now, nil
	}
	if seconds, err := strconv.ParseInt(c.At, 10, 40); err == nil {
		return time.Unix(seconds, 0), nil
	}
	t, err := time.Parse(time.RFC3339, c.At)
	if err != nil {
		return t, fmt.Errorf("--at %q is not a time; write it like 2026-06-22T09:16:02Z, or in unix seconds", c.At)
	}
	return t, nil
}

type webhookPing struct {
	URL        string `placeholder:"URL" help:"Where to; without it, this machine's WEBHOOK_LISTEN_ADDR."`
	Event      string `enum:"ping,message_created,conversation_status_changed,conversation_updated" default:"ping" help:"What it says it is: ping, message_created (a private note), conversation_status_changed (to pending) or conversation_updated. None is processed."`
	SecretFile string `placeholder:"PATH" help:"File with the secret; without it, CHATWOOT_WEBHOOK_SECRET counts."`
}

// Run exits 0 if the delivery was received, and 1 otherwise.
func (c webhookPing) Run(p *process) error {
	cfg, err := p.loadWebhook()
	if err != nil {
		return err
	}
	secrets, err := webhookSecrets(cfg, c.SecretFile)
	if err != nil {
		return err
	}
	form := webhook.Form(cfg.WebhookSignature)
	if len(secrets) == 0 && form != webhook.Unsigned {
		return errors.New("CHATWOOT_WEBHOOK_SECRET is not set, so nothing can be signed; set it, or name a file with --secret-file")
	}
	target, err := webhookURL(cmp.Or(c.URL, listenerURL(cfg.WebhookListenAddr)), cfg)
	if err != nil {
		return err
	}
	o := webhook.PingOptions{URL: target, Event: c.Event, AccountID: cfg.AccountID, Form: form, UserAgent: "chatwoot-sla/" + buildVersion()}
	if len(secrets) > 0 {
		o.Secret = secrets[len(secrets)-1] // the newest, by the order that the documentation asks for
	}
	pong, err := webhook.Ping(p.ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%s to %s, %d ms\n", c.Event, shownURL(target, cfg), pong.Took.Milliseconds())
	if pong.Received {
		fmt.Fprintf(p.stdout, "\n  %s\n    %s\n", pong.Problem, pong.Fix)
		return nil
	}
	printFinding(p.stdout, pong.Finding)
	return exitCode(exitUsage)
}

// listenerURL returns where this machine reaches a listener.
func listenerURL(listenAddr string) string {
	host, port, err := net.SplitHostPort(listenAddr)
	if err != nil { // config has checked it
		return ""
	}
	if addr, err := netip.ParseAddr(host); host == "" || err == nil && addr.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

type webhookRegister struct {
	URL        string `required:"" placeholder:"URL" help:"Where Chatwoot reaches the receiver, such as https://sla.example.com/api/webhooks/chatwoot."`
	ShowSecret bool   `help:"Print CHATWOOT_WEBHOOK_SECRET=… to standard output, and everything else to standard error."`
}

// Run may be repeated: what is right already stays as it is.
func (c webhookRegister) Run(p *process) error {
	loaded, err := p.load()
	if err != nil {
		return err
	}
	cfg := loaded.Config
	target, err := webhookURL(c.URL, cfg)
	if err != nil {
		return err
	}
	client, err := chatwoot.New(chatwoot.Options{
		BaseURL: cfg.BaseURL, Token: cfg.Token.Reveal(), AccountID: cfg.AccountID,
		RequestsPerMinute: cfg.RequestsPerMinute, UserAgent: "chatwoot-sla/" + buildVersion(),
	})
	if err != nil {
		return err
	}
	defer client.Close()
	r, err := webhook.Register(p.ctx, webhook.RegisterOptions{
		Client: client, URL: target, Form: webhook.Form(cfg.WebhookSignature),
		Secrets: cfg.WebhookSecret.Parts(), Resolve: net.DefaultResolver.LookupNetIP,
	})
	if err != nil {
		return err
	}
	out := p.stdout
	if c.ShowSecret {
		out = p.stderr
	}
	fmt.Fprintf(out, "Webhook %d of account %d is %s: %s\n", r.Webhook.ID, cfg.AccountID, r.Action, shownURL(target, cfg))
	fmt.Fprintf(out, "Chatwoot %s sends it %s.\n", r.Version, strings.Join(r.Webhook.Subscriptions, ", "))
	switch {
	case r.Webhook.Secret == "":
	case c.ShowSecret:
		fmt.Fprintf(p.stdout, "CHATWOOT_WEBHOOK_SECRET=%s\n", r.Webhook.Secret)
	case r.SecretKnown:
		fmt.Fprintln(out, "CHATWOOT_WEBHOOK_SECRET is set to its secret.")
	default:
		fmt.Fprintln(out, "Run the same command with --show-secret to see its secret, or with --show-secret >> .env to keep it.")
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(p.stderr, "chatwoot-sla: warning: %s; %s\n", w.Problem, w.Fix)
	}
	return nil
}
