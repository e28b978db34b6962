package chatwootsim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Statuses of a conversation.
const (
	open     = "open"
	pending  = "pending"
	snoozed  = "snoozed"
	resolved = "resolved"
)

// messageKind is message_type. Canned are greetings, out-of-office texts and the
// like, which Chatwoot calls template.
type messageKind int

const (
	incoming messageKind = iota
	outgoing
	activity
	canned
)

func (k messageKind) String() string {
	return [...]string{"incoming", "outgoing", "activity", "template"}[k]
}

// user is a person with a login or, when bot is set, an agent bot. The two
// have separate id spaces.
type user struct {
	id            int64
	name, email   string
	token         string
	bot           bool
	administrator bool
	inboxes       map[int64]bool // where an agent is a member; administrators see all
}

func (u *user) sees(inbox int64) bool { return u.bot || u.administrator || u.inboxes[inbox] }

func (u *user) role() string {
	if u.administrator {
		return "administrator"
	}
	return "agent"
}

type team struct {
	id                int64
	name, description string
}

type inbox struct {
	id           int64
	name         string
	channel      string // "Channel::WebWidget" and so on
	bot          *user
	greeting     bool
	websiteToken string
}

type contact struct {
	id         int64
	name       string
	email      string
	created    time.Time
	lastActive time.Time
	online     bool
}

// message is immutable once it was posted. Without from and customer nobody is
// its author: a template, an activity line, an automation rule.
type message struct {
	id          int64
	at          time.Time
	kind        messageKind
	content     string
	noContent   bool // null, which is not the same as empty
	html        string
	subject     string
	contentType string
	private     bool
	from        *user
	customer    bool
	campaign    int64
	rule        int64  // the automation rule that wrote it
	echo        bool   // typed by a person in the channel's own app
	attributes  string // content_attributes as JSON; empty: those of the channel
	sourceID    string
}

// human tells whether m ends the wait of a customer: a public answer by a
// person, or by whoever holds a person's token.
func (m *message) human() bool {
	person := m.from != nil && !m.from.bot || m.echo
	return m.kind == outgoing && !m.private && person && m.rule == 0 && m.campaign == 0
}

type conversation struct {
	id          int64
	inbox       *inbox
	contact     contact
	status      string
	bornPending bool
	muted       bool
	subject     string

	created, updated, lastActivity time.Time
	waiting, firstReply            time.Time
	agentSeen, assigneeSeen        time.Time
	contactSeen, snoozedUntil      time.Time

	assignee     *user // a person or a bot
	team         *team
	labels       []string
	priority     string
	messages     []message // by id
	humanReplies int
	participants []int64
	mentions     []int64

	customerAt, handoffAt, replyAt time.Time
	openSince, resolvedAt          time.Time
	firstResolvedAt, deletedAt     time.Time // zero: never

	row      []byte    // the rendered list row; nil when something has changed
	rowUntil time.Time // when can_reply turns false by itself; zero: never
}

func (c *conversation) unread() int64 {
	var n int64
	for i := len(c.messages) - 1; i >= 0 && n < 10; i-- {
		if m := &c.messages[i]; m.kind == incoming && m.at.After(c.agentSeen) {
			n++
		}
	}
	return n
}

// newest returns the newest message that is wanted, nil when there is none.
func (c *conversation) newest(wanted func(*message) bool) *message {
	for i := len(c.messages) - 1; i >= 0; i-- {
		if wanted(&c.messages[i]) {
			return &c.messages[i]
		}
	}
	return nil
}

// byCreation is the order of world.all and world.open.
func byCreation(a, b *conversation) int {
	return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.id, b.id))
}

// world is the state of one account. Its methods expect the server's lock to
// be held.
type world struct {
	modern  bool // 4.15.1; otherwise 4.2.0
	seed    uint64
	account int64

	version       uint64 // grows with every change that a list could show
	conversations map[int64]*conversation
	all, open     []*conversation // by creation, without the deleted
	deleted       []*conversation
	inboxes       []*inbox // by id
	teams         []*team
	staff         []*user // who answers customers
	bot           *user
	corpus        *corpus // nil until somebody has nothing to say
	agenda        agenda
	lists         lists

	lastConversation, lastMessage, lastContact int64

	quiet bool // history is being made up: nobody is told
	emit  func(event)
}

