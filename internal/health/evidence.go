package health

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// DefaultRetention is how long evidence is kept.
const DefaultRetention = 90 * 24 * time.Hour

// Where evidence lies below the artifacts folder, and what it is called.
const (
	checkFolder   = "ops/chatwoot-health"
	supportFolder = "support"
	dailyLog      = "chatwoot-health.log"
	checkPrefix   = "health-check-"
	checkSuffix   = ".json"
	checkStamp    = "20060102T150405.000Z"
	dayFormat     = "2006-01-02"
)

// Where other evidence of operations lies below the artifacts folder. It is
// pruned with the rest.
const (
	IncidentFolder  = "ops/incidents"
	ChecklistFolder = "ops/checklists"
)

// DatedName returns the name of a file of a kind (one word) that is about an
// instant.
func DatedName(kind string, at time.Time) string {
	return kind + "-" + at.UTC().Format(checkStamp) + checkSuffix
}

// Kinds of evidence, as the "kind" label carries them.
const (
	kindCheck = "health_check"
	kindDaily = "daily_log"
)

// EvidenceOptions configures Evidence.
type EvidenceOptions struct {
	Dir       string        // the artifacts folder; made on the first write if it is missing
	Retention time.Duration // 0 means DefaultRetention
	Now       func() time.Time
}

// Evidence keeps health checks as files, for people and auditors. Several
// processes may write to the same folder.
type Evidence struct {
	dir       string
	retention time.Duration
	now       func() time.Time
}

// NewEvidence returns Evidence, or an error that names what the options lack.
// It touches no file.
func NewEvidence(o EvidenceOptions) (*Evidence, error) {
	if o.Dir == "" {
		return nil, errors.New("new evidence: there is no folder; set ARTIFACTS_DIR")
	}
	if o.Retention < 0 {
		return nil, fmt.Errorf("new evidence: retention %v is negative; set EVIDENCE_RETENTION to 90d or so", o.Retention)
	}
	if o.Retention == 0 {
		o.Retention = DefaultRetention
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Evidence{dir: o.Dir, retention: o.Retention, now: o.Now}, nil
}

// WriteCheck writes r to a new file named after its start, and appends a line
// to that day's log. The file appears whole or not at all, and never replaces
// another. The path is empty when no file was written; the error names the
// folder that would not take it and what to do.
func (e *Evidence) WriteCheck(r Report) (string, error) {
	file, checkErr, dailyErr := e.write(r)
	return file, errors.Join(checkErr, dailyErr)
}

// write tries both kinds, so that one failing does not cost the other.
func (e *Evidence) write(r Report) (file string, checkErr, dailyErr error) {
	day := path.Join(supportFolder, r.Started.UTC().Format(dayFormat))
	if err := os.MkdirAll(e.dir, 0o750); err != nil {
		return "", e.advise("write health-check evidence", checkFolder, err), e.advise("append to the daily log", day, err)
	}
	root, err := os.OpenRoot(e.dir)
	if err != nil {
		return "", e.advise("write health-check evidence", checkFolder, err), e.advise("append to the daily log", day, err)
	}
	defer root.Close()

	name, err := writeCheckFile(root, r)
	if err != nil {
		checkErr = e.advise("write health-check evidence", checkFolder, err)
	} else {
		file = filepath.Join(e.dir, checkFolder, name)
	}
	if err := appendDailyLine(root, day, dailyLine(r, name)); err != nil {
		dailyErr = e.advise("append to the daily log", day, err)
	}
	return file, checkErr, dailyErr
}

// abandoned is how long after its last write a temporary file belongs to a
// process that has died.
const abandoned = time.Minute

// HasDaily reports whether a file lies in a day's folder, beside its log.
func (e *Evidence) HasDaily(day, name string) bool {
	_, err := os.Lstat(filepath.Join(e.dir, supportFolder, day, name))
	return err == nil
}

// Daily returns what a file in a day's folder holds; the error is
// fs.ErrNotExist when there is none.
func (e *Evidence) Daily(day, name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(e.dir, supportFolder, day, name))
}

// WriteDaily writes a file into a day's folder (2006-01-02), beside its log and
// in the place of one that is there already. It appears whole or not at all.
// While another process writes it, it is left to that one.
func (e *Evidence) WriteDaily(day, name string, write func(io.Writer) error) error {
	err := e.Replace(path.Join(supportFolder, day, name), write)
	if errors.Is(err, errBusy) {
		return nil
	}
	return err
}

var errBusy = errors.New("another process is writing it")

