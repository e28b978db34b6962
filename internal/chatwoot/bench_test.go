package chatwoot

import (
	"encoding/json"
	"os"
	"testing"
)

func BenchmarkDecodePage(b *testing.B) {
	data, err := os.ReadFile("testdata/examples/conversations_page.json")
	if err != nil {
		b.Fatal(err)
	}
	b.Run("scanner", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := decodePage(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			var page struct {
				Data struct {
					Payload []struct {
						ID        int64   `json:"id"`
						CreatedAt int64   `json:"created_at"`
						UpdatedAt float64 `json:"updated_at"`
					} `json:"payload"`
				} `json:"data"`
			}
			if err := json.Unmarshal(data, &page); err != nil {
				b.Fatal(err)
			}
		}
	})
}
