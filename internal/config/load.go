package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/joho/godotenv"
)

const (
	dotenvName = ".env"
	fileSuffix = "_FILE"

	// maxFile bounds a .env and a secret file, so that a wrong path cannot
	// fill the memory.
	maxFile = 64 << 10
)

// Options says where settings are looked for.
type Options struct {
	Environ []string // NAME=value, as os.Environ returns it
	Dir     string   // folder of the .env file; empty: none is read
	UID     int      // user who, beside root, may own the .env file

	// Now tells maintenance rules that are over; zero: none is warned about.
	Now time.Time
}

// Load reads the settings. The environment wins over .env, .env over the
// default, and an empty variable counts as unset.
//
// The error is nil or a *Mistakes. The Loaded value is never nil: with mistakes
// it holds what could be read, to be shown and not to be run with.
func Load(o Options) (*Loaded, error) {
	var mistakes []Mistake
	dotenv, refused := readDotenv(o.Dir, o.UID)
	if refused != nil {
		mistakes = append(mistakes, *refused)
	}
	layers := []layer{{"environment", env.ToMap(o.Environ)}, {dotenvName, dotenv}}

	vars := variables()
	found := make([]finding, len(vars))
	values := map[string]string{} // never nil, or env would read the process's own
	var secrets []string
	for i, v := range vars {
		found[i] = v.find(layers)
		if found[i].text != "" {
			values[v.name] = found[i].text + v.unit
		}
		if v.secret {
			for _, text := range append(v.direct(layers), found[i].text) {
				secrets = append(secrets, text)
				secrets = append(secrets, NewSecret(text).Parts()...)
				if v.field == "APITokens" {
					for _, t := range (&Config{APITokens: NewSecret(text)}).Tokens() {
						secrets = append(secrets, t.Token.Reveal())
					}
				}
			}
		}
	}
	hide := newReplacer(secrets)

	l := &Loaded{}
	faults := parse(&l.Config, vars, values)
	for i, v := range vars {
		shown := v.show(found[i].text, hide)
		l.settings = append(l.settings, Setting{Name: v.name, Value: shown, Origin: hide.Replace(found[i].origin), Doc: v.doc, Mark: mark(v.name, found[i].text)})
		if found[i].mistake != nil {
			mistakes = append(mistakes, *found[i].mistake)
			continue
		}
		f := faults[v.field]
		if f == nil && found[i].text != "" {
			f = l.check(v)
		}
		switch {
		case f == nil, f.missing && refused != nil: // it may well be in the .env that was refused
		case f.missing, v.secret:
			mistakes = append(mistakes, Mistake{v.name, f.wrong, f.fix})
		default:
			mistakes = append(mistakes, Mistake{v.name, fmt.Sprintf("%q %s", shown, f.wrong), f.fix})
		}
	}
	l.warnings = append(l.unwise(o.Now), misspelt(dotenv, vars)...)

	if len(mistakes) == 0 {
		return l, nil
	}
	for i, m := range mistakes {
		mistakes[i].Problem, mistakes[i].Fix = hide.Replace(m.Problem), hide.Replace(m.Fix)
	}
	return l, &Mistakes{All: mistakes}
}

// variable describes one field of Config.
type variable struct {
	field    string // its name in Config
	name     string
	alias    string
	unit     string // appended to the value before it is parsed
	fallback string
	min, max string
	oneof    []string
	hint     string
	doc      string
	secret   bool
}

// variables reads the tags of Config.
func variables() []variable {
	t := reflect.TypeFor[Config]()
	vars := make([]variable, 0, t.NumField())
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("env"), ",")
		vars = append(vars, variable{
			field:    f.Name,
			name:     name,
			alias:    f.Tag.Get("alias"),
			unit:     f.Tag.Get("unit"),
			fallback: f.Tag.Get("envDefault"),
			min:      f.Tag.Get("min"),
			max:      f.Tag.Get("max"),
			oneof:    strings.Fields(f.Tag.Get("oneof")),
			hint:     f.Tag.Get("hint"),
			doc:      f.Tag.Get("doc"),
			secret:   f.Type == reflect.TypeFor[Secret](),
		})
	}
	return vars
}

// forms returns every name under which v can be set, the preferred one first.
func (v variable) forms() []string {
	if !v.secret {
		return []string{v.name}
	}
	forms := []string{v.name, v.name + fileSuffix}
	if v.alias != "" {
		forms = append(forms, v.alias, v.alias+fileSuffix)
	}
	return forms
}

// direct returns every text that layers hold for v, used or not.
func (v variable) direct(layers []layer) []string {
	var texts []string
	for _, l := range layers {
		texts = append(texts, l.vars[v.name], l.vars[v.alias])
	}
	return texts
}

// show returns text as it may be printed, cut to a readable length.
func (v variable) show(text string, hide *strings.Replacer) string {
	const longest = 200
	if v.secret {
		return NewSecret(text).String()
	}
	if strings.HasSuffix(v.field, "URL") && !v.secret {
		text = withoutCredentials(text)
	}
	text = hide.Replace(text)
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return text
}

// mark returns 16 bits of a digest: enough to see a change, and so few that one
// in 65536 of all guesses at a secret has the same.
func mark(name, text string) string {
	sum := sha256.Sum256([]byte(name + "=" + text))
	return hex.EncodeToString(sum[:2])
}

// newReplacer returns a Replacer that hides secrets, wherever they came to
// stand: in .env, "$CHATWOOT_TOKEN" expands to one. Very short secrets are left
// alone, since they would hide every text that happens to contain them.
func newReplacer(secrets []string) *strings.Replacer {
	const shortest = 8
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) }) // one may contain another
	var pairs []string
	for _, s := range secrets {
		if len(s) >= shortest {
			pairs = append(pairs, s, "[secret]")
		}
	}
	return strings.NewReplacer(pairs...)
}