const firstContact = 201

func newWorld(modern bool, seed uint64, account int64) *world {
	w := &world{
		modern:        modern,
		seed:          seed,
		account:       account,
		conversations: map[int64]*conversation{},
		bot:           &user{id: 1, name: "Helper", token: "demo-bot-token", bot: true}, // not a secret
		teams: []*team{
			{id: 4, name: "billing", description: "Invoices and refunds"},
			{id: 5, name: "shipping", description: "Parcels and labels"},
		},
		lastMessage: 90_000,
		lastContact: firstContact - 1,
	}
	w.hire(7, "Priya Raman").administrator = true
	w.hire(11, "Tomas Lindqvist")
	w.hire(12, "Aiko Mwangi")
	w.hire(13, "Lucía Ferreira")
	w.inboxes = []*inbox{
		{id: 5, name: "Website chat", channel: webWidget, greeting: true, websiteToken: "demo-website-token-5"},
		{id: 6, name: "Support mail", channel: email},
		{id: 8, name: "Storefront API", channel: api},
		{id: 9, name: "Assistant chat", channel: webWidget, bot: w.bot, websiteToken: "demo-website-token-9"},
	}
	return w
}

const (
	webWidget = "Channel::WebWidget"
	email     = "Channel::Email"
	api       = "Channel::Api"
)

func (w *world) texts() *corpus {
	if w.corpus == nil {
		w.corpus = newCorpus(w.seed)
	}
	return w.corpus
}

func (w *world) hire(id int64, name string) *user {
	u := &user{id: id, name: name, email: address(name, "example.com"), inboxes: map[int64]bool{}}
	w.staff = append(w.staff, u)
	return u
}

// address makes an e-mail address of a name, leaving out what is not ASCII.
func address(name, host string) string {
	local := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '.'
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		}
		return -1
	}, name)
	return strings.Trim(local, ".") + "@" + host
}

func (w *world) inbox(id int64) *inbox {
	for _, in := range w.inboxes {
		if in.id == id {
			return in
		}
	}
	return nil
}

// team returns nil for an unknown id, 0 included.
func (w *world) team(id int64) *team {
	for _, t := range w.teams {
		if t.id == id {
			return t
		}
	}
	return nil
}

func (w *world) newContact(at time.Time) contact {
	w.lastContact++
	n := uint64(w.lastContact)
	name := pick(firstNames, w.seed, n, 1) + " " + pick(lastNames, w.seed, n, 2)
	return contact{id: w.lastContact, name: name, created: at, online: mix(w.seed, n)%3 == 0}
}

// create starts an empty conversation. waiting_since begins at once, whoever
// opens it.
func (w *world) create(at time.Time, in *inbox, status string) *conversation {
	w.lastConversation++
	c := &conversation{
		id:           w.lastConversation,
		inbox:        in,
		contact:      w.newContact(at),
		status:       status,
		bornPending:  status == pending,
		created:      at,
		lastActivity: at,
		waiting:      at,
	}
	if in.channel == email {
		c.subject = pick(subjects, w.seed, uint64(c.id))
	}
	if in.channel != webWidget {
		c.contact.email = address(c.contact.name, "example.com")
	}
	w.conversations[c.id] = c
	w.all = insert(w.all, c)
	if status == open {
		c.openSince = at
		w.open = insert(w.open, c)
	}
	w.bump(c, at)
	w.tell(event{name: "conversation_created", at: at, conversation: c})
	return c
}

func insert(list []*conversation, c *conversation) []*conversation {
	i, _ := slices.BinarySearchFunc(list, c, byCreation)
	return slices.Insert(list, i, c)
}

