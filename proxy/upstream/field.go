package upstream

import "bytes"

// kind sorts header names by what a proxy has to do with them.
type kind uint8

const (
	endToEnd kind = iota
	contentLength
	contentType
	contentEncoding
	transferEncoding
	connection
	hopByHop
)

// kindOf tells the kind of a header by its name in any case. The length decides first, so that most names cost one
// comparison of integers.
func kindOf(name []byte) kind {
	switch len(name) {
	case 2:
		if EqualFold(name, "te") {
			return hopByHop
		}
	case 7:
		if EqualFold(name, "upgrade") || EqualFold(name, "trailer") {
			return hopByHop
		}
	case 10:
		if EqualFold(name, "connection") {
			return connection
		}
		if EqualFold(name, "keep-alive") {
			return hopByHop
		}
	case 12:
		if EqualFold(name, "content-type") {
			return contentType
		}
	case 14:
		if EqualFold(name, "content-length") {
			return contentLength
		}
	case 16:
		if EqualFold(name, "content-encoding") {
			return contentEncoding
		}
		if EqualFold(name, "proxy-connection") {
			return hopByHop
		}
	case 17:
		if EqualFold(name, "transfer-encoding") {
			return transferEncoding
		}
	case 18:
		if EqualFold(name, "proxy-authenticate") {
			return hopByHop
		}
	case 19:
		if EqualFold(name, "proxy-authorization") {
			return hopByHop
		}
	}
	return endToEnd
}

// IsHopByHop tells whether a header of a request or an answer concerns one connection only, or its message framing,
// which every hop writes anew.
func IsHopByHop(name []byte) bool {
	switch kindOf(name) {
	case endToEnd, contentType, contentEncoding:
		return false
	}
	return true
}

// EqualFold compares a header name or token in any case with one in lower case. ASCII only.
func EqualFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i := range b {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// HasToken tells whether a comma-separated header value holds the token (given in lower case).
func HasToken(list []byte, token string) bool {
	for len(list) > 0 {
		var t []byte
		t, list, _ = bytes.Cut(list, []byte(","))
		if EqualFold(Trim(t), token) {
			return true
		}
	}
	return false
}

// HasTokenFold is HasToken for a token in any case.
func HasTokenFold(list, token []byte) bool {
	for len(list) > 0 {
		var t []byte
		t, list, _ = bytes.Cut(list, []byte(","))
		if bytes.EqualFold(Trim(t), token) {
			return true
		}
	}
	return false
}

// Trim cuts spaces and tabs off both ends.
func Trim(p []byte) []byte {
	for len(p) > 0 && (p[0] == ' ' || p[0] == '\t') {
		p = p[1:]
	}
	for len(p) > 0 && (p[len(p)-1] == ' ' || p[len(p)-1] == '\t') {
		p = p[:len(p)-1]
	}
	return p
}

// tokenChars holds the characters of an HTTP token (RFC 9110, section 5.6.2).
var tokenChars = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

// IsToken tells whether p is a proper header name or method.
func IsToken(p []byte) bool {
	for _, c := range p {
		if !tokenChars[c] {
			return false
		}
	}
	return len(p) > 0
}
