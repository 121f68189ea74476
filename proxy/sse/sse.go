// Package sse reads server-sent events (the text/event-stream format of the HTML standard, section 9.2) out of bytes
// that may be split anywhere. It is pull-based and incremental: give it what arrived, take the events that are whole.
//
//	for len(p) > 0 {
//		var ev sse.Event
//		var ok bool
//		if ev, p, ok = s.Next(p); ok {
//			… ev …
//		}
//	}
//
// An event that lies whole in one slice is handed over without a copy. What is incomplete is kept, up to MaxKept
// bytes; an event longer than that is handed over in parts, so memory stays bounded and no byte is lost.
package sse

import "bytes"

// MaxKept is how many bytes of an incomplete event a Scanner keeps. Events of the LLM APIs are a few hundred bytes;
// the few larger ones (whole images, final summaries) arrive in parts or, read at once, whole.
const MaxKept = 64 << 10

// maxIdle is the largest buffer that survives Reset: one large event must not pin its buffer in a pool.
const maxIdle = 16 << 10

// Part tells whether an Event is all of an event.
type Part uint8

// Whole is the zero value and the rule. An event longer than MaxKept that was split comes as any number of More and
// one Last; its data is the parts' data put together, and the Name and ID of every part are empty. A Tail is one LF,
// of the CRLF that ended the block before and was split.
const (
	Whole Part = iota
	More
	Last
	Tail
)

// Event is one block of a stream: everything up to and including a blank line. Its slices are valid until the next
// call of the Scanner and no longer than the bytes given to it. Data is nil when the block holds no data field, which
// the standard calls no event at all: comments, heartbeats, surplus blank lines, a byte order mark.
type Event struct {
	Name []byte // the event field; empty stands for "message"
	Data []byte // the data fields, joined by LF
	ID   []byte // the id field of this very block
	Raw  []byte // every byte of the block as it came; the Raw of all events together are the stream
	At   int    // Data is Raw[At:At+len(Data)]; -1 when it is joined from several lines, or there is none
	Part Part
}

// Scanner cuts a stream into events. The zero value is ready to use. It is not safe for concurrent use.
type Scanner struct {
	buf     []byte // the block so far, when it did not end in the bytes given
	data    []byte // data joined from several lines
	limit   int    // of buf; 0 is MaxKept
	off     int    // in parts: what of buf was handed over
	inside  bool   // the next byte belongs to a line that has begun
	cr      bool   // the byte before was a CR that ended a line: an LF next is part of that line end
	lf      bool   // the byte before was the CR that ended a block: an LF next is part of that block
	bareCR  bool   // the stream ends lines with CR alone: search bytewise, LF may be far away
	begun   bool   // what may be a byte order mark is over
	spent   bool   // buf holds an event that was handed over
	parting bool   // inside an event that is handed over in parts
	field   field  // in parts: the line the next byte belongs to
	joined  bool   // in parts: a data line came before
}

// Reset makes s ready for another stream; it keeps its buffers unless they grew large.
func (s *Scanner) Reset() {
	buf, data := s.buf[:0], s.data[:0]
	if cap(buf) > maxIdle {
		buf = nil
	}
	if cap(data) > maxIdle {
		data = nil
	}
	*s = Scanner{buf: buf, data: data, limit: s.limit}
}

// Next reads from p, which continues the stream, and returns the first event that ends in it and the bytes behind
// that event. When ok is false all of p was taken and no event ended. Call it again with rest until rest is empty.
func (s *Scanner) Next(p []byte) (ev Event, rest []byte, ok bool) {
	if s.spent {
		s.buf, s.spent = s.buf[:0], false
	}
	if len(p) == 0 {
		return Event{}, nil, false
	}
	if !s.begun {
		if ev, p, ok = s.begin(p); ok || len(p) == 0 {
			return ev, p, ok
		}
	}
	if s.lf {
		s.lf = false
		if p[0] == '\n' {
			return Event{Raw: p[:1], At: -1, Part: Tail}, p[1:], true
		}
	}
	if s.parting {
		return s.nextPart(p)
	}
	var ends lineEnds
	if n := s.blockEnd(p, &ends); n > 0 {
		raw := p[:n]
		if len(s.buf) > 0 {
			s.buf = append(s.buf, raw...)
			raw, s.spent, ends.n = s.buf, true, 0
		}
		return s.parse(raw, &ends), p[n:], true
	}
	if len(s.buf)+len(p) > s.max() {
		s.startParts()
		return s.nextPart(p)
	}
	s.buf = append(s.buf, p...)
	return Event{}, nil, false
}

