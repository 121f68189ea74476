package sse

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// event is an Event with its parts put together, and the stray LF of a split CRLF given back to its block.
type event struct {
	name, id, raw string
	data          string
	hasData       bool
}

func (e event) String() string {
	return fmt.Sprintf("{event %q data %q (%t) id %q raw %q}", e.name, e.data, e.hasData, e.id, e.raw)
}

// scan feeds the pieces to a Scanner that keeps limit bytes and collects what comes out.
func scan(t testing.TB, limit int, pieces ...[]byte) []event {
	t.Helper()
	s := &Scanner{limit: limit}
	var all []event
	inParts := false
	take := func(ev Event) {
		if ev.At >= 0 && !bytes.Equal(ev.Raw[ev.At:ev.At+len(ev.Data)], ev.Data) {
			t.Fatalf("At %d does not point at the data %q in %q", ev.At, ev.Data, ev.Raw)
		}
		if ev.Part == Tail {
			if last := &all[len(all)-1]; string(ev.Raw) != "\n" || ev.Data != nil || !strings.HasSuffix(last.raw, "\r") {
				t.Fatalf("%q is no tail of %q", ev.Raw, last.raw)
			}
			all[len(all)-1].raw += "\n"
			return
		}
		if !inParts {
			all = append(all, event{})
		}
		e := &all[len(all)-1]
		e.name += string(ev.Name)
		e.id += string(ev.ID)
		e.raw += string(ev.Raw)
		e.data += string(ev.Data)
		e.hasData = e.hasData || ev.Data != nil
		inParts = ev.Part == More
	}
	for _, p := range pieces {
		for len(p) > 0 {
			ev, rest, ok := s.Next(p)
			if !ok && len(rest) > 0 {
				t.Fatalf("no event, yet %d bytes left", len(rest))
			}
			if p = rest; ok {
				take(ev)
			}
		}
		if !s.spent && len(s.buf) > max(s.max(), len(dataPrefix)) {
			t.Fatalf("keeps %d bytes of an incomplete event, limit %d", len(s.buf), s.max())
		}
	}
	if ev, ok := s.Close(); ok {
		take(ev)
	}
	return all
}

// reference reads the stream line by line as the standard describes.
func reference(stream string) []event {
	var all []event
	if rest, ok := strings.CutPrefix(stream, byteOrderMark); ok {
		all, stream = append(all, event{raw: byteOrderMark}), rest
	}
	var cur event
	for len(stream) > 0 {
		line, rest := stream, ""
		if i := strings.IndexAny(stream, "\r\n"); i >= 0 {
			n := 1
			if strings.HasPrefix(stream[i:], "\r\n") {
				n = 2
			}
			line, rest = stream[:i], stream[i+n:]
		}
		cur.raw += stream[:len(stream)-len(rest)]
		ended := line == "" && rest != stream
		stream = rest
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "data":
			if cur.hasData {
				cur.data += "\n"
			}
			cur.data += value
			cur.hasData = true
		case "event":
			cur.name = value
		case "id":
			if !strings.Contains(value, "\x00") {
				cur.id = value
			}
		}
		if ended {
			all = append(all, cur)
			cur = event{}
		}
	}
	if cur.raw != "" {
		all = append(all, cur)
	}
	return all
}

func equal(a, b []event, parted bool) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		if parted { // parts carry neither
			x.name, x.id, y.name, y.id = "", "", "", ""
		}
		if x != y {
			return false
		}
	}
	return true
}

