package deploy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
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

	"go.yaml.in/yaml/v2"

	"github.com/hotdash/chatwoot-sla/internal/apptest"
	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/promtest"
)

const port = 9642 // of LISTEN_ADDR

func itoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// instructions returns what a Dockerfile says after each word of that name.
func instructions(t *testing.T, word string) []string {
	t.Helper()
	text := strings.ReplaceAll(read(t, "../Dockerfile"), "\\\n", " ")
	var found []string
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, word+" "); ok {
			found = append(found, strings.TrimSpace(rest))
		}
	}
	if len(found) == 0 {
		t.Fatalf("the Dockerfile has no %s", word)
	}
	return found
}

// imageCommand returns the arguments of the last ENTRYPOINT, CMD or HEALTHCHECK.
func imageCommand(t *testing.T, word string) []string {
	t.Helper()
	all := instructions(t, word)
	_, list, _ := strings.Cut(all[len(all)-1], "[")
	var args []string
	if err := json.Unmarshal([]byte("["+list), &args); err != nil {
		t.Fatalf("%s is not a list of arguments: %v", word, err)
	}
	return args
}

func TestDockerfileCopiesWhatIsThere(t *testing.T) {
	ignored := read(t, "../.dockerignore")
	for _, c := range instructions(t, "COPY") {
		if strings.HasPrefix(c, "--from=") {
			continue
		}
		sources := strings.Fields(c)
		for _, source := range sources[:len(sources)-1] {
			if _, err := os.Stat(filepath.Join("..", source)); err != nil {
				t.Error(err)
			}
			if !strings.Contains(ignored, "\n!"+source+"\n") {
				t.Errorf(".dockerignore keeps %s out of the build", source)
			}
		}
	}
}

func TestImageListensWhereComposePublishes(t *testing.T) {
	want := itoa(port)
	if got := instructions(t, "EXPOSE"); !slices.Equal(got, []string{want}) {
		t.Errorf("the image exposes %v, want %s", got, want)
	}
	if env := strings.Join(instructions(t, "ENV"), " "); !strings.Contains(env, "LISTEN_ADDR=0.0.0.0:"+want) {
		t.Errorf("the image sets %s", env)
	}
	for _, name := range []string{"chatwoot-sla", "demo"} {
		if got := compose(t, watching, profiles...).Services[name].Ports[0].Target; got != port {
			t.Errorf("compose publishes port %d of %s, want %s", got, name, want)
		}
	}
}

const unit = "systemd/chatwoot-sla.service"

// unitValue returns the last value of a key of the systemd unit.
func unitValue(t *testing.T, key string) string {
	t.Helper()
	all := regexp.MustCompile(`(?m)^`+key+`=(.*)$`).FindAllStringSubmatch(read(t, unit), -1)
	if len(all) == 0 {
		t.Fatalf("%s has no %s", unit, key)
	}
	return all[len(all)-1][1]
}

func TestSystemdTakesTheUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Fatalf("%v; run make deps", err)
	}
	// The program is not installed here, and systemd wants to see one.
	text := strings.Replace(read(t, unit), "/usr/local/bin/chatwoot-sla", os.Args[0], 1)
	file := filepath.Join(t.TempDir(), "chatwoot-sla.service")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"verify", file},
		{"security", "--offline=true", "--threshold=20", file}, // 2.0 of 10, which is best at 0
	} {
		out, err := exec.CommandContext(t.Context(), analyze, args...).CombinedOutput()
		if err != nil || args[0] == "verify" && len(out) > 0 {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
	}
}

func TestUnitSetsWhatTheDaemonKnows(t *testing.T) {
	known := append(forms(), "GOMEMLIMIT")
	for _, m := range regexp.MustCompile(`([A-Z_]+)=%S/`).FindAllStringSubmatch(unitValue(t, "Environment"), -1) {
		if !slices.Contains(known, m[1]) {
			t.Errorf("%s is no setting", m[1])
		}
	}
	stop, err := time.ParseDuration(unitValue(t, "TimeoutStopSec"))
	if err != nil || stop <= defaultOf(t, "SHUTDOWN_TIMEOUT") {
		t.Errorf("TimeoutStopSec is %v (%v), which is not longer than SHUTDOWN_TIMEOUT", stop, err)
	}
}

const manifest = "kubernetes/chatwoot-sla.yaml"

