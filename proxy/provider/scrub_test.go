package provider

import (
	"bytes"
	"strings"
	"testing"

	"llm-auto-optimizer/proxy/sse"
)

// scrub puts the pieces of a stream through s.
func scrub(s *Scrubber, pieces ...[]byte) string {
	s.Reset()
	var out []byte
	for _, p := range pieces {
		out = s.Append(out, p)
	}
	return string(s.Close(out))
}

func TestScrubber(t *testing.T) {
	t.Parallel()
	check := func(in, want string) {
		t.Helper()
		for _, end := range []string{"\n", "\r\n", "\r"} {
			in, want := strings.ReplaceAll(in, "\n", end), strings.ReplaceAll(want, "\n", end)
			var s Scrubber
			if got := scrub(&s, []byte(in)); got != want {
				t.Errorf("%q: got %q, want %q", in, got, want)
			}
			for i := range in {
				if got := scrub(&s, []byte(in[:i]), []byte(in[i:])); got != want {
					t.Errorf("%q split at %d: got %q, want %q", in, i, got, want)
				}
			}
			if got := scrub(&s, pieces([]byte(in), 1)...); got != want {
				t.Errorf("%q bytewise: got %q, want %q", in, got, want)
			}
		}
	}
	unchanged := func(in string) {
		t.Helper()
		check(in, in)
	}
	const usage = `{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}`
	// What OpenAI sends.
	check("data: {\"choices\":[{\"delta\":{}}],\"usage\":null}\n\ndata: {\"choices\":[],\"usage\":"+usage+"}\n\ndata: [DONE]\n\n",
		"data: {\"choices\":[{\"delta\":{}}]}\n\ndata: [DONE]\n\n")
	check("data: {\"choices\":[],\"usage\":null,\"obfuscation\":\"x\"}\n\n", "data: {\"choices\":[],\"obfuscation\":\"x\"}\n\n") // Azure's first
	// The member alone goes, wherever it stands.
	check("data: {\"usage\":null,\"a\":1}\n\n", "data: {\"a\":1}\n\n")
	check("data: {\"usage\" : null , \"a\":1}\n\n", "data: {\"a\":1}\n\n")
	check("data: {\"a\":1, \"usage\": null, \"b\":2 }\n\n", "data: {\"a\":1, \"b\":2 }\n\n")
	check("data: {\"usage\":null}\n\n", "data: {}\n\n")
	check("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":"+usage+"}\n\n",
		"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n")
	check("data: {\"choices\":[],\"error\":{\"code\":502},\"usage\":"+usage+"}\n\n", "data: {\"choices\":[],\"error\":{\"code\":502}}\n\n")
	check("event: e\nid: 1\n: c\ndata:{\"a\":1,\"usage\":null}\nretry: 5\n\n", "event: e\nid: 1\n: c\ndata:{\"a\":1}\nretry: 5\n\n")
	// The chunk goes, comments stay.
	check(": one\n\n: two\ndata: {\"usage\":"+usage+",\"choices\":[ ]}\n: three\n\n: four\n\n", ": one\n\n: two\n: three\n: four\n\n")
	check("data: a\n\ndata: {\"choices\":[],\ndata: \"usage\":"+usage+"}\n\ndata: b\n\n", "data: a\n\ndata: b\n\n")
	check("data: {\"choices\":[],\"usage\":"+usage+"}\n\n\n", "\n")
	check("data: {\"choices\":[],\"usage\":"+usage+"}", "") // the end of the stream ends it, too
	// Everything else stays.
	unchanged("")
	unchanged("data: [DONE]\n\n")
	unchanged("\n\n: comment\n\nevent: x\n\ndata: {\"choices\":[]}\n\n\n\nid: 7\n")
	unchanged("data: {\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\":null,\"}}]}\n\n")
	unchanged("data: {\"choices\":[{\"delta\":{\"usage\":null}}]}\n\n")
	unchanged("data: {\"choices\":[],\"usage\":7}\n\n")
	unchanged("data: {\"choices\":[],\"usage\":" + usage + "\n\n") // no JSON
	unchanged("data: {\"choices\":[{\"usage\":" + usage + "}],\"x_groq\":{\"usage\":" + usage + "}}\n\n")
	unchanged("data: {\"a\":1,\ndata: \"usage\":null}\n\n") // over two lines; nobody sends it
	unchanged("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9")
	unchanged("\xEF\xBB\xBFdata: größe 😀\n\ndata")
}

