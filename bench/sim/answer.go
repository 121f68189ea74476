package sim

import (
	"strconv"
	"strings"
)

// answer is a response before it is put on the wire: everything it will say, and where a stream is cut into frames.
type answer struct {
	status  int
	ctype   string
	head    []byte // further header lines, each with its CRLF
	body    []byte
	stream  bool
	frames  []frame // of a stream
	tail    int     // frames from here on tell a client that the stream is complete
	tokens  int     // that a plain body took to generate
	instant bool    // no time to first byte: errors and bookkeeping

	readBodyAt int          // the frame before which the request's body is read at last; 0: it has been read
	takeOver   func() error // has the connection to itself instead of all that
}

// frame is a piece of a stream that is written at once.
type frame struct {
	end  int // of the frame in body
	wait int // tokens whose time passes before the frame
}

func (a *answer) reset() {
	*a = answer{status: 200, head: a.head[:0], body: a.body[:0], frames: a.frames[:0]}
}

// cut ends a frame at the present end of the body.
func (a *answer) cut(wait int) { a.frames = append(a.frames, frame{len(a.body), wait}) }

// str, int and raw append to the body.
func (a *answer) str(s string)   { a.body = append(a.body, s...) }
func (a *answer) int(n int)      { a.body = strconv.AppendInt(a.body, int64(n), 10) }
func (a *answer) quote(s string) { a.body = appendQuoted(a.body, s) }

// json makes a the given JSON document.
func (a *answer) json(status int, body []byte) {
	a.status, a.ctype, a.instant = status, "application/json", true
	a.body = append(a.body[:0], body...)
}

// header adds a header line.
func (a *answer) header(name, value string) {
	a.head = append(a.head, name...)
	a.head = append(a.head, ": "...)
	a.head = append(a.head, value...)
	a.head = append(a.head, "\r\n"...)
}

func (a *answer) headerInt(name string, n int) { a.header(name, strconv.Itoa(n)) }

// appendQuoted appends s as a JSON string, escaping only what must be, as the providers do.
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	dst = appendEscaped(dst, s)
	return append(dst, '"')
}

func appendEscaped(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	if !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == '"' || r == '\\' }) {
		return append(dst, s...)
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// jsonObject is {"key":"value"}.
func jsonObject(key, value string) []byte {
	b := append([]byte{'{'}, appendQuoted(nil, key)...)
	b = append(b, ':')
	b = appendQuoted(b, value)
	return append(b, '}')
}

func itoa(n int) string { return strconv.Itoa(n) }
