package report_test

import (
	"math"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/report"
)

func TestPercentIsNeverRoundedAcrossAnEdge(t *testing.T) {
	tests := []struct {
		name     string
		share    float64
		decimals int
		edges    []float64
		want     string
	}{
		{"over nothing", math.NaN(), 1, nil, "–"},
		{"nothing of something", 0, 1, []float64{0, 0.05, 1}, "0.0 %"},
		{"all", 1, 2, []float64{0, 0.999, 1}, "100.00 %"},
		{"an ordinary share", 0.043, 1, []float64{0, 0.05, 1}, "4.3 %"},
		{"on the target", 0.05, 1, []float64{0, 0.05, 1}, "5.0 %"},
		{"just below the target", 0.04996, 1, []float64{0, 0.05, 1}, "4.996 %"},
		{"just above the target", 0.0501, 1, []float64{0, 0.05, 1}, "5.01 %"},
		{"one of very many", 0.0001, 1, []float64{0, 0.05, 1}, "0.01 %"},
		{"all but one of very many", 0.99997, 2, []float64{0, 0.999, 1}, "99.997 %"},
		{"just below the health target", 0.99899, 2, []float64{0, 0.999, 1}, "99.899 %"},
		{"no edge is near", 0.33333, 1, nil, "33.3 %"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := report.Percent(tt.share, tt.decimals, tt.edges...); got != tt.want {
				t.Errorf("percent(%v) = %q, want %q", tt.share, got, tt.want)
			}
		})
	}
}

func TestDurationsReadAsAPersonWouldSayThem(t *testing.T) {
	tests := []struct {
		d    time.Duration
		want string
	}{
		{0, "0 s"},
		{45 * time.Second, "45 s"},
		{59_600 * time.Millisecond, "1 min"},
		{4*time.Minute + 30*time.Second, "4 min 30 s"},
		{9*time.Minute + 5*time.Second, "9 min 05 s"},
		{12*time.Minute + 20*time.Second, "12 min"},
		{59*time.Minute + 40*time.Second, "1 h 00 min"},
		{65 * time.Minute, "1 h 05 min"},
		{24*time.Hour - time.Second, "1 d 00 h"},
		{51*time.Hour + 10*time.Minute, "2 d 03 h"},
		{400 * 24 * time.Hour, "400 d 00 h"},
	}
	for _, tt := range tests {
		if got := report.Duration(tt.d); got != tt.want {
			t.Errorf("duration(%v) = %q, want %q", tt.d, got, tt.want)
		}
	}
}

func TestBoundsReadAsTheyWereAgreed(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Minute: "1 min", 90 * time.Minute: "90 min", 2 * time.Hour: "2 h", 24 * time.Hour: "24 h", 90 * time.Second: "1m30s",
	} {
		if got := report.Bound(d); got != want {
			t.Errorf("bound(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestNamesBecomeOneHarmlessLine(t *testing.T) {
	tests := []struct{ name, given, want string }{
		{"ordinary", "Müller & Söhne", "Müller & Söhne"},
		{"line breaks and tabs", " a\r\n\tb\u2028c\u00a0d ", "a b c d"},
		{"a terminal's escape", "\x1b[31mred\x07", "[31mred"},
		{"turned reading direction", "abc\u202egnp.exe\u2066", "abcgnp.exe"},
		{"right to left", "שלום", "שלום"},
		{"broken UTF-8", "a\xffb", "ab"},
		{"nothing that can be seen", "\x00\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := report.Clean(tt.given); got != tt.want {
				t.Errorf("clean(%q) = %q, want %q", tt.given, got, tt.want)
			}
		})
	}
}

func TestShortenFitsTheColumnsOfATerminal(t *testing.T) {
	tests := []struct {
		given string
		most  int
		want  string
	}{
		{"Workshop hotline", 0, "Workshop hotline"},
		{"Workshop hotline", 16, "Workshop hotline"},
		{"Workshop hotline", 15, "Workshop hotli…"},
		{"客户服务热线", 12, "客户服务热线"},
		{"客户服务热线", 11, "客户服务热…"},
		{"客户服务热线", 10, "客户服务…"},
		{"e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301e\u0301"},
	}
	for _, tt := range tests {
		got := report.Shorten(tt.given, tt.most)
		if got != tt.want {
			t.Errorf("shorten(%q, %d) = %q, want %q", tt.given, tt.most, got, tt.want)
		}
		if tt.most > 0 && report.Columns(got) > tt.most {
			t.Errorf("%q takes %d columns, more than %d", got, report.Columns(got), tt.most)
		}
	}
}

func TestAxesHaveFewWholeTicksAndRoomForAll(t *testing.T) {
	for _, top := range []float64{0, 0.3, 1, 4, 5, 6, 10, 11, 47, 99.9, 100, 101, 12_345} {
		n, step := report.Ticks(top)
		highest := float64(n-1) * step
		if n < 2 || n > 6 || step != math.Trunc(step) || highest < top || (n > 2 && highest-step >= top) {
			t.Errorf("ticks(%v) = %d of %v", top, n, step)
		}
	}
}
