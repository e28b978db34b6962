package chatwootsim

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// The methods of this file move the world by hand. Each takes the instant at
// which the thing happens, which may lie in the past; conversations are named
// by display id. They panic when the test or demo that calls them is wrong:
// unknown conversation, inbox, agent or status.

// AddInbox adds an inbox of a channel such as "Channel::Whatsapp". withBot
// connects an active agent bot, which makes conversations start as pending.
func (s *Server) AddInbox(name, channelType string, withBot bool) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.world
	in := &inbox{id: w.inboxes[len(w.inboxes)-1].id + 1, name: name, channel: channelType}
	if withBot {
		in.bot = w.bot
	}
	if channelType == webWidget {
		in.websiteToken = fmt.Sprintf("demo-website-token-%d", in.id)
	}
	w.inboxes = append(w.inboxes, in)
	return in.id
}

// Subscribe adds a webhook, as an administrator does in Chatwoot's settings.
func (s *Server) Subscribe(hook Webhook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribe(hook)
}

// Inboxes returns the ids of all inboxes. From the start there are a website
// chat, an e-mail and an API inbox without bots, and a website chat with one.
func (s *Server) Inboxes() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []int64
	for _, in := range s.world.inboxes {
		ids = append(ids, in.id)
	}
	return ids
}

// Agents returns the ids of those who answer customers.
func (s *Server) Agents() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []int64
	for _, u := range s.world.staff {
		ids = append(ids, u.id)
	}
	return ids
}

// Contacts returns how many contacts exist, ghosts made by /widget included.
func (s *Server) Contacts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.world.lastContact - firstContact + 1)
}

// WidgetToken returns the website_token of a website inbox, "" for others.
func (s *Server) WidgetToken(inbox int64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.world.mustInbox(inbox).websiteToken
}

func (w *world) mustInbox(id int64) *inbox {
	in := w.inbox(id)
	if in == nil {
		panic(fmt.Sprintf("chatwootsim: no inbox %d", id))
	}
	return in
}

func (s *Server) opens(inboxID int64, open func(*world, *inbox) *conversation) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return open(s.world, s.world.mustInbox(inboxID)).id
}

func (s *Server) with(id int64, act func(*world, *conversation)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.world.conversations[id]
	if c == nil {
		panic(fmt.Sprintf("chatwootsim: no conversation %d", id))
	}
	act(s.world, c)
}

// CustomerOpens starts a conversation with a message; an empty text is made
// up. It is born pending when the inbox has a bot, otherwise open.
func (s *Server) CustomerOpens(at time.Time, inboxID int64, text string) int64 {
	return s.opens(inboxID, func(w *world, in *inbox) *conversation { return w.customerOpens(at, in, text) })
}

// CampaignOpens starts a conversation with a campaign's message.
func (s *Server) CampaignOpens(at time.Time, inboxID int64) int64 {
	return s.opens(inboxID, func(w *world, in *inbox) *conversation { return w.campaignOpens(at, in) })
}

// AgentOpens starts a conversation with an agent's message, which counts as
// first reply.
func (s *Server) AgentOpens(at time.Time, inboxID int64) int64 {
	return s.opens(inboxID, func(w *world, in *inbox) *conversation { return w.agentOpens(at, in) })
}

// OpenEmpty creates a conversation as the API does: without any message.
func (s *Server) OpenEmpty(at time.Time, inboxID int64) int64 {
	return s.opens(inboxID, func(w *world, in *inbox) *conversation { return w.create(at, in, open) })
}

// CustomerWrites adds a customer's message, which reopens a conversation that
// was snoozed or resolved, and returns its id. An empty text is made up.
func (s *Server) CustomerWrites(at time.Time, conv int64, text string) (message int64) {
	s.with(conv, func(w *world, c *conversation) { message = w.customerWrites(c, at, text) })
	return message
}

// AgentReplies adds a public answer from the dashboard: the agent has seen
// everything until then.
func (s *Server) AgentReplies(at time.Time, conv int64) (message int64) {
	s.with(conv, func(w *world, c *conversation) { message = w.reply(c, at) })
	return message
}

// AgentNotes adds a private note from the dashboard.
func (s *Server) AgentNotes(at time.Time, conv int64) (message int64) {
	s.with(conv, func(w *world, c *conversation) { message = w.note(c, at) })
	return message
}

// BotReplies adds a public answer by the agent bot.
func (s *Server) BotReplies(at time.Time, conv int64) (message int64) {
	s.with(conv, func(w *world, c *conversation) { message = w.botReplies(c, at) })
	return message
}

// AutomationReplies adds a public message by an automation rule, which has no
// sender.
func (s *Server) AutomationReplies(at time.Time, conv int64) (message int64) {
	s.with(conv, func(w *world, c *conversation) { message = w.automationReplies(c, at) })
	return message
}

// Greets adds a template message, as the greeting of an inbox is.
func (s *Server) Greets(at time.Time, conv int64) (message int64) {
	s.with(conv, func(w *world, c *conversation) { message = w.greets(c, at) })
	return message
}

