package chatwootsim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

func (s *Server) health(w http.ResponseWriter, _ *request) {
	reply(w, http.StatusOK, `{"status":"woot"}`)
}

func (s *Server) index(w http.ResponseWriter, r *request) {
	services := "ok"
	if r.failing {
		services = "failing" // with status 200 all the same
	}
	var d doc
	d.object("", func() {
		d.str("version", string(s.opts.Version))
		d.str("timestamp", r.now.UTC().Format(time.DateTime))
		d.str("queue_services", services)
		d.str("data_services", services)
	})
	reply(w, http.StatusOK, string(d.b))
}

func (s *Server) profile(w http.ResponseWriter, r *request) {
	u := r.user
	var d doc
	membership := func(id int64, name, role string, active time.Time) {
		d.object("", func() {
			d.num("id", id)
			d.str("name", name)
			d.str("status", "active")
			if s.modern {
				d.null("onboarding_step")
			}
			d.iso("active_at", active)
			d.str("role", role)
			d.strs("permissions", []string{role})
			d.str("availability", "online")
			d.str("availability_status", "offline")
			d.boolean("auto_offline", true)
			d.null("custom_role_id")
			d.null("custom_role")
		})
	}
	d.object("", func() {
		d.str("access_token", u.token)
		d.num("account_id", s.opts.AccountID)
		d.str("available_name", u.name)
		d.str("avatar_url", "")
		d.boolean("confirmed", true)
		d.null("display_name")
		d.null("message_signature")
		d.str("email", u.email)
		d.num("id", u.id)
		d.num("inviter_id", 7)
		d.str("name", u.name)
		d.str("provider", "email")
		d.str("pubsub_token", "demo-pubsub-token")
		d.str("role", u.role())
		d.raw("ui_settings", "{}")
		d.str("uid", u.email)
		d.null("type")
		d.array("accounts", func() {
			membership(s.opts.AccountID, accountName, u.role(), r.now.Truncate(time.Hour))
			if u == s.users[0] {
				membership(s.sandbox.account, accountName+" (sandbox)", "agent", time.Time{})
			}
		})
	})
	reply(w, http.StatusOK, string(d.b))
}

// pages holds buffers for list answers, which are large and all alike.
type pages struct{ sync.Pool }

func (p *pages) get() *bytes.Buffer {
	if b, ok := p.Get().(*bytes.Buffer); ok {
		b.Reset()
		return b
	}
	return new(bytes.Buffer)
}

func (s *Server) query(w http.ResponseWriter, r *request) (query, bool) {
	values := r.URL.Query()
	q := parseQuery(values, r.user, s.modern)
	if values.Has("team_id") && r.world.team(q.team) == nil {
		fail(w, http.StatusNotFound, notFound)
		return query{}, false
	}
	return q, true
}

func (s *Server) listConversations(w http.ResponseWriter, r *request) {
	q, ok := s.query(w, r)
	if !ok {
		return
	}
	s.mu.Lock()
	selected := r.world.selection(q.filter)
	var shown []*conversation
	if q.ranged && !s.opts.IgnoreUpdatedWithin {
		shown = r.world.since(q.view, r.now.Add(-q.within))
	} else {
		shown = page(r.world.view(q.view), q.page, s.opts.PageSize)
	}
	rows := make([][]byte, len(shown))
	size := 256
	for i, c := range shown {
		rows[i] = r.world.row(c, r.now)
		size += len(rows[i]) + 1
	}
	s.mu.Unlock()

	b := s.pages.get()
	defer s.pages.Put(b)
	b.Grow(size)
	b.WriteString(`{"data":{"meta":`)
	b.Write(selected.json())
	b.WriteString(`,"payload":[`)
	for i, row := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(row)
	}
	b.WriteString(`]}}`)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	_, _ = w.Write(b.Bytes()) // a client that left needs no answer
}

func (c counts) json() []byte {
	var d doc
	d.object("", func() {
		d.num("mine_count", c.mine)
		d.num("assigned_count", c.assigned)
		d.num("unassigned_count", c.unassigned)
		d.num("all_count", c.all)
	})
	return d.b
}