// Whether a stream is OpenAI's without include_usage or with it and scrubbed makes no difference.
func TestScrubber_UndoesIncludeUsage(t *testing.T) {
	t.Parallel()
	frame := func(delta, finish, usage string) string {
		return `data: {"id":"chatcmpl-A","model":"gpt-4o","choices":[{"index":0,"delta":` + delta + `,"finish_reason":` + finish + `}]` + usage + "}\n\n"
	}
	build := func(usage, last string) string {
		return frame(`{"role":"assistant","content":""}`, "null", usage) + frame(`{"content":"Hi"}`, "null", usage) +
			frame(`{}`, `"stop"`, usage) + last + "data: [DONE]\n\n"
	}
	without := build("", "")
	with := build(`,"usage":null`, `data: {"id":"chatcmpl-A","model":"gpt-4o","choices":[],"usage":{"total_tokens":11}}`+"\n\n")
	var s Scrubber
	if got := scrub(&s, []byte(with)); got != without {
		t.Errorf("got  %q\nwant %q", got, without)
	}
	if got := scrub(&s, []byte(without)); got != without {
		t.Errorf("a stream without usage: got %q\nwant %q", got, without)
	}
}

// Whole events go out at once, incomplete ones do not.
func TestScrubber_HoldsBackIncompleteEventsOnly(t *testing.T) {
	t.Parallel()
	var s Scrubber
	check := func(in, want string) {
		t.Helper()
		if got := string(s.Append(nil, []byte(in))); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	check("data: a\n\ndata: b", "data: a\n\n")
	check("\n", "")
	check("\n: c\n\n", "data: b\n\n: c\n\n")
	check("data: "+strings.Repeat("x", sse.MaxKept), "data: "+strings.Repeat("x", sse.MaxKept)) // too long to be held
}

func TestScrubber_LongEventsPassInAnySplit(t *testing.T) {
	t.Parallel()
	for _, n := range []int{sse.MaxKept - 40, sse.MaxKept - 4, sse.MaxKept, sse.MaxKept + 4, 3 * sse.MaxKept} {
		for _, end := range []string{"\n", "\r\n", "\r"} {
			in := []byte(strings.ReplaceAll("data: {\"a\":\""+strings.Repeat("x", n-30)+"\",\"usage\":null}\n\ndata: b\n\n", "\n", end))
			var s Scrubber
			want := scrub(&s, in)
			for _, size := range []int{1000, 4096, sse.MaxKept - 1, sse.MaxKept} {
				if got := scrub(&s, pieces(in, size)...); got != want {
					t.Errorf("event of %d bytes in pieces of %d: %d bytes out, whole %d", n, size, len(got), len(want))
				}
			}
		}
	}
}

// FuzzScrubber holds that the output does not depend on the splits, that a stream without usage passes as it is, and
// that what is taken out is usage: a Meter sees none at the top of a chunk any more, and all else it saw before.
func FuzzScrubber(f *testing.F) {
	for _, g := range goldens(f) {
		if g.format == EventStream {
			f.Add(g.body, uint16(3))
		}
	}
	f.Add([]byte("data: {\"usage\":null,\"choices\":[]}\r\r\n: c\rdata: {\"choices\":[],\"usage\":{}}\r\n\r\n\n"), uint16(0))
	f.Fuzz(func(t *testing.T, stream []byte, size uint16) {
		if len(stream) > 1<<14 {
			return
		}
		var s Scrubber
		want := scrub(&s, stream)
		if got := scrub(&s, pieces(stream, int(size)+1)...); got != want {
			t.Fatalf("in pieces of %d: got %q, want %q", int(size)+1, got, want)
		}
		if !bytes.Contains(stream, []byte("usage")) && want != string(stream) {
			t.Fatalf("no usage: got %q", want)
		}
		if again := scrub(&s, []byte(want)); len(again) > len(want) || len(want) > len(stream) {
			t.Fatalf("grew from %q over %q to %q", stream, want, again)
		}
		var m Meter
		before, after := read(&m, ChatCompletions, EventStream, stream), read(&m, ChatCompletions, EventStream, []byte(want))
		if before.Content != after.Content || before.Complete != after.Complete || before.Failed != after.Failed || before.Output != after.Output {
			t.Fatalf("before %v\nafter  %v", before, after)
		}
	})
}

func TestScrubber_DoesNotAllocate(t *testing.T) {
	in := bytes.Repeat([]byte(chatFrame), 8)
	var s Scrubber
	dst := make([]byte, 0, 2*len(in))
	run := func() {
		s.Reset()
		dst = s.Append(dst[:0], in[:1000])
		dst = s.Append(dst, in[1000:])
		dst = s.Close(dst)
	}
	run() // grows the buffers
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

func BenchmarkScrubber(b *testing.B) {
	in := []byte(chatFrame)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	var s Scrubber
	var dst []byte
	for b.Loop() {
		dst = s.Append(dst[:0], in)
	}
}