// TwoRepliesAtOnce adds two public answers that were committed back to back,
// the race that leaves first_reply_created_at null for ever.
func (s *Server) TwoRepliesAtOnce(at time.Time, conv int64) {
	s.with(conv, func(w *world, c *conversation) { w.replyTwice(c, at) })
}

// SetStatus is an agent setting open, pending, snoozed or resolved.
func (s *Server) SetStatus(at time.Time, conv int64, status string) {
	if statusLines[status] == "" {
		panic(fmt.Sprintf("chatwootsim: no status %q", status))
	}
	s.with(conv, func(w *world, c *conversation) { w.setStatus(c, at, status, w.answerer(c).name) })
}

// HandOff is the bot passing a pending conversation to people.
func (s *Server) HandOff(at time.Time, conv int64) {
	s.with(conv, func(w *world, c *conversation) { w.handOff(c, at, w.bot) })
}

// Assign gives the conversation to an agent, or to nobody with agent 0.
func (s *Server) Assign(at time.Time, conv, agent int64) {
	s.with(conv, func(w *world, c *conversation) {
		if agent == 0 {
			w.assign(c, at, nil)
			return
		}
		i := slices.IndexFunc(w.staff, func(u *user) bool { return u.id == agent })
		if i < 0 {
			panic(fmt.Sprintf("chatwootsim: no agent %d", agent))
		}
		w.assign(c, at, w.staff[i])
	})
}

// AssignBot gives the conversation to the agent bot, whose id belongs to
// another id space than those of agents. Chatwoot 4.2 knows no such thing.
func (s *Server) AssignBot(at time.Time, conv int64) {
	s.with(conv, func(w *world, c *conversation) {
		if w.modern {
			w.assign(c, at, w.bot)
		}
	})
}

// AgentLooks marks everything as read. Lists show it, but updated_at does not
// move.
func (s *Server) AgentLooks(at time.Time, conv int64) {
	s.with(conv, func(w *world, c *conversation) { w.look(c, at) })
}

// SetTeam gives the conversation to a team: 4 is billing, 5 shipping, 0 none.
func (s *Server) SetTeam(at time.Time, conv, team int64) {
	s.with(conv, func(w *world, c *conversation) { w.save(c, at, func() { c.team = w.team(team) }) })
}

// SetPriority sets low, medium, high, urgent or, when empty, none.
func (s *Server) SetPriority(at time.Time, conv int64, priority string) {
	s.with(conv, func(w *world, c *conversation) { w.save(c, at, func() { c.priority = priority }) })
}

// SetLabels replaces the labels.
func (s *Server) SetLabels(at time.Time, conv int64, labels ...string) {
	s.with(conv, func(w *world, c *conversation) { w.save(c, at, func() { c.labels = slices.Clone(labels) }) })
}

// Mute blocks the contact: its messages reopen nothing any more.
func (s *Server) Mute(at time.Time, conv int64) {
	s.with(conv, func(w *world, c *conversation) { w.save(c, at, func() { c.muted = true }) })
}

// Delete removes the conversation. No webhook tells of it.
func (s *Server) Delete(at time.Time, conv int64) {
	s.with(conv, func(w *world, c *conversation) { w.remove(c, at) })
}

// Fill adds n open conversations opened within the two hours before at, about
// half of them waiting for a first answer. It sends no webhooks.
func (s *Server) Fill(n int, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.world.fill(n, at)
}

// Truth is what really happened in a conversation, for judging what a monitor
// makes of the API's answers. Zero instants: it never happened.
type Truth struct {
	ID, Inbox       int64
	Status          string // the last one when deleted
	DeletedAt       time.Time
	BornPending     bool
	CreatedAt       time.Time
	CustomerAt      time.Time // first customer message
	HandoffAt       time.Time // first pending -> open of a conversation born pending
	ReplyAt         time.Time // first public human message after CustomerAt
	OpenSince       time.Time // start of the present stretch of being open
	FirstResolvedAt time.Time
	ResolvedAt      time.Time // newest resolution, also when reopened since
}

// Truth returns all conversations by id, deleted ones included.
func (s *Server) Truth() []Truth {
	s.mu.Lock()
	defer s.mu.Unlock()
	var truths []Truth
	for _, c := range slices.Concat(s.world.all, s.world.deleted) {
		truths = append(truths, Truth{
			ID: c.id, Inbox: c.inbox.id, Status: c.status, DeletedAt: c.deletedAt, BornPending: c.bornPending,
			CreatedAt: c.created, CustomerAt: c.customerAt, HandoffAt: c.handoffAt, ReplyAt: c.replyAt,
			OpenSince: c.openSince, FirstResolvedAt: c.firstResolvedAt, ResolvedAt: c.resolvedAt,
		})
	}
	slices.SortFunc(truths, func(a, b Truth) int { return cmp.Compare(a.ID, b.ID) })
	return truths
}
