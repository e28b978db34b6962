package chatwootsim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
)

func TestErrorShapes(t *testing.T) {
	const (
		noToken  = `401 {"errors":["You need to sign in or sign up before continuing."]}`
		badToken = `401 {"error":"Invalid Access Token"}`
		denied   = `401 {"error":"You are not authorized to do this action"}`
		noBots   = `401 {"error":"Access to this endpoint is not authorized for bots"}`
		missing  = `404 {"error":"Resource could not be found"}`
	)
	s := start(t, chatwootsim.Options{})
	c := s.CustomerOpens(noon, chat, "")
	inTeam := s.CustomerOpens(noon, chat, "")
	s.SetTeam(noon, inTeam, 4)
	conversation := fmt.Sprintf("%s/conversations/%d", account, c)
	admin, stranger := chatwootsim.DemoToken, s.AgentToken(mailbox)
	for _, tt := range []struct{ name, method, path, token, body, want string }{
		{"no token", "GET", account + "/conversations", "", "", noToken},
		{"no token on the profile", "GET", "/api/v1/profile", "", "", noToken},
		{"unknown token", "GET", account + "/conversations", "nope", "", badToken},
		{"unknown token beats unknown account", "GET", "/api/v1/accounts/77/conversations", "nope", "", badToken},
		{"unknown account", "GET", "/api/v1/accounts/77/conversations", admin, "", missing},
		{"account that is no number", "GET", "/api/v1/accounts/x/conversations", admin, "", missing},
		{"somebody else's account", "GET", "/api/v1/accounts/9/conversations", admin, "", `401 {"error":"You are not authorized to access this account"}`},
		{"suspended account", "GET", "/api/v1/accounts/10/conversations", admin, "", `401 {"error":"Account is suspended"}`},
		{"sandbox is no place for administration", "GET", "/api/v1/accounts/8/webhooks", admin, "", denied},
		{"sandbox knows none of our conversations", "GET", strings.Replace(conversation, "/3/", "/8/", 1), admin, "", missing},
		{"agent outside the inbox", "GET", conversation, stranger, "", denied},
		{"agent outside the inbox, messages", "GET", conversation + "/messages", stranger, "", denied},
		{"agent asking for webhooks", "GET", account + "/webhooks", stranger, "", denied},
		{"bot asking for the profile", "GET", "/api/v1/profile", s.BotToken(), "", noBots},
		{"bot asking for the list", "GET", account + "/conversations", s.BotToken(), "", noBots},
		{"bot asking for messages", "GET", conversation + "/messages", s.BotToken(), "", noBots},
		{"bot asking for inboxes", "GET", account + "/inboxes", s.BotToken(), "", noBots},
		{"bot in another account", "GET", "/api/v1/accounts/9/conversations/1", s.BotToken(), "", `401 {"error":"Bot is not authorized to access this account"}`},
		{"bot showing a conversation with a team", "GET", fmt.Sprintf("%s/conversations/%d", account, inTeam), s.BotToken(), "", `500 {"status":500,"error":"Internal Server Error"}`},
		{"unknown conversation", "GET", account + "/conversations/999", admin, "", missing},
		{"conversation that is no number", "GET", account + "/conversations/abc", admin, "", missing},
		{"unknown team", "GET", account + "/conversations?team_id=99", admin, "", missing},
		{"unknown path", "GET", "/api/v1/nope", admin, "", `404 {"status":404,"error":"Not Found"}`},
		{"the path that never existed", "GET", "/rails/health", "", "", `404 {"status":404,"error":"Not Found"}`},
		{"known path, other method", "DELETE", account + "/conversations", admin, "", `404 {"status":404,"error":"Not Found"}`},
		{"dashboard asked for JSON", "GET", "/app/accounts/3", "", "", `406 {"error":"Please use API routes instead of dashboard routes for JSON requests"}`},
		{"unknown widget", "GET", "/widget?website_token=x", "", "", `404 {"error":"web widget does not exist"}`},
		{"broken JSON", "POST", conversation + "/messages", admin, `{"content":`, `400 {"status":400,"error":"Bad Request"}`},
		{"two documents", "POST", conversation + "/messages", admin, `{} {}`, `400 {"status":400,"error":"Bad Request"}`},
		{"incoming outside API inboxes", "POST", conversation + "/messages", admin, `{"content":"x","message_type":"incoming"}`, `422 {"error":"Incoming messages are only allowed in Api inboxes"}`},
		{"unknown content type", "POST", conversation + "/messages", admin, `{"content":"x","content_type":"poem"}`, `422 {"error":"'poem' is not a valid content_type"}`},
		{"too long", "POST", conversation + "/messages", admin, `{"content":"` + strings.Repeat("ä", 150_001) + `"}`, `422 {"error":"Validation failed: Content is too long (maximum is 150000 characters)"}`},
		{"unknown status", "POST", conversation + "/toggle_status", admin, `{"status":"lost"}`, `500 {"status":500,"error":"Internal Server Error"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := s.do(tt.method, tt.path, tt.token, tt.body)
			if got := fmt.Sprintf("%d %s", a.status, a.body); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if got := a.header.Get("Content-Type"); got != "application/json; charset=utf-8" {
				t.Errorf("Content-Type %q", got)
			}
		})
	}
}

func TestWithoutAcceptUnknownPathsAreHTML(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	a := s.do("GET", "/rails/health", "", "", "Accept", "*/*")
	if a.status != 404 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || !strings.Contains(a.body, "<html") {
		t.Errorf("%d %s %s", a.status, a.header.Get("Content-Type"), a.body)
	}
}

func TestTokenHeaderSpellings(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	for _, tt := range []struct {
		name   string
		header []string
		want   int
	}{
		{"with dashes", []string{"Api-Access-Token", chatwootsim.DemoToken}, 200},
		{"with underscores", []string{"api_access_token", chatwootsim.DemoToken}, 200},
		{"both at once are one wrong token", []string{"Api-Access-Token", chatwootsim.DemoToken, "api_access_token", chatwootsim.DemoToken}, 401},
		{"bearer", []string{"Authorization", "Bearer " + chatwootsim.DemoToken}, 401},
	} {
		if a := s.do("GET", "/api/v1/profile", "", "", tt.header...); a.status != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, a.status, tt.want)
		}
	}
	if a := s.do("GET", "/api/v1/profile?api_access_token="+chatwootsim.DemoToken, "", ""); a.status != 401 {
		t.Errorf("in the query: %d, want 401", a.status)
	}
}

func TestHealthOfBothVersions(t *testing.T) {
	for version, want := range map[chatwootsim.Version]int{chatwootsim.V415: 200, chatwootsim.V42: 404} {
		s := start(t, chatwootsim.Options{Version: version})
		if a := s.do("GET", "/health", "", ""); a.status != want {
			t.Errorf("%s: /health is %d, want %d", version, a.status, want)
		}
		want := fmt.Sprintf(`{"version":%q,"timestamp":"2026-06-22 12:00:00","queue_services":"ok","data_services":"ok"}`, version)
		a := s.do("GET", "/api", "", "")
		if a.body != want {
			t.Errorf("/api = %s, want %s", a.body, want)
		}
		if got := a.header.Get("Date"); got != "Mon, 22 Jun 2026 12:00:00 GMT" {
			t.Errorf("Date %q, want the server's clock", got)
		}
	}
}

func TestBotMayShowConversationsOfNewerServersOnly(t *testing.T) {
	for version, want := range map[chatwootsim.Version]int{chatwootsim.V415: 200, chatwootsim.V42: 401} {
		s := start(t, chatwootsim.Options{Version: version})
		c := s.CustomerOpens(noon, chat, "")
		if a := s.do("GET", fmt.Sprintf("%s/conversations/%d", account, c), s.BotToken(), ""); a.status != want {
			t.Errorf("%s: %d, want %d", version, a.status, want)
		}
	}
}

func TestThrottles(t *testing.T) {
	meta := account + "/conversations/meta"
	for _, tt := range []struct {
		name    string
		version chatwootsim.Version
		path    func(*sim) string
		limit   int
		period  time.Duration
	}{
		{"everything by address", "", func(*sim) string { return "/api" }, 3000, time.Minute},
		{"counts by token", "", func(*sim) string { return meta }, 30, time.Minute},
		{"widget without a visitor", "", func(s *sim) string { return "/widget?website_token=" + s.WidgetToken(chat) }, 5, time.Hour},
		{"counts are not limited in 4.2", chatwootsim.V42, func(*sim) string { return meta }, 3000, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, chatwootsim.Options{Version: tt.version})
			s.clock.Set(noon.Add(40 * time.Second)) // windows begin with the minute, not with the first request
			hit := func() answer {
				var rec memory
				s.ServeHTTP(&rec, request(tt.path(s)))
				return answer{rec.status, rec.Header(), rec.body.String()}
			}
			for i := range tt.limit {
				if a := hit(); a.status != 200 {
					t.Fatalf("request %d: %d", i+1, a.status)
				}
			}
			a := hit()
			if a.status != 429 || a.body != "Retry later\n" || a.header.Get("Content-Type") != "text/plain" || a.header.Get("Retry-After") != "" {
				t.Errorf("beyond the limit: %d %q %v", a.status, a.body, a.header)
			}
			s.clock.Set(noon.Add(tt.period))
			if a := hit(); a.status != 200 {
				t.Errorf("in the next window: %d", a.status)
			}
		})
	}
}

func TestHealthIsExemptFromThrottles(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	for range 3001 {
		s.ServeHTTP(&memory{}, request("/api"))
	}
	for path, want := range map[string]int{"/api": 429, "/health": 200} {
		var rec memory
		if s.ServeHTTP(&rec, request(path)); rec.status != want {
			t.Errorf("%s: %d, want %d", path, rec.status, want)
		}
	}
}

// memory is a ResponseWriter for tests that make thousands of requests.
type memory struct {
	header http.Header
	status int
	body   strings.Builder
}

func (m *memory) Header() http.Header {
	if m.header == nil {
		m.header = http.Header{}
	}
	return m.header
}

func (m *memory) WriteHeader(status int) { m.status = status }

func (m *memory) Write(b []byte) (int, error) {
	if m.status == 0 {
		m.status = 200
	}
	return m.body.Write(b)
}

func request(path string) *http.Request {
	r, err := http.NewRequest(http.MethodGet, path, http.NoBody)
	if err != nil {
		panic(err)
	}
	r.RemoteAddr = "198.51.100.7:1234"
	r.Header.Set("Api-Access-Token", chatwootsim.DemoToken)
	return r
}

func TestWidgetMakesGhostsUnlessItKnowsTheVisitor(t *testing.T) {
	s := start(t, chatwootsim.Options{NoThrottle: true})
	page := "/widget?website_token=" + s.WidgetToken(chat)
	jwt := func(a answer) string {
		found := regexp.MustCompile(`window\.authToken = '([^']+)'`).FindStringSubmatch(a.body)
		if a.status != 200 || found == nil {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return found[1]
	}
	before := s.Contacts()
	token := jwt(s.do("GET", page, "", ""))
	if strings.Count(token, ".") != 2 {
		t.Errorf("%q is no JWT", token)
	}
	for _, tt := range []struct {
		name   string
		path   string
		ghosts int
	}{
		{"the token of the page makes none", page + "&cw_conversation=" + token, 1},
		{"junk makes one", page + "&cw_conversation=junk", 2},
		{"the token of another inbox makes one", "/widget?website_token=" + s.WidgetToken(assistant) + "&cw_conversation=" + token, 3},
		{"nothing makes one", page, 4},
	} {
		jwt(s.do("GET", tt.path, "", ""))
		if got := s.Contacts() - before; got != tt.ghosts {
			t.Errorf("%s: %d contacts more, want %d", tt.name, got, tt.ghosts)
		}
	}
	s.clock.Set(noon.AddDate(0, 0, 180))
	if again := jwt(s.do("GET", page+"&cw_conversation="+token, "", "")); again == token {
		t.Error("the token outlived 180 days")
	}
}

