// Package healthcases holds the situations that every health check of Chatwoot
// must judge alike: the command "check" and the shell script that backs it up
// are both held to this table.
package healthcases

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Case is one situation and the exit code it must lead to, with the default
// health path.
type Case struct {
	Name     string
	Handler  http.Handler // in the role of Chatwoot; may hang until the client gives up
	ExitCode int
}

// All returns every case. The good token is the only one that the profile is
// shown to, and accountID is among its accounts unless the case is about that.
//
// Handlers hold no state, so a case can be checked again and again.
func All(token string, accountID int64) []Case {
	ok := chatwoot{
		"/health":         json(`{"status":"woot"}`),
		"/api":            json(index("ok", "ok")),
		"/api/v1/profile": profile(token, accounts(accountID)),
	}
	mine := fmt.Sprint(accountID)

	return []Case{
		{"healthy, with the runbook's route", ok.with("/rails/health", json(`{}`)), 0},
		{"no /rails/health, so /health answers", ok, 0},
		{"neither health route, so /api answers", ok.with("/health", nil), 0},
		{"spaces and line breaks in the JSON", ok.with("/api", json(spaced(index("ok", "ok")))).
			with("/api/v1/profile", profile(token, spaced(accounts(accountID)))), 0},
		{"brackets, quotes and the account's id inside other texts", ok.
			with("/api/v1/profile", profile(token, strings.Replace(accounts(accountID), "Outfitters", `\"]}, {\"id\": 0, ü\\`, 1))), 0},

		{"health route says 503", ok.with("/rails/health", status(503)), 2},
		{"/health says 503", ok.with("/health", status(503)), 2},
		{"no health route at all", ok.with("/health", nil).with("/api", nil), 2},
		{"/health is fine but /api says 500", ok.with("/api", status(500)), 2},
		{"/api reports failing data services", ok.with("/api", json(index("ok", "failing"))), 2},
		{"/api reports failing queue services", ok.with("/api", json(index("failing", "ok"))), 2},
		{"health route is fine but /api reports failing", ok.with("/rails/health", json(`{}`)).with("/api", json(index("ok", "failing"))), 2},
		{"/api is cut short", ok.with("/api", json(cut(index("ok", "ok")))), 2},
		{"/api is hidden by a proxy", ok.with("/rails/health", json(`{}`)).with("/api", nil), 2},
		{"health hangs", ok.with("/health", hang), 2},
		{"/api hangs after a good /health", ok.with("/api", hang), 2},
		{"health is redirected", ok.with("/rails/health", elsewhere).with("/elsewhere/rails/health", json(`{}`)), 2},

		{"profile says 401 to the token", ok.with("/api/v1/profile", profile(token+"x", accounts(accountID))), 3},
		{"profile says 500", ok.with("/api/v1/profile", status(500)), 3},
		{"profile is throttled", ok.with("/api/v1/profile", status(429)), 3},
		{"profile is a page instead of JSON", ok.with("/api/v1/profile", page), 3},
		{"profile is cut short", ok.with("/api/v1/profile", profile(token, cut(accounts(accountID)))), 3},
		{"profile is JSON that names no account", ok.with("/api/v1/profile", profile(token, `{"error":"gone"}`)), 3},
		{"profile of a user in another account", ok.with("/api/v1/profile", profile(token, accounts(accountID+1))), 3},
		{"account id is only the start of another", ok.with("/api/v1/profile", profile(token, accounts(accountID*10))), 3},
		{"account id is only the user's and a role's", ok.
			with("/api/v1/profile", profile(token, strings.NewReplacer(`"id":19`, `"id":`+mine, `"custom_role":null`, `"custom_role":{"id":`+mine+`}`).
				Replace(accounts(accountID+1)))), 3},
		{"account id is only in a list of something else", ok.
			with("/api/v1/profile", profile(token, strings.Replace(accounts(accountID+1), `"accounts":`, `"teams":[{"id":`+mine+`}],"accounts":`, 1))), 3},
		{"account id is only in a text", ok.
			with("/api/v1/profile", profile(token, strings.Replace(accounts(accountID+1), "Outfitters", `\"}, {\"id\":`+mine+`,`, 1))), 3},
		{"account id is only on a line of a broken text", ok.
			with("/api/v1/profile", profile(token, "{\"id\":19,\"accounts\":[{\"id\":\"\naccount "+mine+"\n\"}]}")), 3},
		{"profile hangs", ok.with("/api/v1/profile", hang), 3},

		{"a page at every address", chatwoot{"/": page}, 4},
		{"both say 502", chatwoot{"/": status(502)}, 4},
		{"everything is not found", chatwoot{}, 4},
		{"everything hangs", chatwoot{"/": hang}, 4},
		{"everything is cut off without an answer", chatwoot{"/": abort}, 4},
		{"everything is redirected to where it would be fine", ok.elsewhere(), 4},
	}
}

