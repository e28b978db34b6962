package healthcases_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/hotdash/chatwoot-sla/internal/health/healthcases"
)

func TestNamesAreUnique(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range healthcases.All("token", 3) {
		if seen[c.Name] {
			t.Errorf("two cases are named %q", c.Name)
		}
		seen[c.Name] = true
	}
}

func TestEveryExitCodeOfACheckIsCovered(t *testing.T) {
	covered := make(map[int]bool)
	for _, c := range healthcases.All("token", 3) {
		covered[c.ExitCode] = true
	}
	for _, code := range []int{0, 2, 3, 4} {
		if !covered[code] {
			t.Errorf("no case leads to exit code %d", code)
		}
	}
}

// A case that is meant to pass must not pass for a reader that is lax about
// JSON only.
func TestPassingCasesServeValidJSON(t *testing.T) {
	for _, c := range healthcases.All("token", 3) {
		if c.ExitCode != 0 {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			srv := httptest.NewServer(c.Handler)
			defer srv.Close()
			for _, path := range []string{"/api", "/api/v1/profile"} {
				req, err := http.NewRequest(http.MethodGet, srv.URL+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Api-Access-Token", "token")
				resp, err := srv.Client().Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || !json.Valid(body) {
					t.Errorf("GET %s = %d, %v, %q; want 200 and valid JSON", path, resp.StatusCode, err, body)
				}
			}
		})
	}
}
