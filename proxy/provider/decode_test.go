package provider

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// pack compresses b as a server with this coding would.
func pack(t testing.TB, name string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch name {
	case "gzip", "x-gzip", "GZIP":
		w = gzip.NewWriter(&out)
	case "br":
		w = brotli.NewWriter(&out)
	case "deflate":
		w = zlib.NewWriter(&out)
	case "bare deflate":
		w, err = flate.NewWriter(&out, flate.DefaultCompression)
	case "zstd":
		w, err = zstd.NewWriter(&out)
	default:
		t.Fatalf("no coding %q", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// readEncoded has m read the pieces of an encoded answer.
func readEncoded(m *Meter, op Operation, f Format, encoding string, pieces ...[]byte) reading {
	m.Reset(op, f)
	m.SetEncoding([]byte(encoding))
	for _, p := range pieces {
		m.Write(p)
	}
	m.Close()
	return readingOf(m)
}

func TestMeter_EncodedBodiesMeanTheSame(t *testing.T) {
	t.Parallel()
	var m Meter // one for all: what one answer leaves behind must not show in the next
	for _, g := range goldens(t) {
		want := read(&m, g.op, g.format, g.body)
		want.Content = true // of an encoded body its first byte counts
		for _, name := range []string{"gzip", "x-gzip", "GZIP", "br", "deflate", "bare deflate", "zstd"} {
			packed := pack(t, name, g.body)
			encoding := strings.TrimPrefix(name, "bare ")
			for _, size := range []int{1, len(packed)} {
				if got := readEncoded(&m, g.op, g.format, encoding, pieces(packed, size)...); got.String() != want.String() {
					t.Errorf("%s, %s in pieces of %d: got  %v\nwant %v", g.name, name, size, got, want)
				}
			}
		}
	}
}

func TestMeter_EncodingLists(t *testing.T) {
	t.Parallel()
	body := []byte(`{"usage":{"total_tokens":17}}`)
	twice := pack(t, "br", pack(t, "gzip", body))
	check := func(encoding string, body []byte, want reading) {
		t.Helper()
		var m Meter
		if got := readEncoded(&m, Embeddings, Plain, encoding, body); got.String() != want.String() {
			t.Errorf("%q: got %v, want %v", encoding, got, want)
		}
	}
	known := reading{Usage: &Usage{Input: 17}, Final: true, Content: true, Complete: true}
	unread := reading{Content: true, Complete: true, Unread: true}
	check("", body, known)
	check("identity", body, known)
	check(" Identity , ", body, known)
	check("gzip, br", twice, known)
	check("gzip,identity ,\tBR", twice, known)
	check("br, gzip", twice, unread)
	check("compress", body, unread)
	check("gzip, dcb", twice, unread)
	check("gzip, gzip, gzip, gzip, gzip", body, unread)
	check("gzip", body, unread)
	check("gzip", nil, reading{Complete: true})
	check("deflate", []byte{0x78}, unread)
	check("gzip", twice[:1], unread)
}

// What could be read of a body that was cut counts.
func TestMeter_CutEncodedStream(t *testing.T) {
	t.Parallel()
	var plain bytes.Buffer
	plain.Write(events(`{"choices":[{"delta":{"content":"abc"},"finish_reason":null}],"usage":{"prompt_tokens":4,"completion_tokens":1}}`))
	for plain.Len() < 100<<10 { // incompressible, so that much of the text is in the first half of the bytes
		plain.WriteString(": ")
		plain.WriteString(noise(1000))
		plain.WriteString("\n\n")
	}
	packed := pack(t, "gzip", plain.Bytes())
	var m Meter
	got := readEncoded(&m, ChatCompletions, EventStream, "gzip", packed[:len(packed)/2])
	if got.Usage == nil || got.Usage.Input != 4 || got.Output != 3 || !got.Unread {
		t.Errorf("got %v", got)
	}
}

// noise is n letters that do not compress well, the same every time.
func noise(n int) string {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('0' + r.IntN(75))
	}
	return strings.NewReplacer(`\`, "x", `"`, "x").Replace(string(b))
}

func TestMeter_EncodedBodiesAreBounded(t *testing.T) {
	t.Parallel()
	var m Meter
	big := []byte(`{"x":"` + noise(6<<20) + `","usage":{"total_tokens":17}}`)
	packed := pack(t, "gzip", big)
	if len(packed) <= maxPacked {
		t.Fatalf("the body has only %d bytes", len(packed))
	}
	if got := readEncoded(&m, Embeddings, Plain, "gzip", pieces(packed, 32<<10)...); got.Usage != nil || !got.Unread {
		t.Errorf("body of %d bytes: got %v", len(packed), got)
	}
	if m.enc.packed != nil {
		t.Error("keeps the body it gave up")
	}
	got := readEncoded(&m, Embeddings, Plain, "gzip", pack(t, "gzip", []byte(`{"usage":{"total_tokens":17}}`)))
	if got.Usage == nil || got.Unread {
		t.Errorf("the body after it: got %v", got)
	}
}

func TestUnpack_RefusesBombs(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("unpacks 256 MiB")
	}
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	zeros := make([]byte, 1<<20)
	for range maxUnpacked>>20 + 1 {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	err := unpack(bomb.Bytes(), []coding{codingGzip}, func(p []byte) { n += len(p) })
	if !errors.Is(err, errTooLarge) || n > maxUnpacked {
		t.Errorf("got %v after %d bytes", err, n)
	}
}

// Decoders and buffers are pooled: one answer after the other costs a few small allocations.
func TestMeter_EncodedBodiesReuseDecoders(t *testing.T) {
	body := bytes.Repeat([]byte(" "), 100<<10)
	for _, name := range []string{"gzip", "br", "deflate", "zstd"} {
		packed := pack(t, name, body)
		var m Meter
		run := func() { readEncodedOnly(&m, name, packed) }
		run()
		if n := testing.AllocsPerRun(20, run); n > 20 {
			t.Errorf("%s: got %v allocations", name, n)
		}
	}
}

func readEncodedOnly(m *Meter, name string, packed []byte) {
	m.Reset(ChatCompletions, Plain)
	m.SetEncoding([]byte(name))
	m.Write(packed)
	m.Close()
}

// FuzzUnpack holds that no bytes make a decoder, fresh or pooled, do more than fail.
func FuzzUnpack(f *testing.F) {
	body := []byte(`{"usage":{"total_tokens":17}}`)
	for i, name := range []string{"gzip", "deflate", "br", "zstd", "bare deflate"} {
		f.Add(uint8(i), pack(f, name, body))
	}
	f.Fuzz(func(t *testing.T, c uint8, packed []byte) {
		chain := []coding{codingGzip + coding(c)%4}
		var first, second []byte
		n := 0
		err := unpack(packed, chain, func(p []byte) {
			if n += len(p); n < 1<<20 {
				first = append(first, p...)
			}
		})
		n = 0
		again := unpack(packed, chain, func(p []byte) {
			if n += len(p); n < 1<<20 {
				second = append(second, p...)
			}
		})
		if (err == nil) != (again == nil) || err == nil && !bytes.Equal(first, second) {
			t.Fatalf("a pooled decoder: %v, %d bytes; the first: %v, %d bytes", again, len(second), err, len(first))
		}
	})
}
