package report

import (
	"encoding/json"
	"io"
	"math"
	"time"
)

// Schema names the layout of the JSON; FORMAT.md describes each field. Fields
// may be added under the same name; a field that goes or changes its meaning
// takes a new one.
const Schema = "chatwoot-sla/breach-report/v1"

type reportJSON struct {
	Schema         string        `json:"schema"`
	From           string        `json:"from"`
	To             string        `json:"to"`
	AsOf           string        `json:"as_of"`
	TimeZone       string        `json:"time_zone"`
	PreviousFrom   string        `json:"previous_from"`
	KnownFrom      *string       `json:"known_from"` // null: from the beginning
	KnownTo        string        `json:"known_to"`
	Provisional    bool          `json:"provisional"`
	Comparable     bool          `json:"comparable"`
	Headline       string        `json:"headline"`
	Verdict        Verdict       `json:"verdict"`
	Target         float64       `json:"target_breach_rate"`
	PromiseSeconds int64         `json:"promise_seconds"`
	BusinessHours  string        `json:"business_hours"`
	OpenTime       bool          `json:"open_time"`
	StillRunning   int           `json:"still_running"`
	Undecided      int           `json:"undecided"`
	Total          groupJSON     `json:"total"`
	Previous       groupJSON     `json:"previous"`
	Days           []dayJSON     `json:"days"`
	Inboxes        []inboxJSON   `json:"inboxes"`
	Teams          []teamJSON    `json:"teams"`
	Agents         []agentJSON   `json:"agents"`
	Hours          []hourJSON    `json:"hours"`
	Answers        []answersJSON `json:"answers"`
	Worst          []worstJSON   `json:"worst"`
	GotWorse       gotWorseJSON  `json:"got_worse"`
	Health         healthJSON    `json:"health"`
}

type groupJSON struct {
	Decided    int      `json:"decided"`
	Met        int      `json:"met"`
	Breached   int      `json:"breached"`
	Excluded   int      `json:"excluded"`
	BreachRate *float64 `json:"breach_rate"` // null: nothing decided
	P50        *int64   `json:"p50_seconds"` // null: no answer
	P75        *int64   `json:"p75_seconds"`
	P90        *int64   `json:"p90_seconds"`
	P95        *int64   `json:"p95_seconds"`
	Max        *int64   `json:"max_seconds"`
}

type dayJSON struct {
	Day string `json:"day"`
	groupJSON
}

type inboxJSON struct {
	Inbox          int64  `json:"inbox"`
	Name           string `json:"name"`
	PromiseSeconds int64  `json:"promise_seconds"`
	groupJSON
	Previous groupJSON `json:"previous"`
}

type teamJSON struct {
	Team string `json:"team"`
	groupJSON
	Previous groupJSON `json:"previous"`
}

type agentJSON struct {
	Agent string `json:"agent"`
	groupJSON
}

type hourJSON struct {
	Hour int `json:"hour"`
	groupJSON
}

type answersJSON struct {
	UpToSeconds *int64 `json:"up_to_seconds"` // null: no bound
	InTime      int    `json:"in_time"`
	Late        int    `json:"late"`
}

type worstJSON struct {
	Conversation    int64   `json:"conversation"`
	Round           int     `json:"round"`
	URL             string  `json:"url"`
	Inbox           int64   `json:"inbox"`
	InboxName       string  `json:"inbox_name"`
	Team            string  `json:"team"`
	Agent           string  `json:"agent"`
	Start           string  `json:"start"`
	Deadline        string  `json:"deadline"`
	FirstResponseAt *string `json:"first_response_at"`
	EndedAt         *string `json:"ended_at"`
	OverSeconds     int64   `json:"over_seconds"`
	Fate            string  `json:"fate"`
}

type gotWorseJSON struct {
	Inbox *int64  `json:"inbox"` // null: none did
	Team  *string `json:"team"`
}

type healthJSON struct {
	Target float64     `json:"target_success_rate"`
	Probes []probeJSON `json:"probes"`
}

type probeJSON struct {
	Probe string `json:"probe"`
	countsJSON
	Previous countsJSON     `json:"previous"`
	Days     []probeDayJSON `json:"days"`
}

type countsJSON struct {
	Passed        int      `json:"passed"`
	Failed        int      `json:"failed"`
	InMaintenance int      `json:"in_maintenance"`
	SuccessRate   *float64 `json:"success_rate"` // null: nothing counts
}

type probeDayJSON struct {
	Day string `json:"day"`
	countsJSON
}

// IsProvisional reports whether a report in JSON says that it is. What is no
// such report is not.
func IsProvisional(text []byte) bool {
	var doc struct {
		Schema      string
		Provisional bool
	}
	return json.Unmarshal(text, &doc) == nil && doc.Schema == Schema && doc.Provisional
}

func (f *facts) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(f.json())
}

