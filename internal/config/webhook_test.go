package config_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/hotdash/chatwoot-sla/internal/config"
)

const (
	pathToken = "CHATWOOT_WEBHOOK_PATH_TOKEN=Zk3_p9-Qw7rT2xYc"
	openssl   = "set it to the output of: openssl rand -hex 24"
)

func TestWebhookSettings(t *testing.T) {
	tests := []struct {
		name    string
		environ []string
		want    []string // all the mistakes
	}{
		{"a secret", []string{"CHATWOOT_WEBHOOK_SECRET=abc"}, nil},
		{"two secrets, with a space", []string{"CHATWOOT_WEBHOOK_SECRET=abc, def"}, nil},
		{"a secret of two words", []string{"CHATWOOT_WEBHOOK_SECRET=abc,d f"}, []string{"CHATWOOT_WEBHOOK_SECRET contains a space or a control character; copy it again, on one line and with nothing around it"}},
		{"a comma too many", []string{"CHATWOOT_WEBHOOK_SECRET=abc,"}, []string{"CHATWOOT_WEBHOOK_SECRET has an empty place between its commas; write each secret once, with a comma between them and none at the ends"}},
		{"an unknown form", []string{"CHATWOOT_WEBHOOK_SIGNATURE=hex"}, []string{`CHATWOOT_WEBHOOK_SIGNATURE "hex" is unknown; write one of timestamped, body, none`}},
		{"the runbook's form", []string{"CHATWOOT_WEBHOOK_SIGNATURE=body"}, nil},
		{"no signature and nothing else", []string{"CHATWOOT_WEBHOOK_SIGNATURE=none"}, []string{`CHATWOOT_WEBHOOK_SIGNATURE "none" needs CHATWOOT_WEBHOOK_PATH_TOKEN; set that to the output of: openssl rand -hex 24`}},
		{"no signature but a token", []string{"CHATWOOT_WEBHOOK_SIGNATURE=none", pathToken}, nil},
		{"a short token", []string{"CHATWOOT_WEBHOOK_PATH_TOKEN=0123456789abcde"}, []string{"CHATWOOT_WEBHOOK_PATH_TOKEN is shorter than 16 characters and could be guessed; " + openssl}},
		{"a token with a slash", []string{"CHATWOOT_WEBHOOK_PATH_TOKEN=0123456789/abcdef"}, []string{"CHATWOOT_WEBHOOK_PATH_TOKEN contains more than letters, digits, - and _; " + openssl}},
		{"the smallest limit", []string{"WEBHOOK_MAX_BYTES=65536"}, nil},
		{"too small a limit", []string{"WEBHOOK_MAX_BYTES=65535"}, []string{`WEBHOOK_MAX_BYTES "65535" is out of range; write a whole number from 65536 to 67108864`}},
		{"too large a limit", []string{"WEBHOOK_MAX_BYTES=67108865"}, []string{`WEBHOOK_MAX_BYTES "67108865" is out of range; write a whole number from 65536 to 67108864`}},
		{"an address without port", []string{"WEBHOOK_LISTEN_ADDR=localhost"}, []string{`WEBHOOK_LISTEN_ADDR "localhost" is not host:port; write it like 127.0.0.1:9643, or :9643 for every interface`}},
		{"the address of the page", []string{"WEBHOOK_LISTEN_ADDR=127.0.0.1:9642"}, []string{`WEBHOOK_LISTEN_ADDR "127.0.0.1:9642" is the value of LISTEN_ADDR, too; give webhooks an address of their own, such as 127.0.0.1:9643`}},
		{"any free port, twice", []string{"WEBHOOK_LISTEN_ADDR=127.0.0.1:0", "LISTEN_ADDR=127.0.0.1:0"}, nil},
		{"a forward", []string{"WEBHOOK_FORWARD_URL=https://drafts.example.com/api/in?a=1", "WEBHOOK_FORWARD_SECRET=xyz"}, nil},
		{"a forward without a secret", []string{"WEBHOOK_FORWARD_URL=https://drafts.example.com"}, []string{`WEBHOOK_FORWARD_URL "https://drafts.example.com" needs WEBHOOK_FORWARD_SECRET; set that to the output of: openssl rand -hex 24, here and in the other service`}},
		{"a forward with Chatwoot's secret", []string{"WEBHOOK_FORWARD_URL=https://drafts.example.com", "CHATWOOT_WEBHOOK_SECRET=abc,def", "WEBHOOK_FORWARD_SECRET=def"}, []string{"WEBHOOK_FORWARD_SECRET is one of CHATWOOT_WEBHOOK_SECRET, so the other service could pass for Chatwoot; " + openssl + ", here and in the other service"}},
		{"a forward to no address", []string{"WEBHOOK_FORWARD_URL=drafts:80", "WEBHOOK_FORWARD_SECRET=xyz"}, []string{`WEBHOOK_FORWARD_URL "drafts:80" is not an address that starts with https:// or http://; write it like https://drafts.example.com/chatwoot`}},
		{"a forward with a password", []string{"WEBHOOK_FORWARD_URL=https://ada:hunter2@example.com", "WEBHOOK_FORWARD_SECRET=xyz"}, []string{`WEBHOOK_FORWARD_URL "[hidden]@example.com" contains a user name or a password; remove what comes before the @, and the @; WEBHOOK_FORWARD_SECRET proves who sends`}},
		{"a forward with a fragment", []string{"WEBHOOK_FORWARD_URL=https://example.com#x", "WEBHOOK_FORWARD_SECRET=xyz"}, []string{`WEBHOOK_FORWARD_URL "https://example.com#[hidden]" has a fragment; remove everything from the # on`}},
		{"three mistakes at once", []string{"CHATWOOT_WEBHOOK_SIGNATURE=none", "WEBHOOK_MAX_BYTES=8MiB", "WEBHOOK_LISTEN_ADDR=x"}, []string{
			`WEBHOOK_LISTEN_ADDR "x" is not host:port; write it like 127.0.0.1:9643, or :9643 for every interface`,
			`CHATWOOT_WEBHOOK_SIGNATURE "none" needs CHATWOOT_WEBHOOK_PATH_TOKEN; set that to the output of: openssl rand -hex 24`,
			`WEBHOOK_MAX_BYTES "8MiB" is not a whole number; write a whole number from 65536 to 67108864`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.Load(config.Options{Environ: enough(tt.environ...)})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if want := strings.Join(tt.want, "\n"); got != want {
				t.Errorf("mistakes:\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestWebhookSecretsAreAList(t *testing.T) {
	l, err := config.Load(config.Options{Environ: enough("CHATWOOT_WEBHOOK_SECRET=old-secret-1, new-secret-2", "LOG_LEVEL=<new-secret-2>")})
	if got := l.WebhookSecret.Parts(); !slices.Equal(got, []string{"old-secret-1", "new-secret-2"}) {
		t.Errorf("Parts = %q", got)
	}
	if err == nil || strings.Contains(err.Error(), "new-secret-2") {
		t.Errorf("one of the secrets is shown where it stands in another setting: %v", err)
	}
	if s := setting(l, "CHATWOOT_WEBHOOK_SECRET"); s.Value != "[set]" {
		t.Errorf("the secrets are shown as %q", s.Value)
	}
	if got := (config.Secret{}).Parts(); len(got) != 0 {
		t.Errorf("Parts of nothing = %q", got)
	}
}

func TestWebhookWarnings(t *testing.T) {
	const (
		unsigned = "CHATWOOT_WEBHOOK_SIGNATURE is none: whoever learns the address of the webhooks can send some; from 4.12 on Chatwoot signs"
		useless  = "CHATWOOT_WEBHOOK_SECRET has no effect while CHATWOOT_WEBHOOK_SIGNATURE is none; remove one of them"
		private  = "CHATWOOT_BASE_URL is on this machine or a private network: from 4.14 on Chatwoot sends webhooks to such addresses only with SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true in its Sidekiq's environment"
		plain    = "WEBHOOK_FORWARD_URL is plain http: what customers write crosses the network unencrypted; use https"
	)
	tests := []struct {
		name    string
		environ []string
		want    []string
	}{
		{"a Chatwoot elsewhere", []string{"CHATWOOT_WEBHOOK_SECRET=abc"}, nil},
		{"a Chatwoot in the same compose file", []string{"CHATWOOT_BASE_URL=https://chatwoot", "CHATWOOT_WEBHOOK_SECRET=abc"}, []string{private}},
		{"a Chatwoot on a private network", []string{"CHATWOOT_BASE_URL=https://10.1.2.3", "CHATWOOT_WEBHOOK_SECRET=abc"}, []string{private}},
		{"a Chatwoot on this machine", []string{"CHATWOOT_BASE_URL=http://localhost:3000", "CHATWOOT_WEBHOOK_SECRET=abc"}, []string{private}},
		{"a Chatwoot with a public address", []string{"CHATWOOT_BASE_URL=https://8.8.8.8", "CHATWOOT_WEBHOOK_SECRET=abc"}, nil},
		{"webhooks are off", []string{"CHATWOOT_BASE_URL=https://chatwoot"}, nil},
		{"unsigned", []string{"CHATWOOT_WEBHOOK_SIGNATURE=none", pathToken}, []string{unsigned}},
		{"unsigned, with a secret", []string{"CHATWOOT_WEBHOOK_SIGNATURE=none", pathToken, "CHATWOOT_WEBHOOK_SECRET=abc"}, []string{unsigned, useless}},
		{"a plain forward", []string{"WEBHOOK_FORWARD_URL=http://drafts:8080", "WEBHOOK_FORWARD_SECRET=xyz"}, []string{plain}},
		{"a plain forward that stays here", []string{"WEBHOOK_FORWARD_URL=http://127.0.0.1:8080", "WEBHOOK_FORWARD_SECRET=xyz"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			environ := append(enough(), tt.environ...)
			l, err := config.Load(config.Options{Environ: environ})
			if err != nil {
				t.Fatal(err)
			}
			if w := l.Warnings(); !slices.Equal(w, tt.want) {
				t.Errorf("Warnings = %q, want %q", w, tt.want)
			}
		})
	}
}
