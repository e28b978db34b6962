package report

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// document is the report as a person reads it. Text, Markdown and HTML all
// write this one, so their numbers cannot differ.
type document struct {
	Title    string
	Period   string
	Facts    []string // what the period was judged by
	Verdict  Verdict
	Headline string
	Figures  []figure
	Sections []section
}

// figure is a number that is seen at first sight.
type figure struct {
	Label, Value, Note string
	Bad                bool
}

type section struct {
	ID, Title string
	Intro     string // how to read the table
	Chart     func() (chart, error)
	Columns   []column
	Rows      [][]cell
	Notes     []string // below the table
}

type column struct {
	Title  string
	Number bool
	Most   int // columns of a terminal that a cell may take; 0: as many as it needs
}

type cell struct {
	Text string
	URL  string
	Bad  bool // on the wrong side of its target
}

func (f *facts) document() document {
	return document{
		Title:    "First-response report",
		Period:   dates(f.From, f.To) + ", " + f.zone(),
		Facts:    f.judgedBy(),
		Verdict:  f.Verdict(),
		Headline: f.Headline(),
		Figures:  f.figures(),
		Sections: []section{
			f.changes(),
			f.worstConversations(),
			f.byDay(),
			groupsOf("inboxes", "By inbox", "Inbox", "", f, f.now.inboxes, f.inboxName),
			groupsOf("teams", "By team", "Team", "The team that had the conversation when it was decided.", f, f.now.teams, teamName),
			groupsOf("agents", "By agent", "Agent", "The agent who had the conversation when it was decided, and not always the one who answered.", f, f.agents, agentName),
			f.byHour(),
			f.byAnswer(),
			f.health(),
			f.howCounted(),
		},
	}
}

// minute is how an instant is written.
const minute = "2 Jan 2006 15:04"

func (f *facts) judgedBy() []string {
	lines := []string{f.promises()}
	until := f.AsOf
	if f.KnownTo.Before(until) {
		until = f.KnownTo
	}
	switch {
	case f.AsOf.Before(f.To):
		lines = append(lines, "The period has not ended yet: this is how it stood at "+until.Format(minute)+".")
	case f.KnownTo.Before(f.To):
		lines = append(lines, "Provisional: what happened after "+until.Format(minute)+" has yet to be read from Chatwoot.")
	}
	if f.From.Before(f.KnownFrom) {
		lines = append(lines, "The ledger begins "+f.KnownFrom.Format(minute)+". What was decided before is not in this report.")
	}
	var lacking []string
	if n := f.Pending.Running; n > 0 {
		lacking = append(lacking, conversations(n)+" still within the deadline")
	}
	if n := f.Pending.Undecided; n > 0 {
		lacking = append(lacking, conversations(n)+" whose deadline has passed and whose outcome is not known yet")
	}
	if len(lacking) > 0 {
		lines = append(lines, "Not in this report: "+strings.Join(lacking, ", and ")+".")
	}
	return lines
}

func (f *facts) figures() []figure {
	g := &f.now.total
	figures := []figure{
		{Label: "breach rate", Value: f.rate(g), Note: "target: below " + exactPercent(f.Target), Bad: f.Verdict() == TargetMissed},
		{Label: "decided", Value: strconv.Itoa(g.decided()), Note: fmt.Sprintf("%d met, %d breached", g.Met, g.Breached)},
		{Label: "median first response", Value: quantile(g, 50), Note: "90 % within " + quantile(g, 90)},
	}
	for _, name := range f.probeNames() {
		n := f.now.probe(name)
		figures = append(figures, figure{
			Label: f.probeTitle(name), Value: healthRate(n), Note: "target: " + exactPercent(HealthTarget), Bad: n.successRate() < HealthTarget,
		})
	}
	return figures
}

var quantiles = [...]struct {
	name    string
	title   string
	percent int
}{
	{"p50", "First response, median", 50},
	{"p75", "First response, p75", 75},
	{"p90", "First response, p90", 90},
	{"p95", "First response, p95", 95},
	{"max", "First response, longest", 100},
}

func quantile(g *group, percent int) string {
	d, ok := g.quantile(percent)
	if !ok {
		return nothing
	}
	return duration(d)
}

func (f *facts) changes() section {
	g, h := &f.now.total, &f.before.total
	s := section{
		ID: "changes", Title: "What changed",
		Columns: []column{{Most: 32}, {Title: "This period", Number: true}, {Title: "Before", Number: true}, {Title: "Change", Number: true}},
	}
	s.Intro = "Compared with " + f.periodBefore() + " (" + dates(f.previous, f.From) + ")."
	if !f.comparable() {
		s.Intro = "There is nothing to compare with: the ledger begins " + f.KnownFrom.Format(minute) + "."
	}
	s.Intro += " Late answers count with the time they really took, " + f.clock() + "."
	row := func(title, now, before, change string, bad bool) {
		if !f.comparable() {
			before, change = nothing, nothing
		}
		s.Rows = append(s.Rows, []cell{{Text: title}, {Text: now, Bad: bad}, {Text: before}, {Text: change}})
	}
	row("Breach rate", f.rate(g), f.rate(h), pointsChange(g.BreachRatio()-h.BreachRatio(), 1), f.Verdict() == TargetMissed)
	for _, n := range []struct {
		title       string
		now, before int
	}{
		{"Decided", g.decided(), h.decided()},
		{"Met", g.Met, h.Met},
		{"Breached", g.Breached, h.Breached},
		{"Excluded", g.Excluded, h.Excluded},
	} {
		row(n.title, strconv.Itoa(n.now), strconv.Itoa(n.before), signed(n.now-n.before, strconv.Itoa), false)
	}
	for _, q := range quantiles {
		now, okNow := g.quantile(q.percent)
		before, okBefore := h.quantile(q.percent)
		change := nothing
		if okNow && okBefore {
			change = signed(now-before, duration)
		}
		row(q.title, quantile(g, q.percent), quantile(h, q.percent), change, false)
	}
	for _, name := range f.probeNames() {
		now, before := f.now.probe(name), f.before.probe(name)
		row("Health, "+f.probeTitle(name), healthRate(now), healthRate(before), pointsChange(now.successRate()-before.successRate(), 2), now.successRate() < HealthTarget)
	}
	s.Notes = f.gotWorse()
	return s
}

func pointsChange(difference float64, decimals int) string {
	switch {
	case math.IsNaN(difference): // one of the two does not exist
		return nothing
	case difference > 0:
		return "+" + points(difference, decimals)
	case difference < 0:
		return "−" + points(difference, decimals)
	}
	return "0"
}

func (f *facts) gotWorse() []string {
	var notes []string
	note := func(kind, name string, now, before *group, more float64) {
		notes = append(notes, fmt.Sprintf("The %s that got worse most is %s: %s breached after %s, about %.0f more than at the rate before.",
			kind, name, f.rate(now), f.rate(before), more))
	}
	if c, ok := gotWorst(f.now.inboxes, f.before.inboxes); ok {
		note("inbox", f.inboxName(c.key), c.now, c.before, c.more)
	}
	if c, ok := gotWorst(f.now.teams, f.before.teams); ok {
		note("team", teamName(c.key), c.now, c.before, c.more)
	}
	return notes
}

func (f *facts) worstConversations() section {
	s := section{ID: "worst", Title: "Furthest over the deadline"}
	if len(f.worst.kept) == 0 {
		s.Notes = []string{"No conversation breached."}
		return s
	}
	s.Columns = []column{
		{Title: "Conversation"},
		{Title: "Inbox", Most: 16},
		{Title: "Team", Most: 11},
		{Title: "Agent", Most: 14},
		{Title: "Due"},
		{Title: "Over", Number: true},
		{Title: "Answer"},
	}
	for _, o := range f.worst.kept {
		link := cell{Text: "#" + strconv.FormatInt(o.Conversation, 10)}
		if f.ConversationURL != nil {
			link.URL = f.ConversationURL(o.Conversation)
		}
		s.Rows = append(s.Rows, []cell{
			link,
			{Text: f.inboxName(o.Inbox)},
			{Text: teamName(o.Team)},
			{Text: agentName(o.Assignee)},
			{Text: o.Deadline.In(f.Zone).Format("2 Jan 15:04")},
			{Text: duration(o.over)},
			{Text: fateWords[o.fate], Bad: o.fate == unanswered},
		})
	}
	s.Intro = "By the time that passed after the deadline, " + f.clock() + "."
	s.Notes = []string{"“none yet” means that the customer was still waiting at " + f.AsOf.Format(minute) +
		", and “none” that the conversation was closed without an answer."}
	if left := f.worst.total - len(f.worst.kept); left > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("And %d more that breached.", left))
	}
	return s
}

var fateWords = map[string]string{answeredLate: "late", unanswered: "none yet", endedWithout: "none"}

// groupColumns are the columns of every table of groups but its first.
var groupColumns = []column{
	{Title: "Decided", Number: true},
	{Title: "Met", Number: true},
	{Title: "Breached", Number: true},
	{Title: "Excluded", Number: true},
	{Title: "Breach rate", Number: true},
	{Title: "Median", Number: true},
	{Title: "p90", Number: true},
}

func (f *facts) groupRow(name string, g *group) []cell {
	return []cell{
		{Text: name},
		{Text: strconv.Itoa(g.decided())},
		{Text: strconv.Itoa(g.Met)},
		{Text: strconv.Itoa(g.Breached)},
		{Text: strconv.Itoa(g.Excluded)},
		{Text: f.rate(g), Bad: g.decided() >= Few && g.BreachRatio() >= f.Target},
		{Text: quantile(g, 50)},
		{Text: quantile(g, 90)},
	}
}

func groupTable(id, title, key string) section {
	return section{ID: id, Title: title, Columns: slices.Insert(slices.Clone(groupColumns), 0, column{Title: key, Most: 24})}
}

func (f *facts) byDay() section {
	s := groupTable("days", "By day", "Day")
	s.Intro = "The day of the outcome: of the answer when it came in time, of the deadline when it did not."
	if len(f.days) > 1 {
		s.Chart = f.rateByDay
	}
	for i := range f.days {
		s.Rows = append(s.Rows, f.groupRow(f.day(i).Format("Mon 2 Jan"), &f.days[i]))
	}
	return s
}

// day returns the date of the day with the given index, in no zone.
func (f *facts) day(i int) time.Time { return time.Unix(int64(f.firstDay+i)*secondsPerDay, 0).UTC() }

func groupsOf[K int64 | string](id, title, key, intro string, f *facts, groups map[K]*group, name func(K) string) section {
	s := groupTable(id, title, key)
	s.Intro = intro
	for _, k := range worstFirst(groups) {
		s.Rows = append(s.Rows, f.groupRow(name(k), groups[k]))
	}
	return s
}

func (f *facts) byHour() section {
	s := groupTable("hours", "By hour of day", "Hour")
	s.Intro = "The hour in which the customer began to wait (" + f.zone() + "), because that is when somebody has to be there."
	s.Chart = f.decidedByHour
	for hour := range f.hours {
		s.Rows = append(s.Rows, f.groupRow(fmt.Sprintf("%02d:00", hour), &f.hours[hour]))
	}
	return s
}

func (f *facts) byAnswer() section {
	s := section{
		ID: "answers", Title: "Time to the first answer",
		Intro: "Every answer, late ones included, " + f.clock() + ". Conversations without any answer yet are not here.",
		Chart: f.answerTimes,
		Columns: []column{
			{Title: "Time"}, {Title: "In time", Number: true}, {Title: "Late", Number: true}, {Title: "All up to here", Number: true},
		},
	}
	sum := 0
	for i := range f.times.inTime {
		inTime, late := f.times.inTime[i], f.times.late[i]
		sum += inTime + late
		share := nothing
		if f.times.answers > 0 {
			share = percent(float64(sum)/float64(f.times.answers), 1, 0, 1)
		}
		s.Rows = append(s.Rows, []cell{
			{Text: f.times.name(i)}, {Text: strconv.Itoa(inTime)}, {Text: strconv.Itoa(late)}, {Text: share},
		})
	}
	return s
}

// name writes the bin with the given index.
func (d *distribution) name(i int) string {
	switch i {
	case 0:
		return "up to " + bound(d.edges[0])
	case len(d.edges):
		return "over " + bound(d.edges[i-1])
	}
	return bound(d.edges[i-1]) + " – " + bound(d.edges[i])
}

func (f *facts) health() section {
	s := section{
		ID: "health", Title: "Chatwoot's health",
		Intro: "The target is " + exactPercent(HealthTarget) + " of the probes. Those made during maintenance do not count.",
	}
	names := f.probeNames()
	if len(names) == 0 {
		s.Notes = []string{"No probe was recorded."}
		return s
	}
	s.Columns = []column{
		{Title: "Probe", Most: 24},
		{Title: "Day"},
		{Title: "Passed", Number: true},
		{Title: "Failed", Number: true},
		{Title: "In maintenance", Number: true},
		{Title: "Success rate", Number: true},
	}
	row := func(name, day string, n Probes) {
		s.Rows = append(s.Rows, []cell{
			{Text: f.probeTitle(name)},
			{Text: day},
			{Text: strconv.Itoa(n.Success)},
			{Text: strconv.Itoa(n.Failure)},
			{Text: strconv.Itoa(n.Maintenance)},
			{Text: healthRate(n), Bad: n.successRate() < HealthTarget},
		})
	}
	for _, name := range names {
		row(name, "all", f.now.probe(name))
		for i, n := range f.now.probeDays(name) {
			if n.Failure > 0 && len(f.days) > 1 {
				row(name, f.day(i).Format("Mon 2 Jan"), n)
			}
		}
	}
	if len(f.days) > 1 {
		s.Notes = []string{"Days without a failed probe are left out."}
	}
	return s
}

// probeNames returns the probes of either period.
func (f *facts) probeNames() []string {
	names := maps.Clone(f.now.probes)
	maps.Copy(names, f.before.probes)
	return slices.Sorted(maps.Keys(names))
}

func (p *period) probe(name string) Probes {
	if d := p.probes[name]; d != nil {
		return d.total
	}
	return Probes{}
}

func (p *period) probeDays(name string) []Probes {
	if d := p.probes[name]; d != nil {
		return d.days
	}
	return nil
}

func (f *facts) howCounted() section {
	times := "Times are " + f.clock()
	switch {
	case f.Open == nil:
		times += ": nights and closed days are part of them."
	case f.BusinessHours != "":
		times += ", as they are now: nights and closed days are no part of them."
	default:
		times += "."
	}
	return section{
		ID: "counting", Title: "How this is counted",
		Notes: []string{
			"Met: the first human answer came at or before the deadline. Breached: it did not, whatever happened later. Both count as decided.",
			"Excluded: closed or deleted before the deadline without an answer. These are in no rate.",
			"Breach rate: breached of all decided.",
			"Median, p75, p90, p95: half, 75 %, 90 % and 95 % of the answers took at most this long. Answers that came late are among them with their real time, and conversations that nobody has answered are not.",
			times,
		},
	}
}
