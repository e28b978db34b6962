package chatwootsim

import (
	"cmp"
	"container/heap"
	"math/rand/v2"
	"time"
)

// agenda is what is going to happen, soonest first and, at the same instant,
// in the order it was planned.
type agenda struct {
	queue   appointments
	planned uint64
}

type appointment struct {
	at     time.Time
	number uint64
	do     func(at time.Time)
}

func (a *agenda) add(at time.Time, do func(at time.Time)) {
	a.planned++
	heap.Push(&a.queue, appointment{at, a.planned, do})
}

// run does everything due by to. Each thing happens at the instant it was
// planned for, so the result does not depend on how often run is called.
func (a *agenda) run(to time.Time) {
	for len(a.queue) > 0 && !a.queue[0].at.After(to) {
		next, _ := heap.Pop(&a.queue).(appointment)
		next.do(next.at)
	}
}

type appointments []appointment

func (a appointments) Len() int      { return len(a) }
func (a appointments) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a appointments) Less(i, j int) bool {
	return cmp.Or(a[i].at.Compare(a[j].at), cmp.Compare(a[i].number, a[j].number)) < 0
}

func (a *appointments) Push(x any) {
	next, _ := x.(appointment)
	*a = append(*a, next)
}

func (a *appointments) Pop() any {
	old := *a
	last := old[len(old)-1]
	*a = old[:len(old)-1]
	return last
}

// Traffic describes a day at the helpdesk. Zero fields take their defaults.
type Traffic struct {
	ArrivalsPerHour  float64       // conversations that customers open; default 30
	CampaignsPerHour float64       // conversations that a campaign opens; default 2
	Agents           int           // who answers, one customer at a time; default 4
	FirstReply       time.Duration // mean time to a first reply while nobody queues; default 6 min
	SlowShare        float64       // share of customers forgotten for 25 to 70 min; default 0.04
}

const history = 2 * time.Hour

// Start makes up two hours of history that end now, and from then on lets
// traffic arrive as the clock moves: with every request, and with Advance.
// At the first moment there is a conversation in every state a monitor has to
// tell apart, whatever the seed. The history sends no webhooks.
func (s *Server) Start(t Traffic) {
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &plot{
		world:   s.world,
		Traffic: t,
		rng:     rand.New(rand.NewPCG(s.opts.Seed, 0x17aff1c)),
	}
	p.ArrivalsPerHour = cmp.Or(t.ArrivalsPerHour, 30)
	p.CampaignsPerHour = cmp.Or(t.CampaignsPerHour, 2)
	p.FirstReply = cmp.Or(t.FirstReply, 6*time.Minute)
	p.SlowShare = cmp.Or(t.SlowShare, 0.04)
	agents := cmp.Or(t.Agents, 4)
	for len(p.staff) < agents {
		p.hire(14+int64(len(p.staff)), pick(firstNames, s.opts.Seed, uint64(len(p.staff)))+" "+pick(lastNames, s.opts.Seed, uint64(len(p.staff))))
	}
	p.free = make([]time.Time, agents)

	p.quiet = true
	p.stage(now)
	p.again(now.Add(-history), p.ArrivalsPerHour, p.arrival)
	p.again(now.Add(-history), p.CampaignsPerHour, p.campaign)
	p.agenda.run(now)
	p.quiet = false
}

// Advance lets everything happen that is due by to. Every request does so
// with the server's clock; call it from a ticker when webhooks have to leave
// between requests.
func (s *Server) Advance(to time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.world.agenda.run(to)
}

// plot decides what customers and agents do next. Each conversation has
// random numbers of its own, so that one story does not disturb another.
type plot struct {
	*world
	Traffic
	rng  *rand.Rand  // arrivals
	free []time.Time // when each agent is done with the customer before
}

func (p *plot) dice(c *conversation) *rand.Rand { return rand.New(rand.NewPCG(p.seed, uint64(c.id))) }

func between(rng *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(rng.Float64()*float64(high-low))
}