// object is a Kubernetes object, as far as the tests look at it.
type object struct {
	Kind     string
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Data       map[string]string
	StringData map[string]string `yaml:"stringData"`
	Spec       yaml.MapSlice
}

// decode reads the spec of an object.
func (o object) decode(t *testing.T, into any) {
	t.Helper()
	text, err := yaml.Marshal(o.Spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", o.Kind, err)
	}
}

// objectOf returns the only object of a kind.
func objectOf(t *testing.T, kind string) object {
	t.Helper()
	var found []object
	documents := yaml.NewDecoder(strings.NewReader(read(t, manifest)))
	for {
		var o object
		err := documents.Decode(&o)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", manifest, err)
		}
		if o.Kind == kind {
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s has %d objects of the kind %s, want one", manifest, len(found), kind)
	}
	return found[0]
}

// pod is what the Deployment makes.
type pod struct {
	GraceSeconds    int `yaml:"terminationGracePeriodSeconds"`
	SecurityContext struct {
		RunAsNonRoot   bool                  `yaml:"runAsNonRoot"`
		RunAsUser      int                   `yaml:"runAsUser"`
		FSGroup        int                   `yaml:"fsGroup"`
		SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
	} `yaml:"securityContext"`
	Containers []struct {
		Args    []string
		EnvFrom []map[string]struct{ Name string } `yaml:"envFrom"`
		Ports   []struct {
			Name          string
			ContainerPort int `yaml:"containerPort"`
		}
		LivenessProbe   probe `yaml:"livenessProbe"`
		ReadinessProbe  probe `yaml:"readinessProbe"`
		Resources       struct{ Limits struct{ Memory string } }
		SecurityContext struct {
			AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
			ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
			Capabilities             struct{ Drop []string }
		} `yaml:"securityContext"`
		VolumeMounts []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
		} `yaml:"volumeMounts"`
	}
	Volumes []volume
}

type volume struct {
	Name  string
	Claim struct {
		Name string `yaml:"claimName"`
	} `yaml:"persistentVolumeClaim"`
}

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

func podOf(t *testing.T) pod {
	t.Helper()
	var deployment struct{ Template struct{ Spec pod } }
	objectOf(t, "Deployment").decode(t, &deployment)
	if n := len(deployment.Template.Spec.Containers); n != 1 {
		t.Fatalf("the pod has %d containers, want one", n)
	}
	return deployment.Template.Spec
}

func TestPodIsConfined(t *testing.T) {
	p := podOf(t)
	c := p.Containers[0].SecurityContext
	if s := p.SecurityContext; !s.RunAsNonRoot || s.SeccompProfile.Type != "RuntimeDefault" {
		t.Errorf("the pod may run as %+v", s)
	}
	if c.AllowPrivilegeEscalation == nil || *c.AllowPrivilegeEscalation || !c.ReadOnlyRootFilesystem || !slices.Equal(c.Capabilities.Drop, []string{"ALL"}) {
		t.Errorf("the container may do %+v", c)
	}
	if p.Containers[0].Resources.Limits.Memory == "" {
		t.Error("the container has no memory limit")
	}
	if user := instructions(t, "USER")[0]; user != fmt.Sprintf("%d:%d", p.SecurityContext.RunAsUser, p.SecurityContext.FSGroup) {
		t.Errorf("the pod runs as %+v, the image's files belong to %s", p.SecurityContext, user)
	}
	if grace := time.Duration(p.GraceSeconds) * time.Second; grace <= defaultOf(t, "SHUTDOWN_TIMEOUT") {
		t.Errorf("the pod is killed after %v, before SHUTDOWN_TIMEOUT", grace)
	}
}

