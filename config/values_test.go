package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	t.Parallel()
	check := func(s string, want Size) {
		t.Helper()
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("ParseSize(%q): got %d %v, want %d", s, got, err, want)
		}
	}
	wrong := func(s string) {
		t.Helper()
		if got, err := ParseSize(s); err == nil {
			t.Errorf("ParseSize(%q): got %d, want an error", s, got)
		}
	}
	check("0", 0)
	check("8388608", 8*MiB)
	check("512B", 512)
	check("8MiB", 8*MiB)
	check(" 8 mib ", 8*MiB)
	check("8MB", 8_000_000)
	check("1.5KiB", 1536)
	check("0.001KB", 1)
	check("1.50000000000000000000000000KiB", 1536)
	check("9223372036854775807", math.MaxInt64)
	check("8388607TiB", 8388607*TiB)
	wrong("")
	wrong("MiB")
	wrong("8M")
	wrong("8 potatoes")
	wrong("-1B")
	wrong("+1B")
	wrong("1e3B")
	wrong("1.B")
	wrong(".5KiB")
	wrong("1.5B")
	wrong("0.1KiB")
	wrong("0.0000000000000000000000001GiB")
	wrong("9223372036854775808")
	wrong("8388608TiB")
	wrong("8388607.99999999999TiB")
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"8MiB", "1.5KiB", "0.001KB", "9223372036854775807", "8388608TiB", "12 gb", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		size, err := ParseSize(s)
		if err != nil {
			return
		}
		if again, err := ParseSize(size.String()); err != nil || again != size {
			t.Errorf("%q: %d is written %q, which reads %d %v", s, size, size, again, err)
		}
		number := strings.TrimRight(strings.TrimSpace(s), "KMGTiBkmgtIb ")
		unit := strings.ToUpper(strings.TrimSpace(strings.TrimSpace(s)[len(number):]))
		factor := map[string]int64{"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}[unit]
		exact, ok := new(big.Rat).SetString(number)
		if !ok || exact.Mul(exact, new(big.Rat).SetInt64(factor)).Cmp(new(big.Rat).SetInt64(int64(size))) != 0 {
			t.Errorf("%q: got %d, want %v", s, size, exact)
		}
	})
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	check := func(s string, want time.Duration, format string) {
		t.Helper()
		got, err := ParseDuration(s)
		if err != nil || got != want {
			t.Errorf("ParseDuration(%q): got %v %v, want %v", s, got, err, want)
		}
		if got := FormatDuration(want); got != format {
			t.Errorf("FormatDuration(%v): got %q, want %q", want, got, format)
		}
	}
	wrong := func(s string) {
		t.Helper()
		if got, err := ParseDuration(s); err == nil {
			t.Errorf("ParseDuration(%q): got %v, want an error", s, got)
		}
	}
	check("0", 0, "0s")
	check("250ms", 250*time.Millisecond, "250ms")
	check(" 10s ", 10*time.Second, "10s")
	check("90m", 90*time.Minute, "1h30m")
	check("20m", 20*time.Minute, "20m")
	check("10h", 10*time.Hour, "10h")
	check("1h0m1s", time.Hour+time.Second, "1h0m1s")
	check("24h", day, "1d")
	check("1d12h", 36*time.Hour, "36h")
	check("106751d", 106751*day, "106751d")
	wrong("")
	wrong("10")
	wrong("-1s")
	wrong("+1s")
	wrong("d")
	wrong("1dd")
	wrong("1d-1h")
	wrong("1.5d")
	wrong("1h1d")
	wrong("106752d")
	wrong("106751d24h")
	wrong("1y")
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"0", "250ms", "1d12h", "106751d23h47m16.854775807s", "106752d", "1.5h", "-1s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		if again, err := ParseDuration(FormatDuration(d)); d < 0 || err != nil || again != d {
			t.Errorf("%q: %d is written %q, which reads %d %v", s, d, FormatDuration(d), again, err)
		}
		if plain, err := time.ParseDuration(strings.TrimSpace(s)); err == nil && plain != d {
			t.Errorf("%q: got %v, want %v", s, d, plain)
		}
	})
}

