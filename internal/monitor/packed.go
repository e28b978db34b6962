package monitor

import "github.com/hotdash/chatwoot-sla/internal/sla"

// packedFacts is an sla.Conversation in less than half the space.
type packedFacts struct {
	created, waiting, firstReply, handoff sla.Instant

	thread        *sla.Thread
	wrote, opened sla.Verdict
}

func packFacts(c sla.Conversation) packedFacts {
	return packedFacts{
		created: sla.At(c.CreatedAt), waiting: sla.At(c.WaitingSince), firstReply: sla.At(c.FirstReplyAt), handoff: sla.At(c.HandoffAt),
		thread: c.Thread, wrote: c.CustomerWrote, opened: c.CustomerOpened,
	}
}

// facts returns what was packed.
func (p packedFacts) facts() sla.Conversation {
	return sla.Conversation{
		CreatedAt: p.created.Time(), WaitingSince: p.waiting.Time(), FirstReplyAt: p.firstReply.Time(), HandoffAt: p.handoff.Time(),
		Thread: p.thread, CustomerWrote: p.wrote, CustomerOpened: p.opened,
	}
}