// Close returns what the stream ended with when that was not a blank line. The standard drops it; a reader that
// wants to know what a cut stream still said can look at it. Reset must follow.
func (s *Scanner) Close() (ev Event, ok bool) {
	if s.spent {
		s.buf, s.spent = s.buf[:0], false
	}
	if s.parting {
		s.parting = false
		return Event{Raw: s.buf[s.off:], At: -1, Part: Last}, true
	}
	if len(s.buf) == 0 {
		return Event{}, false
	}
	s.spent = true
	return s.parse(s.buf, &lineEnds{}), true
}

func (s *Scanner) max() int {
	if s.limit > 0 {
		return s.limit
	}
	return MaxKept
}

const byteOrderMark = "\xEF\xBB\xBF"

// begin takes a byte order mark off the start of the stream, as a block of its own.
func (s *Scanner) begin(p []byte) (ev Event, rest []byte, ok bool) {
	for len(p) > 0 {
		if p[0] != byteOrderMark[len(s.buf)] {
			s.begun, s.inside = true, len(s.buf) > 0
			break
		}
		s.buf = append(s.buf, p[0])
		p = p[1:]
		if len(s.buf) == len(byteOrderMark) {
			s.begun, s.spent = true, true
			return Event{Raw: s.buf, At: -1}, p, true
		}
	}
	return Event{}, p, false
}

// lineEnds are the indexes where the first lines of a block end, kept between finding its end and reading it.
type lineEnds struct {
	n  int
	at [3]int
}

// blockEnd returns the length of the part of p up to and including the blank line that ends the block, or 0. It notes
// in ends where the first lines of p end.
func (s *Scanner) blockEnd(p []byte, ends *lineEnds) int {
	i := 0
	if s.cr {
		s.cr = false
		if p[0] == '\n' {
			i = 1
		}
	}
	for i < len(p) {
		if !s.inside && (p[i] == '\n' || p[i] == '\r') {
			i++
			if p[i-1] == '\r' {
				i, s.lf = skipLF(p, i)
			}
			return i
		}
		end := s.lineEnd(p[i:])
		if end < 0 {
			s.inside = true
			return 0
		}
		i += end
		if ends.n < len(ends.at) {
			ends.at[ends.n] = i
			ends.n++
		}
		i++
		s.inside = false
		if p[i-1] == '\r' {
			i, s.cr = skipLF(p, i)
		}
	}
	return 0
}

// skipLF steps over the LF that may follow a CR before p[i]; more reports that p ends before this is known.
func skipLF(p []byte, i int) (_ int, more bool) {
	if i == len(p) {
		return i, true
	}
	if p[i] == '\n' {
		i++
	}
	return i, false
}

// lineEnd returns the index of the first CR or LF in b, or -1.
func (s *Scanner) lineEnd(b []byte) int {
	if s.bareCR {
		for i, c := range b {
			if c == '\n' || c == '\r' {
				return i
			}
		}
		return -1
	}
	lf := bytes.IndexByte(b, '\n')
	line := b
	if lf >= 0 {
		line = b[:lf]
	}
	cr := bytes.IndexByte(line, '\r')
	if cr < 0 {
		return lf
	}
	if cr != len(line)-1 {
		s.bareCR = true
	}
	return cr
}

var (
	dataColon = []byte("data:")
	nul       = []byte{0}
)

// parse reads the fields of a whole block, whose first lines end where ends says.
func (s *Scanner) parse(raw []byte, ends *lineEnds) Event {
	ev := Event{Raw: raw, At: -1}
	for i, line := 0, 0; i < len(raw); line++ {
		if raw[i] == '\n' || raw[i] == '\r' { // also the LF of a CRLF
			i++
			line--
			continue
		}
		end := len(raw)
		if line < ends.n {
			end = ends.at[line]
		} else if n := s.lineEnd(raw[i:]); n >= 0 {
			end = i + n
		}
		s.parseLine(&ev, raw, i, end)
		i = end + 1
	}
	return ev
}

// parseLine reads the line raw[i:end] into ev.
func (s *Scanner) parseLine(ev *Event, raw []byte, i, end int) {
	name, at := raw[i:end], end
	colon := len("data")
	if !bytes.HasPrefix(name, dataColon) { // nearly all lines
		colon = bytes.IndexByte(name, ':')
	}
	if colon >= 0 {
		name, at = name[:colon], i+colon+1
		if at < end && raw[at] == ' ' {
			at++
		}
	}
	switch value := raw[at:end:end]; string(name) {
	case "data":
		if ev.Data == nil {
			ev.Data, ev.At = value, at
			return
		}
		if ev.At >= 0 {
			s.data, ev.At = append(s.data[:0], ev.Data...), -1
		}
		s.data = append(append(s.data, '\n'), value...)
		ev.Data = s.data
	case "event":
		ev.Name = value
	case "id":
		if !bytes.Contains(value, nul) {
			ev.ID = value
		}
	}
}