// Replace writes a file at a path below the folder, in the place of one that is
// there already. It appears whole or not at all.
func (e *Evidence) Replace(name string, write func(io.Writer) error) error {
	var body bytes.Buffer
	if err := write(&body); err != nil {
		return err
	}
	folder, what := path.Dir(name), "write "+path.Base(name)
	if err := os.MkdirAll(e.dir, 0o750); err != nil {
		return e.advise(what, folder, err)
	}
	root, err := os.OpenRoot(e.dir)
	if err != nil {
		return e.advise(what, folder, err)
	}
	defer root.Close()
	if err := root.MkdirAll(folder, 0o750); err != nil {
		return e.advise(what, folder, err)
	}
	if tmp, err := root.Lstat(temporaryName(name)); err == nil && e.now().Sub(tmp.ModTime()) > abandoned {
		_ = root.Remove(temporaryName(name)) // if it stays, the next line says so
	}
	err = writeTemporary(root, temporaryName(name), body.Bytes())
	switch {
	case errors.Is(err, fs.ErrExist):
		err = errBusy
	case err == nil:
		if err = root.Rename(temporaryName(name), name); err != nil {
			_ = root.Remove(temporaryName(name))
		} else {
			err = syncFolder(root, folder)
		}
	}
	if err != nil {
		return e.advise(what, folder, err)
	}
	return nil
}

// writeCheckFile returns the base name of the file.
//
// A writer owns a name while it holds the hidden temporary file of that name,
// and it renames only onto a name that is free. So two writers in the same
// millisecond get two files, on file systems without hard links too.
func writeCheckFile(root *os.Root, r Report) (string, error) {
	if err := root.MkdirAll(checkFolder, 0o750); err != nil {
		return "", err
	}
	var body bytes.Buffer
	if err := WriteJSON(&body, r); err != nil {
		return "", err
	}
	const attempts = 1000 // a whole second of taken names is no coincidence
	for i := range attempts {
		at := r.Started.Add(time.Duration(i) * time.Millisecond)
		name := checkPrefix + at.UTC().Format(checkStamp) + checkSuffix
		err := writeNew(root, path.Join(checkFolder, name), body.Bytes())
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		return name, nil
	}
	return "", fmt.Errorf("every name in the second after %s is taken", r.Started.UTC().Format(checkStamp))
}

// writeNew returns fs.ErrExist when the name is taken or being written.
func writeNew(root *os.Root, name string, body []byte) (err error) {
	tmp := temporaryName(name)
	if err := writeTemporary(root, tmp, body); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = root.Remove(tmp)
		}
	}()
	if _, err := root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fs.ErrExist
		}
		return err
	}
	if err := root.Rename(tmp, name); err != nil {
		return err
	}
	return syncFolder(root, path.Dir(name))
}

// writeTemporary writes a file that must not be there, and leaves none behind
// if it fails.
func writeTemporary(root *os.Root, tmp string, body []byte) error {
	f, err := root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = root.Remove(tmp)
	}
	return err
}

func temporaryName(name string) string {
	dir, base := path.Split(name)
	return dir + "." + base + ".tmp"
}