func TestProfileTellsTheRoles(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	type profile struct {
		Token    string `json:"access_token"`
		Accounts []struct {
			ID   int64  `json:"id"`
			Role string `json:"role"`
		} `json:"accounts"`
	}
	admin := decode[profile](t, s.get("/api/v1/profile"))
	if fmt.Sprint(admin.Accounts) != "[{3 administrator} {8 agent}]" || admin.Token != chatwootsim.DemoToken {
		t.Errorf("administrator: %+v", admin)
	}
	token := s.AgentToken(chat)
	agent := decode[profile](t, s.do("GET", "/api/v1/profile", token, ""))
	if fmt.Sprint(agent.Accounts) != "[{3 agent}]" || agent.Token != token {
		t.Errorf("agent: %+v", agent)
	}
}

func TestInboxesHideCredentialsFromAgents(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	type inboxes struct {
		Payload []map[string]any `json:"payload"`
	}
	names := func(in inboxes) (names []string) {
		for _, each := range in.Payload {
			names = append(names, each["name"].(string))
		}
		return names
	}
	admin := s.get(account + "/inboxes")
	if got := names(decode[inboxes](t, admin)); !slices.Equal(got, []string{"Assistant chat", "Storefront API", "Support mail", "Website chat"}) {
		t.Errorf("administrator sees %v", got)
	}
	agent := s.do("GET", account+"/inboxes", s.AgentToken(mailbox, chat), "")
	if got := names(decode[inboxes](t, agent)); !slices.Equal(got, []string{"Support mail", "Website chat"}) {
		t.Errorf("agent sees %v", got)
	}
	for _, secret := range []string{"demo-imap-password", "demo-smtp-password", "demo-hmac-token"} {
		if !strings.Contains(admin.body, secret) || strings.Contains(agent.body, secret) {
			t.Errorf("%s: only the administrator should get it", secret)
		}
	}
}

