package config

import (
	"fmt"
	"strings"
	"unicode"
)

// APIToken is a token of API_TOKENS. Who presents it is recorded under Name.
type APIToken struct {
	Name  string
	Token Secret
}

// Tokens returns the tokens of API_TOKENS, in their order.
func (c *Config) Tokens() []APIToken {
	var tokens []APIToken
	for _, part := range c.APITokens.Parts() {
		name, token, _ := strings.Cut(part, ":")
		tokens = append(tokens, APIToken{Name: name, Token: NewSecret(token)})
	}
	return tokens
}

// Hosts returns the names in ALLOWED_HOSTS.
func (c *Config) Hosts() []string {
	var hosts []string
	for host := range strings.SplitSeq(c.AllowedHosts, ",") {
		if host = strings.TrimSpace(host); host != "" {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// checkTokens wants a name and a token that cannot be guessed, each once: two
// people with one name could not be told apart.
func checkTokens(c *Config) *valueError {
	const (
		shortest = 16
		fix      = "write name:token, with a comma between several, and take each token from: openssl rand -hex 24"
	)
	if f := checkSecretList(c.APITokens); f != nil {
		return f
	}
	names, texts := map[string]bool{}, map[string]bool{}
	for i, t := range c.Tokens() {
		text := t.Token.Reveal()
		odd := func(r rune) bool { return !isWord(r) && !strings.ContainsRune("-.@", r) }
		switch {
		case t.Name == "" || text == "":
			return &valueError{wrong: fmt.Sprintf("has no name or no token in its part %d", i+1), fix: fix}
		case strings.ContainsFunc(t.Name, odd) || len(t.Name) > 64:
			return &valueError{wrong: fmt.Sprintf("has a name of more than letters, digits and -_.@ in its part %d", i+1), fix: fix}
		case len(text) < shortest:
			return &valueError{wrong: fmt.Sprintf("has a token of less than %d characters, which could be guessed, in its part %d", shortest, i+1), fix: fix}
		case names[t.Name] || texts[text]:
			return &valueError{wrong: fmt.Sprintf("has a name or a token again in its part %d", i+1), fix: "give everybody a name and a token of their own"}
		}
		names[t.Name], texts[text] = true, true
	}
	return nil
}

func checkHosts(c *Config) *valueError {
	for _, host := range c.Hosts() {
		odd := func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("/?#@", r) }
		if strings.Contains(host, "://") || strings.ContainsFunc(host, odd) {
			return &valueError{wrong: "is not a list of host names", fix: "write them as they stand in the address bar, such as sla.example.com, with a comma between them"}
		}
	}
	return nil
}
