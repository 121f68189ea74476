package sse

import "bytes"

// field is what a line of an event in parts is.
type field uint8

const (
	lineStart field = iota // not known yet
	dataLine
	otherLine
)

const dataPrefix = "data: "

var newline = []byte{'\n'}

// startParts begins to hand over the event that buf holds the start of and that has not ended.
func (s *Scanner) startParts() {
	s.parting, s.joined, s.field = true, false, lineStart
	s.cr, s.inside, s.off = false, false, 0
}

// nextPart is Next inside an event that is handed over in parts: first what was kept, then p.
func (s *Scanner) nextPart(p []byte) (ev Event, rest []byte, ok bool) {
	for {
		if s.off < len(s.buf) {
			if ev, n := s.part(s.buf[s.off:]); n > 0 {
				s.off += n
				return ev, p, true
			}
			if len(p) == 0 {
				return Event{}, nil, false
			}
			// A few bytes that may be the name of the field: bytewise, so that nothing behind the line gets into buf.
			s.buf = append(s.buf[:copy(s.buf, s.buf[s.off:])], p[0])
			s.off, p = 0, p[1:]
			continue
		}
		s.buf, s.off = s.buf[:0], 0
		if len(p) == 0 {
			return Event{}, nil, false
		}
		if ev, n := s.part(p); n > 0 {
			return ev, p[n:], true
		}
		s.buf = append(s.buf, p...)
		return Event{}, nil, false
	}
}

// part returns the next part of the event, from the start of b up to the end of its line at most, and its length: 0
// when b is too short to tell.
func (s *Scanner) part(b []byte) (Event, int) {
	if s.cr {
		s.cr = false
		if b[0] == '\n' {
			return Event{Raw: b[:1], At: -1, Part: More}, 1
		}
	}
	at := 0
	if s.field == lineStart {
		if b[0] == '\n' || b[0] == '\r' {
			n := 1
			if b[0] == '\r' {
				n, s.lf = skipLF(b, n)
			}
			s.parting, s.spent = false, true
			return Event{Raw: b[:n], At: -1, Part: Last}, n
		}
		var known bool
		if at, known = s.startLine(b); !known {
			return Event{}, 0
		}
		if s.field == dataLine && s.joined {
			return Event{Data: newline, Raw: b[:at], At: -1, Part: More}, at
		}
	}
	end := s.lineEnd(b[at:])
	n := len(b)
	if end < 0 {
		end = n
	} else {
		end += at
		n = end + 1
		if b[end] == '\r' {
			n, s.cr = skipLF(b, n)
		}
	}
	ev := Event{Raw: b[:n], At: -1, Part: More}
	if s.field == dataLine {
		ev.Data, ev.At = b[at:end:end], at
	}
	if n > end {
		s.joined = s.joined || s.field == dataLine
		s.field = lineStart
	}
	return ev, n
}

// startLine sets the field of the line that begins with b and returns where its value begins; known is false when b
// is too short to tell.
func (s *Scanner) startLine(b []byte) (at int, known bool) {
	s.field = otherLine
	name := len(dataPrefix) - 2
	switch {
	case len(b) < len(dataPrefix) && dataPrefix[:len(b)] == string(b):
		s.field = lineStart
		return 0, false
	case !bytes.HasPrefix(b, []byte(dataPrefix[:name])):
		return 0, true
	case b[name] == '\n' || b[name] == '\r':
		s.field = dataLine
		return name, true
	case b[name] != ':':
		return 0, true
	}
	s.field = dataLine
	if at = name + 1; b[at] == ' ' {
		at++
	}
	return at, true
}
