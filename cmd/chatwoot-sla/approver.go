package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// The people of the demo who may decide about drafts: whoever looks at it, and
// one who is simulated.
const (
	demoVisitorToken  = "demo-visitor-token"
	demoApproverToken = "demo-approver-token"
	demoTokens        = "you:" + demoVisitorToken + ",robin:" + demoApproverToken
)

const approvesEvery = 4 * time.Second

// approver decides about some of the drafts of the demo, as a person would, and
// leaves the others to whoever looks at it.
type approver struct {
	page   string // address of the daemon
	client *http.Client
}

// run decides until ctx ends. What fails is tried again with the next look.
func (a *approver) run(ctx context.Context) {
	look := time.NewTicker(approvesEvery)
	defer look.Stop()
	defer a.client.CloseIdleConnections()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		var doc struct {
			Approvals []struct {
				ID     int64
				Action string `json:"suggested_action"`
			}
		}
		if a.ask(ctx, http.MethodGet, "", "", &doc) != nil {
			continue
		}
		for _, it := range doc.Approvals {
			decision := ""
			switch {
			case it.ID%4 == 0: // the visitor's
			case it.Action == "approve":
				decision = `{"action": "approve"}`
			case it.Action == "review":
				decision = `{"action": "edit", "reply": "Thank you for your patience. I have looked into it, and will write again today."}`
			case it.ID%3 == 0:
				decision = `{"action": "reject", "reason": "a colleague calls the customer"}`
			}
			if decision != "" {
				_ = a.ask(ctx, http.MethodPost, fmt.Sprintf("/%d", it.ID), decision, nil) // somebody else may have been faster
				break
			}
		}
	}
}

func (a *approver) ask(ctx context.Context, method, path, body string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, a.page+"/api/v1/approvals"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+demoApproverToken)
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("approvals answer %s", resp.Status)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}