// again lets something happen at random, so many times an hour.
func (p *plot) again(after time.Time, perHour float64, happen func(at time.Time)) {
	if perHour <= 0 {
		return
	}
	pause := time.Duration(p.rng.ExpFloat64() / perHour * float64(time.Hour))
	p.agenda.add(after.Add(pause), func(at time.Time) {
		happen(at)
		p.again(at, perHour, happen)
	})
}

func (p *plot) arrival(at time.Time) {
	in := p.inboxes[p.rng.IntN(len(p.inboxes))]
	c := p.customerOpens(at, in, "")
	rng := p.dice(c)
	if c.status == pending {
		p.botTalks(c, at, rng)
		return
	}
	if in.greeting {
		p.soon(c, at, time.Second, open, func(at time.Time) { p.greets(c, at) })
	} else if rng.IntN(4) == 0 {
		p.soon(c, at, 2*time.Second, open, func(at time.Time) { p.automationReplies(c, at) })
	}
	p.await(c, at, rng)
}

func (p *plot) campaign(at time.Time) {
	c := p.campaignOpens(at, p.inboxes[0])
	rng := p.dice(c)
	p.soon(c, at, between(rng, 3*time.Hour, 5*time.Hour), open, func(at time.Time) { p.setStatus(c, at, resolved, "system") })
	if rng.IntN(3) == 0 {
		p.soon(c, at, between(rng, time.Minute, 40*time.Minute), open, func(at time.Time) {
			p.customerWrites(c, at, "")
			p.await(c, at, rng)
		})
	}
}

// soon does something to c a while after at, unless it was deleted or has
// left the status by then.
func (p *plot) soon(c *conversation, at time.Time, pause time.Duration, status string, do func(at time.Time)) {
	p.agenda.add(at.Add(pause), func(at time.Time) {
		if c.deletedAt.IsZero() && c.status == status {
			do(at)
		}
	})
}

// botTalks lets the bot settle a third of the cases by itself.
func (p *plot) botTalks(c *conversation, at time.Time, rng *rand.Rand) {
	if p.modern && rng.IntN(4) == 0 {
		p.assign(c, at, p.bot)
	}
	p.soon(c, at, between(rng, time.Second, 5*time.Second), pending, func(at time.Time) { p.botReplies(c, at) })
	p.soon(c, at, between(rng, 20*time.Second, 50*time.Second), pending, func(at time.Time) { p.customerWrites(c, at, "") })
	p.soon(c, at, time.Minute, pending, func(at time.Time) { p.botReplies(c, at) })
	if rng.IntN(3) == 0 {
		p.soon(c, at, between(rng, 3*time.Minute, 8*time.Minute), pending, func(at time.Time) { p.setStatus(c, at, resolved, p.bot.name) })
		return
	}
	p.soon(c, at, between(rng, time.Minute, 4*time.Minute), pending, func(at time.Time) {
		p.handOff(c, at, p.bot)
		p.await(c, at, rng)
	})
}

// await puts c in front of the agents: the first to be free takes it, a while
// later, now and then far too late and sometimes not at all.
func (p *plot) await(c *conversation, at time.Time, rng *rand.Rand) {
	pause := 30*time.Second + time.Duration(rng.ExpFloat64()*float64(p.FirstReply))
	if rng.Float64() < p.SlowShare {
		pause = between(rng, 25*time.Minute, 70*time.Minute)
	}
	switch rng.IntN(50) {
	case 0: // spam
		p.soon(c, at, pause, open, func(at time.Time) { p.remove(c, at) })
		return
	case 1: // settled on the phone
		p.soon(c, at, pause, open, func(at time.Time) { p.setStatus(c, at, resolved, p.staff[0].name) })
		return
	}
	first := 0
	for i := range p.free {
		if p.free[i].Before(p.free[first]) {
			first = i
		}
	}
	agent := p.staff[first]
	start := at.Add(pause)
	if start.Before(p.free[first]) {
		start = p.free[first]
	}
	p.free[first] = start.Add(between(rng, time.Minute, 2*time.Minute))
	p.soon(c, start, -pause/4, open, func(at time.Time) {
		if c.assignee == nil || c.assignee.bot {
			p.assign(c, at, agent)
		}
	})
	p.soon(c, start, 0, open, func(at time.Time) { p.answers(c, at, rng, 0) })
}