func (s *Server) countConversations(w http.ResponseWriter, r *request) {
	q, ok := s.query(w, r)
	if !ok {
		return
	}
	s.mu.Lock()
	selected := r.world.selection(q.filter)
	s.mu.Unlock()
	reply(w, http.StatusOK, `{"meta":`+string(selected.json())+`}`)
}

func (s *Server) showConversation(r *request, c *conversation) (int, string) {
	if r.user.bot && c.team != nil { // the template asks the bot for its teams
		return http.StatusInternalServerError, `{"status":500,"error":"Internal Server Error"}`
	}
	return http.StatusOK, string(r.world.row(c, r.now))
}

func (s *Server) listMessages(r *request, c *conversation) (int, string) {
	rend := renderer{r.world}
	var d doc
	d.object("", func() {
		d.object("meta", func() {
			d.strs("labels", c.labels)
			d.object("additional_attributes", func() { rend.origin(&d, c) })
			d.object("contact", func() { rend.customer(&d, c) })
			if human(c.assignee) {
				d.object("assignee", func() { rend.person(&d, c.assignee, false) })
			}
			d.iso("agent_last_seen_at", c.agentSeen)
			d.iso("assignee_last_seen_at", c.assigneeSeen)
		})
		d.array("payload", func() {
			for _, m := range excerpt(c.messages, r.URL.Query()) {
				d.object("", func() { rend.message(&d, c, &m, "") })
			}
		})
	})
	return http.StatusOK, string(d.b)
}

// excerpt is the part of messages that is asked for: the newest 20, those
// before an id, the first 100 after an id, or up to 1000 between two. Ids cut,
// but instants sort.
func excerpt(messages []message, values url.Values) []message {
	before, after := values.Get("before"), values.Get("after")
	from, to := rubyInt(after), rubyInt(before)
	var kept []message
	for _, m := range messages {
		if values.Get("filter_internal_messages") != "" && (m.private || m.kind == activity) ||
			before != "" && m.id >= to ||
			after != "" && (m.id < from || before == "" && m.id == from) {
			continue
		}
		kept = append(kept, m)
	}
	slices.SortStableFunc(kept, func(a, b message) int { return a.at.Compare(b.at) })
	switch {
	case after != "" && before != "":
		return kept[:min(len(kept), 1000)]
	case after != "":
		return kept[:min(len(kept), 100)]
	}
	return kept[max(0, len(kept)-20):]
}

// params are the members of a request body.
type params map[string]any

const maxBody = 16 << 20

// readBody takes JSON or a form and answers 400 for JSON that is none.
func (r *request) readBody(w http.ResponseWriter) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		exception(w, r.Request, http.StatusBadRequest, "Bad Request")
		return false
	}
	r.params = params{}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		var members any
		decoder := json.NewDecoder(bytes.NewReader(body))
		decoder.UseNumber()
		err := decoder.Decode(&members)
		if err == nil && decoder.More() {
			err = errors.New("more than one value")
		}
		if err != nil && len(bytes.TrimSpace(body)) > 0 {
			exception(w, r.Request, http.StatusBadRequest, "Bad Request")
			return false
		}
		if object, ok := members.(map[string]any); ok {
			r.params = object
		}
		return true
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		exception(w, r.Request, http.StatusBadRequest, "Bad Request")
		return false
	}
	for k := range form {
		r.params[k] = form.Get(k)
	}
	return true
}

// text returns what is under key as a string: "" for null and for nothing.
func (p params) text(key string) string {
	switch v := p[key].(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		return fmt.Sprint(v)
	}
}

func (p params) truthy(key string) bool {
	switch strings.ToLower(p.text(key)) {
	case "", "0", "f", "false", "off":
		return false
	}
	return true
}

var contentTypes = []string{
	"text", "input_text", "input_textarea", "input_email", "input_select", "cards", "form", "article",
	"incoming_email", "input_csat", "integrations", "sticker", "voice_call",
}

const (
	maxContent = 150_000
	floodLimit = 200 // messages a minute in one conversation
)