func TestTeamsAndAgentsAreBareArrays(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	teams := decode[[]map[string]any](t, s.get(account+"/teams"))
	if len(teams) != 2 || teams[0]["name"] != "billing" {
		t.Errorf("teams %v", teams)
	}
	agents := decode[[]map[string]any](t, s.get(account+"/agents"))
	if len(agents) != 5 || agents[0]["name"] != "Aiko Mwangi" || agents[0]["provider"] != "email" {
		t.Errorf("agents %v", agents)
	}
}

func TestPostedMessages(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	c := s.CustomerOpens(noon, apiInbox, "")
	path := fmt.Sprintf("%s/conversations/%d/messages", account, c)
	for _, tt := range []struct{ name, body, key, want string }{
		{"outgoing by default", `{"content":"x"}`, "message_type", "1"},
		{"public by default", `{"content":"x"}`, "private", "false"},
		{"private when it says so", `{"content":"x","private":true}`, "private", "true"},
		{"the sender is the token's owner", `{"content":"x"}`, "sender", `"id":19`},
		{"as a number, the type makes the customer the sender", `{"content":"x","message_type":1}`, "sender", `"type":"contact"`},
		{"incoming is for API inboxes", `{"content":"x","message_type":"incoming"}`, "message_type", "0"},
		{"echo_id comes back", `{"content":"x","echo_id":"e1"}`, "echo_id", `"e1"`},
		{"source_id is kept", `{"content":"x","source_id":"mark"}`, "source_id", `"mark"`},
		{"source_id is null without", `{"content":"x"}`, "source_id", "null"},
		{"attributes are kept", `{"content":"x","content_attributes":{"a":1}}`, "content_attributes", `{"a":1}`},
		{"no content is null", `{}`, "content", "null"},
		{"liquid vanishes", `{"content":"a{{ x }}b{% if y %}c","private":true}`, "content", `"abc"`},
		{"liquid is rendered", `{"content":"Hi {{agent.name}}"}`, "content", `"Hi SLA Watch"`},
		{"liquid in backticks stays", "{\"content\":\"`{{x}}` {{x}}\"}", "content", "\"`{{x}}` \""},
		{"broken liquid keeps everything", `{"content":"{{a}} {{b"}`, "content", `"{{a}} {{b"`},
		{"broken liquid before code keeps everything", "{\"content\":\"{{a `b` {{c}}\"}", "content", "\"{{a `b` {{c}}\""},
		{"newlines at the end go", `{"content":"x\n\n"}`, "content", `"x"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := decode[map[string]json.RawMessage](t, s.do("POST", path, chatwootsim.DemoToken, tt.body))
			if tt.key == "sender" && strings.Contains(string(got["sender"]), tt.want) {
				return
			}
			if string(got[tt.key]) != tt.want {
				t.Errorf("%s = %s, want %s", tt.key, got[tt.key], tt.want)
			}
			_, echoed := got["echo_id"]
			if echoed != strings.Contains(tt.body, "echo_id") {
				t.Errorf("echo_id present: %v", echoed)
			}
		})
	}
	form := s.do("POST", path, chatwootsim.DemoToken, "content=from+a+form&private=true", "Content-Type", "application/x-www-form-urlencoded")
	if got := decode[map[string]any](t, form); got["content"] != "from a form" || got["private"] != true {
		t.Errorf("form: %v", got)
	}
}

func TestOlderServersKeepOnlySomeAttributes(t *testing.T) {
	s := start(t, chatwootsim.Options{Version: chatwootsim.V42})
	c := s.CustomerOpens(noon, chat, "")
	a := s.do("POST", fmt.Sprintf("%s/conversations/%d/messages", account, c), chatwootsim.DemoToken,
		`{"content":"x\n","content_attributes":{"a":1,"in_reply_to":7}}`)
	if !strings.Contains(a.body, `"content_attributes":{"in_reply_to":7}`) || !strings.Contains(a.body, `"content":"x\n"`) {
		t.Errorf("%s", a.body)
	}
}

func TestFloodOfMessagesIsRefused(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	c := s.CustomerOpens(noon, chat, "")
	for range 199 {
		s.CustomerWrites(noon, c, "")
	}
	path := fmt.Sprintf("%s/conversations/%d/messages", account, c)
	for after, want := range map[time.Duration]int{59 * time.Second: 422, time.Minute: 200} {
		s.clock.Set(noon.Add(after))
		a := s.do("POST", path, chatwootsim.DemoToken, `{"content":"x","private":true}`)
		if a.status != want || want == 422 && a.body != `{"error":"Validation failed: Too many messages"}` {
			t.Errorf("after %s: %d %s, want %d", after, a.status, a.body, want)
		}
	}
}

func TestToggleStatus(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	agent := s.AgentToken(chat)
	c := s.CustomerOpens(noon, chat, "")
	path := fmt.Sprintf("%s/conversations/%d", account, c)
	for _, tt := range []struct{ name, token, body, want string }{
		{"named", agent, `{"status":"pending"}`, "pending"},
		{"by a bot it is a hand-off", s.BotToken(), `{"status":"open"}`, "open"},
		{"open toggles to resolved", agent, ``, "resolved"},
		{"anything else toggles to open", agent, ``, "open"},
	} {
		a := s.do("POST", path+"/toggle_status", tt.token, tt.body)
		want := fmt.Sprintf(`{"meta":{},"payload":{"success":true,"conversation_id":%d,"current_status":%q,"snoozed_until":null}}`, c, tt.want)
		if a.body != want {
			t.Errorf("%s: %s, want %s", tt.name, a.body, want)
		}
	}
	if got := s.list("assignee_type=assigned").ids(); !slices.Equal(got, []int64{c}) {
		t.Errorf("assigned %v, want what the agent opened", got)
	}
}

func TestDeepLinksOpenSomethingReadable(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	c := s.CustomerOpens(noon, chat, "My <zip> broke")
	link := fmt.Sprintf("/app/accounts/3/conversations/%d", c)
	a := s.do("GET", link, "", "", "Accept", "text/html")
	if a.status != 200 || !strings.Contains(a.body, "My &lt;zip&gt; broke") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := s.do("GET", "/app/accounts/3/conversations/99", "", "", "Accept", "text/html"); a.status != 200 {
		t.Errorf("unknown id: %d, want 200 as the dashboard has it", a.status)
	}
}

func TestRequestsAreCounted(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	s.list("page=2")
	s.list("status=all")
	s.get("/nope")
	got := s.Requests()
	if got["GET /api/v1/accounts/{a}/conversations"] != 2 || got["GET *"] != 1 || len(got) != 2 {
		t.Errorf("counted %v", got)
	}
	log := s.RequestLog()
	if len(log) != 3 || log[1].Query != "status=all" || log[1].Path != account+"/conversations" || !log[1].At.Equal(noon) {
		t.Errorf("logged %v", log)
	}
}
