package sim

import (
	"bytes"
	"errors"
	"strings"
)

// request is the head of a request. Its slices live until the next request of the connection is read.
type request struct {
	method  []byte
	target  []byte // as received
	path    []byte // target without the query; raw
	query   []byte // raw, without the '?'
	proto10 bool   // HTTP/1.0
	headers []header

	length  int64 // of the body; -1: none stated
	chunked bool
	close   bool // the client wants the connection closed
	upgrade bool
	expect  bool // Expect: 100-continue
}

type header struct{ name, value []byte }

var errMalformed = errors.New("malformed request")

// parse reads a head that ends in an empty line. It takes no liberties: what two servers could understand
// differently is refused, so that a proxy that lets it pass is found out.
func (r *request) parse(head []byte) error {
	*r = request{headers: r.headers[:0], length: -1}
	line, rest, ok := bytes.Cut(head, crlf)
	if !ok {
		return errMalformed
	}
	var proto []byte
	r.method, line, ok = bytes.Cut(line, space)
	if !ok || !isToken(r.method) {
		return errMalformed
	}
	r.target, proto, ok = bytes.Cut(line, space)
	if !ok || len(r.target) == 0 {
		return errMalformed
	}
	switch string(proto) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		r.proto10, r.close = true, true
	default:
		return errMalformed
	}
	r.path, r.query, _ = bytes.Cut(r.target, []byte{'?'})
	if err := r.parseHeaders(rest); err != nil {
		return err
	}
	if r.chunked && r.length >= 0 {
		return errMalformed // the classic of request smuggling
	}
	return nil
}

func (r *request) parseHeaders(rest []byte) error {
	hosts := 0
	for {
		line, tail, ok := bytes.Cut(rest, crlf)
		if !ok {
			return errMalformed
		}
		if len(line) == 0 {
			break
		}
		rest = tail
		name, value, ok := bytes.Cut(line, colon)
		if !ok || !isToken(name) || bytes.ContainsAny(value, "\r\n\x00") {
			return errMalformed
		}
		if value = bytes.Trim(value, " \t"); value == nil {
			value = line[len(line):] // empty, but there
		}
		r.headers = append(r.headers, header{name, value})
		if equalFold(name, "host") {
			hosts++
		} else if err := r.framing(name, value); err != nil {
			return err
		}
	}
	if hosts > 1 || hosts == 0 && !r.proto10 {
		return errMalformed
	}
	return nil
}

// framing notes a header that decides about the body or the connection.
func (r *request) framing(name, value []byte) error {
	switch {
	case equalFold(name, "content-length"):
		n, ok := parseLength(value)
		if !ok || r.length >= 0 {
			return errMalformed
		}
		r.length = n
	case equalFold(name, "transfer-encoding"):
		if !equalFold(value, "chunked") || r.chunked {
			return errMalformed
		}
		r.chunked = true
	case equalFold(name, "connection"):
		for token := range strings.SplitSeq(string(value), ",") {
			switch strings.ToLower(strings.TrimSpace(token)) {
			case "close":
				r.close = true
			case "keep-alive":
				r.close = false
			case "upgrade":
				r.upgrade = true
			}
		}
	case equalFold(name, "expect"):
		r.expect = equalFold(value, "100-continue")
	}
	return nil
}

// header returns the value of the first header of that name, given in lower case; nil if there is none.
func (r *request) header(name string) []byte {
	for i := range r.headers {
		if equalFold(r.headers[i].name, name) {
			return r.headers[i].value
		}
	}
	return nil
}

// queryValue returns the value of a query parameter, raw.
func (r *request) queryValue(name string) string {
	for pair := range strings.SplitSeq(string(r.query), "&") {
		if k, v, _ := strings.Cut(pair, "="); k == name {
			return v
		}
	}
	return ""
}

var (
	crlf  = []byte("\r\n")
	space = []byte(" ")
	colon = []byte(":")
)

// parseLength reads decimal digits and nothing else.
func parseLength(s []byte) (int64, bool) {
	if len(s) == 0 || len(s) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// isToken tells whether s is a token of RFC 9110, section 5.6.2.
func isToken(s []byte) bool {
	for _, c := range s {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return len(s) > 0
}

// equalFold compares s with a lower-case ASCII string, ignoring case.
func equalFold(s []byte, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i, c := range s {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