// layer is one place where variables are set.
type layer struct {
	name string
	vars map[string]string
}

// finding is what was found for one variable. Text is empty if it is not set.
type finding struct {
	text, origin string
	mistake      *Mistake
}

// find looks in each layer, then takes the default. What an earlier layer sets
// in any form hides all forms in the later ones.
func (v variable) find(layers []layer) finding {
	for _, l := range layers {
		var set []string
		for _, form := range v.forms() {
			if l.vars[form] != "" {
				set = append(set, form)
			}
		}
		if len(set) == 0 {
			continue
		}
		f := v.take(l, set[0])
		for _, other := range set[1:] {
			if isFile := strings.HasSuffix(set[0]+other, fileSuffix); isFile || l.vars[other] != l.vars[set[0]] {
				f.mistake = &Mistake{set[0], fmt.Sprintf("and %s are both set (%s)", other, l.name), "keep one of them"}
			}
		}
		return f
	}
	if v.fallback != "" {
		return finding{text: v.fallback, origin: "default"}
	}
	return finding{origin: "not set"}
}

// take reads v from the form in which l sets it.
func (v variable) take(l layer, form string) finding {
	given := l.vars[form]
	switch form {
	case v.name:
		return finding{text: given, origin: l.name}
	case v.alias:
		return finding{text: given, origin: "alias " + form}
	}
	text, err := readSecret(given)
	if err == nil {
		return finding{text: text, origin: form + " → " + given}
	}
	// A token in place of the path is an easy mistake, and looks like a path
	// without folders. Do not print it.
	m := Mistake{form, fmt.Sprintf("names a file that cannot be used (%v)", err), "write the path of a file, not the secret itself"}
	if strings.ContainsRune(given, filepath.Separator) {
		m = Mistake{form, fmt.Sprintf("%q cannot be used (%v)", given, err), "write the secret into that file, readable by this user, or correct the path"}
	}
	return finding{origin: form, mistake: &m}
}

// readSecret returns the content of a file without its trailing newline. The
// error does not name the file.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", reason(err)
	}
	defer func() { _ = f.Close() }() // only read
	content, err := readAll(f)
	if err != nil {
		return "", err
	}
	text := strings.TrimRight(string(content), "\r\n")
	if text == "" {
		return "", errors.New("it is empty")
	}
	return text, nil
}

// readDotenv returns the variables of the .env file in dir, none if there is no
// such file, or why it must not be used.
//
// Whoever can write the file can send the token to a server of theirs, so it
// has to belong to uid or root and be closed to others.
func readDotenv(dir string, uid int) (map[string]string, *Mistake) {
	if dir == "" {
		return nil, nil
	}
	path := filepath.Join(dir, dotenvName)
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	refuse := func(problem, fix string) (map[string]string, *Mistake) {
		return nil, &Mistake{path, problem, fix}
	}

	// Without O_NONBLOCK a named pipe would hold up the start for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return refuse(fmt.Sprintf("cannot be opened (%v)", reason(err)), "make it readable by this user, or remove it")
	}
	defer func() { _ = f.Close() }() // only read

	info, err := f.Stat() // of the file that is read, not of one put in its place since
	if err != nil {
		return refuse(fmt.Sprintf("cannot be examined (%v)", reason(err)), "make it readable by this user, or remove it")
	}
	if !info.Mode().IsRegular() {
		return refuse("is not a regular file", "replace it by a file, or remove it")
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 && int(stat.Uid) != uid {
		return refuse(fmt.Sprintf("belongs to another user (%d)", stat.Uid), fmt.Sprintf("run: chown %d %s", uid, quoteShell(path)))
	}
	if info.Mode().Perm()&0o022 != 0 {
		return refuse("is writable by its group or by others", "run: chmod go-w "+quoteShell(path))
	}

	content, err := readAll(f)
	if err != nil {
		return refuse(fmt.Sprintf("cannot be read (%v)", err), "correct or remove it")
	}
	content = bytes.TrimPrefix(content, []byte("\uFEFF")) // Windows editors write it
	content = append(content, '\n')                       // godotenv takes a last line without "=" for a value
	vars, err := godotenv.UnmarshalBytes(content)
	if err != nil { // not printed: it quotes the file
		return refuse(fmt.Sprintf("line %d is not NAME=value, or opens a quote that nothing closes", badLine(content)), "correct that line")
	}
	return vars, nil
}

// badLine returns the number, from 1, of the line at which content stops being
// valid. Content ends in a newline.
func badLine(content []byte) int {
	number, statement, pending := 0, 1, []byte(nil)
	for line := range bytes.Lines(content) {
		number++
		if pending == nil {
			statement = number
		} else if !bytes.ContainsAny(line, `"'`) {
			pending = append(pending, line...)
			continue // only a quote can end the value that spans lines
		}
		pending = append(pending, line...)
		if _, err := godotenv.UnmarshalBytes(pending); err == nil {
			pending = nil
		}
	}
	return statement
}

// readAll reads r, up to maxFile.
func readAll(r io.Reader) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, reason(err)
	}
	if len(content) > maxFile {
		return nil, fmt.Errorf("it is larger than %d bytes", maxFile)
	}
	return content, nil
}

// reason strips the operation and the path off err.
func reason(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}

// quoteShell returns path as one word of a shell command.
func quoteShell(path string) string {
	if strings.IndexFunc(path, func(r rune) bool { return !isWord(r) && !strings.ContainsRune("/.-", r) }) < 0 {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