func remove(list []*conversation, c *conversation) []*conversation {
	if i, found := slices.BinarySearchFunc(list, c, byCreation); found {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// changed drops what was rendered or sorted before.
func (w *world) changed(c *conversation) {
	w.version++
	c.row = nil
}

// bump is an ordinary save or touch: it moves updated_at.
func (w *world) bump(c *conversation, at time.Time) {
	c.updated = at.Truncate(time.Microsecond)
	w.changed(c)
}

// columns are those whose changes conversation_updated reports, as JSON.
func (c *conversation) columns() [7][2]string {
	var d doc
	part := func(write func()) string {
		d.b = d.b[:0]
		write()
		return string(d.b)
	}
	assignee := int64(0)
	if c.assignee != nil && !c.assignee.bot {
		assignee = c.assignee.id
	}
	bot := int64(0)
	if c.assignee != nil && c.assignee.bot {
		bot = c.assignee.id
	}
	teamID := int64(0)
	if c.team != nil {
		teamID = c.team.id
	}
	return [7][2]string{
		{"status", part(func() { d.str("", c.status) })},
		{"assignee_id", part(func() { d.numOrNull("", assignee) })},
		{"assignee_agent_bot_id", part(func() { d.numOrNull("", bot) })},
		{"team_id", part(func() { d.numOrNull("", teamID) })},
		{"priority", part(func() { d.strOrNull("", c.priority) })},
		{"first_reply_created_at", part(func() { d.iso("", c.firstReply) })},
		{"waiting_since", part(func() { d.iso("", c.waiting) })},
	}
}

// save makes a change and tells the webhooks which columns it touched. A
// status change is told twice: as itself, without the old status, and among
// the changes of conversation_updated, with it.
func (w *world) save(c *conversation, at time.Time, change func()) {
	if !w.told() {
		change()
		w.bump(c, at)
		return
	}
	before, updated, status := c.columns(), c.updated, c.status
	change()
	after := c.columns()
	w.bump(c, at)
	var changes []columnChange
	for i := range before {
		if before[i] != after[i] {
			changes = append(changes, columnChange{after[i][0], before[i][1], after[i][1]})
		}
	}
	if c.status != status {
		w.tell(event{name: "conversation_status_changed", at: at, conversation: c})
	}
	if len(changes) > 0 {
		changes = append(changes, columnChange{"updated_at", strconv.Quote(isoTime(updated)), strconv.Quote(isoTime(c.updated))})
		w.tell(event{name: "conversation_updated", at: at, conversation: c, changes: changes})
	}
}

func (w *world) told() bool { return !w.quiet && w.emit != nil }

func (w *world) tell(e event) {
	if w.told() {
		w.emit(e)
	}
}

// post appends m to c and applies what a message does to a conversation: it
// reopens, moves the clocks and bumps updated_at.
func (w *world) post(c *conversation, at time.Time, m message) int64 {
	w.lastMessage++
	m.id, m.at = w.lastMessage, at
	if m.contentType == "" {
		m.contentType = "text"
	}
	if w.modern {
		m.content = strings.TrimRight(m.content, "\n")
	}
	c.messages = append(c.messages, m)
	c.lastActivity = at
	human := m.human()
	switch {
	case m.kind == incoming:
		c.contact.lastActive = at
		if c.inbox.channel == webWidget {
			c.contactSeen = at
		}
		if c.customerAt.IsZero() {
			c.customerAt = at
		}
	case human:
		c.humanReplies++
		if !c.customerAt.IsZero() && c.replyAt.IsZero() {
			c.replyAt = at
		}
	}
	if m.from != nil && !m.from.bot {
		c.participants = including(c.participants, m.from.id)
	}
	if m.private {
		for _, found := range mention.FindAllStringSubmatch(m.content, -1) {
			if id, err := strconv.ParseInt(found[1], 10, 64); err == nil {
				c.mentions = including(c.mentions, id)
			}
		}
	}
	w.bump(c, at)
	if m.kind != activity {
		w.tell(event{name: "message_created", at: at, conversation: c, message: m})
	}
	if m.kind == incoming {
		w.reopen(c, at)
	}
	w.moveClocks(c, at, &m, human)
	return m.id
}

var mention = regexp.MustCompile(`mention://user/(\d+)/`)

func including(ids []int64, id int64) []int64 {
	if slices.Contains(ids, id) {
		return ids
	}
	return append(ids, id)
}

func (w *world) moveClocks(c *conversation, at time.Time, m *message, human bool) {
	botClears := w.modern && m.kind == outgoing && !m.private && m.from != nil && m.from.bot
	starts := m.kind == incoming && c.waiting.IsZero()
	ends := (human || botClears) && !c.waiting.IsZero()
	first := human && c.firstReply.IsZero() && c.humanReplies == 1
	if !starts && !ends && !first {
		return
	}
	w.save(c, at, func() {
		if starts {
			c.waiting = at
		}
		if ends {
			c.waiting = time.Time{}
		}
		if first {
			c.firstReply = at
		}
	})
}

// reopen is what a customer's message does to a conversation that was put
// away.
func (w *world) reopen(c *conversation, at time.Time) {
	switch {
	case c.muted:
	case c.status == snoozed:
		w.setStatus(c, at, open, "system due to a new incoming message")
	case c.status == resolved && c.inbox.bot != nil:
		w.setStatus(c, at, pending, "system due to a new incoming message")
	case c.status == resolved:
		w.setStatus(c, at, open, "system due to a new incoming message")
	}
}

var statusLines = map[string]string{
	open:     "Conversation was reopened by ",
	pending:  "Conversation was marked as pending by ",
	snoozed:  "Conversation was snoozed by ",
	resolved: "Conversation was marked resolved by ",
}

// setStatus moves c to status; by ends up in the activity line. Setting the
// status it already has changes nothing.
func (w *world) setStatus(c *conversation, at time.Time, status, by string) {
	from := c.status
	if from == status {
		return
	}
	w.save(c, at, func() {
		c.status = status
		c.snoozedUntil = time.Time{}
	})
	switch {
	case from == open:
		w.open = remove(w.open, c)
		c.openSince = time.Time{}
	case status == open:
		w.open = insert(w.open, c)
		c.openSince = at
	}
	if status == open && from == pending && c.bornPending && c.handoffAt.IsZero() {
		c.handoffAt = at
	}
	if status == resolved {
		c.resolvedAt = at
		if c.firstResolvedAt.IsZero() {
			c.firstResolvedAt = at
		}
		if w.modern {
			c.waiting = time.Time{}
		}
	}
	w.post(c, at, message{kind: activity, content: statusLines[status] + by})
}

// handOff is a bot passing a conversation on to people.
func (w *world) handOff(c *conversation, at time.Time, bot *user) {
	if c.status != pending {
		return
	}
	w.setStatus(c, at, open, bot.name)
	if w.modern && c.waiting.IsZero() {
		w.save(c, at, func() { c.waiting = at })
	}
}

// wakeEvery is how often Chatwoot looks for snoozed conversations to reopen.
const wakeEvery = 5 * time.Minute

func (w *world) snooze(c *conversation, at, until time.Time, by string) {
	w.setStatus(c, at, snoozed, by)
	w.save(c, at, func() { c.snoozedUntil = until })
	wake := until.Truncate(wakeEvery)
	if wake.Before(until) {
		wake = wake.Add(wakeEvery)
	}
	w.agenda.add(wake, func(at time.Time) {
		if c.status == snoozed && c.snoozedUntil.Equal(until) {
			w.setStatus(c, at, open, "system")
		}
	})
}

func (w *world) assign(c *conversation, at time.Time, to *user) {
	if c.assignee == to {
		return
	}
	line := "Conversation unassigned by " + w.staff[0].name
	if to != nil {
		line = "Assigned to " + to.name + " by " + w.staff[0].name
		if !to.bot {
			c.participants = including(c.participants, to.id)
		}
	}
	w.save(c, at, func() { c.assignee = to })
	w.post(c, at, message{kind: activity, content: line})
}

// look is an agent reading the conversation. It goes past updated_at.
func (w *world) look(c *conversation, at time.Time) {
	c.agentSeen = at
	if c.assignee != nil && !c.assignee.bot {
		c.assigneeSeen = at
	}
	w.changed(c)
}

func (w *world) remove(c *conversation, at time.Time) {
	c.deletedAt = at
	delete(w.conversations, c.id)
	w.all, w.open = remove(w.all, c), remove(w.open, c)
	w.deleted = append(w.deleted, c)
	w.changed(c)
}

// answerer is who would reply to c: its assignee or, without one, always the
// same colleague.
func (w *world) answerer(c *conversation) *user {
	if c.assignee != nil && !c.assignee.bot {
		return c.assignee
	}
	return pick(w.staff, w.seed, uint64(c.id))
}

func (w *world) customerOpens(at time.Time, in *inbox, text string) *conversation {
	status := open
	if in.bot != nil {
		status = pending
	}
	c := w.create(at, in, status)
	w.customerWrites(c, at, text)
	return c
}

// customerWrites posts what the customer says; an empty text is made up.
func (w *world) customerWrites(c *conversation, at time.Time, text string) int64 {
	m := message{kind: incoming, customer: true, content: text}
	next := uint64(w.lastMessage + 1)
	if c.inbox.channel == email {
		m.contentType = "incoming_email"
		m.subject = c.subject
		m.sourceID = fmt.Sprintf("CAE-demo-%d@mail.example.com", next)
		if text == "" {
			letter := pick(w.texts().mails, w.seed, next)
			m.content, m.html = letter.text, letter.html
		}
	} else if text == "" {
		m.content = pick(w.texts().chats, w.seed, next)
	}
	return w.post(c, at, m)
}

// reply is an agent answering from the dashboard, who has read what is there.
func (w *world) reply(c *conversation, at time.Time) int64 {
	w.look(c, at)
	return w.post(c, at, w.answer(c))
}

func (w *world) answer(c *conversation) message {
	return message{kind: outgoing, from: w.answerer(c), content: pick(w.texts().replies, w.seed, uint64(w.lastMessage+1))}
}

// replyTwice is two replies committed back to back: each finds the other and
// takes itself for a later one, so that first_reply_created_at stays null.
func (w *world) replyTwice(c *conversation, at time.Time) {
	w.look(c, at)
	c.humanReplies++
	w.post(c, at, w.answer(c))
	c.humanReplies--
	w.post(c, at, w.answer(c))
}

func (w *world) note(c *conversation, at time.Time) int64 {
	w.look(c, at)
	text := pick(noteSays, w.seed, uint64(w.lastMessage+1))
	return w.post(c, at, message{kind: outgoing, private: true, from: w.answerer(c), content: text})
}

func (w *world) botReplies(c *conversation, at time.Time) int64 {
	text := pick(botSays, w.seed, uint64(w.lastMessage+1))
	return w.post(c, at, message{kind: outgoing, from: w.bot, content: text})
}

func (w *world) automationReplies(c *conversation, at time.Time) int64 {
	return w.post(c, at, message{kind: outgoing, rule: 2, attributes: `{"automation_rule_id":2}`, content: automationText})
}

func (w *world) greets(c *conversation, at time.Time) int64 {
	return w.post(c, at, message{kind: canned, content: greetingText})
}

func (w *world) campaignOpens(at time.Time, in *inbox) *conversation {
	c := w.create(at, in, open)
	w.post(c, at, message{kind: outgoing, from: w.staff[0], campaign: 12, content: campaignText})
	return c
}

func (w *world) agentOpens(at time.Time, in *inbox) *conversation {
	c := w.create(at, in, open)
	w.post(c, at, w.answer(c))
	return c
}

// fill makes n open conversations of the two hours before at, oldest first.
func (w *world) fill(n int, at time.Time) {
	const span = 2 * time.Hour
	quiet := w.quiet
	w.quiet = true
	defer func() { w.quiet = quiet }()
	rng := rand.New(rand.NewPCG(w.seed, uint64(w.lastConversation)))
	for i := range n {
		age := span - time.Duration(float64(span)*(float64(i)+rng.Float64())/float64(n))
		born := at.Add(-age)
		later := func() time.Time { return born.Add(time.Duration(rng.Float64() * float64(age))) }
		in := w.inboxes[rng.IntN(len(w.inboxes))]
		var c *conversation
		switch dice := rng.IntN(100); {
		case dice < 3:
			c = w.campaignOpens(born, in)
		case dice < 6:
			c = w.agentOpens(born, in)
		case dice < 7:
			c = w.create(born, in, open)
		case dice < 55:
			c = w.customerOpens(born, in, "")
		default:
			c = w.customerOpens(born, in, "")
			w.handOff(c, born, w.bot)
			if when := later(); dice == 99 {
				w.replyTwice(c, when)
			} else {
				w.reply(c, when)
			}
		}
		w.handOff(c, later(), w.bot)
		switch rng.IntN(6) {
		case 0:
			c.assignee = w.staff[rng.IntN(len(w.staff))]
		case 1:
			c.team = w.teams[rng.IntN(len(w.teams))]
			c.labels = []string{"refund", "vip"}
		case 2:
			c.priority = []string{"low", "medium", "high", "urgent"}[rng.IntN(4)]
		}
		w.changed(c)
	}
}
