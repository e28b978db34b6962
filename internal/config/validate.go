package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/netip"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/caarlos0/env/v11"

	"github.com/hotdash/chatwoot-sla/internal/calendar"
	"github.com/hotdash/chatwoot-sla/internal/maintenance"
)

const (
	// minutesUnit is what Load appends to a bare number of minutes, because env
	// chooses the parser by the field's type.
	minutesUnit = "minutes"

	durationFix = "write a number and its unit, such as 30s, 5m, 1h or 90d"

	// mostMinutes is a year, the longest promise.
	mostMinutes = 525_600
)

// valueError is what is wrong with a value, without naming the value, and what to do.
type valueError struct {
	wrong, fix string
	missing    bool
}

func (f *valueError) Error() string { return f.wrong }

// parse fills c from values and returns what could not be, by field of Config.
func parse(c *Config, vars []variable, values map[string]string) map[string]*valueError {
	err := env.ParseWithOptions(c, env.Options{
		Environment: values,
		FuncMap: map[reflect.Type]env.ParserFunc{
			reflect.TypeFor[url.URL]():       func(v string) (any, error) { return parseBaseURL(v) },
			reflect.TypeFor[Secret]():        func(v string) (any, error) { return NewSecret(v), nil },
			reflect.TypeFor[time.Duration](): func(v string) (any, error) { return parseDuration(v) },
			reflect.TypeFor[int](): func(v string) (any, error) {
				n, err := parseInteger(v)
				return int(n), err
			},
			reflect.TypeFor[int64]():             func(v string) (any, error) { return parseInteger(v) },
			reflect.TypeFor[bool]():              func(v string) (any, error) { return parseBool(v) },
			reflect.TypeFor[InboxMinutes]():      func(v string) (any, error) { return parseInboxMinutes(v) },
			reflect.TypeFor[BusinessHours]():     func(v string) (any, error) { return parseBusinessHours(v) },
			reflect.TypeFor[maintenance.Rules](): func(v string) (any, error) { return parseMaintenance(v) },
			reflect.TypeFor[Zone]():              func(v string) (any, error) { return parseZone(v) },
		},
	})
	faults := map[string]*valueError{}
	aggregate, _ := errors.AsType[env.AggregateError](err)
	for _, each := range aggregate.Errors {
		if unset, ok := errors.AsType[env.VarIsNotSetError](each); ok {
			i := slices.IndexFunc(vars, func(v variable) bool { return v.name == unset.Key })
			faults[vars[i].field] = &valueError{
				wrong:   "environment variable not set",
				fix:     "add it to .env: " + vars[i].hint,
				missing: true,
			}
			continue
		}
		if broken, ok := errors.AsType[env.ParseError](each); ok {
			i := slices.IndexFunc(vars, func(v variable) bool { return v.field == broken.Name })
			f, _ := errors.AsType[*valueError](broken.Err)
			if f.fix == "" {
				f.fix = vars[i].advice()
			}
			faults[broken.Name] = f
		}
	}
	if c.BaseURL != nil && c.BaseURL.Host == "" {
		c.BaseURL = nil // env allocates the URL before it parses it
	}
	return faults
}

// advice says what may be written for v.
func (v variable) advice() string {
	switch {
	case v.hint != "":
		return "write " + v.hint
	case len(v.oneof) > 0:
		return "write one of " + strings.Join(v.oneof, ", ")
	case v.max != "":
		return fmt.Sprintf("write a whole number from %s to %s", v.min, v.max)
	default:
		return fmt.Sprintf("write %s or more", v.min)
	}
}

