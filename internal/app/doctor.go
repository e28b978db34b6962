package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/checkup"
	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/health"
	"github.com/hotdash/chatwoot-sla/internal/store"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

const (
	examinationTimeout = 10 * time.Second

	certificateSoon = 14 * 24 * time.Hour

	// skewBad is when signatures of webhooks are close to being refused: they
	// may be five minutes off.
	skewBad = time.Minute

	diskFull = 100 << 20
	diskLow  = 1 << 30
)

// Doctor examines what the runbook's troubleshooting has a person examine by
// hand. It changes nothing. Settings with mistakes are the first finding, and
// what they keep from being examined is skipped.
func Doctor(ctx context.Context, o Options, warnings []string, mistakes error) checkup.List {
	if o.Now == nil {
		o.Now = time.Now
	}
	d := doctor{cfg: o.Config, ctx: ctx, now: o.Now}
	d.settings(warnings, mistakes)
	if client, err := newClient(o.Config, o.Version, o.Now, nil); err != nil || o.Config.BaseURL == nil {
		for _, each := range chatwootExaminations {
			d.add(each.name, each.title, checkup.Skipped, "the settings have to be put right first", "")
		}
	} else {
		d.chatwoot(client)
		client.Close()
	}
	d.disk("disk_data", "Disk of DATA_DIR", o.Config.DataDir)
	d.disk("disk_artifacts", "Disk of ARTIFACTS_DIR", o.Config.ArtifactsDir)
	d.database(mistakes != nil)
	d.services()
	return checkup.New(checkup.DoctorSchema, "Examination of chatwoot-sla and its Chatwoot", o.Now(), d.items)
}

// chatwootExaminations are those that ask Chatwoot, in their order.
var chatwootExaminations = []struct{ name, title string }{
	{"name", "Name resolution"},
	{"tls", "TLS"},
	{"base_url", "Base URL reachable"},
	{"dependencies", "What Chatwoot depends on"},
	{"header", "Token header not stripped"},
	{"token", "Token accepted"},
	{"account", "Account visible"},
	{"role", "Role sufficient"},
	{"clock", "Clock"},
	{"signature", "Webhook signature"},
	{"callback", "Chatwoot may call us"},
}

type doctor struct {
	cfg   config.Config
	ctx   context.Context //nolint:containedctx // the one call that it belongs to
	now   func() time.Time
	items []checkup.Item
}

func (d *doctor) add(name, title string, v checkup.Verdict, evidence, fix string) {
	d.items = append(d.items, checkup.Item{Name: name, Title: title, Verdict: v, Evidence: evidence, Fix: fix})
}

// examined adds an item that asks Chatwoot.
func (d *doctor) examined(name string, v checkup.Verdict, evidence, fix string) {
	i := slices.IndexFunc(chatwootExaminations, func(e struct{ name, title string }) bool { return e.name == name })
	d.add(name, chatwootExaminations[i].title, v, evidence, fix)
}

func (d *doctor) settings(warnings []string, err error) {
	const title = "Settings"
	mistakes, _ := errors.AsType[*config.Mistakes](err)
	switch {
	case mistakes != nil:
		var wrong, fixes []string
		for _, m := range mistakes.All {
			wrong = append(wrong, m.Variable+" "+m.Problem)
			fixes = append(fixes, m.Variable+": "+m.Fix)
		}
		d.add("settings", title, checkup.Failed, strings.Join(wrong, "; "), strings.Join(fixes, "; "))
	case len(warnings) > 0:
		d.add("settings", title, checkup.Warning, strings.Join(warnings, "; "), "Correct what is warned about, or leave it if it is meant so.")
	default:
		d.add("settings", title, checkup.OK, "complete; chatwoot-sla config prints them", "")
	}
}

func (d *doctor) chatwoot(client *chatwoot.Client) {
	d.name()
	d.tls()
	version := d.baseURL(client)
	account := d.token(client)
	d.clock(client)
	d.webhooks(client, version, account)
}

// proxy returns the one through which Chatwoot is asked, or nil.
func (d *doctor) proxy() *url.URL {
	p, err := http.ProxyFromEnvironment(&http.Request{URL: d.cfg.BaseURL})
	if err != nil {
		return nil // every request will fail for it, and say so
	}
	return p
}

