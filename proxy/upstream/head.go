package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

var (
	errHeadTooLarge = errors.New("answer's head is too large")
	errBadHead      = errors.New("answer's head is malformed")
	errBadFraming   = errors.New("answer's length is ambiguous")
)

// Field is one header line of an answer, name in the provider's spelling, value without surrounding white space.
type Field struct {
	Name, Value []byte
	start, end  int // of the whole line in the head
}

// Head is the head of an answer. Its slices alias the connection's buffer and are valid until the first Next.
type Head struct {
	Status          int
	Reason          []byte // reason phrase; may be empty
	Length          int64  // Content-Length; -1 when the body is chunked or ends with the connection
	ContentType     []byte
	ContentEncoding []byte
	Upgrade         []byte // the protocol that a 101 answer switches to

	raw     []byte
	fields  []Field
	bareLF  bool // some line ends with a bare line feed
	chunked bool
}

// Fields are the header lines that belong to the message, in order: hop-by-hop ones (those named in Connection too),
// Content-Length and Transfer-Encoding are left out.
func (h *Head) Fields() []Field { return h.fields }

// AppendLines appends the lines of all fields but one (-1: of all), each as it came, with CRLF at its end.
func (h *Head) AppendLines(dst []byte, but int) []byte {
	for i := 0; i < len(h.fields); i++ {
		f := &h.fields[i]
		switch {
		case i == but:
		case h.bareLF:
			dst = append(append(dst, f.Name...), ": "...)
			dst = append(append(dst, f.Value...), "\r\n"...)
		default:
			end := f.end
			for i+1 < len(h.fields) && i+1 != but && h.fields[i+1].start == end {
				i++
				end = h.fields[i].end
			}
			dst = append(dst, h.raw[f.start:end]...)
		}
	}
	return dst
}

// Get is the value of the first field of that name (in lower case), or nil.
func (h *Head) Get(name string) []byte {
	for i := range h.fields {
		if EqualFold(h.fields[i].Name, name) {
			return h.fields[i].Value
		}
	}
	return nil
}

// ReadHead reads the answer's head into c.Head, passing over interim (1xx) answers except 101. noBody says that the
// request's method admits no answer body (HEAD). The error is io.EOF when the connection ended before the first byte.
func (c *Conn) ReadHead(noBody bool) error {
	for {
		end, err := c.headEnd()
		if err != nil {
			return err
		}
		head := c.buf[c.r:end]
		c.r = end
		if err := c.parseHead(head, noBody); err != nil {
			return err
		}
		if c.Head.Status >= 200 || c.Head.Status == 101 {
			return nil
		}
	}
}

// headEnd reads until the buffer holds a whole head and returns the index behind its empty line.
func (c *Conn) headEnd() (int, error) {
	searched := 0 // bytes behind c.r that hold no end
	for {
		n, found := emptyLine(c.buf[c.r+searched : c.w])
		if searched += n; found {
			return c.r + searched, nil
		}
		if c.r > 0 && c.w == len(c.buf) { // an interim answer stands before
			c.r, c.w = 0, copy(c.buf, c.buf[c.r:c.w])
		}
		if err := c.fill(maxHead); err != nil {
			if errors.Is(err, io.EOF) && c.answered {
				return 0, io.ErrUnexpectedEOF
			}
			return 0, err
		}
	}
}

// emptyLine finds the first empty line behind a line and returns the index behind it; where there is none, the index from
// which to look again when there is more. Bare line feeds end lines too (RFC 9112, section 2.2).
func emptyLine(p []byte) (n int, found bool) {
	for {
		i := bytes.IndexByte(p[n:], '\n')
		if i < 0 {
			return len(p), false
		}
		switch rest := p[n+i+1:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return n + i + 2, true
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return n + i + 3, true
		case len(rest) == 0 || len(rest) == 1 && rest[0] == '\r':
			return n + i, false
		}
		n += i + 1
	}
}