// createMessage posts to a conversation. Whatever is wrong with the message is
// a 422, and what is not said to be private goes to the customer.
func (s *Server) createMessage(r *request, c *conversation) (int, string) {
	m, problem := s.newMessage(r, c)
	if problem != "" {
		return http.StatusUnprocessableEntity, errorBody(problem)
	}
	echo := ""
	if given, ok := r.params["echo_id"]; ok {
		if raw, err := json.Marshal(given); err == nil {
			echo = string(raw)
		}
	}
	r.world.post(c, r.now, m)
	var d doc
	d.object("", func() { renderer{r.world}.message(&d, c, &c.messages[len(c.messages)-1], echo) })
	return http.StatusOK, string(d.b)
}

func (s *Server) newMessage(r *request, c *conversation) (m message, problem string) {
	p := r.params
	m = message{
		content: p.text("content"), noContent: p["content"] == nil, private: p.truthy("private"),
		sourceID: p.text("source_id"), contentType: cmp.Or(p.text("content_type"), "text"),
		campaign: rubyInt(p.text("campaign_id")),
	}
	switch kind := cmp.Or(p.text("message_type"), "outgoing"); kind {
	case "outgoing", "1":
		m.kind = outgoing
		// Only the word makes the caller the sender.
		if m.customer = kind == "1"; !m.customer {
			m.from = r.user
		}
	case "incoming", "0":
		if c.inbox.channel != api && kind == "incoming" {
			return m, "Incoming messages are only allowed in Api inboxes"
		}
		m.kind, m.customer = incoming, true
	default:
		return m, fmt.Sprintf("'%s' is not a valid message_type", kind)
	}
	if !slices.Contains(contentTypes, m.contentType) {
		return m, fmt.Sprintf("'%s' is not a valid content_type", m.contentType)
	}
	if utf8.RuneCountInString(m.content) > maxContent {
		return m, fmt.Sprintf("Validation failed: Content is too long (maximum is %d characters)", maxContent)
	}
	recent := 0
	for i := len(c.messages) - 1; i >= 0 && recent < floodLimit; i-- {
		if c.messages[i].at.After(r.now.Add(-time.Minute)) {
			recent++
		}
	}
	if recent >= floodLimit {
		return m, "Validation failed: Too many messages"
	}
	if given, ok := p["content_attributes"].(map[string]any); ok {
		attributes := params{}
		for k, v := range given {
			if s.modern || k == "items" || k == "in_reply_to" || k == "automation_rule_id" {
				attributes[k] = v
			}
		}
		m.rule = rubyInt(attributes.text("automation_rule_id"))
		m.echo = s.modern && attributes.truthy("external_echo")
		if raw, err := json.Marshal(attributes); err == nil {
			m.attributes = string(raw)
		}
	} else if m.kind == outgoing {
		m.attributes = "{}"
	}
	if m.kind == outgoing {
		m.content = liquid(m.content, map[string]string{
			"contact.name": c.contact.name, "agent.name": r.user.name, "conversation.display_id": strconv.FormatInt(c.id, 10),
		})
	}
	return m, ""
}

var (
	codeSpans  = regexp.MustCompile("(?s)`.*?`")
	liquidTags = regexp.MustCompile(`(?s)\{\{.*?\}\}|\{%.*?%\}`)
)

// liquid renders templates in outgoing text: what it does not know vanishes,
// what stands in backticks stays, and a template that is not closed keeps the
// whole text as it was.
func liquid(text string, known map[string]string) string {
	var b strings.Builder
	broken := false
	render := func(part string) {
		part = liquidTags.ReplaceAllStringFunc(part, func(tag string) string {
			return known[strings.TrimSpace(strings.Trim(tag, "{}%"))]
		})
		broken = broken || strings.Contains(part, "{{") || strings.Contains(part, "{%")
		b.WriteString(part)
	}
	end := 0
	for _, code := range codeSpans.FindAllStringIndex(text, -1) {
		render(text[end:code[0]])
		b.WriteString(text[code[0]:code[1]])
		end = code[1]
	}
	render(text[end:])
	if broken {
		return text
	}
	return b.String()
}

