package internal_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/hotdash/chatwoot-sla"

// allowance is what the product code of a package may import besides the
// standard library.
type allowance struct {
	ours    []string // packages, named below internal
	theirs  []string // modules
	testing bool     // it serves tests alone, and may import what only they may
}

// anyModule is for the packages that fit the others together.
var anyModule = []string{"*"}

const (
	client = "github.com/prometheus/client_golang"
	zap    = "go.uber.org/zap"
)

// layout has a line for every package, and no two adapters know each other:
// cmd → app → adapters → core. A package without a line fails the test, so a
// new one begins with the question of who may know whom.
var layout = map[string]allowance{
	"internal/sla":         {},
	"internal/calendar":    {},
	"internal/ledger":      {ours: []string{"sla"}, theirs: []string{client, zap}},
	"internal/report":      {ours: []string{"ledger"}, theirs: []string{"github.com/go-analyze/charts"}},
	"internal/maintenance": {theirs: []string{"github.com/teambition/rrule-go"}},
	"internal/incident":    {},
	"internal/checkup":     {},

	"internal/pipeline": {ours: []string{"sla"}, theirs: []string{client}},

	"internal/chatwoot":           {theirs: []string{"golang.org/x/time"}},
	"internal/monitor":            {ours: []string{"chatwoot", "ledger", "sla"}, theirs: []string{"github.com/cenkalti/backoff", client, zap, "golang.org/x/sync"}},
	"internal/metrics":            {ours: []string{"incident", "maintenance", "sla"}, theirs: []string{client}},
	"internal/health":             {theirs: []string{client, zap}},
	"internal/health/healthcases": {},
	"internal/web":                {ours: []string{"incident", "pipeline", "report", "sla"}, theirs: []string{zap}},
	"internal/webhook":            {ours: []string{"chatwoot"}, theirs: []string{client, zap, "golang.org/x/sync"}},
	"internal/assist":             {ours: []string{"pipeline"}, theirs: []string{client, "github.com/sony/gobreaker"}},
	"internal/config":             {ours: []string{"calendar", "maintenance"}, theirs: []string{"github.com/caarlos0/env", "github.com/joho/godotenv"}},
	"internal/chatwootsim":        {},

	"internal/app": {
		ours: []string{
			"assist", "calendar", "chatwoot", "checkup", "config", "health", "incident", "ledger", "maintenance", "metrics", "monitor", "pipeline", "queue",
			"report", "sla", "store", "web", "webhook",
		},
		theirs: anyModule,
	},
	"internal/bench": {
		ours: []string{
			"app", "chatwoot", "chatwootsim", "config", "health", "ledger", "metrics", "monitor", "pipeline", "queue", "report", "sla", "store", "webhook",
		},
		theirs: anyModule,
	},
	"internal/queue": {theirs: []string{"github.com/riverqueue/river", "github.com/sony/gobreaker", client, zap}},
	"internal/store": {ours: []string{"incident", "ledger", "pipeline"}, theirs: []string{client, zap, "github.com/jackc/pgx", "github.com/pressly/goose", "modernc.org/sqlite"}},

	"internal/ledger/ledgertest": {ours: []string{"chatwootsim", "ledger"}, testing: true},

	"internal/store/storetest": {ours: []string{"incident", "ledger", "pipeline", "store"}, theirs: []string{client}, testing: true},
	"internal/pgtest":          {ours: []string{"porttest"}, theirs: []string{"github.com/jackc/pgx"}, testing: true},
	"internal/porttest":        {testing: true},
	"internal/apptest":         {ours: []string{"app", "chatwoot", "chatwootsim", "config", "webhook"}, theirs: []string{zap}, testing: true},
	"internal/promtest":        {ours: []string{"porttest"}, theirs: anyModule, testing: true},
	"cmd/chatwoot-sla": {
		ours:   []string{"app", "chatwoot", "chatwootsim", "checkup", "config", "health", "incident", "pipeline", "queue", "report", "store", "webhook"},
		theirs: anyModule,
	},
}

// otherTrees hold modules of their own, or nothing of the module.
var otherTrees = []string{"tools", "bin", "dist", "data", "artifacts"}