func TestScaleDecimal(t *testing.T) {
	t.Parallel()
	check := func(text string, scale int, want int64) {
		t.Helper()
		if got, err := scaleDecimal(text, scale); err != nil || got != want {
			t.Errorf("scaleDecimal(%q, %d): got %d %v, want %d", text, scale, got, err, want)
		}
	}
	wrong := func(text string, scale int, want error) {
		t.Helper()
		if got, err := scaleDecimal(text, scale); !errors.Is(err, want) {
			t.Errorf("scaleDecimal(%q, %d): got %d %v, want %v", text, scale, got, err, want)
		}
	}
	check("1.25e-07", 12, 125000)
	check("0.00000012500", 12, 125000)
	check("2.8E-08", 12, 28000)
	check("3e-06", 12, 3_000_000)
	check("1", 12, 1_000_000_000_000)
	check("0", 12, 0)
	check("-0.0", 12, 0)
	check("0e999999999999", 12, 0)
	check("2.0345052083e-09", 12, 2035) // 2034.5052…
	check("0.5e-12", 12, 0)             // half goes to the even neighbour
	check("1.5e-12", 12, 2)
	check("2.5e-12", 12, 2)
	check("2.50000000000000000000000000000000000001e-12", 12, 3)
	check("0.4e-12", 12, 0)
	check("0.6e-12", 12, 1)
	check("9e-14", 12, 0)
	check("1e-999999999999", 12, 0)
	check("999999999999999999", 0, 999999999999999999)
	check("256000.0", 0, 256000)
	wrong("1e999999999999", 12, errTooLarge)
	wrong("1000000000000000000", 0, errTooLarge)
	wrong("1234567890123456789.5", 0, errTooLarge)
	wrong("-1e-7", 12, errNegative)
	wrong("NaN", 12, errNotNumber)
	wrong("Infinity", 12, errNotNumber)
	wrong("", 12, errNotNumber)
	wrong("1.", 12, errNotNumber)
	wrong(".1", 12, errNotNumber)
	wrong("1e", 12, errNotNumber)
	wrong("1e+-1", 12, errNotNumber)
	wrong("0x10", 12, errNotNumber)
	wrong("--1", 12, errNotNumber)
	wrong("+1", 12, errNotNumber)
}

// FuzzScaleDecimal compares with exact rational arithmetic.
func FuzzScaleDecimal(f *testing.F) {
	f.Add("1.25e-07", 12)
	f.Add("2.0345052083e-09", 12)
	f.Add("2.5e-12", 12)
	f.Add("999999999999999999.5", 0)
	f.Fuzz(func(t *testing.T, text string, scale int) {
		if _, exponent, _ := strings.Cut(strings.ToLower(text), "e"); len(exponent) > 3 || scale < 0 || scale > 20 {
			return // rational arithmetic would take forever
		}
		got, err := scaleDecimal(text, scale)
		if err != nil {
			return
		}
		exact, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("%q is read as %d", text, got)
		}
		exact.Mul(exact, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)))
		exact.Sub(exact, new(big.Rat).SetInt64(got)).Abs(exact)
		if c := exact.Cmp(big.NewRat(1, 2)); c > 0 || c == 0 && got%2 != 0 {
			t.Errorf("%q × 10^%d: got %d, which is off by %v", text, scale, got, exact)
		}
	})
}

func TestMulDiv(t *testing.T) {
	t.Parallel()
	if got := mulDiv(6e6, 7.5e6, 3.75e6); got != 12e6 {
		t.Errorf("got %d", got)
	}
	if got := mulDiv(math.MaxInt64/2, 3, 1); got != math.MaxInt64 {
		t.Errorf("got %d, want saturation", got)
	}
}

func TestSecret_NeverShown(t *testing.T) {
	t.Parallel()
	s := NewSecret("s3cret")
	type hidden struct{ key Secret }
	type shown struct{ Key Secret }
	text, err := json.Marshal(map[string]any{"a": s, "b": &s, "c": shown{s}})
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != `{"a":"***","b":"***","c":{"Key":"***"}}` {
		t.Errorf("JSON: got %s", text)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%10s"} {
		for _, value := range []any{s, &s, hidden{s}, &hidden{s}, shown{s}, []Secret{s}, map[string]Secret{"a": s}, Provider{APIKey: s}} {
			if got := fmt.Sprintf(verb, value); strings.Contains(got, "s3cret") || strings.Contains(got, "733363726574") {
				t.Errorf("%s of %T shows it: %s", verb, value, got)
			}
		}
	}
	if got := fmt.Sprint(s, NewSecret("")); got != "*** " {
		t.Errorf("got %q", got)
	}
	if s.Reveal() != "s3cret" || s.Empty() || !NewSecret("").Empty() || (Secret{}).Reveal() != "" {
		t.Error("the value is lost")
	}
}