// toggleStatus sets the status that is asked for; without one it toggles
// between open and resolved. From a bot, pending to open is the hand-off.
func (s *Server) toggleStatus(r *request, c *conversation) (int, string) {
	w, status := r.world, r.params.text("status")
	if status == "" {
		status = open
		if c.status == open {
			status = resolved
		}
	}
	until := time.Time{}
	if given := r.params.text("snoozed_until"); given != "" {
		until = time.Unix(rubyInt(given), 0)
	}
	switch {
	case statusLines[status] == "":
		return http.StatusInternalServerError, `{"status":500,"error":"Internal Server Error"}`
	case r.user.bot && c.status == pending && status == open:
		w.handOff(c, r.now, r.user)
	case status == snoozed && !until.IsZero():
		w.snooze(c, r.now, until, r.user.name)
	default:
		w.setStatus(c, r.now, status, r.user.name)
	}
	if c.status == open && !r.user.bot && !r.user.administrator {
		w.assign(c, r.now, r.user)
	}
	var d doc
	d.object("", func() {
		d.raw("meta", "{}")
		d.object("payload", func() {
			d.boolean("success", true)
			d.num("conversation_id", c.id)
			d.str("current_status", c.status)
			d.iso("snoozed_until", c.snoozedUntil)
		})
	})
	return http.StatusOK, string(d.b)
}

func (s *Server) listTeams(w http.ResponseWriter, r *request) {
	var d doc
	d.array("", func() {
		for _, t := range r.world.teams {
			d.object("", func() { renderer{r.world}.teamFields(&d, t) })
		}
	})
	reply(w, http.StatusOK, string(d.b))
}

func (s *Server) listAgents(w http.ResponseWriter, r *request) {
	s.mu.Lock()
	people := []*user{s.sandboxed}
	if r.world == s.world {
		people = slices.Concat(s.world.staff, s.users)
	}
	s.mu.Unlock()
	people = slices.DeleteFunc(people, func(u *user) bool { return u.bot })
	slices.SortFunc(people, func(a, b *user) int { return cmp.Compare(strings.ToLower(a.name), strings.ToLower(b.name)) })
	var d doc
	d.array("", func() {
		for _, u := range people {
			d.object("", func() { renderer{r.world}.agent(&d, u) })
		}
	})
	reply(w, http.StatusOK, string(d.b))
}

func (s *Server) listInboxes(w http.ResponseWriter, r *request) {
	s.mu.Lock()
	shown := slices.DeleteFunc(slices.Clone(r.world.inboxes), func(in *inbox) bool { return !r.user.sees(in.id) })
	s.mu.Unlock()
	slices.SortFunc(shown, func(a, b *inbox) int { return cmp.Compare(strings.ToLower(a.name), strings.ToLower(b.name)) })
	var d doc
	d.object("", func() {
		d.array("payload", func() {
			for _, in := range shown {
				d.object("", func() { s.inbox(&d, in, r.user.administrator) })
			}
		})
	})
	reply(w, http.StatusOK, string(d.b))
}