func (d *doctor) name() {
	ctx, cancel := context.WithTimeout(d.ctx, examinationTimeout)
	defer cancel()
	host, whose, setting := d.cfg.BaseURL.Hostname(), "", "CHATWOOT_BASE_URL"
	if p := d.proxy(); p != nil { // it looks up Chatwoot's name itself
		host, whose, setting = p.Hostname(), "the proxy ", "HTTP_PROXY or HTTPS_PROXY"
	}
	if _, err := netip.ParseAddr(host); err == nil {
		d.examined("name", checkup.Skipped, whose+host+" is an address already", "")
		return
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		d.examined("name", checkup.Failed, fmt.Sprintf("%s%s: %v", whose, host, err), "Check the host name in "+setting+", and this machine's DNS.")
		return
	}
	var all []string
	for _, a := range addrs {
		all = append(all, a.Unmap().String())
	}
	d.examined("name", checkup.OK, whose+host+" is "+strings.Join(slices.Compact(all), ", "), "")
}

func (d *doctor) tls() {
	base := d.cfg.BaseURL
	if base.Scheme != "https" {
		if loopback(net.JoinHostPort(base.Hostname(), "0")) {
			d.examined("tls", checkup.Skipped, "plain http, to this machine", "")
			return
		}
		d.examined("tls", checkup.Warning, "plain http: the token crosses the network unencrypted", "Set CHATWOOT_BASE_URL to Chatwoot's https address.")
		return
	}
	if p := d.proxy(); p != nil {
		d.examined("tls", checkup.Skipped, "Chatwoot is asked through the proxy "+p.Host+"; whether its certificate is accepted shows below", "")
		return
	}
	port := base.Port()
	if port == "" {
		port = "443"
	}
	ctx, cancel := context.WithTimeout(d.ctx, examinationTimeout)
	defer cancel()
	conn, err := (&tls.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(base.Hostname(), port))
	if err != nil {
		fix := "Check the server's certificate (expired, another name, unknown issuer), and whether CHATWOOT_BASE_URL should say https."
		if _, ok := errors.AsType[*net.OpError](err); ok {
			fix = "Check that Chatwoot or its proxy listens there, and the firewall between."
		}
		d.examined("tls", checkup.Failed, err.Error(), fix)
		return
	}
	defer conn.Close()
	state := conn.(*tls.Conn).ConnectionState()
	until := state.PeerCertificates[0].NotAfter
	left := until.Sub(d.now())
	evidence := fmt.Sprintf("%s, certificate valid until %s, %d days", tls.VersionName(state.Version), until.UTC().Format(time.DateOnly), int(left.Hours()/24))
	if left < certificateSoon {
		d.examined("tls", checkup.Warning, evidence, "Renew the certificate: from that day on every check fails.")
		return
	}
	d.examined("tls", checkup.OK, evidence, "")
}

func (d *doctor) baseURL(client *chatwoot.Client) (version string) {
	ctx, cancel := context.WithTimeout(d.ctx, examinationTimeout)
	defer cancel()
	index, err := client.Index(ctx)
	if err != nil {
		d.examined("base_url", checkup.Failed, err.Error(), advice(health.RailsHealth, err))
		d.examined("dependencies", checkup.Skipped, "Chatwoot cannot be asked", "")
		return ""
	}
	evidence := fmt.Sprintf("Chatwoot %s answers at %s", index.Version, d.cfg.BaseURL.Host)
	path, err := client.Health(ctx, d.cfg.HealthPath)
	if err != nil {
		d.examined("base_url", checkup.Failed, evidence+", but "+err.Error(), advice(health.RailsHealth, err))
	} else {
		d.examined("base_url", checkup.OK, evidence+", its health at "+path, "")
	}
	found := fmt.Sprintf("queue_services %s, data_services %s", index.QueueServices, index.DataServices)
	if index.QueueServices != "ok" || index.DataServices != "ok" {
		d.examined("dependencies", checkup.Failed, found, "data_services is Postgres, queue_services is Redis: check them and Chatwoot's logs.")
	} else {
		d.examined("dependencies", checkup.OK, found, "")
	}
	return index.Version
}

// advice is what a health check would advise.
func advice(probe string, err error) string { return health.Advise(probe, outcome("", err)) }

