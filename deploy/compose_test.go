package deploy_test

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/hotdash/chatwoot-sla/internal/config"
)

// watching is a .env for docker compose up.
const watching = `
CHATWOOT_BASE_URL=https://chat.example.com
CHATWOOT_ACCOUNT_ID=1
CHATWOOT_TOKEN=EXAMPLE
`

// profiles are all there are.
var profiles = []string{"demo", "ha"}

// load loads docker-compose.yml as Docker would beside a .env file.
func load(dotenv string, profiles ...string) (*types.Project, error) {
	options, err := cli.NewProjectOptions([]string{"../docker-compose.yml"}, cli.WithEnvFiles(dotenv), cli.WithDotEnv, cli.WithDefaultProfiles(profiles...))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(context.Background())
}

// compose loads docker-compose.yml beside a .env with a text.
func compose(t *testing.T, text string, profiles ...string) *types.Project {
	t.Helper()
	p, err := load(dotenv(t, text), profiles...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// dotenv returns a file. An empty one is to Docker as none.
func dotenv(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// loadVariable makes the test binary load docker-compose.yml with the .env file
// that it names, for the profiles in its arguments, and do nothing else: the
// loader writes its warnings to stderr, which only another process can read.
const loadVariable = "DEPLOY_TEST_DOTENV"

func TestMain(m *testing.M) {
	if file, ok := os.LookupEnv(loadVariable); ok {
		if _, err := load(file, os.Args[1:]...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestComposeLoadsWithoutWarnings(t *testing.T) {
	tests := []struct{ name, dotenv string }{
		{"without .env", ""},
		{"with a Chatwoot", watching},
		{"with a Postgres", watching + "POSTGRES_PASSWORD=abc123\n"},
		{"with .env.example", read(t, "../.env.example")},
		{"with .env.example and all its defaults", regexp.MustCompile(`(?m)^#([A-Z_]+=)`).ReplaceAllString(read(t, "../.env.example"), "$1")},
	}
	for _, tt := range tests {
		for _, active := range [][]string{nil, {"demo"}, {"ha"}, {"demo", "ha"}} {
			t.Run(fmt.Sprint(tt.name, active), func(t *testing.T) {
				cmd := exec.CommandContext(t.Context(), os.Args[0], active...)
				cmd.Env = []string{loadVariable + "=" + dotenv(t, tt.dotenv)}
				if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestWhatRuns(t *testing.T) {
	always := []string{"alertmanager", "grafana", "prometheus"}
	tests := []struct {
		name    string
		dotenv  string
		profile []string
		beside  []string // always
		scraped []string // under the name that Prometheus asks for
	}{
		{"the demo needs no .env", "", []string{"demo"}, []string{"demo"}, []string{"demo"}},
		{"a Chatwoot to watch", watching, nil, []string{"chatwoot-sla"}, []string{"chatwoot-sla"}},
		{"invented customers stay apart from real ones", watching, []string{"demo"}, []string{"chatwoot-sla", "demo"}, []string{"chatwoot-sla"}},
		{"two replicas", watching, []string{"ha"}, []string{"chatwoot-sla", "postgres", "replica"}, []string{"chatwoot-sla", "replica"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := compose(t, tt.dotenv, tt.profile...)
			var runs, scraped []string
			for name, s := range p.Services {
				if s.GetScale() == 0 {
					continue
				}
				runs = append(runs, name)
				if slices.Contains(names(s), "chatwoot-sla") {
					scraped = append(scraped, name)
				}
			}
			slices.Sort(runs)
			slices.Sort(scraped)
			want := slices.Sorted(slices.Values(slices.Concat(always, tt.beside)))
			if !slices.Equal(runs, want) || !slices.Equal(scraped, tt.scraped) {
				t.Errorf("runs %v and scrapes %v, want %v and %v", runs, scraped, want, tt.scraped)
			}
		})
	}
}

// names returns the host names of a service.
func names(s types.ServiceConfig) []string {
	n := []string{s.Name}
	for _, network := range s.Networks {
		if network != nil {
			n = append(n, network.Aliases...)
		}
	}
	return n
}

func TestEveryServiceIsConfined(t *testing.T) {
	for name, s := range compose(t, watching, profiles...).Services {
		t.Run(name, func(t *testing.T) {
			image, tag, _ := strings.Cut(s.Image, ":")
			if tag == "" || tag == "latest" || s.Build == nil && !strings.Contains(tag, ".") {
				t.Errorf("%s is at %q, which is no version", image, tag)
			}
			uid, _, _ := strings.Cut(s.User, ":")
			if n, err := strconv.Atoi(uid); err != nil || n == 0 {
				t.Errorf("user %q is not a number above 0", s.User)
			}
			if !s.ReadOnly || s.Privileged || !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
				t.Error("is not read-only, or could gain rights")
			}
			if s.Deploy == nil || s.Deploy.Resources.Limits == nil {
				t.Fatal("has no limits")
			}
			if l := s.Deploy.Resources.Limits; l.MemoryBytes == 0 || l.NanoCPUs == 0 || l.Pids == 0 {
				t.Errorf("lacks a limit: %+v", l)
			}
			if s.HealthCheck == nil || s.HealthCheck.Disable || len(s.HealthCheck.Test) == 0 {
				t.Error("has no health check")
			}
			if s.Restart != "unless-stopped" || s.Logging == nil || s.Logging.Options["max-size"] == "" {
				t.Error("does not come back, or logs without end")
			}
			for _, p := range s.Ports {
				if ip, err := netip.ParseAddr(p.HostIP); err != nil || !ip.IsLoopback() {
					t.Errorf("port %s is published on %q", p.Published, p.HostIP)
				}
			}
			for _, v := range s.Volumes {
				switch v.Type {
				case types.VolumeTypeVolume:
					if v.Source == "" {
						t.Errorf("%s is kept in a volume without a name", v.Target)
					}
				case types.VolumeTypeBind:
					if !v.ReadOnly {
						t.Errorf("%s could be written from the container", v.Source)
					}
					if _, err := os.Stat(v.Source); err != nil {
						t.Error(err)
					}
				default:
					t.Errorf("%s is a %s", v.Target, v.Type)
				}
			}
			if s.Build != nil && time.Duration(*s.StopGracePeriod) <= defaultOf(t, "SHUTDOWN_TIMEOUT") {
				t.Errorf("is killed after %v, before SHUTDOWN_TIMEOUT", s.StopGracePeriod)
			}
		})
	}
}

func TestTheDaemonHasRoomForItsOwnMemoryLimit(t *testing.T) {
	const whole = 100 << 20 // of the process, as promised at 100,000 open conversations
	for _, name := range []string{"chatwoot-sla", "replica", "demo"} {
		limit := int64(compose(t, watching, profiles...).Services[name].Deploy.Resources.Limits.MemoryBytes)
		if limit < 2*whole {
			t.Errorf("%s may use %d bytes, less than twice its %d", name, limit, whole)
		}
	}
}

func TestTheDaemonGetsEverySetting(t *testing.T) {
	// The image has its own; paths and addresses of this machine mean nothing there.
	byImage := []string{"LISTEN_ADDR", "WEBHOOK_LISTEN_ADDR", "DATA_DIR", "ARTIFACTS_DIR"}
	beside := []string{"GOMEMLIMIT"}
	want := slices.Clone(beside)
	for _, form := range forms() {
		if !slices.Contains(byImage, form) {
			want = append(want, form)
		}
	}
	slices.Sort(want)
	for _, name := range []string{"chatwoot-sla", "replica"} {
		s := compose(t, watching, profiles...).Services[name]
		if got := slices.Sorted(maps.Keys(s.Environment)); !slices.Equal(got, want) {
			t.Errorf("%s gets\n%v, want\n%v", name, got, want)
		}
	}
}

// forms returns every name under which the daemon takes a setting.
func forms() []string {
	var all []string
	for field := range reflect.TypeFor[config.Config]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("env"), ",")
		for _, form := range []string{name, field.Tag.Get("alias")} {
			if form == "" {
				continue
			}
			all = append(all, form)
			if field.Type == reflect.TypeFor[config.Secret]() {
				all = append(all, form+"_FILE")
			}
		}
	}
	return all
}

func defaultOf(t *testing.T, setting string) time.Duration {
	t.Helper()
	loaded, _ := config.Load(config.Options{}) // what is missing does not matter
	for _, s := range loaded.Settings() {
		if s.Name == setting {
			d, err := time.ParseDuration(s.Value)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
	}
	t.Fatalf("there is no setting %s", setting)
	return 0
}

func TestValuesArriveInTheContainers(t *testing.T) {
	p := compose(t, watching+`
CHATWOOT_SLA_MINUTES=45 # minutes
CHATWOOT_TOKEN_FILE=./secrets/token
POSTGRES_PASSWORD=abc123
SLACK_INCIDENTS_URL_FILE=./secrets/incidents
SLACK_INCIDENTS_CHANNEL='#outages'
GRAFANA_PORT=3001
BOARD_PORT=8080
`, profiles...)
	tests := []struct{ service, variable, want string }{
		{"chatwoot-sla", "CHATWOOT_BASE_URL", "https://chat.example.com"},
		{"chatwoot-sla", "CHATWOOT_SLA_MINUTES", "45"},
		{"chatwoot-sla", "CHATWOOT_TOKEN_FILE", "/run/secrets/chatwoot_token"},
		{"chatwoot-sla", "CHATWOOT_EMBED_TOKEN_FILE", ""},
		{"replica", "DATABASE_URL", "postgres://chatwoot_sla:abc123@postgres:5432/chatwoot_sla?sslmode=disable"},
		{"alertmanager", "SLACK_INCIDENTS_URL_FILE", "/run/secrets/slack_incidents_url"},
		{"alertmanager", "SLACK_INCIDENTS_CHANNEL", "#outages"},
		{"alertmanager", "SMTP_PASSWORD_FILE", ""},
		{"prometheus", "GRAFANA_URL", "http://localhost:3001"},
		{"grafana", "GF_SERVER_ROOT_URL", "http://localhost:3001"},
	}
	for _, tt := range tests {
		if got := p.Services[tt.service].Environment[tt.variable]; got == nil || *got != tt.want {
			t.Errorf("%s gets %s=%v, want %q", tt.service, tt.variable, show(got), tt.want)
		}
	}
	if got, want := p.Secrets["chatwoot_token"].File, filepath.Join(root(t), "secrets/token"); got != want {
		t.Errorf("the token is read from %s, want %s", got, want)
	}
	if got := p.Secrets["smtp_password"].File; got != os.DevNull {
		t.Errorf("without SMTP_PASSWORD_FILE, %s is mounted", got)
	}
	if got := p.Services["chatwoot-sla"].Ports[0].Published; got != "8080" {
		t.Errorf("the board is published on %s, want 8080", got)
	}
}

func show(s *string) string {
	if s == nil {
		return "nothing"
	}
	return strconv.Quote(*s)
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestSecretsAreMountedWhereTheyAreNamed(t *testing.T) {
	files := map[string]bool{}
	for _, s := range compose(t, "", profiles...).Services {
		for name := range s.Environment {
			files[name] = strings.HasSuffix(name, "_FILE")
		}
	}
	var text strings.Builder
	for name, is := range files {
		if is {
			fmt.Fprintf(&text, "%s=./secrets/%s\n", name, name)
		}
	}
	p := compose(t, text.String(), profiles...)
	for _, s := range p.Services {
		for name, value := range s.Environment {
			if !files[name] {
				continue
			}
			i := slices.IndexFunc(s.Secrets, func(f types.ServiceSecretConfig) bool { return f.Target == *value })
			if i < 0 {
				t.Errorf("%s: %s names %s, where nothing is mounted", s.Name, name, *value)
			} else if got := p.Secrets[s.Secrets[i].Source].File; filepath.Base(got) != name {
				t.Errorf("%s: %s leads to %s", s.Name, name, got)
			}
		}
	}
}

func TestEveryVariableIsInTheExample(t *testing.T) {
	text := read(t, "../.env.example")
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#?([A-Z_]+)=`).FindAllStringSubmatch(text, -1) {
		documented[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`[A-Z_]+_FILE`).FindAllString(text, -1) {
		documented[m] = true
	}
	documented["CHATWOOT_API_TOKEN"] = strings.Contains(text, "CHATWOOT_API_TOKEN is another name")

	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`\$\{([A-Z_]+)`).FindAllStringSubmatch(read(t, "../docker-compose.yml"), -1) {
		used[m[1]] = true
	}
	for _, s := range compose(t, "", profiles...).Services {
		for name, value := range s.Environment {
			if value == nil { // taken from the environment as it is
				used[name] = true
			}
		}
	}
	delete(used, "GOMEMLIMIT") // Go's own; docs/configuration.md has it
	for name := range used {
		if !documented[name] {
			t.Errorf("docker-compose.yml takes %s, which .env.example does not have", name)
		}
	}
	_, forCompose, _ := strings.Cut(text, "# For docker-compose.yml alone;")
	for _, m := range regexp.MustCompile(`(?m)^# .+\n#?([A-Z_]+)=`).FindAllStringSubmatch(forCompose, -1) {
		if !used[m[1]] {
			t.Errorf(".env.example has %s for docker-compose.yml, which does not take it", m[1])
		}
	}
}

func TestAlertmanagerGetsWhatRenderReads(t *testing.T) {
	m := regexp.MustCompile(`(?s)\nnames='(.*?)'`).FindStringSubmatch(read(t, "../alerts/render"))
	if m == nil {
		t.Fatal("alerts/render has no list of names")
	}
	want := append(strings.Fields(m[1]), "CHATWOOT_BASE_URL")
	slices.Sort(want)
	s := compose(t, "").Services["alertmanager"]
	if got := slices.Sorted(maps.Keys(s.Environment)); !slices.Equal(got, want) {
		t.Errorf("alertmanager gets\n%v, want\n%v", got, want)
	}
}
