package report_test

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/report"
)

// nasty are names that some format gives a meaning to.
var nasty = []string{
	`<script>alert(1)</script>`,
	`"><img src=https://evil.example/x onerror=alert(1)>`,
	`{{.}} &amp; &lt;b&gt;`,
	`a|b\|c`,
	"two\nlines\r\nof it",
	`[click](https://evil.example) ![x](https://evil.example/y.png)`,
	"*bold* _it_ `code` ~~gone~~ @everyone",
	`=cmd|' /C calc'!A0`,
	`+1+1`, `-1-1`, `@SUM(A1)`, `＝1+1`, " \t=2+2",
	"שירות לקוחות", "abc\u202egpj.exe",
	"\x1b[2J\x1b[31mred", "客户服务热线客户服务热线客户服务热线",
	`semi;colon,"quoted"`,
}

// nastyReport has each of nasty as an inbox, a team, an agent and a probe.
func nastyReport(t *testing.T) *report.Report {
	t.Helper()
	o := week()
	o.Inboxes = map[int64]string{}
	o.InboxPromises = map[int64]time.Duration{}
	o.BusinessHours = nasty[1]
	o.ConversationURL = func(id int64) string { return fmt.Sprintf("https://chat.example.com/a(b)|c/%d", id) }
	var entries []ledger.Entry
	for i, name := range nasty {
		inbox := int64(i + 1)
		o.Inboxes[inbox] = name
		o.InboxPromises[inbox] = time.Duration(i+1) * time.Minute
		for _, start := range []time.Time{o.From.AddDate(0, 0, -1), o.From.Add(time.Hour)} {
			for j, e := range many(10, 0, start) {
				if start.After(o.From) && j < 3 {
					e = waiting(inbox, start)
				}
				e.Inbox, e.Team, e.Assignee = inbox, name, name
				entries = append(entries, e)
			}
		}
	}
	b := newBuilder(t, o)
	for _, e := range entries {
		b.Add(e)
	}
	for _, name := range nasty {
		b.AddProbes(o.From, name, report.Probes{Success: 1, Failure: 1})
	}
	return b.Report()
}

func TestNamesHaveNoPowerOverMarkdown(t *testing.T) {
	text := write(t, nastyReport(t), report.Markdown)
	unescaped := regexp.MustCompile(`(?:^|[^\\])(?:\\\\)*([|<>*_\x60~@\[\]])`)
	columns := 0
	for i, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "|") {
			columns = 0
			continue
		}
		n := strings.Count(line, "|") - strings.Count(line, `\|`)
		if columns == 0 {
			columns = n
		}
		if n != columns {
			t.Errorf("line %d has %d columns, the table has %d: %s", i+1, n, columns, line)
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if strings.HasPrefix(name, `[#`) { // a link of ours
			continue
		}
		if m := unescaped.FindString(name); m != "" && !strings.HasPrefix(name, "---") {
			t.Errorf("line %d: %q has a meaning in %s", i+1, m, name)
		}
	}
	if regexp.MustCompile(`[^\\]://evil`).MatchString(text) {
		t.Error("an address became a link")
	}
	if !strings.Contains(text, "](https://chat.example.com/a%28b%29%7Cc/") {
		t.Error("a conversation's address is not kept to its link")
	}
}

func TestNamesHaveNoPowerOverASpreadsheet(t *testing.T) {
	body, ok := strings.CutPrefix(write(t, nastyReport(t), report.CSV), "\ufeff")
	if !ok {
		t.Error("the mark by which Excel knows UTF-8 is missing")
	}
	rows, err := csv.NewReader(strings.NewReader(body)).ReadAll() // which wants rows of one length
	if err != nil {
		t.Fatal(err)
	}
	names := 0
	for _, row := range rows {
		for _, cell := range row {
			if cell == "" {
				continue
			}
			if strings.ContainsAny(cell, "\r\n\t\x1b") || strings.ContainsAny(cell[:1], "=+-@") || strings.HasPrefix(cell, "＝") {
				t.Errorf("the cell %q can do something", cell)
			}
			if strings.HasPrefix(cell, "'") {
				names++
			}
		}
	}
	if names == 0 {
		t.Error("no name was made harmless; does the sample still have formulas?")
	}
}