func TestScanner_Events(t *testing.T) {
	t.Parallel()
	check := func(stream string, want ...string) {
		t.Helper()
		var got []string
		for _, e := range scan(t, 0, []byte(stream)) {
			if e.hasData {
				got = append(got, e.name+"|"+e.data+"|"+e.id)
			}
		}
		if len(want) != len(got) || strings.Join(got, "\x00") != strings.Join(want, "\x00") {
			t.Errorf("%q: got %q, want %q", stream, got, want)
		}
	}
	check("data: {\"a\":1}\n\ndata: [DONE]\n\n", `|{"a":1}|`, "|[DONE]|")
	check("event: ping\ndata: x\nid: 7\n\n", "ping|x|7")
	check("data: x\r\n\r\ndata: y\r\n\r\n", "|x|", "|y|")
	check("data: x\r\rdata: y\r\r", "|x|", "|y|")
	check("data: x\n\r\ndata: y\r\n\n", "|x|", "|y|")
	check("data:no space\n\n", "|no space|")
	check("data:  two spaces\n\n", "| two spaces|")
	check("data\n\n", "||")
	check("data: a\ndata: b\ndata:\n\n", "|a\nb\n|")
	check(": comment\n\n: OPENROUTER PROCESSING\n\ndata: x\n\n", "|x|")
	check("event: lonely\n\ndata: x\n\n", "|x|")
	check("\xEF\xBB\xBFdata: x\n\n", "|x|")
	check("\xEF\xBBdata: y\n\ndata: x\n\n", "|x|")
	check("\n\n\ndata: x\n\n\n\n", "|x|")
	check("id: :x\n: data: no\ndata: x: y\n\n", "|x: y|:x")
	check("retry: 10\nunknown: y\ndatax: z\ndata: x\n\n", "|x|")
	check("data: unterminated", "|unterminated|")
	check("id: a\x00b\ndata: x\n\n", "|x|")
	check("data: größe 😀\n\n", "|größe 😀|")
	check("")
}

func TestScanner_HandsOverWholeEventsWithoutCopy(t *testing.T) {
	t.Parallel()
	p := []byte("data: one\n\nevent: e\ndata: two\n\n")
	var s Scanner
	for rest := p; len(rest) > 0; {
		ev, next, ok := s.Next(rest)
		if !ok || &ev.Raw[0] != &rest[0] || &ev.Data[0] != &ev.Raw[ev.At] {
			t.Fatalf("event %q is a copy", ev.Raw)
		}
		rest = next
	}
}

func TestScanner_EventLongerThanLimitComesInParts(t *testing.T) {
	t.Parallel()
	long := "data: " + strings.Repeat("0123456789", 20) + "\ndata:" + strings.Repeat("x", 100) + "\n"
	for _, stream := range []string{
		long + "\ndata: next\n\n",
		"event: big\n" + long + ": comment\ndata\n\r\n",
		"\xEF\xBB\xBF" + strings.ReplaceAll(long, "\n", "\r\n") + "\r\ndata: next\r\n\r\n",
		strings.ReplaceAll(long, "\n", "\r") + "dat: a\rdata\r\rdata: next\r\r",
		long,
	} {
		want := reference(stream)
		for _, size := range []int{1, 2, 3, 5, 7, 11, 64} {
			if got := scan(t, 20, split(stream, size)...); !equal(got, want, true) {
				t.Errorf("pieces of %d: got %v, want %v", size, got, want)
			}
		}
		if got := scan(t, 20, []byte(stream)); !equal(got, want, strings.HasSuffix(long, stream)) {
			t.Errorf("in one piece: got %v, want %v", got, want)
		}
	}
}

func TestScanner_ResetForgetsTheStream(t *testing.T) {
	t.Parallel()
	for _, before := range []string{"data: half", "data: x\r", "data: x\r\r", "\r", "a\rb", strings.Repeat("data: x", 10), ""} {
		s := &Scanner{limit: 20}
		for p := []byte(before); len(p) > 0; {
			_, p, _ = s.Next(p)
		}
		s.Close()
		s.Reset()
		ev, rest, ok := s.Next([]byte("\ndata: y\n\n"))
		if !ok || string(ev.Raw) != "\n" {
			t.Errorf("after %q: got %q, %t", before, ev.Raw, ok)
		}
		if ev, _, ok := s.Next(rest); !ok || string(ev.Data) != "y" || ev.Part != Whole {
			t.Errorf("after %q: got %q, %t", before, ev.Data, ok)
		}
	}
	big := &Scanner{}
	big.Next(make([]byte, MaxKept))
	if big.Reset(); cap(big.buf) > maxIdle {
		t.Errorf("Reset keeps %d bytes", cap(big.buf))
	}
}