// check judges a value that has been parsed. It returns nil if v can be used.
func (c *Config) check(v variable) *valueError {
	field := reflect.ValueOf(c).Elem().FieldByName(v.field)
	if field.CanInt() && outside(field, v) {
		return &valueError{wrong: "is out of range", fix: v.advice()}
	}
	if len(v.oneof) > 0 && !slices.Contains(v.oneof, field.String()) {
		return &valueError{wrong: "is unknown", fix: v.advice()}
	}
	switch v.field {
	case "Token":
		return checkSecret(c.Token)
	case "EmbedToken":
		return checkSecret(c.EmbedToken)
	case "SLAUrgent":
		if c.SLAUrgent >= c.SLAWarning && c.SLAWarning > 0 {
			return &valueError{
				wrong: fmt.Sprintf("is not less than SLA_WARNING_MINUTES (%d)", int64(c.SLAWarning.Minutes())),
				fix:   "lower it, or raise SLA_WARNING_MINUTES",
			}
		}
	case "MaintenanceRules":
		if c.MaintenanceDuration < time.Minute {
			return nil // a mistake of its own
		}
		if _, err := maintenance.New(c.MaintenanceRules, c.MaintenanceDuration); err != nil {
			return &valueError{wrong: "cannot be used: " + err.Error(), fix: "correct the rule or MAINTENANCE_DURATION, or write off"}
		}
	case "StatusURL":
		return checkStatusURL(c.StatusURL)
	case "HealthPath":
		return checkHealthPath(c.HealthPath)
	case "ListenAddr", "WebhookListenAddr":
		if f := checkListenAddr(field.String(), v.fallback); f != nil {
			return f
		}
		if v.field == "WebhookListenAddr" && c.WebhookListenAddr == c.ListenAddr && !strings.HasSuffix(c.ListenAddr, ":0") {
			return &valueError{wrong: "is the value of LISTEN_ADDR, too", fix: "give webhooks an address of their own, such as " + v.fallback}
		}
	case "LlamaIndexURL":
		return checkService(c.LlamaIndexURL, c.AgentSDKURL, "AGENT_SDK_URL")
	case "AgentSDKURL":
		return checkService(c.AgentSDKURL, c.LlamaIndexURL, "LLAMAINDEX_URL")
	case "APITokens":
		return checkTokens(c)
	case "AllowedHosts":
		return checkHosts(c)
	case "WebhookSecret":
		return checkSecretList(c.WebhookSecret)
	case "WebhookSignature":
		if c.WebhookSignature == "none" && !c.WebhookPathToken.IsSet() {
			return &valueError{wrong: "needs CHATWOOT_WEBHOOK_PATH_TOKEN", fix: "set that to the output of: openssl rand -hex 24"}
		}
	case "WebhookPathToken":
		return checkPathToken(c.WebhookPathToken)
	case "WebhookForwardURL":
		return checkForward(c.WebhookForwardURL, c.WebhookForwardSecret)
	case "WebhookForwardSecret":
		return checkForwardSecret(c)
	}
	return nil
}

// outside reports whether field is out of the range that v's tags allow. It
// reads the bounds as it reads values, so both are written alike.
func outside(field reflect.Value, v variable) bool {
	bound := func(text string) int64 {
		if field.Type() == reflect.TypeFor[time.Duration]() {
			d, _ := parseDuration(text + v.unit)
			return int64(d)
		}
		n, _ := parseInteger(text)
		return n
	}
	return field.Int() < bound(v.min) || v.max != "" && field.Int() > bound(v.max)
}

// parseInteger reads a whole number.
func parseInteger(v string) (int64, error) {
	n, err := strconv.ParseInt(v, 10, strconv.IntSize)
	if err == nil {
		return n, nil
	}
	if strings.HasPrefix(v, "your-") {
		return 0, &valueError{wrong: "is still the placeholder, not a number"}
	}
	return 0, &valueError{wrong: "is not a whole number"}
}

// parseDuration reads Go's syntax, whole days ("90d") and whole minutes with
// their unit ("30minutes").
func parseDuration(v string) (time.Duration, error) {
	if n, ok := strings.CutSuffix(v, minutesUnit); ok {
		minutes, err := parseInteger(n)
		if err != nil {
			return 0, err
		}
		const most = math.MaxInt64 / int64(time.Minute) // beyond, it would overflow into the range
		return time.Duration(max(0, min(minutes, most))) * time.Minute, nil
	}
	if n, ok := strings.CutSuffix(v, "d"); ok {
		days, err := strconv.ParseInt(n, 10, 16) // 89 years, well inside a Duration
		if err != nil {
			return 0, &valueError{wrong: "is not a duration", fix: durationFix}
		}
		return time.Duration(days) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		return 0, &valueError{wrong: "is not a duration", fix: durationFix}
	}
	return d, nil
}

func parseBool(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, &valueError{wrong: "is neither true nor false", fix: "write true or false"}
}

