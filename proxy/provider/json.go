package provider

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// This file walks JSON in place: no copies, no allocation, no tree. It is lenient where a mistake cannot hurt (the
// kinds of brackets are not matched, scalars are not validated) and strict about bounds: on input that ends early or
// is no JSON, a function answers -1 or false and never reads past the slice. Depth costs nothing but time.
//
// Keys are compared as they stand: a key spelled with escapes ("\u0075sage") is a different key.

// structural marks the bytes that matter between the tokens of a container.
var structural = [256]bool{'"': true, '{': true, '}': true, '[': true, ']': true}

// skipSpace returns the index of the first byte of b at or after i that is not JSON white space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// skipString returns the index after the string whose opening quote is b[i], or -1 if it does not end in b.
func skipString(b []byte, i int) int {
	if end := closingQuote(b, i+1); end >= 0 {
		return end + 1
	}
	return -1
}

// closingQuote returns the index of the quote that ends the string whose text begins at b[i], or -1 if it does not end
// in b.
func closingQuote(b []byte, i int) int {
	// Most strings are keys and short values, where a call of IndexByte costs more than the search: look at three words
	// first. A byte of x is zero where b has the byte looked for; the lowest bit of hit is exact (Mycroft).
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for end := i + 24; i < end && i+8 <= len(b); i += 8 {
		word := binary.LittleEndian.Uint64(b[i:])
		quote, back := word^ones*'"', word^ones*'\\'
		hit := (quote-ones)&^quote&highs | (back-ones)&^back&highs
		if hit == 0 {
			continue
		}
		if n := i + bits.TrailingZeros64(hit)/8; b[n] == '"' {
			return n
		}
		break
	}
	for start := i; i < len(b); i++ {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		back := i
		for back > start && b[back-1] == '\\' {
			back--
		}
		if (i-back)&1 == 0 { // an odd run of backslashes escapes the quote
			return i
		}
		start = i + 1
	}
	return -1
}

// skipValue returns the index after the value that starts at b[i], which must not be white space, or -1 if there is
// no value or it does not end in b. A scalar may end with b.
func skipValue(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch c := b[i]; {
	case c == '"':
		return skipString(b, i)
	case c == '{' || c == '[':
		return skipContainer(b, i)
	case c == '-' || c >= '0' && c <= '9' || c == 't' || c == 'f' || c == 'n':
		for i++; i < len(b); i++ {
			switch b[i] {
			case ',', '}', ']', ' ', '\n', '\r', '\t':
				return i
			}
		}
		return i
	}
	return -1
}

// skipContainer is skipValue for an object or an array.
func skipContainer(b []byte, i int) int {
	for depth := 0; i < len(b); i++ {
		if !structural[b[i]] {
			continue
		}
		switch b[i] {
		case '"':
			end := skipString(b, i)
			if end < 0 {
				return -1
			}
			i = end - 1
		case '{', '[':
			depth++
		default:
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// object iterates over the members of an object in the order they stand:
//
//	o := openObject(b)
//	for o.next() {
//		switch string(o.key) { … o.value() … }
//	}
//	if !o.closed { … b is no object, or ends early … }
type object struct {
	buf    []byte
	key    []byte // of the current member: raw, without its quotes
	keyAt  int    // index of the key's opening quote
	at     int    // the value is buf[at:end]
	end    int
	pos    int  // where to read on; once closed, the index after the closing brace
	open   bool // there may be more members
	closed bool // the closing brace was reached
}

// openObject starts at the first byte of b that is not white space.
func openObject(b []byte) object {
	o := object{buf: b, pos: skipSpace(b, 0)}
	if o.pos < len(b) && b[o.pos] == '{' {
		o.pos++
		o.open = true
	}
	return o
}

// next moves to the next member and reports whether there is one. A member whose value does not end in buf is none.
func (o *object) next() bool {
	if !o.open {
		return false
	}
	b, i := o.buf, skipSpace(o.buf, o.pos)
	if i < len(b) && b[i] == ',' && o.end > 0 {
		i = skipSpace(b, i+1)
	}
	if i >= len(b) || b[i] != '"' {
		o.open = false
		if i < len(b) && b[i] == '}' {
			o.closed, o.pos = true, i+1
		}
		return false
	}
	after := skipString(b, i)
	if after < 0 {
		o.open = false
		return false
	}
	o.keyAt, o.key = i, b[i+1:after-1]
	i = skipSpace(b, after)
	if i >= len(b) || b[i] != ':' {
		o.open = false
		return false
	}
	o.at = skipSpace(b, i+1)
	end := skipValue(b, o.at)
	if end < 0 {
		o.open = false
		return false
	}
	o.end, o.pos = end, end
	return true
}

// value is the raw JSON of the current member's value.
func (o *object) value() []byte { return o.buf[o.at:o.end] }

// array iterates over the elements of an array, like object over members.
type array struct {
	buf    []byte
	at     int // the current element is buf[at:end]
	end    int
	pos    int
	open   bool
	closed bool
}

// openArray starts at the first byte of b that is not white space.
func openArray(b []byte) array {
	a := array{buf: b, pos: skipSpace(b, 0)}
	if a.pos < len(b) && b[a.pos] == '[' {
		a.pos++
		a.open = true
	}
	return a
}

// next moves to the next element and reports whether there is one.
func (a *array) next() bool {
	if !a.open {
		return false
	}
	b, i := a.buf, skipSpace(a.buf, a.pos)
	if i < len(b) && b[i] == ',' && a.end > 0 {
		i = skipSpace(b, i+1)
	}
	if i < len(b) && b[i] == ']' {
		a.open, a.closed, a.pos = false, true, i+1
		return false
	}
	end := skipValue(b, i)
	if end < 0 {
		a.open = false
		return false
	}
	a.at, a.end, a.pos = i, end, end
	return true
}

// value is the raw JSON of the current element.
func (a *array) value() []byte { return a.buf[a.at:a.end] }

// member returns the raw value of the first member of the object b with this key; nil when there is none.
func member(b []byte, key string) []byte {
	for o := openObject(b); o.next(); {
		if string(o.key) == key {
			return o.value()
		}
	}
	return nil
}

// stringOf returns what stands between the quotes of the raw value, escapes left as they are; false if it is no string.
func stringOf(raw []byte) ([]byte, bool) {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return nil, false
	}
	return raw[1 : len(raw)-1], true
}

// plainString is stringOf for strings without escapes, whose bytes are their meaning; false for any other.
func plainString(raw []byte) ([]byte, bool) {
	s, ok := stringOf(raw)
	if !ok || bytes.IndexByte(s, '\\') >= 0 {
		return nil, false
	}
	return s, true
}

// countOf reads the raw value as a count: a non-negative integer, also spelled with a zero fraction (12.0), that fits
// an int64.
func countOf(raw []byte) (int64, bool) {
	var n int64
	i := 0
	for ; i < len(raw) && raw[i] >= '0' && raw[i] <= '9'; i++ {
		d := int64(raw[i] - '0')
		if n > (1<<63-1-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	if i == 0 {
		return 0, false
	}
	if i < len(raw) && raw[i] == '.' {
		for i++; i < len(raw) && raw[i] == '0'; i++ {
		}
	}
	return n, i == len(raw)
}

// isNull reports whether the raw value is null.
func isNull(raw []byte) bool { return string(raw) == "null" }
