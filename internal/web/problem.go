package web

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"unicode"
)

//go:embed problem.html
var problemText string

var problemTemplate = template.Must(template.New("problem").Parse(problemText))

// refuse answers with what is wrong: a browser with a page, which keeps what was
// typed, and anything else as WriteProblem does.
func refuse(w http.ResponseWriter, r *http.Request, code int, text string) {
	if !wantsPage(r) {
		WriteProblem(w, code, text)
		return
	}
	var body bytes.Buffer
	if err := problemTemplate.Execute(&body, struct{ Status, Problem, Typed, Root string }{
		http.StatusText(code), sentence(text), typed(r), up(r.URL.Path),
	}); err != nil {
		http.Error(w, "internal error: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = body.WriteTo(w) // the client is gone if it fails
}

// typed returns the reply that a form has sent.
func typed(r *http.Request) string {
	if r.Method != http.MethodPost {
		return ""
	}
	return r.PostFormValue("reply")
}

// sentence writes what programs are told as it stands on a page.
func sentence(text string) string {
	letters := []rune(text)
	if len(letters) > 0 {
		letters[0] = unicode.ToUpper(letters[0])
	}
	return string(letters) + "."
}
