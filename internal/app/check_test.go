package app_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/apptest"
	"github.com/hotdash/chatwoot-sla/internal/config"
)

// What Chatwoot says to a request whose header a proxy has dropped is
// localized, and reads as if somebody had not logged in.
func TestCheckTellsADroppedHeaderFromABadToken(t *testing.T) {
	for said, want := range map[string]string{
		`{"errors":["Bitte melden Sie sich an."]}`: "Let the proxy pass the Api-Access-Token header",
		`{"error":"Invalid Access Token"}`:         "Rotate CHATWOOT_TOKEN",
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(said))
		}))
		defer s.Close()
		loaded, err := config.Load(config.Options{Environ: []string{
			"CHATWOOT_BASE_URL=" + s.URL, "CHATWOOT_TOKEN=" + apptest.Token, "CHATWOOT_ACCOUNT_ID=3", "ARTIFACTS_DIR=" + t.TempDir(),
		}})
		if err != nil {
			t.Fatal(err)
		}
		report, err := app.Check(t.Context(), app.Options{Config: loaded.Config, Version: "test"})
		if err != nil {
			t.Fatal(err)
		}
		if advice := report.Results[1].Advice(); !strings.Contains(advice, want) {
			t.Errorf("%s: the advice is %q, want %q in it", said, advice, want)
		}
	}
}