// chatwoot answers by path. "/" answers for every path that has no entry.
type chatwoot map[string]http.HandlerFunc

func (c chatwoot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := c[r.URL.Path]
	if h == nil {
		h = c["/"]
	}
	if h == nil {
		h = notFound
	}
	h(w, r)
}

// with returns c with one path answering otherwise; nil takes it away.
func (c chatwoot) with(path string, h http.HandlerFunc) chatwoot {
	changed := chatwoot{path: h}
	for p, old := range c {
		if p != path {
			changed[p] = old
		}
	}
	return changed
}

// elsewhere returns c moved below /elsewhere, and redirected there.
func (c chatwoot) elsewhere() chatwoot {
	moved := chatwoot{"/": elsewhere}
	for p, h := range c {
		moved["/elsewhere"+p] = h
	}
	return moved
}

func elsewhere(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "/elsewhere"+r.URL.Path, http.StatusMovedPermanently)
}

func json(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, body) }
}

func writeJSON(w http.ResponseWriter, code int, body string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	io.WriteString(w, body)
}

func writePage(w http.ResponseWriter, code int) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	fmt.Fprintf(w, "<!doctype html>\n<title>%d</title>\n<p>Please sign in.</p>\n", code)
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { writePage(w, code) }
}

func page(w http.ResponseWriter, _ *http.Request) { writePage(w, http.StatusOK) }

func notFound(w http.ResponseWriter, r *http.Request) {
	if strings.Contains(r.Header.Get("Accept"), "json") {
		writeJSON(w, http.StatusNotFound, `{"status":404,"error":"Not Found"}`)
		return
	}
	writePage(w, http.StatusNotFound)
}

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func abort(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// profile shows body to the bearer of token alone.
func profile(token, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Api-Access-Token") {
		case token:
			writeJSON(w, http.StatusOK, body)
		case "":
			writeJSON(w, http.StatusUnauthorized, `{"errors":["You need to sign in or sign up before continuing."]}`)
		default:
			writeJSON(w, http.StatusUnauthorized, `{"error":"Invalid Access Token"}`)
		}
	}
}

func index(queue, data string) string {
	return fmt.Sprintf(`{"version":"4.15.1","timestamp":"2026-06-22 09:20:00","queue_services":%q,"data_services":%q}`, queue, data)
}

// accounts is a profile of a user in the given account and in another.
func accounts(accountID int64) string {
	return fmt.Sprintf(`{"access_token":"EXAMPLE-of-the-profile","account_id":%d,"available_name":"SLA Watch","id":19,`+
		`"name":"SLA Watch","pubsub_token":"EXAMPLE-pubsub","role":"administrator","ui_settings":{},"accounts":[`+
		`{"id":%d,"name":"Outfitters (sandbox)","status":"active","role":"agent","permissions":["agent"],"custom_role":null},`+
		`{"id":%d,"name":"Example","status":"active","role":"administrator","permissions":["administrator"],"custom_role":null}]}`,
		accountID, accountID+1000000, accountID)
}

// spaced spreads JSON whose texts hold none of the signs over many lines.
func spaced(body string) string {
	return strings.NewReplacer(`{"`, "{\n  \"", `":`, "\" :\t", `,"`, ",\n  \"", `}`, "\r\n}").Replace(body) + "\n"
}

func cut(body string) string { return body[:len(body)-1] }