func (c *Conn) parseHead(p []byte, noBody bool) error {
	h := &c.Head
	*h = Head{fields: h.fields[:0], Length: -1, raw: p}
	c.body = body{}
	lines, pairs := 1, 0 // lines, and those of them that CRLF ends

	line, p, paired := cutLine(p)
	pairs += paired
	http11, err := h.parseStatus(line)
	if err != nil {
		return err
	}
	c.keep = http11
	hasLength := false
	var named []byte // the tokens of Connection headers that name further hop-by-hop ones
	for {
		start := len(h.raw) - len(p)
		line, p, paired = cutLine(p)
		lines++
		if pairs += paired; len(line) == 0 {
			break
		}
		end := len(h.raw) - len(p)
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 || !IsToken(line[:colon]) {
			return fmt.Errorf("%w: header line without a proper name", errBadHead)
		}
		name, value := line[:colon], Trim(line[colon+1:])
		switch kindOf(name) {
		case contentLength:
			n, ok := parseLength(value)
			if !ok || (hasLength && n != h.Length) {
				return errBadFraming
			}
			h.Length, hasLength = n, true
		case transferEncoding:
			if h.chunked || !EqualFold(value, "chunked") {
				return errBadFraming
			}
			h.chunked = true
		case connection:
			if HasToken(value, "close") {
				c.keep = false
			} else if !http11 && HasToken(value, "keep-alive") {
				c.keep = true
			}
			if named == nil {
				named = value
			} else {
				named = append(append(append([]byte(nil), named...), ','), value...)
			}
		case hopByHop:
			if len(name) == len("upgrade") && EqualFold(name, "upgrade") {
				h.Upgrade = value
			}
		case contentType:
			h.ContentType = value
			h.fields = append(h.fields, Field{name, value, start, end})
		case contentEncoding:
			h.ContentEncoding = value
			h.fields = append(h.fields, Field{name, value, start, end})
		default:
			h.fields = append(h.fields, Field{name, value, start, end})
		}
	}
	if bytes.IndexByte(h.raw, 0) >= 0 || bytes.Count(h.raw, []byte{'\r'}) != pairs {
		return fmt.Errorf("%w: control character", errBadHead)
	}
	h.bareLF = pairs != lines
	if h.chunked && hasLength {
		return errBadFraming
	}
	h.dropNamed(named)
	c.frame(noBody)
	return nil
}

// frame decides how the body ends (RFC 9112, section 6.3).
func (c *Conn) frame(noBody bool) {
	h, b := &c.Head, &c.body
	switch {
	case h.Status == 101:
		c.keep = false // the connection speaks another protocol now
	case noBody || h.Status < 200 || h.Status == 204 || h.Status == 304:
		b.done = true
	case h.chunked:
		b.mode = bodyChunked
	case h.Length >= 0:
		b.mode, b.left, b.done = bodyLength, h.Length, h.Length == 0
	default:
		b.mode, c.keep = bodyUntilClose, false
	}
}

// dropNamed removes the fields that Connection named: they are meant for us alone.
func (h *Head) dropNamed(tokens []byte) {
	for len(tokens) > 0 {
		var t []byte
		t, tokens, _ = bytes.Cut(tokens, []byte(","))
		t = Trim(t)
		if len(t) == 0 || EqualFold(t, "close") || EqualFold(t, "keep-alive") {
			continue
		}
		kept := h.fields[:0]
		for _, f := range h.fields {
			if !bytes.EqualFold(f.Name, t) {
				kept = append(kept, f)
			}
		}
		h.fields = kept
	}
}

func (h *Head) parseStatus(line []byte) (http11 bool, err error) {
	// HTTP/1.1 200 OK
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[8] != ' ' || (len(line) > 12 && line[12] != ' ') {
		return false, fmt.Errorf("%w: status line", errBadHead)
	}
	for _, d := range line[9:12] {
		if d < '0' || d > '9' {
			return false, fmt.Errorf("%w: status line", errBadHead)
		}
		h.Status = h.Status*10 + int(d-'0')
	}
	if h.Status < 100 {
		return false, fmt.Errorf("%w: status %d", errBadHead, h.Status)
	}
	if len(line) > 13 {
		h.Reason = line[13:]
	}
	return line[7] == '1', nil
}

// cutLine cuts the first line off; paired is 1 when CRLF ends it, 0 when it is a bare line feed.
func cutLine(p []byte) (line, rest []byte, paired int) {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		return nil, nil, 0
	}
	line, rest = p[:i], p[i+1:]
	if i > 0 && line[i-1] == '\r' {
		return line[:i-1], rest, 1
	}
	return line, rest, 0
}

func parseLength(v []byte) (int64, bool) {
	if len(v) == 0 || len(v) > 18 {
		return 0, false
	}
	var n int64
	for _, d := range v {
		if d < '0' || d > '9' {
			return 0, false
		}
		n = n*10 + int64(d-'0')
	}
	return n, true
}