// parseInboxMinutes reads pairs of an inbox id and minutes.
func parseInboxMinutes(text string) (InboxMinutes, error) {
	const fix = "write inbox ids and minutes from 1 to 525600, such as 5:15,8:60"
	promises := InboxMinutes{}
	for pair := range strings.SplitSeq(text, ",") {
		pair = strings.TrimSpace(pair)
		id, minutes, found := strings.Cut(pair, ":")
		inbox, err := strconv.ParseInt(strings.TrimSpace(id), 10, 64)
		if !found || err != nil || inbox < 1 {
			return nil, &valueError{wrong: fmt.Sprintf("has no inbox id and minutes in %q", pair), fix: fix}
		}
		n, err := strconv.ParseInt(strings.TrimSpace(minutes), 10, 64)
		if err != nil || n < 1 || n > mostMinutes {
			return nil, &valueError{wrong: fmt.Sprintf("has no number of minutes in %q", pair), fix: fix}
		}
		if _, twice := promises[inbox]; twice {
			return nil, &valueError{wrong: fmt.Sprintf("names inbox %d twice", inbox), fix: "keep one of its promises"}
		}
		promises[inbox] = time.Duration(n) * time.Minute
	}
	return promises, nil
}

// parseBusinessHours reads off, chatwoot or the hours of a week.
func parseBusinessHours(text string) (BusinessHours, error) {
	switch strings.ToLower(text) {
	case "off":
		return BusinessHours{text: text}, nil
	case "chatwoot":
		return BusinessHours{text: text, perInbox: true}, nil
	}
	hours, err := calendar.Parse(text)
	if err != nil {
		return BusinessHours{}, &valueError{
			wrong: "cannot be used: " + err.Error(),
			fix:   "write hours like Mon-Fri 09:00-12:00,13:00-17:00; Sat 10:00-14:00 Europe/Berlin, or chatwoot, or off",
		}
	}
	return BusinessHours{text: text, calendar: hours}, nil
}

func parseMaintenance(text string) (maintenance.Rules, error) {
	rules, err := maintenance.Parse(text)
	if err != nil {
		return maintenance.Rules{}, &valueError{
			wrong: "cannot be used: " + err.Error(),
			fix:   "write a rule like FREQ=MONTHLY;BYDAY=2TU;BYHOUR=2;BYMINUTE=0;BYSECOND=0, or off",
		}
	}
	return rules, nil
}

func parseZone(name string) (Zone, error) {
	zone, err := calendar.Zone(name)
	if err != nil {
		return Zone{}, &valueError{wrong: "is no time zone", fix: "write a name of the TZ database, such as Europe/Berlin or UTC"}
	}
	return Zone{zone}, nil
}

// parseBaseURL reads an absolute http or https URL. Its path, if any, does not
// end in a slash.
func parseBaseURL(v string) (url.URL, error) {
	const example = "write it like https://chatwoot.example.com"
	lower := strings.ToLower(v)
	if !strings.HasPrefix(lower, "https://") && !strings.HasPrefix(lower, "http://") {
		return url.URL{}, &valueError{wrong: "does not start with https:// or http://", fix: example}
	}
	u, err := url.Parse(v)
	port := 0
	if err == nil && u.Port() != "" {
		port, err = strconv.Atoi(u.Port())
	}
	switch {
	case strings.ContainsAny(v, "?#"):
		return url.URL{}, &valueError{wrong: "has a query or a fragment", fix: "remove everything from the ? or # on"}
	case strings.Contains(v, "@"): // also where url.Parse fails: no password is to be quoted
		return url.URL{}, &valueError{wrong: "contains a user name or a password", fix: "remove what comes before the @, and the @"}
	case err != nil, port > 65535:
		return url.URL{}, &valueError{wrong: "is not a URL", fix: example}
	case u.Hostname() == "":
		return url.URL{}, &valueError{wrong: "names no host", fix: example}
	}
	segments := strings.Split(u.Path, "/")
	for i, s := range segments {
		if s == "app" || s == "api" {
			u.Path, u.RawPath = strings.Join(segments[:i], "/"), ""
			return url.URL{}, &valueError{
				wrong: "is the address of a page or of the API, not of Chatwoot itself",
				fix:   "write " + u.String(),
			}
		}
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	return *u, nil
}

// checkSecret refuses what cannot stand in a header.
func checkSecret(s Secret) *valueError {
	if strings.ContainsFunc(s.Reveal(), func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return &valueError{wrong: "contains a space or a control character", fix: "copy it again, on one line and with nothing around it"}
	}
	return nil
}

func checkStatusURL(v string) *valueError {
	u, err := url.Parse(v)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return &valueError{wrong: "is not an address that starts with https:// or http://", fix: "write it like https://status.example.com"}
	case u.User != nil:
		return &valueError{wrong: "contains a user name or a password", fix: "remove what comes before the @, and the @: everybody who reads the board sees it"}
	}
	return nil
}