func TestNamesHaveNoPowerOverATerminal(t *testing.T) {
	for line := range strings.Lines(write(t, nastyReport(t), report.Text)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.ContainsAny(line, "\x1b\t\r\u202e") {
			t.Errorf("control characters in %q", line)
		}
		if strings.HasPrefix(line, "#") { // a link cannot be broken
			continue
		}
		if n := report.Columns(line); n > 100 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

func TestNamesHaveNoPowerOverAPage(t *testing.T) {
	page := write(t, nastyReport(t), report.HTML)
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	texts := map[string]bool{}
	for n := range root.Descendants() {
		if n.Type == html.TextNode {
			texts[n.Data] = true
		}
		if n.Type != html.ElementNode {
			continue
		}
		switch n.Data {
		case "script", "img", "iframe", "link", "object", "embed", "base", "form", "image", "use", "foreignObject":
			t.Errorf("the page has a <%s>", n.Data)
		}
		for _, a := range n.Attr {
			switch {
			case strings.HasPrefix(a.Key, "on"), a.Key == "src", a.Key == "srcset":
				t.Errorf("<%s> has %s=%q", n.Data, a.Key, a.Val)
			case a.Key == "href" && !strings.HasPrefix(a.Val, "https://chat.example.com/"):
				t.Errorf("a link leads to %q", a.Val)
			case a.Key == "id" && ids[a.Val]:
				t.Errorf("the id %q is there twice", a.Val)
			case a.Key == "id":
				ids[a.Val] = true
			}
		}
	}
	for _, name := range []string{nasty[0], nasty[1], nasty[2], nasty[13], "two lines of it"} {
		if !texts[name] {
			t.Errorf("the page does not show %q as it is", name)
		}
	}
	for _, never := range []string{"url(", "@import", "http://", "\u202e"} {
		if strings.Contains(page, never) {
			t.Errorf("the page contains %q", never)
		}
	}
}

func TestChartsTakeTheirColoursAndFontFromThePage(t *testing.T) {
	page := write(t, busyWeek(t, 90).Report(), report.HTML)
	if n := strings.Count(page, `<svg role="img" aria-label="`); n != 3 {
		t.Errorf("%d charts with words for those who do not see them, want 3", n)
	}
	_, body, _ := strings.Cut(page, "</style>")
	for _, never := range []string{"rgb(", "rgba(", "font-family", "Roboto", ":white", ":black", "xmlns"} {
		if i := strings.Index(body, never); i >= 0 {
			t.Errorf("the page has %s of its own: %s", never, body[max(0, i-80):i+40])
		}
	}
	for _, name := range regexp.MustCompile(`var\((--[a-z-]+)\)`).FindAllStringSubmatch(body, -1) {
		if strings.Count(page, name[1]+": #") != 2 {
			t.Errorf("%s is not defined for light and for dark", name[1])
		}
	}
}

func TestAReportWithoutDecisionsHasNoCharts(t *testing.T) {
	page := write(t, reportOf(t, week(), excluded(1, week().From)), report.HTML)
	if strings.Contains(page, `<svg role="img"`) {
		t.Error("a chart shows nothing")
	}
}

func TestAllFormatsTellTheSameNumbers(t *testing.T) {
	r := busyWeek(t, 90).Report()
	n := numbersOf(t, r)
	day := n.Days[2]
	rate := strconv.FormatFloat(*day.Rate*100, 'f', 1, 64) + " %"
	for f, want := range map[report.Format]string{
		report.Text:     fmt.Sprintf("Wed 18 Nov       %d   %d         %d         %d        %s", day.Decided, day.Met, day.Breached, day.Excluded, rate),
		report.Markdown: fmt.Sprintf("| Wed 18 Nov | %d | %d | %d | %d | **%s** |", day.Decided, day.Met, day.Breached, day.Excluded, rate),
		report.HTML:     fmt.Sprintf(`<td class="num"><bdi>%d</bdi></td><td class="num"><bdi>%d</bdi></td><td class="num bad"><bdi>%s</bdi></td>`, day.Breached, day.Excluded, rate),
		report.CSV:      fmt.Sprintf("day,2026-11-18,Wednesday,%d,%d,%d,%d,%v,%d", day.Decided, day.Met, day.Breached, day.Excluded, *day.Rate, *day.P50),
	} {
		if !strings.Contains(write(t, r, f), want) {
			t.Errorf("%s lacks %q", f, want)
		}
	}
}

func TestFiftyInboxesAreAllListedWorstFirst(t *testing.T) {
	o := week()
	o.Inboxes = map[int64]string{}
	b := newBuilder(t, o)
	for i := range 50 {
		inbox := int64(100 + i)
		o.Inboxes[inbox] = fmt.Sprintf("Inbox of the %dth branch office", i+1)
		for _, e := range many(50, i%10, o.From.Add(time.Hour)) {
			e.Inbox = inbox
			b.Add(e)
		}
	}
	r := b.Report()
	n := numbersOf(t, r)
	if len(n.Inboxes) != 50 || !slices.IsSortedFunc(n.Inboxes, func(a, b struct {
		Inbox int64
		Name  string
		group
		Previous group
	},
	) int {
		return b.Breached - a.Breached
	}) {
		t.Errorf("%d inboxes, or not worst first", len(n.Inboxes))
	}
	for _, f := range []report.Format{report.Text, report.Markdown, report.HTML, report.CSV} {
		text := write(t, r, f)
		for i := range 50 {
			if !strings.Contains(text, fmt.Sprintf("of the %dth", i+1)) {
				t.Errorf("%s lacks inbox %d", f, i+1)
			}
		}
	}
}

func TestAgentsThatAreUnknownAreOneGroup(t *testing.T) {
	r := reportOf(t, week(), many(30, 1, week().From.Add(time.Hour))...)
	if n := numbersOf(t, r); len(n.Agents) != 1 || n.Agents[0].Agent != "" || n.Agents[0].Decided != 30 {
		t.Errorf("%+v", n.Agents)
	}
	text := write(t, r, report.Text)
	if !strings.Contains(text, "(nobody)") || !strings.Contains(text, "(no team)") || !strings.Contains(text, "inbox 1 ") {
		t.Errorf("who is not known has no name:\n%s", text)
	}
	everyFormat(t, r)
}

func TestAWriterThatFailsIsReported(t *testing.T) {
	r := reportOf(t, week(), many(30, 1, week().From.Add(time.Hour))...)
	full := errors.New("disk full")
	for _, f := range report.Formats {
		if err := r.Write(brokenWriter{full}, f); !errors.Is(err, full) {
			t.Errorf("%s: error %v", f, err)
		}
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

func TestAnUnknownFormatIsNamed(t *testing.T) {
	var f report.Format
	if err := f.UnmarshalText([]byte("html")); err != nil || f != report.HTML {
		t.Errorf("html is %q, %v", f, err)
	}
	err := f.UnmarshalText([]byte("pdf"))
	if err == nil || !strings.Contains(err.Error(), `"pdf"`) || !strings.Contains(err.Error(), "text, markdown, csv, json, html") {
		t.Errorf("error %v", err)
	}
	if f != report.HTML {
		t.Error("a mistake changed the format")
	}
	if err := reportOf(t, week()).Write(&strings.Builder{}, "pdf"); err == nil {
		t.Error("a report was written as pdf")
	}
}

func TestReportsOfTheSameFactsAreTheSame(t *testing.T) {
	for _, f := range report.Formats {
		once, again := write(t, busyWeek(t, 20).Report(), f), write(t, busyWeek(t, 20).Report(), f)
		if once != again {
			t.Errorf("%s differs from run to run", f)
		}
	}
}

func TestAPeriodThatHasNotEndedSaysSo(t *testing.T) {
	o := week()
	o.AsOf = o.From.Add(33 * time.Hour)
	if text := write(t, reportOf(t, o), report.Text); !strings.Contains(text, "not ended yet: this is how it stood at 17 Nov 2026 09:00") {
		t.Errorf("it does not:\n%s", text)
	}
}

func TestEveryFieldAndColumnIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := func(part, name string) {
		t.Helper()
		for line := range strings.Lines(part) {
			if cells := strings.SplitN(line, "|", 3); len(cells) == 3 && strings.Contains(line, "`"+name+"`") {
				return
			}
		}
		t.Errorf("FORMAT.md has no row for %q", name)
	}
	asJSON, asCSV, _ := strings.Cut(string(doc), "## CSV")
	r := busyWeek(t, 90).Report()
	for _, field := range regexp.MustCompile(`(?m)^\s*"([a-z0-9_]+)":`).FindAllStringSubmatch(write(t, r, report.JSON), -1) {
		documented(asJSON, field[1])
	}
	header, _, _ := strings.Cut(strings.TrimPrefix(write(t, r, report.CSV), "\ufeff"), "\n")
	for column := range strings.SplitSeq(header, ",") {
		documented(asCSV, column)
	}
	if !strings.Contains(asJSON, report.Schema) {
		t.Errorf("FORMAT.md does not name the schema %s", report.Schema)
	}
}