// answers is one turn of an agent and what follows from it.
func (p *plot) answers(c *conversation, at time.Time, rng *rand.Rand, turn int) {
	if turn == 0 && rng.IntN(40) == 0 {
		p.replyTwice(c, at)
	} else {
		p.reply(c, at)
	}
	if rng.IntN(5) == 0 {
		p.soon(c, at, between(rng, 20*time.Second, time.Minute), open, func(at time.Time) { p.note(c, at) })
	}
	if rng.IntN(10) == 0 {
		p.soon(c, at, time.Minute, open, func(at time.Time) { p.save(c, at, func() { c.team = p.teams[rng.IntN(len(p.teams))] }) })
	}
	switch what := rng.IntN(100); {
	case turn < 3 && what < 45:
		p.soon(c, at, between(rng, 90*time.Second, 10*time.Minute), open, func(at time.Time) {
			p.customerWrites(c, at, "")
			p.soon(c, at, between(rng, time.Minute, 12*time.Minute), open, func(at time.Time) { p.answers(c, at, rng, turn+1) })
		})
	case what < 55:
		p.soon(c, at, 2*time.Minute, open, func(at time.Time) {
			p.snooze(c, at, at.Add(between(rng, 30*time.Minute, 2*time.Hour)), p.answerer(c).name)
		})
		p.soon(c, at, 3*time.Hour, open, func(at time.Time) { p.setStatus(c, at, resolved, p.answerer(c).name) })
	default:
		p.soon(c, at, between(rng, 3*time.Minute, 30*time.Minute), open, func(at time.Time) { p.settles(c, at, rng) })
	}
}

// settles resolves c; one customer in twelve comes back.
func (p *plot) settles(c *conversation, at time.Time, rng *rand.Rand) {
	p.setStatus(c, at, resolved, p.answerer(c).name)
	if rng.IntN(12) > 0 {
		return
	}
	p.soon(c, at, between(rng, 10*time.Minute, time.Hour), resolved, func(at time.Time) {
		p.customerWrites(c, at, "")
		if c.status == pending {
			p.botTalks(c, at, rng)
			return
		}
		p.await(c, at, rng)
	})
}

