package chatwoot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
)

// Note is a message for the agents of a conversation. Customers do not see it.
type Note struct {
	Content string

	// SourceID is a mark by which the note is found again: Chatwoot keeps it
	// and takes no notice.
	SourceID string
}

// PostNote adds a private note to a conversation.
func (c *Client) PostNote(ctx context.Context, conversation int64, n Note) (Message, error) {
	return c.postMessage(ctx, conversation, map[string]any{
		"content": n.Content, "source_id": n.SourceID,
		"private":      true,       // left out, it would go to the customer
		"message_type": "outgoing", // a number would make the customer its sender
	})
}

// PostReply sends a reply to the customer. It cannot be marked: Chatwoot takes
// a public message with a source_id for one that was already delivered, and
// sends nothing.
func (c *Client) PostReply(ctx context.Context, conversation int64, content string) (Message, error) {
	return c.postMessage(ctx, conversation, map[string]any{
		"content": content, "private": false, "message_type": "outgoing",
	})
}

func (c *Client) postMessage(ctx context.Context, conversation int64, fields map[string]any) (Message, error) {
	body, err := json.Marshal(fields)
	if err != nil {
		return Message{}, fmt.Errorf("encode a message: %w", err)
	}
	var m Message
	err = c.send(ctx, http.MethodPost, request{
		endpoint: EndpointPosting,
		path:     c.accountPath("conversations", strconv.FormatInt(conversation, 10), "messages"),
		label:    c.accountPath("conversations", "{id}", "messages"),
	}, body, func(a answer) error {
		s := &scanner{data: a.body}
		m = s.message()
		return s.end()
	})
	return m, err
}

// Undone reports whether a request that failed certainly changed nothing. A
// time-out, a connection that broke and most errors of a server leave that
// open.
func (e *Error) Undone() bool {
	switch e.Kind {
	case NameUnknown, BadTLS, Redirected, Unauthorized, NotFound, Throttled:
		return true
	case TimedOut:
		return e.Timeout == 0 // it was never sent
	case Unreachable:
		dial, ok := errors.AsType[*net.OpError](e.Err)
		return ok && dial.Op == "dial"
	}
	return false
}

// Finished reports whether the server is certainly done with a request that
// failed: what it was to change is there by now, or never will be. A proxy may
// give up, and a client too, while Chatwoot works on.
func (e *Error) Finished() bool {
	switch e.Kind {
	case Refused, Malformed, TooLarge:
		return e.Status != 0
	case ServerError:
		return e.Status == http.StatusInternalServerError
	}
	return e.Undone()
}
