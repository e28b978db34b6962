package promtest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Message is what came out at the far end of alerting.
type Message struct {
	At time.Time // when it came
	To string    // Slack: the hook's name; e-mail: the recipient

	Channel, Color, Fallback, Pretext, Link string // Slack only

	Title string // of e-mail: the subject
	Text  string
}

// Firing reports whether the message is about something that lasts.
func (m Message) Firing() bool { return !strings.HasPrefix(m.Title, "RESOLVED: ") }

// Inbox collects messages. It is safe for concurrent use.
type Inbox struct {
	mu       sync.Mutex
	messages []Message
}

func (i *Inbox) add(m Message) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.messages = append(i.messages, m)
}

// Messages returns what came to one address or hook, oldest first.
func (i *Inbox) Messages(to string) []Message {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(i.messages), func(m Message) bool { return m.To != to })
}

// Slack stands where Slack's incoming webhooks would be.
type Slack struct {
	Inbox
	url string
}

// StartSlack runs a Slack until the test ends.
func StartSlack(t testing.TB) *Slack {
	s := &Slack{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // Alertmanager was stopped as it wrote
		}
		m, err := slackMessage(body)
		if err != nil {
			// As Slack does. Alertmanager gives up, and the test misses the message.
			http.Error(w, "invalid_payload", http.StatusBadRequest)
			t.Errorf("posted to Slack: %v", err)
			return
		}
		m.At, m.To = time.Now(), strings.TrimPrefix(r.URL.Path, "/")
		s.add(m)
		io.WriteString(w, "ok")
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// Hook returns a file with the address of a hook, which names its messages.
func (s *Slack) Hook(t testing.TB, name string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(s.url+"/"+name+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func slackMessage(body []byte) (Message, error) {
	var posted struct {
		Channel     string `json:"channel"`
		Attachments []struct {
			Color    string `json:"color"`
			Fallback string `json:"fallback"`
			Pretext  string `json:"pretext"`
			Title    string `json:"title"`
			Link     string `json:"title_link"`
			Text     string `json:"text"`
		} `json:"attachments"`
	}
	if err := json.Unmarshal(body, &posted); err != nil {
		return Message{}, err
	}
	if len(posted.Attachments) != 1 {
		return Message{}, fmt.Errorf("%d attachments, want one", len(posted.Attachments))
	}
	a := posted.Attachments[0]
	return Message{
		Channel: posted.Channel, Color: a.Color, Fallback: a.Fallback, Pretext: a.Pretext, Title: a.Title, Link: a.Link, Text: a.Text,
	}, nil
}

// Mail stands where the mail server would be: it takes any message, without
// TLS or a password.
type Mail struct {
	Inbox
	Addr string // host:port
}

// StartMail runs a Mail until the test ends.
func StartMail(t testing.TB) *Mail {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &Mail{Addr: l.Addr().String()}
	var talks sync.WaitGroup
	talks.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			talks.Go(func() {
				defer conn.Close()
				if err := m.talk(conn); err != nil {
					t.Errorf("an e-mail: %v", err)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		talks.Wait()
	})
	return m
}

// talk speaks as much SMTP as Alertmanager does. A caller that goes away
// without a whole message is none of its business.
func (m *Mail) talk(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	c := textproto.NewConn(conn)
	say := func(line string) { _ = c.PrintfLine("%s", line) } // a caller that is gone shows when reading
	say("220 test")
	var to string
	for {
		line, err := c.ReadLine()
		if err != nil {
			return nil
		}
		verb, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "RCPT":
			to = strings.TrimSuffix(strings.TrimPrefix(strings.ToUpper(rest[:3])+rest[3:], "TO:<"), ">")
			say("250 ok")
		case "DATA":
			say("354 go on")
			received, err := email(c.DotReader())
			if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
				return nil
			}
			if err != nil {
				say("554 no")
				return err
			}
			received.At, received.To = time.Now(), to
			m.add(received)
			say("250 ok")
		case "QUIT":
			say("221 bye")
			return nil
		default:
			say("250 ok")
		}
	}
}

// email reads a message whose only part is plain text.
func email(r io.Reader) (Message, error) {
	raw, err := mail.ReadMessage(bufio.NewReader(r))
	if err != nil {
		return Message{}, err
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(raw.Header.Get("Subject"))
	if err != nil {
		return Message{}, err
	}
	_, params, err := mime.ParseMediaType(raw.Header.Get("Content-Type"))
	if err != nil {
		return Message{}, err
	}
	parts := multipart.NewReader(raw.Body, params["boundary"])
	part, err := parts.NextRawPart()
	if err != nil {
		return Message{}, err
	}
	if kind := part.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain") {
		return Message{}, fmt.Errorf("the first part is %q, want plain text", kind)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(part))
	if err != nil {
		return Message{}, err
	}
	switch _, err := parts.NextRawPart(); {
	case err == nil:
		return Message{}, errors.New("there is a second part, want plain text alone")
	case !errors.Is(err, io.EOF):
		return Message{}, fmt.Errorf("after the first part: %w", err)
	}
	return Message{Title: subject, Text: strings.ReplaceAll(string(text), "\r\n", "\n")}, nil
}
