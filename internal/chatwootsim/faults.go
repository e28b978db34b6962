package chatwootsim

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FaultKind is a way for an answer to go wrong.
type FaultKind int

const (
	FaultLatency          FaultKind = iota + 1 // the answer comes Delay later
	FaultHang                                  // no answer until the client goes away
	FaultStatus                                // Status, default 500, with the body that Chatwoot or its proxy has for it
	FaultThrottle                              // 429 without Retry-After
	FaultCutBody                               // the connection ends in the middle of the promised body
	FaultTruncatedJSON                         // complete HTTP with half a document
	FaultHTML                                  // 200 with a login page
	FaultWrongType                             // 200 with words where numbers belong
	FaultWrongContentType                      // the right document, declared as HTML
	FaultHuge                                  // a list that never ends
	FaultDropConn                              // the connection closes without an answer
	FaultUnauthorized                          // 401 as for an unknown token
	FaultServicesFailing                       // /api reports failing dependencies
	FaultClockSkew                             // the Date header is Delay ahead
)

var faultNames = map[FaultKind]string{
	FaultLatency: "latency", FaultHang: "hang", FaultStatus: "status", FaultThrottle: "throttle", FaultCutBody: "cut body",
	FaultTruncatedJSON: "truncated JSON", FaultHTML: "HTML", FaultWrongType: "wrong type",
	FaultWrongContentType: "wrong content type", FaultHuge: "huge", FaultDropConn: "dropped connection",
	FaultUnauthorized: "unauthorized", FaultServicesFailing: "services failing", FaultClockSkew: "clock skew",
}

func (k FaultKind) String() string { return faultNames[k] }

// FaultKinds returns all kinds, for tests that go through every one.
func FaultKinds() []FaultKind { return slices.Sorted(maps.Keys(faultNames)) }

// Fault strikes requests that match it.
type Fault struct {
	Path   string // part of the URL's path; "" matches any
	Query  string // part of the raw query; "" matches any
	Kind   FaultKind
	Times  int           // requests to strike; 0: until cleared
	Delay  time.Duration // simulated; for latency and skew
	Status int           // for FaultStatus
}

type injected struct {
	Fault
	left int
}

// Inject adds a fault and returns what ends it. Latency, clock skew and failing
// services add up; of the other kinds the one injected first strikes.
func (s *Server) Inject(f Fault) (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := &injected{Fault: f, left: f.Times}
	s.faults = append(s.faults, in)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.faults = slices.DeleteFunc(s.faults, func(other *injected) bool { return other == in })
	}
}

// ClearFaults ends all faults.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// trouble is what the faults do to one request.
type trouble struct {
	latency, skew time.Duration
	failing       bool
	fault         *Fault // the one that spoils the answer, nil for none
}

func (s *Server) trouble(r *http.Request) trouble {
	var t trouble
	for _, f := range slices.Clone(s.faults) {
		if !strings.Contains(r.URL.Path, f.Path) || !strings.Contains(r.URL.RawQuery, f.Query) {
			continue
		}
		switch f.Kind {
		case FaultLatency:
			t.latency += f.Delay
		case FaultClockSkew:
			t.skew += f.Delay
		case FaultServicesFailing:
			if r.URL.Path != "/api" {
				continue
			}
			t.failing = true
		default:
			if t.fault != nil {
				continue
			}
			t.fault = &f.Fault
		}
		if f.Times == 0 {
			continue
		}
		if f.left--; f.left == 0 {
			s.faults = slices.DeleteFunc(s.faults, func(other *injected) bool { return other == f })
		}
	}
	return t
}

