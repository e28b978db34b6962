package chatwoot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// EndpointWebhooks is the template of requests about webhooks. It is not among
// Endpoints: a daemon makes none.
const EndpointWebhooks = "webhooks"

// Webhook is a subscription of the account. Administrators alone may read and
// change them.
type Webhook struct {
	ID            int64    `json:"id"`
	Name          string   `json:"name"`
	URL           string   `json:"url"` // unique in the account
	Subscriptions []string `json:"subscriptions"`

	// Secret is the key of the signatures. Servers before 4.12.0 do not sign,
	// and tell none.
	Secret string `json:"secret"`
}

// Webhooks returns the webhooks of the account.
func (c *Client) Webhooks(ctx context.Context) ([]Webhook, error) {
	var list struct {
		Payload struct {
			Webhooks []Webhook `json:"webhooks"`
		} `json:"payload"`
	}
	err := c.get(ctx, request{endpoint: EndpointWebhooks, path: c.accountPath("webhooks")}, func(a answer) error {
		if err := json.Unmarshal(a.body, &list); err != nil {
			return err
		}
		if list.Payload.Webhooks == nil {
			return errors.New("payload.webhooks is missing: this is not a list of webhooks")
		}
		return nil
	})
	return list.Payload.Webhooks, err
}

// CreateWebhook makes a webhook with the name, URL and subscriptions of w.
func (c *Client) CreateWebhook(ctx context.Context, w Webhook) (Webhook, error) {
	return c.saveWebhook(ctx, http.MethodPost, request{endpoint: EndpointWebhooks, path: c.accountPath("webhooks")}, w)
}

// UpdateWebhook gives the webhook w.ID the name, URL and subscriptions of w.
// Its secret stays.
func (c *Client) UpdateWebhook(ctx context.Context, w Webhook) (Webhook, error) {
	return c.saveWebhook(ctx, http.MethodPatch, request{
		endpoint: EndpointWebhooks,
		path:     c.accountPath("webhooks", strconv.FormatInt(w.ID, 10)),
		label:    c.accountPath("webhooks", "{id}"),
	}, w)
}

func (c *Client) saveWebhook(ctx context.Context, method string, r request, w Webhook) (Webhook, error) {
	type fields struct {
		Name          string   `json:"name,omitempty"`
		URL           string   `json:"url"`
		Subscriptions []string `json:"subscriptions"`
	}
	body, err := json.Marshal(map[string]fields{"webhook": {w.Name, w.URL, w.Subscriptions}})
	if err != nil {
		return Webhook{}, fmt.Errorf("encode a webhook: %w", err)
	}
	var saved struct {
		Payload struct {
			Webhook Webhook `json:"webhook"`
		} `json:"payload"`
	}
	err = c.send(ctx, method, r, body, func(a answer) error {
		if err := json.Unmarshal(a.body, &saved); err != nil {
			return err
		}
		if saved.Payload.Webhook.ID == 0 {
			return errors.New("payload.webhook is missing: this is not a webhook")
		}
		return nil
	})
	return saved.Payload.Webhook, err
}

// send is get for requests that carry a JSON body. They are rare, so nothing
// is pooled.
func (c *Client) send(ctx context.Context, method string, r request, body []byte, read func(answer) error) error {
	if r.label == "" {
		r.label = r.path
	}
	fail := &Error{Endpoint: method + " " + r.label}
	if err := c.budget.wait(ctx, c.class); err != nil {
		fail.Kind, fail.Err = Canceled, err
		if errors.Is(err, context.DeadlineExceeded) {
			fail.Kind = TimedOut
		}
		return fail
	}
	started := time.Now()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	err := c.post(ctx, method, r, body, fail, read)
	c.observe(r.endpoint, fail.Status, time.Since(started))
	if fail.Kind == TimedOut {
		fail.Timeout = max(time.Since(started).Round(time.Millisecond), time.Millisecond)
	}
	return err
}

// post makes the request of send. Fail.Status is set whenever there was an
// answer.
func (c *Client) post(ctx context.Context, method string, r request, body []byte, fail *Error, read func(answer) error) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(r.path).String(), bytes.NewReader(body))
	if err != nil {
		fail.Kind, fail.Err = Unreachable, errors.New("the address is invalid")
		return fail
	}
	req.Header.Set("User-Agent", c.userAgent)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Api-Access-Token", c.token)
	resp, err := c.http.Do(req)
	if err != nil {
		fail.Kind, fail.Err = transportError(err)
		return fail
	}
	defer resp.Body.Close()
	fail.Status = resp.StatusCode
	got, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	switch {
	case resp.StatusCode != http.StatusOK:
		c.classify(r, resp, got, fail)
		return fail
	case err != nil:
		fail.Kind, fail.Err = transportError(err)
		return fail
	case !isJSON(resp.Header.Get("Content-Type")):
		fail.Kind, fail.Detail = NotJSON, mediaType(resp.Header.Get("Content-Type"))
		return fail
	}
	if err := read(answer{body: got}); err != nil {
		fail.Kind, fail.Err = Malformed, err
		return fail
	}
	return nil
}
