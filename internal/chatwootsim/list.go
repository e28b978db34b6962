package chatwootsim

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// filter is what the counts of a list answer are for. It leaves out page,
// updated_within and assignee_type on purpose: Chatwoot's counts ignore them.
type filter struct {
	user    *user
	status  string // separated by statusMark, "all" for any
	byInbox bool
	inbox   int64
	team    int64
	labels  string // comma-separated
	kind    string // mention, participating, unattended
	source  string
	text    string // searches messages, whatever the status
}

// view is one order of one filter.
type view struct {
	filter
	assignee string
	sort     string
}

type counts struct{ mine, assigned, unassigned, all int64 }

type selection struct {
	rows []*conversation // by creation
	counts
}

// lists remembers what was filtered and sorted until the world changes, so
// that four hundred pages cost one sort.
type lists struct {
	version    uint64
	selections map[filter]selection
	views      map[view][]*conversation
}

func (l *lists) at(version uint64) {
	if l.selections == nil || l.version != version {
		l.version = version
		l.selections = map[filter]selection{}
		l.views = map[view][]*conversation{}
	}
}

// query is a list request as Rails understands it.
type query struct {
	view
	page   int
	within time.Duration // 0: not asked for
	ranged bool          // updated_within was given
}

func parseQuery(values url.Values, u *user, modern bool) query {
	q := query{page: max(1, int(rubyInt(values.Get("page"))))}
	q.user = u
	q.status = open
	switch {
	case values.Has("status"):
		q.status = values.Get("status")
	case values.Has("status[]"):
		q.status = strings.Join(values["status[]"], statusMark)
	}
	if values.Get("q") != "" {
		q.text, q.status = strings.ToLower(values.Get("q")), "all"
	}
	q.byInbox, q.inbox = values.Has("inbox_id"), rubyInt(values.Get("inbox_id"))
	q.team = rubyInt(values.Get("team_id"))
	q.labels = strings.Join(slices.Concat(values["labels"], values["labels[]"]), ",")
	q.kind = values.Get("conversation_type")
	q.source = values.Get("source_id")
	q.assignee = values.Get("assignee_type")
	q.sort = values.Get("sort_by")
	if _, known := orders[q.sort]; !known || !modern && modernOrders[q.sort] {
		q.sort = "last_activity_at_desc"
	}
	if given := values.Get("updated_within"); given != "" {
		q.ranged, q.within = true, time.Duration(rubyInt(given))*time.Second
	}
	return q
}