// inbox writes one inbox. An administrator gets its credentials, in clear.
func (s *Server) inbox(d *doc, in *inbox, secrets bool) {
	website, mailbox := in.channel == webWidget, in.channel == email
	text := func(key, value string, has bool) {
		if has {
			d.str(key, value)
		} else {
			d.null(key)
		}
	}
	d.num("id", in.id)
	d.str("avatar_url", "")
	d.num("channel_id", in.id-4)
	d.str("name", in.name)
	d.str("channel_type", in.channel)
	d.boolean("greeting_enabled", in.greeting)
	text("greeting_message", greetingText, in.greeting)
	d.boolean("working_hours_enabled", website || mailbox)
	d.boolean("enable_email_collect", true)
	d.boolean("csat_survey_enabled", false)
	d.raw("csat_config", "{}")
	d.boolean("enable_auto_assignment", true)
	d.raw("auto_assignment_config", "{}")
	text("out_of_office_message", "We are back on weekdays at 9:00.", website)
	d.array("working_hours", func() {
		for day := range int64(7) {
			d.object("", func() { workingDay(d, day) })
		}
	})
	if website || mailbox {
		d.str("timezone", "Europe/Berlin")
	} else {
		d.str("timezone", "UTC")
	}
	d.null("callback_webhook_url")
	d.boolean("allow_messages_after_resolved", true)
	d.boolean("lock_to_single_conversation", false)
	d.str("sender_name_type", "friendly")
	d.null("business_name")
	text("allowed_domains", "", website)
	text("widget_color", "#1f93ff", website)
	text("website_url", "https://shop.example.com", website)
	if mailbox {
		d.null("hmac_mandatory")
	} else {
		d.boolean("hmac_mandatory", false)
	}
	text("welcome_title", "Hi there", website)
	text("welcome_tagline", "Ask us anything", website)
	text("web_widget_script", "\n    <script>\n      (function(d,t) {\n        var BASE_URL=\""+s.opts.FrontendURL+"\";\n      })(document,\"script\");\n    </script>\n    ", website)
	text("website_token", in.websiteToken, website)
	if website {
		d.strs("selected_feature_flags", []string{"attachments", "emoji_picker", "end_conversation"})
	} else {
		d.null("selected_feature_flags")
	}
	text("reply_time", "in_a_few_minutes", website)
	if website {
		if secrets {
			d.str("hmac_token", "demo-hmac-token")
		}
		d.boolean("pre_chat_form_enabled", false)
		d.object("pre_chat_form_options", func() { preChatForm(d) })
		d.boolean("continuity_via_email", true)
	}
	d.null("messaging_service_sid")
	d.null("phone_number")
	switch {
	case mailbox:
		d.str("email", "help@example.com")
		d.boolean("forwarding_enabled", false)
		if secrets {
			mailCredentials(d)
		}
	case in.channel == api:
		if secrets {
			d.str("hmac_token", "demo-hmac-token")
			d.str("secret", "demo-inbox-secret")
		}
		d.str("webhook_url", "https://hooks.example.com/storefront")
		d.str("inbox_identifier", fmt.Sprintf("demo-inbox-%d", in.id))
		d.raw("additional_attributes", "{}")
	}
	d.null("provider")
}

func workingDay(d *doc, day int64) {
	closed := day == 0 || day == 6
	d.num("day_of_week", day)
	d.boolean("closed_all_day", closed)
	for _, part := range []struct {
		key   string
		value int64
	}{{"open_hour", 9}, {"open_minutes", 0}, {"close_hour", 17}, {"close_minutes", 0}} {
		if closed {
			d.null(part.key)
		} else {
			d.num(part.key, part.value)
		}
	}
	d.boolean("open_all_day", false)
}

func preChatForm(d *doc) {
	d.str("pre_chat_message", "Share your queries or comments here.")
	d.array("pre_chat_fields", func() {
		for _, field := range [][3]string{
			{"emailAddress", "email", "Email Id"}, {"fullName", "text", "Full name"}, {"phoneNumber", "text", "Phone number"},
		} {
			d.object("", func() {
				d.str("name", field[0])
				d.str("type", field[1])
				d.str("label", field[2])
				d.boolean("enabled", false)
				d.boolean("required", field[0] == "emailAddress")
				d.str("field_type", "standard")
			})
		}
	})
}

func mailCredentials(d *doc) {
	d.str("imap_login", "help@example.com")
	d.str("imap_password", "demo-imap-password")
	d.str("imap_address", "imap.example.com")
	d.num("imap_port", 993)
	d.boolean("imap_enabled", true)
	d.boolean("imap_enable_ssl", true)
	d.str("imap_authentication", "plain")
	d.str("smtp_login", "help@example.com")
	d.str("smtp_password", "demo-smtp-password")
	d.str("smtp_address", "smtp.example.com")
	d.num("smtp_port", 587)
	d.boolean("smtp_enabled", true)
	d.str("smtp_domain", "example.com")
	d.boolean("smtp_enable_ssl_tls", false)
	d.boolean("smtp_enable_starttls_auto", true)
	d.str("smtp_openssl_verify_mode", "none")
	d.str("smtp_authentication", "login")
}

// visitor is a contact that /widget made, known by the token in its page.
type visitor struct {
	inbox   int64
	expires time.Time // zero: never
}