// The search for a line end must stay linear when a stream holds CRs only, or CRs and one LF far away.
func TestScanner_BareCRIsFoundOnce(t *testing.T) {
	t.Parallel()
	var s Scanner
	p := []byte(strings.Repeat("data: x\r", 3) + "\r" + strings.Repeat("\r", 1<<16) + "\n")
	n := 0
	for len(p) > 0 {
		_, p, _ = s.Next(p)
		n++
	}
	if !s.bareCR || n != 1+1<<16 {
		t.Errorf("bareCR %t after %d events", s.bareCR, n)
	}
}

func split(stream string, size int) [][]byte {
	var pieces [][]byte
	for len(stream) > 0 {
		n := min(size, len(stream))
		pieces = append(pieces, []byte(stream[:n]))
		stream = stream[n:]
	}
	return pieces
}

// FuzzScanner holds the property that matters: wherever the stream is split, the same events come out, they are those
// of the standard, and their raw bytes are the stream.
func FuzzScanner(f *testing.F) {
	f.Add("data: {\"a\":\"b\"}\n\ndata: [DONE]\n\n", uint8(3), uint8(0))
	f.Add("\xEF\xBB\xBFevent: e\r\ndata: 1\r\ndata: 2\r\nid: 3\r\n\r\n: ping\r\n\r\n", uint8(1), uint8(8))
	f.Add("data\rdata:\r\rdata: a\n\r\r\n\n", uint8(2), uint8(16))
	f.Add("data: 0123456789012345678901234567890123456789\ndata: x\n\n", uint8(7), uint8(9))
	f.Fuzz(func(t *testing.T, stream string, size, limit uint8) {
		if len(stream) > 1<<12 {
			return
		}
		want := reference(stream)
		if got := scan(t, 0, []byte(stream)); !equal(got, want, false) {
			t.Fatalf("whole: got %v, want %v", got, want)
		}
		pieces := split(stream, int(size)+1)
		if got := scan(t, 0, pieces...); !equal(got, want, false) {
			t.Fatalf("pieces of %d: got %v, want %v", int(size)+1, got, want)
		}
		stream += "\n\n" // parts tell nothing of a line that is cut inside the name of its field
		want = reference(stream)
		if got := scan(t, int(limit)+1, split(stream, int(size)+1)...); !equal(got, want, true) {
			t.Fatalf("pieces of %d, limit %d: got %v, want %v", int(size)+1, int(limit)+1, got, want)
		}
	})
}

func TestScanner_DoesNotAllocate(t *testing.T) {
	p := []byte(strings.Repeat("event: content_block_delta\ndata: {\"x\":1}\n\ndata: a\ndata: b\n\n", 8))
	var s Scanner
	run := func() {
		s.Reset()
		for _, piece := range [][]byte{p[:100], p[100:103], p[103:]} {
			for len(piece) > 0 {
				_, piece, _ = s.Next(piece)
			}
		}
	}
	run() // grows the buffers
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

func BenchmarkScanner(b *testing.B) {
	frame := "data: {\"id\":\"chatcmpl-A\",\"choices\":[{\"delta\":{\"content\":\"" + strings.Repeat("x", 230) + "\"}}]}\n\n"
	for _, c := range []struct{ name, frame string }{
		{"lf", frame},
		{"crlf", strings.ReplaceAll(frame, "\n", "\r\n")},
		{"cr", strings.ReplaceAll(frame, "\n", "\r")},
		{"named", "event: content_block_delta\n" + frame},
	} {
		p := []byte(strings.Repeat(c.frame, 16))
		b.Run("lines="+c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.frame)))
			var s Scanner
			for rest := p; b.Loop(); {
				if _, rest, _ = s.Next(rest); len(rest) == 0 {
					rest = p
				}
			}
		})
	}
}