// The table holds for the files that go into a binary, on any platform; tests
// import what they like.
func TestPackagesImportOnlyWhatTheLayoutAllows(t *testing.T) {
	imports := productImports(t, os.DirFS(".."))
	if len(imports["cmd/chatwoot-sla"]) == 0 {
		t.Fatal("cmd/chatwoot-sla is not here; does the walk still begin at the root of the module?")
	}
	for name, paths := range imports {
		t.Run(name, func(t *testing.T) {
			may, ok := layout[name]
			if !ok {
				t.Fatal("the package has no line in the layout; add one that says what it may import")
			}
			for _, imported := range paths {
				if !may.imports(imported) {
					t.Errorf("imports %s, which the layout does not allow", imported)
				}
			}
		})
	}
}

func TestAllowance(t *testing.T) {
	adapter := allowance{ours: []string{"sla"}, theirs: []string{zap}}
	tests := []struct {
		name string
		pkg  string
		want bool
	}{
		{"standard library", "net/http", true},
		{"testing is no part of a product", "testing", false},
		{"nor are its helpers", "testing/synctest", false},
		{"nor is a server for tests", "net/http/httptest", false},
		{"a package of ours that is named", module + "/internal/sla", true},
		{"a package of ours that is not", module + "/internal/web", false},
		{"a package below one that is named", module + "/internal/sla/extra", false},
		{"a module that is named", "go.uber.org/zap", true},
		{"a package of that module", "go.uber.org/zap/zapcore", true},
		{"a module that only begins alike", "go.uber.org/zapper", false},
		{"a module that is not named", "golang.org/x/sync/errgroup", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := adapter.imports(tt.pkg); got != tt.want {
				t.Errorf("imports(%q) = %v, want %v", tt.pkg, got, tt.want)
			}
		})
	}
}

// imports reports whether a allows the import of a package.
func (a allowance) imports(pkg string) bool {
	if within(pkg, module) {
		return slices.Contains(a.ours, strings.TrimPrefix(pkg, module+"/internal/"))
	}
	domain, _, _ := strings.Cut(pkg, "/")
	if !strings.Contains(domain, ".") { // standard library
		return a.testing || !within(pkg, "testing") && pkg != "net/http/httptest"
	}
	return slices.ContainsFunc(a.theirs, func(m string) bool { return m == "*" || within(pkg, m) })
}

// within reports whether pkg is root or below it.
func within(pkg, root string) bool {
	return pkg == root || strings.HasPrefix(pkg, root+"/")
}

// productImports returns what each package below root imports outside its
// tests. It reads the files itself: go test would not notice a change that only
// a child process has seen, and go list leaves out other platforms.
func productImports(t *testing.T, root fs.FS) map[string][]string {
	t.Helper()
	imports := map[string][]string{}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && (d.Name()[0] == '.' || d.Name() == "testdata" || slices.Contains(otherTrees, name)) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		source, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir := path.Dir(name)
		paths := imports[dir]
		for _, spec := range file.Imports {
			paths = append(paths, strings.Trim(spec.Path.Value, "`\""))
		}
		imports[dir] = paths // also when there are none: the package is there
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return imports
}

func TestEveryDependencyIsDefended(t *testing.T) {
	direct := requirements(t, "../go.mod")
	defended := defences(t, "../docs/dependencies.md")
	for _, m := range direct {
		if !slices.Contains(defended, m) {
			t.Errorf("docs/dependencies.md does not say what %s replaces and how we would leave it", m)
		}
	}
	for _, m := range defended {
		if !slices.Contains(direct, m) {
			t.Errorf("docs/dependencies.md defends %s, which go.mod does not require directly", m)
		}
	}
}

// requirements returns the modules that a go.mod requires directly.
func requirements(t *testing.T, name string) []string {
	t.Helper()
	var modules []string
	for line := range lines(t, name) {
		// "\tpath version", or "require path version" when it is the only one.
		fields := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(fields) == 2 && strings.HasPrefix(fields[1], "v") {
			modules = append(modules, fields[0])
		}
	}
	return modules
}

// defences returns the modules that begin a row of a table.
func defences(t *testing.T, name string) []string {
	t.Helper()
	var modules []string
	for line := range lines(t, name) {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			m, _, _ := strings.Cut(rest, "`")
			modules = append(modules, m)
		}
	}
	return modules
}

func lines(t *testing.T, name string) iter.Seq[string] {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Lines(string(text))
}
