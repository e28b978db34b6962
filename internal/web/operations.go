package web

import (
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/incident"
)

// Maintenance is what the pages tell of it. Start and End are zero outside of a
// window, and NextStart when none is planned.
type Maintenance struct {
	Start, End         time.Time
	Reason             string // of one that was opened by hand
	NextStart, NextEnd time.Time
	NextReason         string
	Announced          bool // the next one is near enough to be told of
}

type maintenanceDoc struct {
	Active     bool       `json:"active"`
	Start      *time.Time `json:"start"` // null outside of a window
	End        *time.Time `json:"end"`
	Reason     string     `json:"reason,omitempty"`
	NextStart  *time.Time `json:"next_start"` // null when none is planned
	NextEnd    *time.Time `json:"next_end"`
	NextReason string     `json:"next_reason,omitempty"`
	Announced  bool       `json:"announced"` // the next one is near: MAINTENANCE_NOTICE
}

func (m Maintenance) document() maintenanceDoc {
	return maintenanceDoc{
		Active: !m.Start.IsZero(), Start: orNull(m.Start), End: orNull(m.End), Reason: m.Reason,
		NextStart: orNull(m.NextStart), NextEnd: orNull(m.NextEnd), NextReason: m.NextReason, Announced: m.Announced,
	}
}

// mostIncidents bounds the list.
const mostIncidents = 100

func (s *server) incidents(w http.ResponseWriter, r *http.Request) {
	list, err := s.Incidents(r.Context(), mostIncidents)
	if err != nil {
		s.log.Warn("list incidents", zap.Error(err))
		WriteProblem(w, http.StatusServiceUnavailable, "incidents cannot be read now; try again in a moment")
		return
	}
	st := s.State()
	doc := struct {
		Now       time.Time           `json:"now"`
		Incidents []incident.Document `json:"incidents"` // the newest first
	}{st.Now, []incident.Document{}}
	for _, i := range list {
		doc.Incidents = append(doc.Incidents, s.incidentDoc(i, st))
	}
	WriteJSON(w, http.StatusOK, doc)
}

// incidentDoc leaves out what people noted where anybody may read it.
func (s *server) incidentDoc(i incident.Incident, st State) incident.Document {
	if !s.ShowNames {
		i.Timeline = slices.DeleteFunc(slices.Clone(i.Timeline), func(e incident.Entry) bool {
			return !slices.Contains([]incident.Kind{incident.Event, incident.Symptom}, e.Kind)
		})
	}
	return i.Document(st.Now, st.StatusURL)
}

// span writes a window as somebody needs it at now, in UTC.
func span(start, end, now time.Time) string {
	from, to := start.UTC(), end.UTC()
	text := from.Format("15:04")
	if from.Format(time.DateOnly) != now.UTC().Format(time.DateOnly) {
		text = from.Format("Mon 2 Jan, 15:04")
	}
	if to.Format(time.DateOnly) != from.Format(time.DateOnly) {
		return text + " to " + to.Format("Mon 2 Jan, 15:04") + " UTC"
	}
	return text + " to " + to.Format("15:04") + " UTC"
}