func checkHealthPath(p string) *valueError {
	u, err := url.Parse(p)
	if err != nil || !strings.HasPrefix(p, "/") || u.Host != "" || strings.ContainsAny(p, "?# ") {
		return &valueError{wrong: "is not a path", fix: "write it like /rails/health, beginning with /"}
	}
	return nil
}

// checkListenAddr judges an address; usual is one that is good.
func checkListenAddr(addr, usual string) *valueError {
	_, usualPort, _ := net.SplitHostPort(usual)
	example := fmt.Sprintf("write it like %s, or :%s for every interface", usual, usualPort)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return &valueError{wrong: "is not host:port", fix: example}
	}
	if _, err = strconv.ParseUint(port, 10, 16); err != nil {
		return &valueError{wrong: "does not end in a port from 0 to 65535", fix: example}
	}
	return nil
}

// checkSecretList is checkSecret for secrets with commas between them.
func checkSecretList(s Secret) *valueError {
	const fix = "write each secret once, with a comma between them and none at the ends"
	parts := s.Parts()
	for _, part := range parts {
		if f := checkSecret(NewSecret(part)); f != nil {
			return f
		}
	}
	if len(parts) != strings.Count(s.Reveal(), ",")+1 {
		return &valueError{wrong: "has an empty place between its commas", fix: fix}
	}
	return nil
}

// checkPathToken wants what can stand in an address as it is, and cannot be
// guessed.
func checkPathToken(s Secret) *valueError {
	const shortest = 16
	const fix = "set it to the output of: openssl rand -hex 24"
	odd := func(r rune) bool { return !isWord(r) && r != '-' }
	switch {
	case strings.ContainsFunc(s.Reveal(), odd):
		return &valueError{wrong: "contains more than letters, digits, - and _", fix: fix}
	case len(s.Reveal()) < shortest:
		return &valueError{wrong: fmt.Sprintf("is shorter than %d characters and could be guessed", shortest), fix: fix}
	}
	return nil
}

func checkForward(v string, secret Secret) *valueError {
	const example = "write it like https://drafts.example.com/chatwoot"
	u, err := url.Parse(v)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return &valueError{wrong: "is not an address that starts with https:// or http://", fix: example}
	case u.User != nil:
		return &valueError{wrong: "contains a user name or a password", fix: "remove what comes before the @, and the @; WEBHOOK_FORWARD_SECRET proves who sends"}
	case u.Fragment != "":
		return &valueError{wrong: "has a fragment", fix: "remove everything from the # on"}
	case !secret.IsSet():
		return &valueError{wrong: "needs WEBHOOK_FORWARD_SECRET", fix: "set that to the output of: openssl rand -hex 24, here and in the other service"}
	}
	return nil
}

// checkService judges the address of one of the two services of drafts.
func checkService(v, other, otherName string) *valueError {
	const example = "write it like http://drafts.internal:8000, without the path of a request"
	u, err := url.Parse(v)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return &valueError{wrong: "is not an address that starts with https:// or http://", fix: example}
	case u.User != nil:
		return &valueError{wrong: "contains a user name or a password", fix: "remove what comes before the @, and the @"}
	case strings.ContainsAny(v, "?#"):
		return &valueError{wrong: "has a query or a fragment", fix: "remove everything from the ? or # on"}
	case other == "":
		return &valueError{wrong: "needs " + otherName, fix: "drafts need both services; set both or neither"}
	}
	return nil
}

// checkForwardSecret sees to it that who receives what we forward cannot send
// it to us as Chatwoot's.
func checkForwardSecret(c *Config) *valueError {
	if f := checkSecret(c.WebhookForwardSecret); f != nil {
		return f
	}
	if slices.Contains(c.WebhookSecret.Parts(), c.WebhookForwardSecret.Reveal()) {
		return &valueError{
			wrong: "is one of CHATWOOT_WEBHOOK_SECRET, so the other service could pass for Chatwoot",
			fix:   "set it to the output of: openssl rand -hex 24, here and in the other service",
		}
	}
	return nil
}

// withoutCredentials returns a URL as it may be printed: without what precedes
// an @ or follows a ?, even if it does not parse.
func withoutCredentials(v string) string {
	if i := strings.LastIndexByte(v, '@'); i >= 0 {
		v = "[hidden]" + v[i:]
	}
	if i := strings.IndexAny(v, "?#"); i >= 0 {
		v = v[:i+1] + "[hidden]"
	}
	return v
}

