package health

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Title returns the name that the runbook gives to a probe.
func Title(probe string) string {
	switch probe {
	case RailsHealth:
		return "Platform Health"
	case AuthenticatedAPI:
		return "Authenticated API"
	case Widget:
		return "Widget"
	}
	return probe
}

// Meaning returns what an exit code of a health check says, and what to do.
func Meaning(exitCode int) (meaning, action string) {
	switch exitCode {
	case ExitPassed:
		return "All checks passed", "No action needed"
	case ExitConfiguration:
		return "Configuration missing", "Check the environment variables and .env"
	case ExitRailsHealth:
		return "Rails health check failed", "Check the Chatwoot service"
	case ExitAuthenticatedAPI:
		return "Authenticated API failed", "Check the API token and its permissions"
	case ExitBoth:
		return "All checks failed", "Escalate to on-call immediately"
	}
	return "Unknown exit code", "Read the output above"
}

// describe says in one line what went wrong.
func (r Result) describe(err error) string {
	switch r.Reason {
	case ReasonTimeout:
		return fmt.Sprintf("Connection timeout after %dms", r.Duration.Milliseconds())
	case ReasonHTTPStatus:
		return fmt.Sprintf("Failed with HTTP %d", r.Status)
	case ReasonRedirect:
		if r.Status == 0 {
			return "Redirected elsewhere"
		}
		return fmt.Sprintf("Failed with HTTP %d, a redirect", r.Status)
	case ReasonDNS:
		return "Host name not found" + cause(err)
	case ReasonConnection:
		return "Connection failed" + cause(err)
	case ReasonTLS:
		return "No secure connection" + cause(err)
	case ReasonNotJSON:
		what := "Chatwoot's JSON"
		if r.Probe == Widget {
			what = "the widget's page"
		}
		return fmt.Sprintf("HTTP %d, but the answer is not %s", r.Status, what)
	case ReasonDependency:
		return "Chatwoot reports " + r.ailing()
	case ReasonAccount:
		return "The account is not among the token's accounts"
	case ReasonCanceled:
		return "The check was stopped before there was an answer"
	}
	if err == nil {
		return "The probe reported nothing"
	}
	return plain(err)
}

// ailing lists the dependencies that are not ok, in a fixed order.
func (r Result) ailing() string {
	var bad []string
	for _, name := range slices.Sorted(maps.Keys(r.Dependencies)) {
		if state := r.Dependencies[name]; state != dependencyOK {
			bad = append(bad, name+" "+state)
		}
	}
	if bad == nil {
		return "a failing dependency"
	}
	return strings.Join(bad, ", ")
}

// Advise says what to do about an outcome, as if a probe of that name had come
// to it. It is empty on success.
func Advise(probe string, o Outcome) string {
	return Result{Probe: probe, Status: o.Status, Detail: o.Detail, Reason: o.reason()}.Advice()
}

// Advice says what to do about a failed result. It is empty on success.
func (r Result) Advice() string {
	switch r.Reason {
	case "":
		return ""
	case ReasonTimeout:
		return "Check the network, the Chatwoot service status and firewall rules."
	case ReasonDNS:
		return "Check the host name in CHATWOOT_BASE_URL, and this machine's DNS."
	case ReasonConnection:
		return "Check that Chatwoot or its proxy is running at CHATWOOT_BASE_URL, and the firewall between."
	case ReasonTLS:
		return "Check the server's certificate (expired, another name, unknown issuer) and whether CHATWOOT_BASE_URL should say https."
	case ReasonNotJSON:
		return "A login page or proxy answered in Chatwoot's place. Check CHATWOOT_BASE_URL: the address only, without /app."
	case ReasonDependency:
		return "Chatwoot runs, but what it needs does not: data_services is Postgres, queue_services is Redis. Check them and Chatwoot's logs."
	case ReasonAccount:
		return "Set CHATWOOT_ACCOUNT_ID to the number after /app/accounts/ in the browser, or invite the token's user to that account."
	case ReasonRedirect:
		return "Set CHATWOOT_BASE_URL to the final address, https included. The token is never sent along a redirect."
	case ReasonCanceled:
		return "Run the check again."
	case ReasonHTTPStatus:
		return r.adviceOnStatus()
	}
	return "Run the check again. If it stays, look at Chatwoot's logs for the same time."
}