// token tells apart what a 401 may mean. It returns the account as the token sees
// it, or nil if it does not.
func (d *doctor) token(client *chatwoot.Client) *chatwoot.Account {
	const asked = "GET /api/v1/profile"
	ctx, cancel := context.WithTimeout(d.ctx, examinationTimeout)
	defer cancel()
	_, account, err := client.Profile(ctx)
	e, _ := errors.AsType[*chatwoot.Error](err)
	skip := func(names ...string) {
		for _, n := range names {
			d.examined(n, checkup.Skipped, "the profile cannot be read", "")
		}
	}
	switch {
	case err == nil:
		d.examined("header", checkup.OK, asked+" was told whose token it is", "")
		d.examined("token", checkup.OK, "Chatwoot knows the token", "")
		d.examined("account", checkup.OK, fmt.Sprintf("account %d, %s", account.ID, account.Name), "")
		if account.Administrator() {
			d.examined("role", checkup.OK, account.Role, "")
		} else {
			d.examined("role", checkup.Warning, account.Role+": only the inboxes of this user are seen", "Use the access token of an administrator's profile as CHATWOOT_TOKEN.")
		}
		return &account
	case e != nil && e.Kind == chatwoot.AccountHidden:
		d.examined("header", checkup.OK, asked+" was told whose token it is", "")
		d.examined("token", checkup.OK, "Chatwoot knows the token", "")
		d.examined("account", checkup.Failed, e.Detail, advice(health.AuthenticatedAPI, err))
		skip("role")
	case e != nil && e.TokenMissing():
		d.examined("header", checkup.Failed, asked+": Chatwoot saw no token", advice(health.AuthenticatedAPI, err))
		skip("token", "account", "role")
	case e != nil && e.Kind == chatwoot.Unauthorized:
		d.examined("header", checkup.OK, asked+": Chatwoot saw a token", "")
		d.examined("token", checkup.Failed, err.Error(), advice(health.AuthenticatedAPI, err))
		skip("account", "role")
	default:
		d.examined("header", checkup.Skipped, "the profile cannot be read", "")
		d.examined("token", checkup.Failed, err.Error(), advice(health.AuthenticatedAPI, err))
		skip("account", "role")
	}
	return nil
}

func (d *doctor) clock(client *chatwoot.Client) {
	const fix = "Let both machines keep time with NTP. Deadlines are judged on Chatwoot's clock, and webhooks more than five minutes off are refused."
	skew := client.ClockSkew().Round(time.Second)
	direction := "ahead"
	if skew < 0 {
		direction = "behind"
	}
	evidence := fmt.Sprintf("Chatwoot's clock is %v %s", skew.Abs(), direction)
	switch {
	case !client.ClockKnown():
		d.examined("clock", checkup.Skipped, "no answer has told Chatwoot's time", "")
	case skew == 0:
		d.examined("clock", checkup.OK, "less than 2 s apart from Chatwoot's", "")
	case skew.Abs() < skewBad:
		d.examined("clock", checkup.Warning, evidence, fix)
	default:
		d.examined("clock", checkup.Failed, evidence, fix)
	}
}

// webhooks looks at what is configured here and registered there.
func (d *doctor) webhooks(client *chatwoot.Client, version string, account *chatwoot.Account) {
	const register = "Run chatwoot-sla webhook register --url with the address at which Chatwoot reaches the receiver."
	form := webhook.Form(d.cfg.WebhookSignature)
	secrets := d.cfg.WebhookSecret.Parts()
	configured := len(secrets) > 0 || form == webhook.Unsigned
	if !configured {
		d.examined("signature", checkup.Warning, "CHATWOOT_WEBHOOK_SECRET is not set, so webhooks are off; polling sees everything, a little later",
			register+" Then set CHATWOOT_WEBHOOK_SECRET to the secret that it shows.")
		d.examined("callback", checkup.Skipped, "webhooks are off", "")
		return
	}
	if account == nil || !account.Administrator() {
		reason := "only an administrator's token may read the webhooks"
		if account == nil {
			reason = "the profile cannot be read, so nobody knows whether the token may read the webhooks"
		}
		d.examined("signature", checkup.Skipped, reason, "")
		d.examined("callback", checkup.Skipped, reason, "")
		return
	}
	ctx, cancel := context.WithTimeout(d.ctx, examinationTimeout)
	defer cancel()
	list, err := client.Webhooks(ctx)
	if err != nil {
		d.examined("signature", checkup.Failed, err.Error(), advice(health.RailsHealth, err))
		d.examined("callback", checkup.Skipped, "the webhooks cannot be read", "")
		return
	}
	list = slices.DeleteFunc(list, func(w chatwoot.Webhook) bool { return !strings.Contains(w.URL, webhook.Path) })
	if len(list) == 0 {
		d.examined("signature", checkup.Failed, "no webhook in Chatwoot leads to "+webhook.Path, register)
		d.examined("callback", checkup.Skipped, "no webhook is registered", "")
		return
	}
	// Others may lead to another installation of ours.
	ours := slices.IndexFunc(list, func(w chatwoot.Webhook) bool { return slices.Contains(secrets, w.Secret) })
	there := list[max(ours, 0)]
	switch {
	case form == webhook.Unsigned:
		d.examined("signature", checkup.Warning, "signatures are not asked for (CHATWOOT_WEBHOOK_SIGNATURE=none)", "Upgrade Chatwoot to 4.12.0 or later, and set CHATWOOT_WEBHOOK_SECRET.")
	case there.Secret == "":
		d.examined("signature", checkup.Failed, fmt.Sprintf("Chatwoot %s does not sign webhooks, so every delivery is refused", version),
			"Upgrade Chatwoot to 4.12.0 or later, or set CHATWOOT_WEBHOOK_SIGNATURE=none and CHATWOOT_WEBHOOK_PATH_TOKEN, and register again.")
	case ours < 0:
		d.examined("signature", checkup.Failed, fmt.Sprintf("CHATWOOT_WEBHOOK_SECRET is not the secret of webhook %d in Chatwoot, so every delivery is refused", there.ID),
			"Set it to what chatwoot-sla webhook register --show-secret prints.")
	default:
		d.examined("signature", checkup.OK, fmt.Sprintf("webhook %d in Chatwoot has one of our %d secrets", there.ID, len(secrets)), "")
	}
	u, err := url.Parse(there.URL)
	if err != nil {
		d.examined("callback", checkup.Failed, "the address of the webhook in Chatwoot cannot be read", register)
		return
	}
	if f, refused := webhook.Refused(ctx, u, version, net.DefaultResolver.LookupNetIP); refused {
		d.examined("callback", checkup.Warning, f.Problem, f.Fix)
		return
	}
	d.examined("callback", checkup.OK, u.Host+" is an address that Chatwoot "+version+" sends to", "")
}

