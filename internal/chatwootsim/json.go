package chatwootsim

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// doc is JSON under construction. Keys come out in the order they are written,
// which is the order of Chatwoot's templates; commas put themselves. An empty
// key writes an element of an array.
type doc struct{ b []byte }

func (d *doc) key(k string) {
	if n := len(d.b); n > 0 {
		switch d.b[n-1] {
		case '{', '[':
		default:
			d.b = append(d.b, ',')
		}
	}
	if k != "" {
		d.b = append(d.b, '"')
		d.b = append(d.b, k...)
		d.b = append(d.b, '"', ':')
	}
}

func (d *doc) object(k string, body func()) {
	d.key(k)
	d.b = append(d.b, '{')
	body()
	d.b = append(d.b, '}')
}

func (d *doc) array(k string, body func()) {
	d.key(k)
	d.b = append(d.b, '[')
	body()
	d.b = append(d.b, ']')
}

// raw writes v as it is: it has to be JSON already.
func (d *doc) raw(k, v string) {
	d.key(k)
	d.b = append(d.b, v...)
}

func (d *doc) null(k string) { d.raw(k, "null") }

func (d *doc) str(k, v string) {
	d.key(k)
	d.b = appendString(d.b, v)
}

// strOrNull writes null for the empty string.
func (d *doc) strOrNull(k, v string) {
	if v == "" {
		d.null(k)
		return
	}
	d.str(k, v)
}

func (d *doc) strs(k string, vs []string) {
	d.array(k, func() {
		for _, v := range vs {
			d.str("", v)
		}
	})
}

func (d *doc) num(k string, v int64) {
	d.key(k)
	d.b = strconv.AppendInt(d.b, v, 10)
}

// numOrNull writes null for 0.
func (d *doc) numOrNull(k string, v int64) {
	if v == 0 {
		d.null(k)
		return
	}
	d.num(k, v)
}

func (d *doc) boolean(k string, v bool) {
	d.key(k)
	d.b = strconv.AppendBool(d.b, v)
}

// unix writes whole seconds, truncated, and 0 for the zero instant.
func (d *doc) unix(k string, t time.Time) {
	d.num(k, unixSeconds(t))
}

func unixSeconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// micros writes seconds as Ruby prints a float: microseconds without trailing
// zeros, but always one digit after the point.
func (d *doc) micros(k string, t time.Time) {
	d.num(k, t.Unix())
	digits := strconv.Itoa(1_000_000 + t.Nanosecond()/1000)[1:]
	for len(digits) > 1 && digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
	}
	d.b = append(d.b, '.')
	d.b = append(d.b, digits...)
}

// iso writes an ISO 8601 string with milliseconds, and null for the zero
// instant.
func (d *doc) iso(k string, t time.Time) {
	if t.IsZero() {
		d.null(k)
		return
	}
	d.str(k, isoTime(t))
}

func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// appendString appends s as a JSON string the way Rails does: <, > and & are
// escaped, other characters beyond ASCII are not. Bytes that are not UTF-8
// become U+FFFD.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	plain := 0 // s[plain:i] waits to be copied
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&' {
				i++
				continue
			}
			b = append(b, s[plain:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			plain = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(b, s[plain:i]...)
			b = append(b, `\ufffd`...)
			plain = i + size
		case r == '\u2028' || r == '\u2029':
			b = append(b, s[plain:i]...)
			b = append(b, `\u202`...)
			b = append(b, hex[r&15])
			plain = i + size
		}
		i += size
	}
	b = append(b, s[plain:]...)
	return append(b, '"')
}
