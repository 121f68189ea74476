package proxy

import (
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestMediaIn(t *testing.T) {
	t.Parallel()
	picture := func(n int) string {
		raw := make([]byte, n)
		for i := range raw {
			raw[i] = byte(rand.Uint32())
		}
		return base64.StdEncoding.EncodeToString(raw)
	}
	text := strings.Repeat("lorem ipsum dolor sit amet, ", 2000)
	for name, c := range map[string]struct {
		body          string
		bytes, pieces int
	}{
		"empty":      {"", 0, 0},
		"text":       {text, 0, 0},
		"no spaces":  {strings.Repeat("これは長い文章です。", 2000), 0, 0},
		"small":      {text + picture(mediaRun/2) + text, 0, 0},
		"one":        {text + `"` + picture(30_000) + `"` + text, 40_000, 1},
		"at the end": {`"` + picture(3_000), 4_000, 1},
		"two":        {`{"a":"` + picture(6_000) + `","b":"` + picture(9_000) + `"}` + text, 20_000, 2},
	} {
		if bytes, pieces := mediaIn([]byte(c.body)); bytes != c.bytes || pieces != c.pieces {
			t.Errorf("%s: %d bytes in %d pieces, want %d in %d", name, bytes, pieces, c.bytes, c.pieces)
		}
	}
}

func BenchmarkMediaIn(b *testing.B) {
	body := []byte(strings.Repeat("lorem ipsum dolor sit amet, ", 1200)) // 32 KB
	for b.Loop() {
		mediaIn(body)
	}
}