// stage plans the conversations that have to be there at now. With an SLA of
// thirty minutes they stand at every level.
func (p *plot) stage(now time.Time) {
	chat, mailbox, storefront, assistant := p.inboxes[0], p.inboxes[1], p.inboxes[2], p.inboxes[3]
	ago := func(d time.Duration) time.Time { return now.Add(-d) }

	for _, waiting := range []struct {
		in         *inbox
		since      time.Duration
		answeredIn time.Duration
	}{
		{chat, 4 * time.Minute, 9 * time.Minute},        // normal
		{storefront, 9 * time.Minute, 20 * time.Minute}, // normal, warning soon
		{mailbox, 19 * time.Minute, 4 * time.Minute},    // warning
		{chat, 23 * time.Minute, 11 * time.Minute},      // warning, breached before the answer
		{chat, 27 * time.Minute, 2 * time.Minute},       // urgent
		{mailbox, 28 * time.Minute, 15 * time.Minute},   // urgent, breached before the answer
		{storefront, 41 * time.Minute, 6 * time.Minute}, // breach
	} {
		p.agenda.add(ago(waiting.since), func(at time.Time) {
			c := p.customerOpens(at, waiting.in, "")
			p.soon(c, now, waiting.answeredIn, open, func(at time.Time) { p.answers(c, at, p.dice(c), 0) })
		})
	}

	answered := func(in *inbox, since, reply time.Duration, then func(c *conversation)) {
		p.agenda.add(ago(since), func(at time.Time) {
			c := p.customerOpens(at, in, "")
			p.soon(c, ago(reply), 0, open, func(at time.Time) {
				p.assign(c, at, p.staff[1])
				p.reply(c, at)
			})
			then(c)
		})
	}
	later := func(c *conversation, at time.Time, status string) {
		p.soon(c, at, 0, open, func(at time.Time) { p.setStatus(c, at, status, p.staff[1].name) })
	}
	answered(chat, 75*time.Minute, 35*time.Minute, func(c *conversation) { later(c, now.Add(50*time.Minute), resolved) }) // late
	answered(mailbox, 50*time.Minute, 40*time.Minute, func(c *conversation) { later(c, now.Add(25*time.Minute), resolved) })
	answered(mailbox, 110*time.Minute, 98*time.Minute, func(c *conversation) { later(c, ago(time.Hour), resolved) })
	answered(storefront, 100*time.Minute, 90*time.Minute, func(c *conversation) {
		p.soon(c, ago(time.Hour), 0, open, func(at time.Time) { p.snooze(c, at, now.Add(45*time.Minute), p.staff[1].name) })
	})
	answered(chat, 95*time.Minute, 85*time.Minute, func(c *conversation) { // reopened
		later(c, ago(70*time.Minute), resolved)
		p.soon(c, ago(8*time.Minute), 0, resolved, func(at time.Time) { p.customerWrites(c, at, "") })
		p.soon(c, now, 7*time.Minute, open, func(at time.Time) { p.answers(c, at, p.dice(c), 1) })
	})
	p.agenda.add(ago(80*time.Minute), func(at time.Time) { // the lost first reply
		c := p.customerOpens(at, chat, "")
		p.soon(c, at, 10*time.Minute, open, func(at time.Time) { p.replyTwice(c, at) })
		later(c, now.Add(35*time.Minute), resolved)
	})
	p.agenda.add(ago(105*time.Minute), func(at time.Time) { // settled without an answer
		c := p.customerOpens(at, mailbox, "")
		later(c, at.Add(12*time.Minute), resolved)
	})
	p.agenda.add(ago(2*time.Minute), func(at time.Time) { // the bot has it
		c := p.customerOpens(at, assistant, "")
		p.soon(c, at, 3*time.Second, pending, func(at time.Time) { p.botReplies(c, at) })
		p.soon(c, now, 90*time.Second, pending, func(at time.Time) {
			p.handOff(c, at, p.bot)
			p.await(c, at, p.dice(c))
		})
	})
	p.agenda.add(ago(22*time.Minute), func(at time.Time) { // handed off, waiting
		c := p.customerOpens(at, assistant, "")
		p.soon(c, at, 4*time.Second, pending, func(at time.Time) { p.botReplies(c, at) })
		p.soon(c, at, 6*time.Minute, pending, func(at time.Time) { p.handOff(c, at, p.bot) })
		p.soon(c, now, 5*time.Minute, open, func(at time.Time) { p.answers(c, at, p.dice(c), 0) })
	})
	p.agenda.add(ago(70*time.Minute), func(at time.Time) { later(p.campaignOpens(at, chat), now.Add(2*time.Hour), resolved) })
	p.agenda.add(ago(50*time.Minute), func(at time.Time) { // a campaign that was answered
		c := p.campaignOpens(at, chat)
		p.soon(c, ago(10*time.Minute), 0, open, func(at time.Time) { p.customerWrites(c, at, "") })
		p.soon(c, now, 8*time.Minute, open, func(at time.Time) { p.answers(c, at, p.dice(c), 0) })
	})
	p.agenda.add(ago(65*time.Minute), func(at time.Time) { later(p.agentOpens(at, mailbox), now.Add(40*time.Minute), resolved) })
	p.agenda.add(ago(55*time.Minute), func(at time.Time) { later(p.create(at, storefront, open), now.Add(30*time.Minute), resolved) })
}
