package sla_test

import (
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/sla"
)

func TestClock(t *testing.T) {
	type (
		C = sla.Conversation
		T = sla.Thread
	)
	const m = time.Minute
	type want struct {
		state     sla.State
		start     time.Duration // after creation
		answered  time.Duration // after creation; answered clocks only
		unsettled bool
		level     sla.Level // at 40 minutes
	}
	tests := []struct {
		name string
		c    C
		want want
	}{
		// Nobody has written, or nobody can tell.
		{
			"no messages at all",
			C{WaitingSince: t0, CustomerWrote: sla.No},
			want{state: sla.Idle},
		},
		{
			"campaign that nobody answered, as its row tells it",
			C{WaitingSince: t0, CustomerOpened: sla.No},
			want{state: sla.Unknown, unsettled: true},
		},
		{
			"campaign that nobody answered, messages read",
			C{WaitingSince: t0, Thread: &T{}},
			want{state: sla.Idle, unsettled: true},
		},
		{
			"the customer wrote after the messages were read",
			C{WaitingSince: t0, CustomerWrote: sla.Yes, CustomerOpened: sla.No, Thread: &T{}},
			want{state: sla.Unknown, unsettled: true},
		},

		// Customers who wait.
		{
			"customer opened and waits",
			C{WaitingSince: t0, CustomerWrote: sla.Yes, CustomerOpened: sla.Yes},
			want{state: sla.Waiting, level: sla.Breach},
		},
		{
			"customer wrote again before the first poll: waiting meanwhile, to be made sure",
			C{WaitingSince: t0, CustomerWrote: sla.Yes},
			want{state: sla.Waiting, unsettled: true, level: sla.Breach},
		},
		{
			"customer wrote again, messages read",
			C{WaitingSince: t0, CustomerWrote: sla.Yes, Thread: &T{CustomerAt: t0}},
			want{state: sla.Waiting, level: sla.Breach},
		},
		{
			"waiting_since one rounded second after creation has not moved",
			C{WaitingSince: at(time.Second), CustomerWrote: sla.Yes, CustomerOpened: sla.Yes},
			want{state: sla.Waiting, level: sla.Breach},
		},
		{
			"opening message saved a few seconds late, for its attachments",
			C{WaitingSince: t0, CustomerWrote: sla.Yes, Thread: &T{CustomerAt: at(8 * time.Second)}},
			want{state: sla.Waiting, level: sla.Breach},
		},
		{
			"campaign, then the customer wrote: the row cannot date it",
			C{WaitingSince: t0, CustomerWrote: sla.Yes, CustomerOpened: sla.No},
			want{state: sla.Unknown, unsettled: true},
		},
		{
			"campaign, then the customer wrote, messages read",
			C{WaitingSince: t0, CustomerWrote: sla.Yes, Thread: &T{CustomerAt: at(20 * m)}},
			want{state: sla.Waiting, start: 20 * m, level: sla.Warning},
		},

		// Answers.
		{
			"answered well in time",
			C{FirstReplyAt: at(12 * m), CustomerWrote: sla.Yes, CustomerOpened: sla.Yes},
			want{state: sla.Answered, answered: 12 * m},
		},
		{
			"answered at the deadline",
			C{FirstReplyAt: at(30 * m), CustomerWrote: sla.Yes, CustomerOpened: sla.Yes},
			want{state: sla.Answered, answered: 30 * m},
		},
		{
			"answered one second late",
			C{FirstReplyAt: at(30*m + time.Second), CustomerWrote: sla.Yes, CustomerOpened: sla.Yes},
			want{state: sla.Answered, answered: 30*m + time.Second, level: sla.Breach},
		},
		{
			"answered in time is in time whoever opened it",
			C{FirstReplyAt: at(12 * m)},
			want{state: sla.Answered, answered: 12 * m},
		},
		{
			"answered late, unless we opened it",
			C{FirstReplyAt: at(50 * m), CustomerWrote: sla.Yes},
			want{state: sla.Unknown, unsettled: true},
		},
		{
			"answered late by its row, in time by its messages",
			C{FirstReplyAt: at(50 * m), CustomerWrote: sla.Yes, Thread: &T{CustomerAt: at(45 * m), ReplyAt: at(50 * m)}},
			want{state: sla.Answered, start: 45 * m, answered: 50 * m},
		},
		{
			"answered since the messages were read",
			C{FirstReplyAt: at(33 * m), CustomerWrote: sla.Yes, Thread: &T{CustomerAt: t0}},
			want{state: sla.Answered, answered: 33 * m, level: sla.Breach},
		},
		{
			"reopened after resolve: the answer of long ago still counts",
			C{FirstReplyAt: at(10 * m), WaitingSince: at(35 * m), CustomerWrote: sla.Yes, CustomerOpened: sla.Yes},
			want{state: sla.Answered, answered: 10 * m},
		},
		{
			"snoozed and back, unanswered: the clock did not stop",
			C{WaitingSince: t0, CustomerWrote: sla.Yes, CustomerOpened: sla.Yes},
			want{state: sla.Waiting, level: sla.Breach},
		},
		{
			"two replies at once: answered, the row does not say when",
			C{CustomerWrote: sla.Yes, CustomerOpened: sla.Yes},
			want{state: sla.Unknown, unsettled: true},
		},
		{
			"two replies at once, messages read",
			C{CustomerWrote: sla.Yes, Thread: &T{CustomerAt: t0, ReplyAt: at(31 * m)}},
			want{state: sla.Answered, answered: 31 * m, level: sla.Breach},
		},

		// Agents who write first.
		{
			"agent opened: the first reply is the opening",
			C{FirstReplyAt: t0},
			want{state: sla.Unknown, unsettled: true},
		},
		{
			"agent opened, customer silent",
			C{FirstReplyAt: t0, Thread: &T{}},
			want{state: sla.Idle, unsettled: true},
		},
		{
			"agent opened, the customer wrote back and waits",
			C{FirstReplyAt: t0, WaitingSince: at(20 * m), CustomerWrote: sla.Yes, Thread: &T{CustomerAt: at(20 * m)}},
			want{state: sla.Waiting, start: 20 * m, level: sla.Warning},
		},
		{
			"agent opened, the customer wrote back and was answered late",
			C{FirstReplyAt: t0, CustomerWrote: sla.Yes, Thread: &T{CustomerAt: at(5 * m), ReplyAt: at(36 * m)}},
			want{state: sla.Answered, start: 5 * m, answered: 36 * m, level: sla.Breach},
		},
		{
			"agent answered the customer within seconds",
			C{FirstReplyAt: at(4 * time.Second), CustomerWrote: sla.Yes, CustomerOpened: sla.Yes},
			want{state: sla.Answered, answered: 4 * time.Second},
		},

		// Bots.
		{
			"bot answered and cleared waiting_since: the customer still waits",
			C{CustomerWrote: sla.Yes, Thread: &T{CustomerAt: t0}},
			want{state: sla.Waiting, unsettled: true, level: sla.Breach},
		},
		{
			"bot, then a hand-off that was seen",
			C{WaitingSince: t0, HandoffAt: at(20 * m), CustomerWrote: sla.Yes, CustomerOpened: sla.Yes},
			want{state: sla.Waiting, start: 20 * m, level: sla.Warning},
		},
		{
			"hand-off that moved waiting_since, seen",
			C{WaitingSince: at(20 * m), HandoffAt: at(20 * m), CustomerWrote: sla.Yes, CustomerOpened: sla.Yes},
			want{state: sla.Waiting, start: 20 * m, level: sla.Warning},
		},
		{
			"hand-off that was not seen: waiting_since moved, so the row is not enough",
			C{WaitingSince: at(20 * m), CustomerWrote: sla.Yes, CustomerOpened: sla.Yes},
			want{state: sla.Unknown, unsettled: true},
		},
		{
			"hand-off that was not seen, messages read",
			C{WaitingSince: at(20 * m), CustomerWrote: sla.Yes, Thread: &T{CustomerAt: t0}},
			want{state: sla.Waiting, start: 20 * m, unsettled: true, level: sla.Warning},
		},
		{
			"back after an end without an answer",
			C{WaitingSince: at(20 * m), CustomerWrote: sla.Yes, Thread: &T{CustomerAt: t0, BackAt: at(20 * m)}},
			want{state: sla.Waiting, start: 20 * m, level: sla.Warning},
		},
		{
			"the same where waiting_since stays as it was",
			C{WaitingSince: t0, CustomerWrote: sla.Yes, Thread: &T{CustomerAt: t0, BackAt: at(20 * m)}},
			want{state: sla.Waiting, start: 20 * m, level: sla.Warning},
		},
		{
			"back after an end without an answer, and answered in time from there",
			C{FirstReplyAt: at(45 * m), CustomerWrote: sla.Yes, Thread: &T{CustomerAt: t0, BackAt: at(20 * m), ReplyAt: at(45 * m)}},
			want{state: sla.Answered, start: 20 * m, answered: 45 * m},
		},
		{
			"hand-off, then an answer in time from there",
			C{HandoffAt: at(20 * m), FirstReplyAt: at(45 * m), CustomerWrote: sla.Yes, CustomerOpened: sla.Yes},
			want{state: sla.Answered, start: 20 * m, answered: 45 * m},
		},
		{
			"a human answered before the bot let go",
			C{HandoffAt: at(20 * m), FirstReplyAt: at(15 * m), CustomerWrote: sla.Yes, CustomerOpened: sla.Yes},
			want{state: sla.Answered, start: 20 * m, answered: 15 * m},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.CreatedAt = t0
			k := halfHour.Clock(tt.c)
			if k.State != tt.want.state || k.Unsettled != tt.want.unsettled {
				t.Errorf("clock is %v, unsettled %v; want %v, %v", k.State, k.Unsettled, tt.want.state, tt.want.unsettled)
			}
			if counting := k.State == sla.Waiting || k.State == sla.Answered; counting {
				if got := k.Start.Sub(t0); got != tt.want.start {
					t.Errorf("clock starts %v after creation, want %v", got, tt.want.start)
				}
				if got := k.Deadline.Sub(k.Start); got != halfHour.Target {
					t.Errorf("deadline is %v after the start, want %v", got, halfHour.Target)
				}
			}
			if k.State == sla.Answered {
				if got := k.AnsweredAt.Sub(t0); got != tt.want.answered {
					t.Errorf("answered %v after creation, want %v", got, tt.want.answered)
				}
			}
			if got := halfHour.Level(k, at(40*m)); got != tt.want.level {
				t.Errorf("level after 40 minutes is %v, want %v", got, tt.want.level)
			}
		})
	}
}