func (r Result) adviceOnStatus() string {
	switch {
	case r.Status == http.StatusTooManyRequests && r.Probe == Widget:
		return "Chatwoot allows five widget pages an hour without a session. Wait for the next full hour."
	case r.Status == http.StatusTooManyRequests:
		return "Chatwoot is throttling this address. Wait a minute, and lower CHATWOOT_REQUESTS_PER_MINUTE if it returns."
	case r.Status >= 500:
		return "Check Chatwoot's processes and logs, then its proxy. During maintenance a 503 is expected."
	case r.Status == http.StatusForbidden:
		return "Chatwoot itself never answers 403 here: a proxy or firewall in front of it refuses this machine."
	case r.Status == http.StatusNotFound && r.Probe == RailsHealth:
		return "No health route answered. Check CHATWOOT_BASE_URL: the address only, without /app or /api."
	case r.Status == http.StatusNotFound && r.Probe == Widget:
		return "Chatwoot does not know CHATWOOT_EMBED_TOKEN. Copy the website token from the inbox's settings."
	case r.Status == http.StatusUnauthorized && r.Probe == AuthenticatedAPI:
		return r.adviceOnToken()
	case r.Status == http.StatusUnauthorized:
		return "Something in front of Chatwoot asks for a login. Let this machine reach the path without one."
	}
	return "Check CHATWOOT_BASE_URL and Chatwoot's logs for the same time."
}

// adviceOnToken tells apart what Chatwoot answers with the same 401.
func (r Result) adviceOnToken() string {
	said := strings.ToLower(r.Detail)
	says := func(phrases ...string) bool {
		return slices.ContainsFunc(phrases, func(p string) bool { return strings.Contains(said, p) })
	}
	switch {
	case says("suspended"):
		return "The account is suspended. Ask whoever runs Chatwoot to activate it."
	case says("bot"):
		return "This is a bot's token, which may not read profiles. Use the access token of an administrator's profile."
	case says("wrong account", "access this account"):
		return "The token's user is not in this account. Check CHATWOOT_ACCOUNT_ID, or invite the user."
	case says("missing header", "no header", "no token", "sign in", "sign up"):
		return "The token did not reach Chatwoot. Let the proxy pass the Api-Access-Token header, and check CHATWOOT_TOKEN."
	case says("unknown token", "invalid access token"):
		return "Chatwoot does not know this token: expired or replaced. Rotate CHATWOOT_TOKEN in the secrets manager."
	}
	return "Token expired or invalid. Rotate CHATWOOT_TOKEN in the secrets manager."
}

// cause words err as the end of a sentence.
func cause(err error) string {
	if err == nil {
		return ""
	}
	return ": " + plain(err)
}

// plain words err in one line. net/http repeats the whole address in its
// errors, and the widget's address carries tokens, so addresses go.
func plain(err error) string {
	text := err.Error()
	if u, ok := errors.AsType[*url.Error](err); ok {
		text = strings.ReplaceAll(text, u.Error(), u.Err.Error())
	}
	return clean(text)
}

var (
	addressSecret = regexp.MustCompile(`://[^\s/"'@]*@`)
	querySecret   = regexp.MustCompile(`\?[^\s"']*=[^\s"']*`)
)

// maxText bounds each text that comes from outside, in bytes.
const maxText = 300

// clean makes s safe for a terminal, a log line and a label: one line of valid
// text, no longer than maxText, and no password or query of an address.
func clean(s string) string {
	s = strings.ToValidUTF8(s, "�")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	s = addressSecret.ReplaceAllString(s, "://…@")
	s = querySecret.ReplaceAllString(s, "?…")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}
