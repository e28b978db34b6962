package config_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/hotdash/chatwoot-sla/internal/config"
)

func TestAccessSettings(t *testing.T) {
	const ada, tomas = "ada:0123456789abcdef", "tomas:fedcba9876543210"
	const generate = "; write name:token, with a comma between several, and take each token from: openssl rand -hex 24"
	tests := []struct {
		name    string
		setting string
		want    string
	}{
		{"one token", "API_TOKENS=" + ada, ""},
		{"two, with a space", "API_TOKENS=" + ada + ", " + tomas, ""},
		{"an address for a name", "API_TOKENS=ada.l@example.com:0123456789abcdef", ""},
		{"no name", "API_TOKENS=0123456789abcdef", "API_TOKENS has no name or no token in its part 1" + generate},
		{"an empty name", "API_TOKENS=" + ada + ",:fedcba9876543210", "API_TOKENS has no name or no token in its part 2" + generate},
		{"an odd name", "API_TOKENS=a<b:0123456789abcdef", "API_TOKENS has a name of more than letters, digits and -_.@ in its part 1" + generate},
		{"a short token", "API_TOKENS=ada:0123456789abcde", "API_TOKENS has a token of less than 16 characters, which could be guessed, in its part 1" + generate},
		{"a name twice", "API_TOKENS=" + ada + ",ada:fedcba9876543210", "API_TOKENS has a name or a token again in its part 2; give everybody a name and a token of their own"},
		{"a token twice", "API_TOKENS=" + ada + ",tomas:0123456789abcdef", "API_TOKENS has a name or a token again in its part 2; give everybody a name and a token of their own"},
		{"a comma too many", "API_TOKENS=" + ada + ",", "API_TOKENS has an empty place between its commas; write each secret once, with a comma between them and none at the ends"},
		{"hosts", "ALLOWED_HOSTS=sla.example.com, board:8443", ""},
		{"an address for a host", "ALLOWED_HOSTS=https://sla.example.com", `ALLOWED_HOSTS "https://sla.example.com" is not a list of host names; write them as they stand in the address bar, such as sla.example.com, with a comma between them`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.Load(config.Options{Environ: enough(tt.setting)})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("mistakes:\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestAccessTokensAreHidden(t *testing.T) {
	l, err := config.Load(config.Options{Environ: enough("API_TOKENS=ada:0123456789abcdef,tomas:fedcba9876543210", "LOG_LEVEL=<fedcba9876543210>")})
	if err == nil || strings.Contains(err.Error(), "fedcba9876543210") {
		t.Errorf("a token is shown where it stands in another setting: %v", err)
	}
	if s := setting(l, "API_TOKENS"); s.Value != "[set]" {
		t.Errorf("the tokens are shown as %q", s.Value)
	}
	tokens := l.Tokens()
	if len(tokens) != 2 || tokens[1].Name != "tomas" || tokens[1].Token.Reveal() != "fedcba9876543210" {
		t.Errorf("tokens are %v", tokens)
	}
	l, _ = config.Load(config.Options{Environ: enough("ALLOWED_HOSTS=sla.example.com, board:8443")})
	if got := l.Hosts(); !slices.Equal(got, []string{"sla.example.com", "board:8443"}) {
		t.Errorf("hosts are %q", got)
	}
}