// syncFolder makes a new name in dir survive a power cut, where the file
// system can do that.
func syncFolder(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// appendDailyLine appends in a single write, so that lines of two processes do
// not mix, and takes back a line that the disk would hold only in part.
func appendDailyLine(root *os.Root, day, line string) (err error) {
	if err := root.MkdirAll(day, 0o750); err != nil {
		return err
	}
	f, err := root.OpenFile(path.Join(day, dailyLog), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	torn, err := endsMidLine(f)
	if err != nil {
		return err
	}
	if torn {
		line = "\n" + line
	}
	n, err := f.WriteString(line)
	if err != nil {
		end, seekErr := f.Seek(0, io.SeekCurrent)
		info, statErr := f.Stat()
		if n > 0 && seekErr == nil && statErr == nil && info.Size() == end { // nobody has appended since
			err = errors.Join(err, f.Truncate(end-int64(n)))
		}
		return err
	}
	return f.Sync()
}

// endsMidLine reports whether a crash left a last line without its end.
func endsMidLine(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, info.Size()-1); err != nil {
		return false, err
	}
	return last[0] != '\n', nil
}

// dailyLine words r in logfmt. file is empty when no evidence was written.
func dailyLine(r Report, file string) string {
	var b strings.Builder
	meaning, _ := Meaning(r.ExitCode())
	fmt.Fprintf(&b, "time=%s exit_code=%d meaning=%q", r.Started.UTC().Format(instant), r.ExitCode(), meaning)
	for _, res := range r.Results {
		verdict := "passed"
		if !res.Success {
			verdict = "failed"
		}
		fmt.Fprintf(&b, " %s=%s %s_ms=%d", res.Probe, verdict, res.Probe, res.Duration.Milliseconds())
		if res.Status != 0 {
			fmt.Fprintf(&b, " %s_status=%d", res.Probe, res.Status)
		}
		if !res.Success {
			fmt.Fprintf(&b, " %s_reason=%s %s_error=%s", res.Probe, res.Reason, res.Probe, strconv.Quote(res.Error))
		}
	}
	if file != "" {
		b.WriteString(" file=" + file)
	}
	return b.String() + "\n"
}

// Prune removes evidence older than the retention and returns how many files
// went. It judges by the names, which it must recognise as its own, and leaves
// everything else alone: other files, day folders that hold any, and whatever
// is or lies behind a symbolic link.
func (e *Evidence) Prune() (int, error) {
	root, err := os.OpenRoot(e.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, e.advise("prune evidence", "", err)
	}
	defer root.Close()

	cutoff := e.now().Add(-e.retention)
	checks, checkErr := pruneChecks(root, cutoff)
	if checkErr != nil {
		checkErr = e.advise("prune evidence", checkFolder, checkErr)
	}
	for _, folder := range []string{IncidentFolder, ChecklistFolder} {
		removed, err := pruneDated(root, folder, cutoff)
		checks += removed
		if err != nil {
			checkErr = errors.Join(checkErr, e.advise("prune evidence", folder, err))
		}
	}
	logs, logErr := pruneDays(root, cutoff)
	if logErr != nil {
		logErr = e.advise("prune evidence", supportFolder, logErr)
	}
	return checks + logs, errors.Join(checkErr, logErr)
}

func pruneChecks(root *os.Root, cutoff time.Time) (removed int, err error) {
	entries, err := listRealFolder(root, checkFolder)
	for _, entry := range entries {
		at, ours := checkTime(entry.Name())
		if !ours || !entry.Type().IsRegular() || !at.Before(cutoff) {
			continue
		}
		if rmErr := removeFile(root, path.Join(checkFolder, entry.Name())); rmErr != nil {
			err = errors.Join(err, rmErr)
			continue
		}
		removed++
	}
	return removed, err
}

// pruneDated removes files whose names end in a DatedName.
func pruneDated(root *os.Root, folder string, cutoff time.Time) (removed int, err error) {
	entries, err := listRealFolder(root, folder)
	for _, entry := range entries {
		_, stamp, _ := strings.Cut(strings.TrimSuffix(entry.Name(), checkSuffix), "-")
		at, parseErr := time.Parse(checkStamp, stamp)
		if parseErr != nil || !entry.Type().IsRegular() || !at.Before(cutoff) {
			continue
		}
		if rmErr := removeFile(root, path.Join(folder, entry.Name())); rmErr != nil {
			err = errors.Join(err, rmErr)
			continue
		}
		removed++
	}
	return removed, err
}

func pruneDays(root *os.Root, cutoff time.Time) (removed int, err error) {
	entries, err := listRealFolder(root, supportFolder)
	for _, entry := range entries {
		day, parseErr := time.Parse(dayFormat, entry.Name())
		if parseErr != nil || !entry.IsDir() || day.AddDate(0, 0, 1).After(cutoff) {
			continue
		}
		folder := path.Join(supportFolder, entry.Name())
		log := path.Join(folder, dailyLog)
		if info, statErr := root.Lstat(log); statErr == nil && info.Mode().IsRegular() {
			if rmErr := removeFile(root, log); rmErr != nil {
				err = errors.Join(err, rmErr)
				continue
			}
			removed++
		}
		// Others keep evidence in day folders too, so only an empty one goes.
		if left, readErr := listRealFolder(root, folder); readErr == nil && len(left) == 0 {
			err = errors.Join(err, removeFile(root, folder))
		}
	}
	return removed, err
}

// checkTime returns the time in the name of a check's file, finished or
// abandoned half-way, and whether the name is one of ours.
func checkTime(name string) (time.Time, bool) {
	if hidden, ok := strings.CutPrefix(name, "."); ok {
		if name, ok = strings.CutSuffix(hidden, ".tmp"); !ok {
			return time.Time{}, false
		}
	}
	stamp, prefixed := strings.CutPrefix(name, checkPrefix)
	stamp, suffixed := strings.CutSuffix(stamp, checkSuffix)
	at, err := time.Parse(checkStamp, stamp)
	return at, prefixed && suffixed && err == nil && at.Format(checkStamp) == stamp
}

// listRealFolder lists a folder that it reaches without following a symbolic
// link. A folder that does not exist is empty.
func listRealFolder(root *os.Root, name string) ([]fs.DirEntry, error) {
	for at := ""; at != name; {
		next, _, _ := strings.Cut(strings.TrimPrefix(name[len(at):], "/"), "/")
		at = path.Join(at, next)
		info, err := root.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			return nil, fmt.Errorf("%s is not a folder of its own (a symbolic link?), so nothing is removed there", at)
		}
	}
	dir, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.ReadDir(-1)
}

// removeFile removes a file or an empty folder. Another process having done so
// first is no error.
func removeFile(root *os.Root, name string) error {
	if err := root.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// advise names the folder that err happened in, and ends with what to do.
func (e *Evidence) advise(attempt, folder string, err error) error {
	todo := "check that folder, or set ARTIFACTS_DIR to another"
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		todo = "free some space there, or set ARTIFACTS_DIR to another folder"
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		todo = "make it writable for this user, or set ARTIFACTS_DIR to another folder"
	}
	return fmt.Errorf("%s in %s: %w; %s", attempt, filepath.Join(e.dir, folder), err, todo)
}