// rubyInt is Ruby's to_i: the leading digits, 0 when there are none.
func rubyInt(s string) int64 {
	s = strings.TrimSpace(s)
	end := 0
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || end == 0 && s[end] == '-') {
		end++
	}
	n, err := strconv.ParseInt(s[:end], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

var priorities = map[string]int{"low": 1, "medium": 2, "high": 3, "urgent": 4}

func (f *filter) matches(c *conversation) bool {
	switch {
	case f.kind == "participating":
		if !slices.Contains(c.participants, f.user.id) {
			return false
		}
	case !f.user.sees(c.inbox.id):
		return false
	case f.kind == "mention" && !slices.Contains(c.mentions, f.user.id):
		return false
	case f.kind == "unattended" && !c.firstReply.IsZero() && c.waiting.IsZero():
		return false
	}
	if f.status != "all" && !listed(f.status, statusMark, c.status) ||
		f.byInbox && c.inbox.id != f.inbox ||
		f.team != 0 && (c.team == nil || c.team.id != f.team) {
		return false
	}
	if f.labels != "" && !slices.ContainsFunc(c.labels, func(l string) bool { return listed(f.labels, ",", l) }) {
		return false
	}
	return f.text == "" || slices.ContainsFunc(c.messages, func(m message) bool {
		return strings.Contains(strings.ToLower(m.content), f.text)
	})
}

// statusMark separates statuses that were given as an array: a comma in a
// plain status is part of an unknown word.
const statusMark = "\x1f"

func listed(list, mark, word string) bool {
	for part := range strings.SplitSeq(list, mark) {
		if strings.TrimSpace(part) == word {
			return true
		}
	}
	return false
}

func human(u *user) bool { return u != nil && !u.bot }

func (w *world) selection(f filter) selection {
	l := &w.lists
	l.at(w.version)
	if s, done := l.selections[f]; done {
		return s
	}
	from := w.all
	if f.status == open {
		from = w.open
	}
	s := selection{rows: make([]*conversation, 0, len(from))}
	r := renderer{w}
	for _, c := range from {
		if !f.matches(c) || f.source != "" && r.sourceID(c) != f.source {
			continue
		}
		s.rows = append(s.rows, c)
		s.all++
		if human(c.assignee) {
			s.assigned++
			if c.assignee == f.user {
				s.mine++
			}
		} else {
			s.unassigned++
		}
	}
	l.selections[f] = s
	return s
}

// view returns the conversations of v in order.
func (w *world) view(v view) []*conversation {
	s := w.selection(v.filter)
	if rows, done := w.lists.views[v]; done {
		return rows
	}
	rows := narrowed(s.rows, v)
	w.lists.views[v] = rows
	return rows
}

// since is view for what was saved after the given instant. It is not
// remembered, because the instant is never the same again.
func (w *world) since(v view, after time.Time) []*conversation {
	s := w.selection(v.filter)
	var rows []*conversation
	for _, c := range s.rows {
		if c.updated.After(after) {
			rows = append(rows, c)
		}
	}
	return narrowed(rows, v)
}

func narrowed(rows []*conversation, v view) []*conversation {
	wanted := func(*conversation) bool { return true }
	switch v.assignee {
	case "me":
		wanted = func(c *conversation) bool { return c.assignee == v.user }
	case "assigned":
		wanted = func(c *conversation) bool { return human(c.assignee) }
	case "unassigned":
		wanted = func(c *conversation) bool { return !human(c.assignee) }
	}
	kept := make([]*conversation, 0, len(rows))
	for _, c := range rows {
		if wanted(c) {
			kept = append(kept, c)
		}
	}
	if v.sort != "created_at_asc" && v.sort != "sort_on_created_at" { // they come so
		slices.SortFunc(kept, orders[v.sort].then(byCreation))
	}
	return kept
}

type order func(a, b *conversation) int

func (o order) reversed() order { return func(a, b *conversation) int { return o(b, a) } }

// nullsLast puts conversations without the value behind those with it,
// whichever way these are sorted.
func nullsLast(null func(*conversation) bool, o order) order {
	return func(a, b *conversation) int {
		switch an, bn := null(a), null(b); {
		case an && bn:
			return 0
		case an:
			return 1
		case bn:
			return -1
		}
		return o(a, b)
	}
}

func (o order) then(next order) order {
	return func(a, b *conversation) int { return cmp.Or(o(a, b), next(a, b)) }
}

var (
	byCreated  order = func(a, b *conversation) int { return a.created.Compare(b.created) }
	byActivity order = func(a, b *conversation) int { return a.lastActivity.Compare(b.lastActivity) }
	byPriority order = func(a, b *conversation) int { return cmp.Compare(priorities[a.priority], priorities[b.priority]) }
	byWaiting  order = func(a, b *conversation) int { return a.waiting.Compare(b.waiting) }
	byUnread   order = func(a, b *conversation) int { return cmp.Compare(min(1, b.unread()), min(1, a.unread())) }

	noPriority = func(c *conversation) bool { return c.priority == "" }
	notWaiting = func(c *conversation) bool { return c.waiting.IsZero() }
)

var orders = map[string]order{
	"last_activity_at_asc":  byActivity,
	"last_activity_at_desc": byActivity.reversed(),
	"latest":                byActivity.reversed(),
	"created_at_asc":        byCreated,
	"created_at_desc":       byCreated.reversed(),
	"sort_on_created_at":    byCreated,
	"priority_asc":          nullsLast(noPriority, byPriority).then(byActivity.reversed()),
	"priority_desc":         nullsLast(noPriority, byPriority.reversed()).then(byActivity.reversed()),
	"sort_on_priority":      nullsLast(noPriority, byPriority.reversed()).then(byActivity.reversed()),
	"waiting_since_asc":     nullsLast(notWaiting, byWaiting).then(byCreated),
	"waiting_since_desc":    nullsLast(notWaiting, byWaiting.reversed()).then(byCreated),
	"sort_on_waiting_since": nullsLast(notWaiting, byWaiting).then(byCreated),

	"priority_desc_created_at_asc": nullsLast(noPriority, byPriority.reversed()).then(byCreated),
	"unread":                       byUnread.then(byActivity.reversed()),
}

// modernOrders came with 4.15.0.
var modernOrders = map[string]bool{"priority_desc_created_at_asc": true, "unread": true}

// page returns the page's part of rows: empty past the end, never an error.
func page(rows []*conversation, number, size int) []*conversation {
	if number > len(rows)/size+1 {
		return nil
	}
	from := min((number-1)*size, len(rows))
	return rows[from:min(from+size, len(rows))]
}