func (f *facts) json() reportJSON {
	// Made, because no element is [] and not null.
	doc := reportJSON{
		Schema:         Schema,
		From:           f.From.Format(time.RFC3339),
		To:             f.To.Format(time.RFC3339),
		AsOf:           f.AsOf.Format(time.RFC3339),
		TimeZone:       f.Zone.String(),
		PreviousFrom:   f.previous.Format(time.RFC3339),
		KnownFrom:      f.instant(f.KnownFrom),
		KnownTo:        f.KnownTo.Format(time.RFC3339),
		Provisional:    f.Provisional(),
		Comparable:     f.comparable(),
		Headline:       f.Headline(),
		Verdict:        f.Verdict(),
		Target:         f.Target,
		PromiseSeconds: seconds(f.Promise),
		BusinessHours:  f.BusinessHours,
		OpenTime:       f.Open != nil,
		StillRunning:   f.Pending.Running,
		Undecided:      f.Pending.Undecided,
		Total:          f.now.total.json(),
		Previous:       f.before.total.json(),
		Days:           make([]dayJSON, 0, len(f.days)),
		Inboxes:        make([]inboxJSON, 0, len(f.now.inboxes)),
		Teams:          make([]teamJSON, 0, len(f.now.teams)),
		Agents:         make([]agentJSON, 0, len(f.agents)),
		Hours:          make([]hourJSON, 0, len(f.hours)),
		Answers:        make([]answersJSON, 0, len(f.times.inTime)),
		Worst:          make([]worstJSON, 0, len(f.worst.kept)),
		Health:         healthJSON{Target: HealthTarget, Probes: make([]probeJSON, 0, len(f.now.probes))},
	}
	for i := range f.days {
		doc.Days = append(doc.Days, dayJSON{f.day(i).Format(time.DateOnly), f.days[i].json()})
	}
	for _, id := range worstFirst(f.now.inboxes) {
		doc.Inboxes = append(doc.Inboxes, inboxJSON{
			Inbox: id, Name: f.Inboxes[id], PromiseSeconds: seconds(f.promise(id)),
			groupJSON: f.now.inboxes[id].json(), Previous: orEmpty(f.before.inboxes[id]).json(),
		})
	}
	for _, name := range worstFirst(f.now.teams) {
		doc.Teams = append(doc.Teams, teamJSON{name, f.now.teams[name].json(), orEmpty(f.before.teams[name]).json()})
	}
	for _, name := range worstFirst(f.agents) {
		doc.Agents = append(doc.Agents, agentJSON{name, f.agents[name].json()})
	}
	for hour := range f.hours {
		doc.Hours = append(doc.Hours, hourJSON{hour, f.hours[hour].json()})
	}
	for i := range f.times.inTime {
		a := answersJSON{InTime: f.times.inTime[i], Late: f.times.late[i]}
		if i < len(f.times.edges) {
			a.UpToSeconds = new(seconds(f.times.edges[i]))
		}
		doc.Answers = append(doc.Answers, a)
	}
	for _, o := range f.worst.kept {
		doc.Worst = append(doc.Worst, f.overdueJSON(o))
	}
	if c, ok := gotWorst(f.now.inboxes, f.before.inboxes); ok {
		doc.GotWorse.Inbox = &c.key
	}
	if c, ok := gotWorst(f.now.teams, f.before.teams); ok {
		doc.GotWorse.Team = &c.key
	}
	for _, name := range f.probeNames() {
		p := probeJSON{
			Probe: name, countsJSON: f.now.probe(name).json(), Previous: f.before.probe(name).json(),
			Days: make([]probeDayJSON, 0, len(f.days)),
		}
		for i, n := range f.now.probeDays(name) {
			p.Days = append(p.Days, probeDayJSON{f.day(i).Format(time.DateOnly), n.json()})
		}
		doc.Health.Probes = append(doc.Health.Probes, p)
	}
	return doc
}

func (f *facts) overdueJSON(o overdue) worstJSON {
	doc := worstJSON{
		Conversation:    o.Conversation,
		Round:           o.Round,
		Inbox:           o.Inbox,
		InboxName:       f.Inboxes[o.Inbox],
		Team:            o.Team,
		Agent:           o.Assignee,
		Start:           o.Start.In(f.Zone).Format(time.RFC3339),
		Deadline:        o.Deadline.In(f.Zone).Format(time.RFC3339),
		FirstResponseAt: f.instant(o.FirstResponseAt),
		EndedAt:         f.instant(o.EndedAt),
		OverSeconds:     seconds(o.over),
		Fate:            o.fate,
	}
	if f.ConversationURL != nil {
		doc.URL = f.ConversationURL(o.Conversation)
	}
	return doc
}

// instant returns nil for "never".
func (f *facts) instant(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return new(t.In(f.Zone).Format(time.RFC3339))
}

func (g *group) json() groupJSON {
	took := func(percent int) *int64 {
		d, ok := g.quantile(percent)
		if !ok {
			return nil
		}
		return new(seconds(d))
	}
	return groupJSON{
		Decided: g.decided(), Met: g.Met, Breached: g.Breached, Excluded: g.Excluded, BreachRate: number(g.BreachRatio()),
		P50: took(50), P75: took(75), P90: took(90), P95: took(95), Max: took(100),
	}
}

func (n Probes) json() countsJSON {
	return countsJSON{Passed: n.Success, Failed: n.Failure, InMaintenance: n.Maintenance, SuccessRate: number(n.successRate())}
}

func orEmpty(g *group) *group {
	if g == nil {
		return &group{}
	}
	return g
}

// number returns nil for a rate over nothing, which JSON has no number for.
func number(v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	return new(rounded(v))
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }
