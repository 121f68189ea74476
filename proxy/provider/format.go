package provider

import "bytes"

// Format is the framing of an answer's body.
type Format uint8

// The formats. The zero value Ignored is not looked into.
const (
	Ignored     Format = iota
	Plain              // one JSON document
	EventStream        // server-sent events
	JSONArray          // a stream of Gemini: one JSON array whose elements arrive one by one
)

// FormatOf tells the format of the answer to a request for op that asked for a stream or not. The content type
// decides as far as it says something; servers that leave it out or say text/plain are believed to have answered what
// was asked for.
func FormatOf(op Operation, stream bool, contentType []byte) Format {
	if op == Opaque || op >= operationsEnd {
		return Ignored
	}
	media, _, _ := bytes.Cut(contentType, []byte{';'})
	media = bytes.TrimSpace(media)
	switch {
	case equalFold(media, "text/event-stream"):
		return EventStream
	case equalFold(media, "application/json"):
	case len(media) == 0 || equalFold(media, "text/plain"):
		if stream && op != GenerateContent {
			return EventStream
		}
	case !bytes.HasSuffix(media, []byte("json")): // also application/problem+json
		return Ignored
	}
	if stream && op == GenerateContent {
		return JSONArray
	}
	return Plain
}

// equalFold reports whether b is s, which is in lower case, in any case of ASCII letters.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != s[i] {
			return false
		}
	}
	return true
}
