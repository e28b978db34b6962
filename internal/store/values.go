package store

import (
	"database/sql"
	"strconv"
	"strings"
	"time"
)

// micros returns t as the tables keep it; a zero t is null.
func micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

func instant(n sql.Null[int64]) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return time.UnixMicro(n.V).UTC()
}

// text returns s as Postgres takes it: names come from Chatwoot's users, and
// one bad name must not hold up everything else.
func text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// nullable returns null for an empty text.
func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// placeholders returns rows lists of parameters, numbered through: "($1,$2),($3,$4)".
func placeholders(rows, columns int) string {
	b := make([]byte, 0, rows*columns*6)
	n := 0
	for row := range rows {
		if row > 0 {
			b = append(b, ',')
		}
		b = append(b, '(')
		for column := range columns {
			if column > 0 {
				b = append(b, ',')
			}
			n++
			b = strconv.AppendInt(append(b, '$'), int64(n), 10)
		}
		b = append(b, ')')
	}
	return string(b)
}