// disk examines the nearest folder that is there: the others are made when they
// are needed.
func (d *doctor) disk(name, title, dir string) {
	at, err := filepath.Abs(dir)
	for err == nil {
		if _, err = os.Stat(at); err == nil {
			break
		}
		if errors.Is(err, os.ErrNotExist) && filepath.Dir(at) != at {
			at, err = filepath.Dir(at), nil
		}
	}
	var fs syscall.Statfs_t
	if err == nil {
		err = syscall.Statfs(at, &fs)
	}
	if err == nil {
		err = writable(at)
	}
	if err != nil {
		d.add(name, title, checkup.Failed, err.Error(), "Make the folder writable for this user, or set another.")
		return
	}
	free := fs.Bavail * uint64(fs.Bsize) //nolint:gosec // never negative; its type differs between systems
	evidence := fmt.Sprintf("%s: %d MiB free", at, free>>20)
	switch {
	case free < diskFull:
		d.add(name, title, checkup.Failed, evidence, "Make room: evidence and the ledger cannot be written for much longer.")
	case free < diskLow:
		d.add(name, title, checkup.Warning, evidence, "Make room, or lower EVIDENCE_RETENTION.")
	default:
		d.add(name, title, checkup.OK, evidence, "")
	}
}

// writable tries, because permissions alone do not tell.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".chatwoot-sla-doctor-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func (d *doctor) database(mistakes bool) {
	const name, title = "database", "Database"
	if mistakes {
		d.add(name, title, checkup.Skipped, "the settings have to be put right first", "")
		return
	}
	ctx, cancel := context.WithTimeout(d.ctx, examinationTimeout)
	defer cancel()
	kind := "SQLite in " + d.cfg.DataDir
	if d.cfg.DatabaseURL.IsSet() {
		kind = "Postgres"
	}
	err := withDatabase(ctx, d.cfg, func(db *store.Reader) error {
		from, err := db.LedgerFrom(ctx)
		if err == nil && !from.IsZero() {
			kind += ", ledger since " + from.UTC().Format(time.DateOnly)
		}
		return err
	})
	switch {
	case errors.Is(err, store.ErrNoDatabase):
		d.add(name, title, checkup.Skipped, "there is none yet; chatwoot-sla serve makes it", "")
	case err != nil:
		d.add(name, title, checkup.Failed, err.Error(), "Do what the message says, and run the doctor again.")
	default:
		d.add(name, title, checkup.OK, kind, "")
	}
}

// services examines what drafts are made with, where settings name it.
func (d *doctor) services() {
	for _, s := range []struct{ name, title, url string }{
		{"knowledge", "Knowledge service (LlamaIndex)", d.cfg.LlamaIndexURL},
		{"agent", "Draft service (Agent SDK)", d.cfg.AgentSDKURL},
	} {
		if s.url == "" {
			d.add(s.name, s.title, checkup.Skipped, "not configured", "")
			continue
		}
		d.service(s.name, s.title, s.url)
	}
}

// service is well when anything answers: neither service promises a path that
// tells its health.
func (d *doctor) service(name, title, address string) {
	ctx, cancel := context.WithTimeout(d.ctx, examinationTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, address, nil)
	if err == nil {
		var resp *http.Response
		if resp, err = (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req); err == nil {
			_ = resp.Body.Close()
			d.add(name, title, checkup.OK, fmt.Sprintf("%s answers, HTTP %d", req.URL.Host, resp.StatusCode), "")
			return
		}
	}
	d.add(name, title, checkup.Failed, err.Error(), "Check that the service runs at its address, and the firewall between. Until it does, messages wait for their drafts.")
}
