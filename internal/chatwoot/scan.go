package chatwoot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads one JSON document from memory, value by value. It accepts
// exactly what encoding/json accepts, in the fields it skips too: a page that
// was cut short or damaged anywhere must be an error and never a shorter list.
// It exists because lists are large, a few fields of each row are wanted, and
// the libraries that skip quickly do not notice damage in what they skip.
//
// The first error sticks: every later call returns a zero value at once, so
// callers check err once, at the end.
type scanner struct {
	data  []byte
	pos   int
	depth int
	err   error
}

// maxDepth is encoding/json's own limit on nesting.
const maxDepth = 10000

func (s *scanner) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf(format+" at byte %d", append(args, s.pos)...)
	}
	s.pos = len(s.data)
}

func (s *scanner) failEnd() { s.fail("the document ends too early") }

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\n', '\t', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// next consumes the byte want, which must be the next one.
func (s *scanner) next(want byte) {
	switch c := s.peek(); {
	case c == want && s.pos < len(s.data):
		s.pos++
	case s.pos >= len(s.data):
		s.failEnd()
	default:
		s.fail("want %q, found %q", want, c)
	}
}

// end checks that nothing but white space is left, and returns the first error.
func (s *scanner) end() error {
	if s.peek() != 0 || s.pos < len(s.data) {
		s.fail("unexpected data behind the document")
	}
	return s.err
}

// null consumes a null, if one is next.
func (s *scanner) null() bool {
	if s.peek() != 'n' {
		return false
	}
	s.word("null")
	return true
}

func (s *scanner) word(want string) {
	if len(s.data)-s.pos < len(want) || string(s.data[s.pos:s.pos+len(want)]) != want {
		s.fail("invalid literal")
		return
	}
	s.pos += len(want)
}

// object calls field for each member of the object that is next; field must
// consume the value. A null is an object without members.
func (s *scanner) object(field func(key []byte)) {
	if s.null() {
		return
	}
	s.next('{')
	s.enter()
	if s.peek() == '}' {
		s.pos++
		s.depth--
		return
	}
	for s.err == nil {
		if c := s.peek(); c != '"' {
			s.unexpected("a member name")
			return
		}
		key := s.text()
		s.next(':')
		if s.err != nil {
			return
		}
		field(key)
		if s.more('}') {
			continue
		}
		return
	}
}

// array calls element for each element of the array that is next; element must
// consume it. A null is an array without elements.
func (s *scanner) array(element func()) {
	if s.null() {
		return
	}
	s.next('[')
	s.enter()
	if s.peek() == ']' {
		s.pos++
		s.depth--
		return
	}
	for s.err == nil {
		element()
		if !s.more(']') {
			return
		}
	}
}

func (s *scanner) enter() {
	if s.depth++; s.depth > maxDepth {
		s.fail("nesting deeper than %d", maxDepth)
	}
}

// more consumes a comma and reports true, or the closing byte and false.
func (s *scanner) more(closing byte) bool {
	switch c := s.peek(); {
	case s.err != nil:
	case c == ',':
		s.pos++
		return true
	case c == closing:
		s.pos++
		s.depth--
	default:
		s.unexpected(fmt.Sprintf("',' or %q", closing))
	}
	return false
}

// unexpected fails with what was wanted and what kind of value stands there.
func (s *scanner) unexpected(want string) {
	if s.err != nil {
		return
	}
	var found string
	switch c := s.peek(); {
	case s.pos >= len(s.data):
		s.failEnd()
		return
	case c == '{':
		found = "an object"
	case c == '[':
		found = "an array"
	case c == '"':
		found = "a string"
	case c == 't' || c == 'f':
		found = "a boolean"
	case c == '-' || '0' <= c && c <= '9':
		found = "a number"
	default:
		found = strconv.QuoteRune(rune(c))
	}
	s.fail("want %s, found %s", want, found)
}

// skip consumes and validates any value.
func (s *scanner) skip() {
	switch c := s.peek(); {
	case c == '"':
		s.rawString()
	case c == '{':
		s.skipObject()
	case c == '[':
		s.array(s.skip)
	case c == 't':
		s.word("true")
	case c == 'f':
		s.word("false")
	case c == 'n':
		s.word("null")
	case c == '-' || '0' <= c && c <= '9':
		s.number()
	default:
		s.unexpected("a value")
	}
}

// skipObject is object for members that nobody wants.
func (s *scanner) skipObject() {
	s.pos++
	s.enter()
	if s.peek() == '}' {
		s.pos++
		s.depth--
		return
	}
	for s.err == nil {
		if s.peek() != '"' {
			s.unexpected("a member name")
			return
		}
		s.rawString()
		s.next(':')
		s.skip()
		if !s.more('}') {
			return
		}
	}
}

// repeats consumes the value that is next if it is written exactly like one
// that was consumed before, an object or an array.
func (s *scanner) repeats(value []byte) bool {
	s.peek()
	if !bytes.HasPrefix(s.data[s.pos:], value) {
		return false
	}
	s.pos += len(value)
	return true
}

// rawString consumes the string that is next and returns what stands between
// its quotes, and whether that contains escapes.
func (s *scanner) rawString() (raw []byte, escaped bool) {
	s.pos++ // the caller saw the quote
	start := s.pos
	data := s.data
	for i := plain(data, start); i < len(data); i = plain(data, i+1) {
		switch data[i] {
		case '"':
			s.pos = i + 1
			return data[start:i], escaped
		case '\\':
			escaped = true
			if i++; i >= len(data) {
				break
			}
			switch data[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				for range 4 {
					if i++; i < len(data) && !isHex(data[i]) {
						s.pos = i
						s.fail("invalid \\u escape")
						return nil, false
					}
				}
			default:
				s.pos = i
				s.fail("invalid escape %q", data[i])
				return nil, false
			}
		default:
			s.pos = i
			s.fail("control character in a string")
			return nil, false
		}
	}
	s.failEnd()
	return nil, false
}

