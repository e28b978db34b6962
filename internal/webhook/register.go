package webhook

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
)

// Subscriptions are the events that a Chatwoot should send. Two are processed.
// The others are hints: conversation_created covers for a first message whose
// own delivery is lost, and conversation_updated is all that arrives when
// auto-assignment hides a change of status. message_updated is not among them:
// it comes with every receipt of a message and moves no clock.
var Subscriptions = []string{
	chatwoot.MessageCreated, chatwoot.ConversationStatusChanged, chatwoot.ConversationCreated, chatwoot.ConversationUpdated,
}

const registeredName = "chatwoot-sla"

// RegisterOptions configures Register.
type RegisterOptions struct {
	Client *chatwoot.Client // with an administrator's token
	URL    *url.URL         // at which Chatwoot reaches the receiver

	// Form and Secrets are what the receiver is configured with. They are
	// compared with what Chatwoot says, and not changed.
	Form    Form // empty: Timestamped
	Secrets []string

	// Resolve looks a host name up, as net.Resolver's LookupNetIP does; a name
	// that it cannot find is not warned about. Nil: nothing is looked up.
	Resolve func(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Registration is what Register did, and what it noticed.
type Registration struct {
	Action  string // "created", "updated" or "unchanged"
	Webhook chatwoot.Webhook
	Version string // of Chatwoot

	// SecretKnown is whether the receiver is configured with the webhook's
	// secret.
	SecretKnown bool
	Warnings    []Finding
}

// Register makes sure that the account has exactly one webhook with this URL,
// and that it has Subscriptions. One that is there already keeps its name and
// its secret.
func Register(ctx context.Context, o RegisterOptions) (Registration, error) {
	index, err := o.Client.Index(ctx)
	if err != nil {
		return Registration{}, fmt.Errorf("ask for Chatwoot's version: %w", err)
	}
	there, err := o.Client.Webhooks(ctx)
	if err != nil {
		return Registration{}, fmt.Errorf("list the webhooks of the account: %w", err)
	}
	r := Registration{Action: "unchanged", Version: index.Version}
	want := o.URL.String()
	i := slices.IndexFunc(there, func(w chatwoot.Webhook) bool { return w.URL == want })
	switch {
	case i < 0:
		r.Action = "created"
		r.Webhook, err = o.Client.CreateWebhook(ctx, chatwoot.Webhook{Name: registeredName, URL: want, Subscriptions: Subscriptions})
	case !sameSet(there[i].Subscriptions, Subscriptions):
		r.Action = "updated"
		changed := there[i]
		changed.Subscriptions = Subscriptions
		r.Webhook, err = o.Client.UpdateWebhook(ctx, changed)
	default:
		r.Webhook = there[i]
	}
	if err != nil {
		return Registration{}, fmt.Errorf("save the webhook: %w", err)
	}
	r.SecretKnown = slices.Contains(o.Secrets, r.Webhook.Secret)
	r.Warnings = o.warnings(ctx, r)
	return r, nil
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func (o RegisterOptions) warnings(ctx context.Context, r Registration) []Finding {
	var list []Finding
	warn := func(problem, fix string) { list = append(list, Finding{problem, fix}) }

	// Whether a server signs is seen by whether it tells a secret: two
	// releases are called 4.11.2, and one of them signs.
	switch form := cmp.Or(o.Form, Timestamped); {
	case r.Webhook.Secret == "" && form != Unsigned:
		warn(
			fmt.Sprintf("Chatwoot %s does not sign webhooks, so every delivery will be refused", r.Version),
			"upgrade Chatwoot to 4.12.0 or later, or set CHATWOOT_WEBHOOK_SIGNATURE=none and CHATWOOT_WEBHOOK_PATH_TOKEN, and register again",
		)
	case r.Webhook.Secret != "" && form != Timestamped:
		warn(
			fmt.Sprintf("Chatwoot %s signs webhooks with a time stamp, and CHATWOOT_WEBHOOK_SIGNATURE is %s", r.Version, form),
			"remove CHATWOOT_WEBHOOK_SIGNATURE: a signature with a time in it cannot be replayed",
		)
	case r.Webhook.Secret != "" && len(o.Secrets) > 0 && !r.SecretKnown:
		warn(
			"CHATWOOT_WEBHOOK_SECRET is not this webhook's secret, so every delivery will be refused",
			"add the secret that --show-secret prints, behind a comma if the others are still in use",
		)
	}

	if !strings.HasSuffix(o.URL.Path, Path) && !strings.Contains(o.URL.Path, Path+"/") {
		warn("the path of the URL is not "+Path, "make sure that the proxy turns it into that")
	}
	if o.URL.Scheme == "http" && !isLoopback(o.URL.Hostname()) {
		warn("the URL is plain http: what customers write crosses the network unencrypted", "put a proxy with TLS in front, and register its https address")
	}
	if f, refused := Refused(ctx, o.URL, r.Version, o.Resolve); refused {
		list = append(list, f)
	}
	return list
}

// Refused reports whether a Chatwoot of that version would send nothing to the
// URL because its address is private, and what to do about it. Resolve is that
// of RegisterOptions.
func Refused(ctx context.Context, u *url.URL, version string, resolve func(ctx context.Context, network, host string) ([]netip.Addr, error)) (Finding, bool) {
	if !isPrivate(ctx, u.Hostname(), resolve) || !atLeast(version, 4, 14) {
		return Finding{}, false
	}
	fix := "set SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true in the environment of Chatwoot's Sidekiq, or register a public address"
	if strings.HasPrefix(version, "4.14.0") {
		fix = "4.14.0 has no way around it: upgrade to 4.14.1 and set SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true for its Sidekiq, or register a public address"
	}
	return Finding{fmt.Sprintf("%s is a private address, and Chatwoot %s sends nothing to those: deliveries fail in its Sidekiq log, and nowhere else", u.Hostname(), version), fix}, true
}

// isPrivate reports whether Chatwoot would refuse the host: it has addresses,
// and none of them is public. It is looked up from here, which is most often
// how Chatwoot sees it too.
func isPrivate(ctx context.Context, host string, resolve func(ctx context.Context, network, host string) ([]netip.Addr, error)) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return !isPublic(addr)
	}
	if isLoopback(host) {
		return true
	}
	if resolve == nil {
		return false
	}
	addrs, err := resolve(ctx, "ip", host)
	return err == nil && len(addrs) > 0 && !slices.ContainsFunc(addrs, isPublic)
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// reserved are networks that Chatwoot's filter refuses, besides those that
// netip can tell: 0/8, carrier-grade NAT (also Tailscale's), the test networks
// and benchmarking.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
}

func isPublic(addr netip.Addr) bool {
	addr = addr.Unmap()
	if !addr.IsGlobalUnicast() || addr.IsPrivate() {
		return false
	}
	return !slices.ContainsFunc(reserved, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// atLeast reports whether version, such as 4.15.1, is major.minor or later.
// What is no version counts as later: a warning too many does less harm.
func atLeast(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return true
	}
	x, errX := strconv.Atoi(strings.TrimPrefix(parts[0], "v"))
	y, errY := strconv.Atoi(parts[1])
	if errX != nil || errY != nil {
		return true
	}
	return x > major || x == major && y >= minor
}