// One port has one name everywhere, and what is asked for is there.
func TestPodAnswersWhatKubernetesAsks(t *testing.T) {
	c := podOf(t).Containers[0]
	if len(c.Ports) != 1 || c.Ports[0].ContainerPort != port {
		t.Fatalf("the container has the ports %+v, want %d", c.Ports, port)
	}
	name := c.Ports[0].Name
	var service struct {
		Ports []struct {
			Port       int
			TargetPort string `yaml:"targetPort"`
		}
		Selector map[string]string
	}
	objectOf(t, "Service").decode(t, &service)
	var monitor struct {
		JobLabel string `yaml:"jobLabel"`
		Selector struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		}
		Endpoints []struct {
			Port        string
			Relabelings []struct{ Action, Regex string }
		} `yaml:"podMetricsEndpoints"`
	}
	objectOf(t, "PodMonitor").decode(t, &monitor)
	for from, got := range map[string]string{
		"the liveness probe":  c.LivenessProbe.HTTPGet.Port,
		"the readiness probe": c.ReadinessProbe.HTTPGet.Port,
		"the service":         service.Ports[0].TargetPort,
		"the pod monitor":     monitor.Endpoints[0].Port,
	} {
		if got != name {
			t.Errorf("%s asks for the port %q, it is called %q", from, got, name)
		}
	}

	daemon := apptest.Start(t)
	for _, path := range []string{c.LivenessProbe.HTTPGet.Path, c.ReadinessProbe.HTTPGet.Path} {
		if _, err := promtest.Get(daemon.URL + path); path == "" || err != nil {
			t.Errorf("probing %q: %v", path, err)
		}
	}

	labels := objectOf(t, "Deployment").Metadata.Labels
	if !maps.Equal(service.Selector, labels) || !maps.Equal(monitor.Selector.MatchLabels, labels) {
		t.Errorf("the service selects %v and the monitor %v, the pods have %v", service.Selector, monitor.Selector.MatchLabels, labels)
	}
	if labels[monitor.JobLabel] != "chatwoot-sla" {
		t.Errorf("the job is called by the label %q, want chatwoot-sla", monitor.JobLabel)
	}

	// The operator gives every target these labels. A metric that has one of
	// them would have to step back.
	target := []string{"namespace", "container", "pod", "endpoint", "job", "instance"}
	for _, r := range monitor.Endpoints[0].Relabelings {
		if r.Action == "labeldrop" {
			target = slices.DeleteFunc(target, func(l string) bool { return l == r.Regex })
		}
	}
	for metric, has := range promtest.Exported(t) {
		for _, l := range has {
			if slices.Contains(target, l) {
				t.Errorf("the label %s of %s would become exported_%[1]s", l, metric)
			}
		}
	}
}

func TestPodGetsSettingsAndKeepsItsFiles(t *testing.T) {
	p := podOf(t)
	given := map[string]object{
		"configMapRef": objectOf(t, "ConfigMap"),
		"secretRef":    objectOf(t, "Secret"),
	}
	environ := []string{}
	for _, from := range p.Containers[0].EnvFrom {
		for kind, ref := range from {
			o := given[kind]
			if ref.Name != o.Metadata.Name {
				t.Errorf("%s names %s, it is called %s", kind, ref.Name, o.Metadata.Name)
			}
			for _, values := range []map[string]string{o.Data, o.StringData} {
				for name, value := range values {
					if !slices.Contains(forms(), name) {
						t.Errorf("%s is no setting", name)
					}
					environ = append(environ, name+"="+value)
				}
			}
		}
	}
	if _, err := config.Load(config.Options{Environ: environ}); err != nil {
		t.Errorf("the daemon would not start with %v: %v", environ, err)
	}

	var mounted []string
	for _, m := range p.Containers[0].VolumeMounts {
		if !slices.ContainsFunc(p.Volumes, func(v volume) bool { return v.Name == m.Name }) {
			t.Errorf("%s is mounted from %s, which is no volume", m.MountPath, m.Name)
		}
		mounted = append(mounted, m.MountPath)
	}
	for _, path := range imageCommand(t, "VOLUME") {
		if !slices.Contains(mounted, path) {
			t.Errorf("nothing is mounted on the image's %s", path)
		}
	}
	if claim := objectOf(t, "PersistentVolumeClaim").Metadata.Name; p.Volumes[0].Claim.Name != claim {
		t.Errorf("the pod claims %q, the claim is called %q", p.Volumes[0].Claim.Name, claim)
	}
}

// The command in the documentation makes an object that holds the rules.
func TestRulesBecomeAPrometheusRule(t *testing.T) {
	m := regexp.MustCompile(`(?m)^(.*alerts/rules\.yml.*) \| kubectl apply`).FindStringSubmatch(read(t, "../docs/deployment.md"))
	if m == nil {
		t.Fatal("docs/deployment.md has no command that applies alerts/rules.yml")
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", m[1])
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var made struct {
		Kind string
		Spec any
	}
	if err := yaml.Unmarshal(out, &made); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var rules any
	unmarshal(t, "../alerts/rules.yml", &rules)
	if made.Kind != "PrometheusRule" || !reflect.DeepEqual(made.Spec, rules) {
		t.Errorf("%s makes a %s that does not hold alerts/rules.yml", m[1], made.Kind)
	}
}
