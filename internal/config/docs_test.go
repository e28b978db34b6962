package config_test

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/joho/godotenv"

	"github.com/hotdash/chatwoot-sla/internal/config"
)

const (
	examplePath = "../../.env.example"
	docsPath    = "../../docs/configuration.md"

	// forCompose begins the part of the example that is not ours; the tests of
	// deploy hold it to docker-compose.yml.
	forCompose = "# For docker-compose.yml alone;"
)

// documented is what each of the three places says about one variable.
type documented struct{ name, fallback, doc string }

func fromStruct() []documented {
	var list []documented
	for field := range reflect.TypeFor[config.Config]().Fields() {
		tag := field.Tag
		name, _, _ := strings.Cut(tag.Get("env"), ",")
		list = append(list, documented{name, tag.Get("envDefault"), tag.Get("doc")})
	}
	return list
}

func TestExampleEqualsStruct(t *testing.T) {
	ours, _, found := strings.Cut(read(t, examplePath), forCompose)
	if !found {
		t.Fatalf("%s has no line that begins with %q", examplePath, forCompose)
	}
	var got []documented
	for _, m := range regexp.MustCompile(`(?m)^# (.+)\n#?([A-Z_]+)=(.*)$`).FindAllStringSubmatch(ours, -1) {
		got = append(got, documented{m[2], m[3], m[1]})
	}
	compare(t, got, fromStruct())
}

func TestDocsEqualStruct(t *testing.T) {
	var got []documented
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| (?:`(.*)`)? \\| (.+) \\|$").FindAllStringSubmatch(read(t, docsPath), -1) {
		got = append(got, documented{m[1], m[2], m[3]})
	}
	compare(t, got, fromStruct())
}

func TestSettingsEqualStruct(t *testing.T) {
	l, _ := config.Load(config.Options{})
	var got []documented
	for _, s := range l.Settings() {
		got = append(got, documented{s.Name, s.Value, s.Doc})
	}
	compare(t, got, fromStruct())
}

func TestDocNamesEveryLimit(t *testing.T) {
	for field := range reflect.TypeFor[config.Config]().Fields() {
		tag := field.Tag
		words := strings.FieldsFunc(tag.Get("doc"), func(r rune) bool { return strings.ContainsRune(" ,;:()", r) })
		limits := append(strings.Fields(tag.Get("oneof")), tag.Get("min"), tag.Get("max"))
		for _, limit := range limits {
			if limit != "" && !slices.Contains(words, limit) {
				t.Errorf("%s: doc %q does not name the limit %s", tag.Get("env"), tag.Get("doc"), limit)
			}
		}
	}
}

func TestEveryFormIsDocumented(t *testing.T) {
	example, docs := read(t, examplePath), read(t, docsPath)
	for _, name := range []string{
		"CHATWOOT_API_TOKEN", "CHATWOOT_TOKEN_FILE", "CHATWOOT_API_TOKEN_FILE", "CHATWOOT_EMBED_TOKEN_FILE",
		"CHATWOOT_WEBHOOK_SECRET_FILE", "CHATWOOT_WEBHOOK_PATH_TOKEN_FILE", "WEBHOOK_FORWARD_SECRET_FILE", "API_TOKENS_FILE",
	} {
		word := regexp.MustCompile(`\b` + name + `\b`)
		if !word.MatchString(example) || !word.MatchString(docs) {
			t.Errorf("%s is missing from %s or %s", name, examplePath, docsPath)
		}
	}
}

// A copy that was filled in must load, and so must one whose defaults were all
// made explicit.
func TestExampleLoads(t *testing.T) {
	filled := strings.NewReplacer(
		"CHATWOOT_BASE_URL=", "CHATWOOT_BASE_URL=https://chatwoot.example.com",
		"\nCHATWOOT_TOKEN=", "\nCHATWOOT_TOKEN=abc",
		"CHATWOOT_ACCOUNT_ID=", "CHATWOOT_ACCOUNT_ID=7",
	).Replace(read(t, examplePath))
	explicit := regexp.MustCompile(`(?m)^#([A-Z_]+=)`).ReplaceAllString(filled, "$1")

	want, err := config.Load(config.Options{Dir: writeDotenv(t, filled), UID: os.Getuid()})
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.Load(config.Options{Dir: writeDotenv(t, explicit), UID: os.Getuid()})
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprintf("%+v", got.Config) != fmt.Sprintf("%+v", want.Config) {
		t.Errorf("with explicit defaults:\n%+v\nwant\n%+v", got.Config, want.Config)
	}
	ours, _, _ := strings.Cut(explicit, forCompose)
	vars, err := godotenv.Unmarshal(ours)
	if err != nil || len(vars) != len(fromStruct()) {
		t.Errorf("the file sets %d variables (%v), want %d", len(vars), err, len(fromStruct()))
	}
	if w := got.Warnings(); len(w) > 0 {
		t.Errorf("Warnings = %q, want none", w)
	}
}

func compare(t *testing.T, got, want []documented) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("missing: %+v", w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("not in the struct: %+v", g)
		}
	}
	if !t.Failed() {
		t.Error("the order differs from the struct")
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