// unwise returns what is allowed and should not be, at now.
func (c *Config) unwise(now time.Time) []string {
	var list []string
	if c.BaseURL != nil && c.BaseURL.Scheme == "http" && !loopback(c.BaseURL.Hostname()) {
		list = append(list, "CHATWOOT_BASE_URL is plain http: the token crosses the network unencrypted; use https")
	}
	unsigned := c.WebhookSignature == "none"
	if unsigned {
		list = append(list, "CHATWOOT_WEBHOOK_SIGNATURE is none: whoever learns the address of the webhooks can send some; from 4.12 on Chatwoot signs")
	}
	if unsigned && c.WebhookSecret.IsSet() {
		list = append(list, "CHATWOOT_WEBHOOK_SECRET has no effect while CHATWOOT_WEBHOOK_SIGNATURE is none; remove one of them")
	}
	if (unsigned || c.WebhookSecret.IsSet()) && c.BaseURL != nil && nearby(c.BaseURL.Hostname()) {
		list = append(list, "CHATWOOT_BASE_URL is on this machine or a private network: from 4.14 on Chatwoot sends webhooks to such addresses only with SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true in its Sidekiq's environment")
	}
	if u, err := url.Parse(c.WebhookForwardURL); err == nil && u.Scheme == "http" && !loopback(u.Hostname()) {
		list = append(list, "WEBHOOK_FORWARD_URL is plain http: what customers write crosses the network unencrypted; use https")
	}
	for _, service := range []struct{ name, address string }{{"LLAMAINDEX_URL", c.LlamaIndexURL}, {"AGENT_SDK_URL", c.AgentSDKURL}} {
		if u, err := url.Parse(service.address); err == nil && u.Scheme == "http" && !nearby(u.Hostname()) {
			list = append(list, service.name+" is plain http: what customers write crosses the network unencrypted; use https")
		}
	}
	if c.LlamaIndexURL != "" && c.AgentSDKURL != "" && !c.APITokens.IsSet() {
		list = append(list, "API_TOKENS is not set, so nobody can approve the drafts that LLAMAINDEX_URL and AGENT_SDK_URL turn on")
	}
	for _, rule := range c.MaintenanceRules.Over(c.MaintenanceDuration, now) {
		list = append(list, "MAINTENANCE_RRULE: "+rule+"; take it out, or write one that goes on")
	}
	return list
}

// misspelt returns the names in a .env that look like settings and are none.
func misspelt(dotenv map[string]string, vars []variable) []string {
	var list []string
	var known []string
	for _, v := range vars {
		known = append(known, v.forms()...)
	}
	for _, name := range slices.Sorted(maps.Keys(dotenv)) {
		if slices.Contains(known, name) {
			continue
		}
		// godotenv takes "CHATWOOT_TOKEN abc=" for a name. Print no more of it
		// than can be one.
		if i := strings.IndexFunc(name, func(r rune) bool { return !isWord(r) }); i >= 0 {
			if slices.Contains(known, name[:i]) {
				list = append(list, "a line of .env begins with "+name[:i]+" but is not NAME=value and has no effect; correct it")
			}
			continue
		}
		near, distance := nearest(strings.ToUpper(name), known)
		switch {
		case distance <= max(2, len(near)/5) && distance < len(name)/2:
			list = append(list, fmt.Sprintf("%s in .env is not a setting and has no effect; did you mean %s?", name, near))
		case strings.HasPrefix(name, "CHATWOOT_"), strings.HasPrefix(name, "SLA_"), strings.HasPrefix(name, "WEBHOOK_"):
			list = append(list, name+" in .env is not a setting and has no effect; remove it unless another program reads it")
		}
	}
	return list
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || host == "localhost" || path.Ext(host) == ".localhost"
}

// nearby reports whether a host is this machine, on a private network, or one
// of those names without a dot that containers call one another by.
func nearby(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsPrivate() || loopback(host) || err != nil && !strings.Contains(host, ".")
}

// isWord reports whether r may stand in a variable's name.
func isWord(r rune) bool {
	return r == '_' || r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r))
}

// nearest returns the candidate with the fewest single-character edits to name,
// and their number.
func nearest(name string, candidates []string) (string, int) {
	best, fewest := "", len(name)+1
	for _, c := range candidates {
		if d := edits(name, c); d < fewest {
			best, fewest = c, d
		}
	}
	return best, fewest
}

// edits returns the Levenshtein distance of a and b, in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