// plain returns the index of the first byte from i on that is a quote, a
// backslash or a control character, or len(data). Most of a page is the inside
// of strings, so it looks at eight bytes at a time.
func plain(data []byte, i int) int {
	const (
		ones = 0x0101010101010101
		high = 0x8080808080808080
	)
	rest := data[min(i, len(data)):] // an escape may end beyond a document that is cut
	for len(rest) >= 8 {
		w := binary.LittleEndian.Uint64(rest)
		quote, backslash := w^(ones*'"'), w^(ones*'\\')
		// The lowest bit set marks the first hit; carries can only add
		// false ones above it.
		hit := ((w - ones*0x20) &^ w) | ((quote - ones) &^ quote) | ((backslash - ones) &^ backslash)
		if hit &= high; hit != 0 {
			return len(data) - len(rest) + bits.TrailingZeros64(hit)/8
		}
		rest = rest[8:]
	}
	for i, c := range rest {
		if c < 0x20 || c == '"' || c == '\\' {
			return len(data) - len(rest) + i
		}
	}
	return len(data)
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// text consumes a string and returns it unescaped. The result may share the
// document's memory.
func (s *scanner) text() []byte {
	if s.peek() != '"' {
		s.unexpected("a string")
		return nil
	}
	raw, escaped := s.rawString()
	if !escaped {
		return raw
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			continue
		}
		i++
		switch raw[i] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hex4(raw[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				var low rune = -1
				if i+6 < len(raw) && raw[i+1] == '\\' && raw[i+2] == 'u' {
					low = hex4(raw[i+3:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, raw[i])
		}
	}
	return out
}

func hex4(b []byte) (r rune) {
	n, _ := strconv.ParseUint(string(b[:4]), 16, 16) // rawString has checked the digits
	return rune(n)
}

// str consumes a string or a null and returns a copy, with broken UTF-8
// replaced as encoding/json does.
func (s *scanner) str() string {
	if s.null() {
		return ""
	}
	return strings.ToValidUTF8(string(s.text()), "\uFFFD")
}

// boolean consumes a boolean or a null.
func (s *scanner) boolean() bool {
	switch s.peek() {
	case 't':
		s.word("true")
		return true
	case 'f':
		s.word("false")
	case 'n':
		s.word("null")
	default:
		s.unexpected("a boolean")
	}
	return false
}

// number consumes a number and returns its text.
func (s *scanner) number() []byte {
	start, data := s.pos, s.data
	i := start
	digits := func() bool {
		from := i
		for i < len(data) && '0' <= data[i] && data[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(data) && data[i] == '-' {
		i++
	}
	ok := true
	if i < len(data) && data[i] == '0' {
		i++
	} else {
		ok = digits()
	}
	if ok && i < len(data) && data[i] == '.' {
		i++
		ok = digits()
	}
	if ok && i < len(data) && (data[i] == 'e' || data[i] == 'E') {
		if i++; i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		ok = digits()
	}
	s.pos = i
	if !ok {
		s.fail("invalid number")
		return nil
	}
	return data[start:i]
}

// integer consumes a whole number or a null.
func (s *scanner) integer() int64 {
	if s.null() {
		return 0
	}
	if c := s.peek(); c != '-' && (c < '0' || c > '9') {
		s.unexpected("a whole number")
		return 0
	}
	raw := s.number()
	if s.err != nil {
		return 0
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		s.fail("want a whole number, found %.40s", raw)
	}
	return n
}

// instant consumes a point in time in any of the encodings that Chatwoot uses:
// unix seconds, whole or with a fraction; ISO 8601; null, 0 or "" for never.
func (s *scanner) instant() time.Time {
	switch c := s.peek(); {
	case c == 'n':
		s.word("null")
	case c == '"':
		text := s.text()
		if len(text) == 0 {
			return time.Time{}
		}
		t, err := time.Parse(time.RFC3339Nano, string(text))
		if err != nil {
			s.fail("want a time, found a string that is none")
		}
		return t.UTC()
	case c == '-' || '0' <= c && c <= '9':
		raw := s.number()
		if s.err != nil {
			return time.Time{}
		}
		t, err := unixTime(raw)
		if err != nil {
			s.fail("%w", err)
		}
		return t
	default:
		s.unexpected("a time")
	}
	return time.Time{}
}

var errNotUnix = errors.New("want unix seconds between 1970 and 9999")

func unixTime(raw []byte) (time.Time, error) {
	const lastSecond = 253402300799     // the end of the year 9999
	if !bytes.ContainsAny(raw, ".eE") { // a whole number; ParseInt would allocate its error for others
		n, err := strconv.ParseInt(string(raw), 10, 64)
		switch {
		case err != nil || n < 0 || n > lastSecond:
			return time.Time{}, errNotUnix
		case n == 0:
			return time.Time{}, nil
		}
		return time.Unix(n, 0).UTC(), nil
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f < 0 || f > lastSecond {
		return time.Time{}, errNotUnix
	}
	if f == 0 {
		return time.Time{}, nil
	}
	// A float64 holds today's unix time to a quarter of a microsecond.
	return time.UnixMicro(int64(math.Round(f * 1e6))).UTC(), nil
}
