package provider

import (
	"bytes"

	"llm-auto-optimizer/proxy/sse"
)

// Scrubber takes out of an OpenAI stream what asking for usage put in, for a client that had not asked: the last chunk,
// which has no choices but the usage, and the member usage of the others. All other bytes stay as they are. It holds
// back an event until it is whole; what is longer than sse.MaxKept passes as it is. The output does not depend on how
// the input is split.
//
// The zero value is ready to use. A Scrubber is not safe for concurrent use.
type Scrubber struct {
	events  sse.Scanner
	removed bool // the block before was
}

// Reset makes s ready for another stream.
func (s *Scrubber) Reset() {
	s.events.Reset()
	s.removed = false
}

// Append appends to dst what of p, which continues the stream, and of what was held back can go out.
func (s *Scrubber) Append(dst, p []byte) []byte {
	for len(p) > 0 {
		var ev sse.Event
		var ok bool
		if ev, p, ok = s.events.Next(p); ok {
			dst = s.appendEvent(dst, &ev)
		}
	}
	return dst
}

// Close appends what was held back when the stream is over. Reset must follow.
func (s *Scrubber) Close(dst []byte) []byte {
	if ev, ok := s.events.Close(); ok {
		dst = s.appendEvent(dst, &ev)
	}
	return dst
}

func (s *Scrubber) appendEvent(dst []byte, ev *sse.Event) []byte {
	if ev.Part == sse.Tail && s.removed {
		return dst
	}
	s.removed = false
	// Blocks that may be too long in another split must pass in this one, too; line ends have up to four bytes.
	if ev.Part != sse.Whole || !hasUsageKey(ev.Data) || len(bytes.TrimRight(ev.Raw, "\r\n"))+4 > sse.MaxKept {
		return append(dst, ev.Raw...)
	}
	from, to, alone := findUsage(ev.Data)
	switch {
	case alone:
		s.removed = true
		return appendComments(dst, ev.Raw)
	case from == to || ev.At < 0:
		return append(dst, ev.Raw...)
	}
	dst = append(dst, ev.Raw[:ev.At+from]...)
	return append(dst, ev.Raw[ev.At+to:]...)
}

// hasUsageKey reports whether data may hold a member named usage, anywhere. Looking for the letters and then at the
// byte before is several times as fast as looking for a quote, which there are many of; in text it is escaped.
func hasUsageKey(data []byte) bool {
	for {
		i := bytes.Index(data, usageKey)
		if i < 0 {
			return false
		}
		if i > 0 && data[i-1] == '"' {
			return true
		}
		data = data[i+len(usageKey):]
	}
}

var usageKey = []byte(`usage"`)

// findUsage returns the range data[from:to] that the member usage of the chunk data takes with one comma, if it has
// one that is an object or null; alone tells that the chunk was sent for the usage's sake: it has no choices.
func findUsage(data []byte) (from, to int, alone bool) {
	var choices, failure, usage []byte
	last := 0 // end of the member before
	o := openObject(data)
	for ; o.next(); last = o.end {
		switch string(o.key) {
		case "choices":
			choices = o.value()
		case "error":
			failure = o.value()
		case "usage":
			usage = o.value()
			if from, to = last, o.end; last == 0 {
				from = o.keyAt
				if next := skipSpace(data, to); next < len(data) && data[next] == ',' {
					to = skipSpace(data, next+1)
				}
			}
		}
	}
	if !o.closed || len(usage) == 0 || usage[0] != '{' && !isNull(usage) {
		return 0, 0, false
	}
	a := openArray(choices)
	empty := !a.next() && a.closed
	return from, to, empty && usage[0] == '{' && (failure == nil || isNull(failure))
}

// appendComments appends the comment lines of the block raw.
func appendComments(dst, raw []byte) []byte {
	for len(raw) > 0 {
		n := bytes.IndexAny(raw, "\r\n") + 1
		switch {
		case n == 0:
			n = len(raw)
		case raw[n-1] == '\r' && n < len(raw) && raw[n] == '\n':
			n++
		}
		if raw[0] == ':' {
			dst = append(dst, raw[:n]...)
		}
		raw = raw[n:]
	}
	return dst
}