// spoil answers as t.fault wants. answer is what a healthy server does.
func (s *Server) spoil(w http.ResponseWriter, r *http.Request, t trouble, answer func(http.ResponseWriter)) {
	w.Header().Set("Date", s.opts.Now().Add(t.skew).UTC().Format(http.TimeFormat))
	switch t.fault.Kind {
	case FaultHang:
		_, _ = io.Copy(io.Discard, r.Body) // only then the server sees the client leave
		select {
		case <-r.Context().Done():
		case <-s.done:
		}
	case FaultStatus:
		brokenStatus(w, r, t.fault.Status)
	case FaultThrottle:
		throttle(w)
	case FaultUnauthorized:
		fail(w, http.StatusUnauthorized, "Invalid Access Token")
	case FaultHTML:
		htmlPage(w, http.StatusOK, "Sign in to your account")
	case FaultDropConn:
		panic(http.ErrAbortHandler)
	case FaultHuge:
		endless(w, r)
	default:
		var good recorder
		answer(&good)
		good.WriteHeader(http.StatusOK)
		alter(w, &good, t.fault.Kind)
	}
}

// recorder keeps an answer so that it can be spoilt.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (g *recorder) Header() http.Header {
	if g.header == nil {
		g.header = http.Header{}
	}
	return g.header
}

func (g *recorder) WriteHeader(status int) {
	if g.status == 0 {
		g.status = status
	}
}

func (g *recorder) Write(b []byte) (int, error) {
	g.WriteHeader(http.StatusOK)
	return g.body.Write(b)
}

func alter(w http.ResponseWriter, good *recorder, kind FaultKind) {
	body := good.body.Bytes()
	length := len(body)
	switch kind {
	case FaultCutBody:
		body = body[:len(body)/2]
	case FaultTruncatedJSON:
		body = body[:len(body)/2]
		length = len(body)
	case FaultWrongType:
		body = wrongType(body)
		length = len(body)
	case FaultWrongContentType:
		good.Header().Set("Content-Type", "text/html; charset=utf-8")
	}
	maps.Copy(w.Header(), good.header)
	w.Header().Set("Content-Length", strconv.Itoa(length))
	w.WriteHeader(good.status)
	_, _ = w.Write(body) // of a body cut short the server ends the connection
}

var (
	creation = regexp.MustCompile(`"created_at":[0-9]+`)
	identity = regexp.MustCompile(`"(id|all_count)":[0-9]+`)
	anyText  = regexp.MustCompile(`:"[^"\\]*"`)
)

// wrongType puts words where instants were, or ids, or else a number where
// there was a word.
func wrongType(body []byte) []byte {
	if creation.Match(body) {
		return creation.ReplaceAll(body, []byte(`"created_at":"yesterday"`))
	}
	if identity.Match(body) {
		return identity.ReplaceAll(body, []byte(`"$1":"seven"`))
	}
	return anyText.ReplaceAll(body, []byte(`:7`))
}

// brokenStatus answers with the body that comes with a status: Rails' own up
// to 500, the proxy's beyond.
func brokenStatus(w http.ResponseWriter, r *http.Request, status int) {
	switch status {
	case 0, http.StatusInternalServerError:
		exception(w, r, http.StatusInternalServerError, "Internal Server Error")
	case http.StatusBadRequest:
		exception(w, r, status, "Bad Request")
	case http.StatusUnauthorized:
		fail(w, status, denied)
	case http.StatusNotFound:
		fail(w, status, notFound)
	case http.StatusUnprocessableEntity:
		fail(w, status, "PG::QueryCanceled: ERROR:  canceling statement due to statement timeout")
	case http.StatusTooManyRequests:
		throttle(w)
	default:
		htmlPage(w, status, strconv.Itoa(status)+" "+http.StatusText(status))
	}
}

func endless(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	const head = `{"data":{"meta":{"mine_count":0,"assigned_count":0,"unassigned_count":0,"all_count":0},"payload":[{"id":1}`
	if _, err := io.WriteString(w, head); err != nil {
		return
	}
	chunk := strings.Repeat(`,{"id":1}`, 8<<10)
	for r.Context().Err() == nil {
		if _, err := io.WriteString(w, chunk); err != nil {
			return
		}
	}
}