// widget serves the chat page. Whoever comes without a token that an earlier
// page gave out becomes a new contact.
func (s *Server) widget(w http.ResponseWriter, r *request) {
	values := r.URL.Query()
	s.mu.Lock()
	var in *inbox
	for _, each := range s.world.inboxes {
		if each.websiteToken != "" && each.websiteToken == values.Get("website_token") {
			in = each
		}
	}
	auth := values.Get("cw_conversation")
	if in != nil {
		known, ok := s.visitors[auth]
		if !ok || known.inbox != in.id || !known.expires.IsZero() && !r.now.Before(known.expires) {
			auth = s.newVisitor(in, r.now)
		}
	}
	s.mu.Unlock()
	if in == nil {
		fail(w, http.StatusNotFound, "web widget does not exist")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	io.WriteString(w, "<!DOCTYPE html>\n<html>\n<head>\n  <title>"+accountName+"</title>\n  <script>\n    window.authToken = '"+auth+
		"'\n  </script>\n</head>\n<body>\n  <div id=\"app\"></div>\n</body>\n</html>\n")
}

func (s *Server) newVisitor(in *inbox, now time.Time) string {
	ghost := s.world.newContact(now)
	v := visitor{inbox: in.id}
	if s.modern {
		v.expires = now.AddDate(0, 0, 180)
	}
	source := uuid(s.opts.Seed, uint64(ghost.id), 'g')
	jwt := segment(`{"alg":"HS256"}`) + "." +
		segment(fmt.Sprintf(`{"source_id":%q,"contact_id":%d,"inbox_id":%d}`, source, ghost.id, in.id)) + "." +
		segment(sign("demo-jwt-key", source))
	s.visitors[jwt] = v
	s.world.tell(event{name: "contact_created", at: now, conversation: &conversation{inbox: in, contact: ghost}})
	return jwt
}

func (s *Server) sdk(w http.ResponseWriter, _ *request) {
	w.Header().Set("Content-Type", "text/javascript")
	io.WriteString(w, "window.chatwootSDK={run:function(){}};\n")
}

func (s *Server) dashboard(w http.ResponseWriter, r *request) {
	if wantsJSON(r.Request) {
		fail(w, http.StatusNotAcceptable, "Please use API routes instead of dashboard routes for JSON requests")
		return
	}
	htmlPage(w, http.StatusOK, "Chatwoot")
}

// transcript is where a deep link leads: instead of the dashboard, the
// conversation as a page. Like the dashboard's frame it needs no login, and an
// unknown id is no error.
func (s *Server) transcript(w http.ResponseWriter, r *request) {
	type line struct{ Who, When, Text, Class string }
	var view struct {
		Title, Status, Inbox string
		Lines                []line
	}
	id, _ := strconv.ParseInt(r.PathValue("id"), 10, 64)
	s.mu.Lock()
	c := s.world.conversations[id]
	if c != nil {
		view.Title = fmt.Sprintf("#%d %s", c.id, c.contact.name)
		view.Status, view.Inbox = c.status, c.inbox.name
		for _, m := range c.messages {
			l := line{Who: "System", When: m.at.UTC().Format("2 Jan 15:04"), Text: m.content, Class: m.kind.String()}
			switch {
			case m.customer:
				l.Who = c.contact.name
			case m.from != nil:
				l.Who = m.from.name
			}
			if m.private {
				l.Class = "private"
			}
			view.Lines = append(view.Lines, l)
		}
	}
	s.mu.Unlock()
	if c == nil || wantsJSON(r.Request) {
		s.dashboard(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = transcriptPage.Execute(w, view) // the client may have gone
}

var transcriptPage = template.Must(template.New("transcript").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width">
  <title>{{.Title}}</title>
  <style>
    body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }
    article { margin: .75rem 0; padding: .5rem .75rem; border-radius: .5rem; background: #eef3f8; white-space: pre-wrap; overflow-wrap: anywhere; }
    .outgoing, .template { margin-left: 3rem; background: #e3f3e6; }
    .private { margin-left: 3rem; background: #fdf3d0; }
    .activity { background: none; color: #555; }
    header, small { color: #555; }
  </style>
</head>
<body>
  <h1>{{.Title}}</h1>
  <header>{{.Status}} · {{.Inbox}} · simulated Chatwoot</header>
  {{range .Lines}}<article class="{{.Class}}"><small>{{.Who}} · {{.When}} UTC</small>
{{.Text}}</article>
  {{end}}
</body>
</html>
`))
