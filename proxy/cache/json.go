package cache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"unicode/utf8"
)

// This file reads JSON strictly (RFC 8259): what two parsers could read differently is refused, because a key made of it could stand for two
// requests. Refused are also invalid UTF-8, a byte order mark, and members whose names repeat.

const (
	maxDepth = 128       // of containers in each other; the providers allow less
	maxNodes = 4 << 20   // of one document
	maxBytes = 256 << 20 // of one document
	idleSize = 16 << 10  // nodes and bytes of scratch memory that are kept from one use to the next
	nowhere  = int32(-1) // no such node
)

var errJSON = errors.New("no unambiguous JSON")

// kind is what a value is.
type kind uint8

const (
	kindObject kind = iota + 1
	kindArray
	kindString
	kindNumber
	kindLiteral // true, false, null
)

// node is one value of a document, or the name of a member, which stands before its value.
type node struct {
	from, to int32 // the value in src, of a string what stands between its quotes
	next     int32 // the node behind the value and all that is in it
	kind     kind
	escaped  bool // a string holds backslashes
	copied   bool // a name's canonical spelling is names[from:to]
}

// tape is a document as a list of its values in the order they stand. It is reused: once grown, reading allocates nothing. Its nodes are valid until
// the next parse.
type tape struct {
	src   []byte
	nodes []node
	names []byte  // canonical spelling of names with escapes
	order []int32 // scratch: members of the objects being written, or checked
	loose bool    // repeated names are found later, by who writes the canonical form
}

// reset lets go of the document and of memory that has grown too large.
func (t *tape) reset() {
	t.src, t.nodes, t.names, t.order = nil, t.nodes[:0], t.names[:0], t.order[:0]
	if cap(t.nodes) > idleSize {
		t.nodes = nil
	}
	if cap(t.names) > idleSize {
		t.names = nil
	}
	if cap(t.order) > idleSize {
		t.order = nil
	}
}

// parse reads src, which must be one JSON value and stay unchanged as long as t is asked about it.
func (t *tape) parse(src []byte) error {
	t.src, t.nodes, t.names, t.order = src, t.nodes[:0], t.names[:0], t.order[:0]
	if len(src) > maxBytes {
		return errJSON
	}
	if i := t.value(skipSpace(src, 0), 0); i < 0 || skipSpace(src, i) != len(src) {
		t.nodes = t.nodes[:0]
		return errJSON
	}
	return nil
}

// value reads the value that begins at src[i] and returns the index behind it, -1 if there is none.
func (t *tape) value(i, depth int) int {
	if i >= len(t.src) || depth > maxDepth || len(t.nodes) >= maxNodes {
		return -1
	}
	at := len(t.nodes)
	n := node{from: int32(i)} //nolint:gosec // below maxBytes
	switch c := t.src[i]; {
	case c == '"':
		return t.text(i)
	case c == '{':
		n.kind = kindObject
		t.nodes = append(t.nodes, n)
		i = t.object(i+1, depth+1)
	case c == '[':
		n.kind = kindArray
		t.nodes = append(t.nodes, n)
		i = t.array(i+1, depth+1)
	case c == '-' || c >= '0' && c <= '9':
		n.kind = kindNumber
		t.nodes = append(t.nodes, n)
		i = skipNumber(t.src, i)
	default:
		n.kind = kindLiteral
		t.nodes = append(t.nodes, n)
		i = skipLiteral(t.src, i)
	}
	if i >= 0 {
		t.nodes[at].to, t.nodes[at].next = int32(i), int32(len(t.nodes)) //nolint:gosec // below maxBytes
	}
	return i
}

// object reads the members of an object, whose brace is src[i-1].
func (t *tape) object(i, depth int) int {
	base := len(t.order)
	i = skipSpace(t.src, i)
	if i < len(t.src) && t.src[i] == '}' {
		return i + 1
	}
	for i < len(t.src) && t.src[i] == '"' {
		name := len(t.nodes)
		if i = t.text(i); i < 0 {
			return -1
		}
		if !t.loose {
			t.order = append(t.order, int32(name)) //nolint:gosec // below maxNodes
		}
		t.canonicalName(name)
		if i = skipSpace(t.src, i); i == len(t.src) || t.src[i] != ':' {
			return -1
		}
		if i = t.value(skipSpace(t.src, i+1), depth); i < 0 {
			return -1
		}
		i = skipSpace(t.src, i)
		if i < len(t.src) && t.src[i] == '}' {
			if !t.loose && !t.sortNames(t.order[base:]) {
				return -1
			}
			t.order = t.order[:base]
			return i + 1
		}
		if i == len(t.src) || t.src[i] != ',' {
			return -1
		}
		i = skipSpace(t.src, i+1)
	}
	return -1
}

// array reads the elements of an array, whose bracket is src[i-1].
func (t *tape) array(i, depth int) int {
	i = skipSpace(t.src, i)
	if i < len(t.src) && t.src[i] == ']' {
		return i + 1
	}
	for {
		if i = t.value(i, depth); i < 0 {
			return -1
		}
		i = skipSpace(t.src, i)
		if i == len(t.src) {
			return -1
		}
		if t.src[i] == ']' {
			return i + 1
		}
		if t.src[i] != ',' {
			return -1
		}
		i = skipSpace(t.src, i+1)
	}
}

// text reads a string, whose quote is src[i].
func (t *tape) text(i int) int {
	from := i + 1
	end, escaped := skipText(t.src, from)
	if end < 0 || len(t.nodes) >= maxNodes {
		return -1
	}
	t.nodes = append(t.nodes, node{
		from: int32(from), to: int32(end), next: int32(len(t.nodes) + 1), kind: kindString, escaped: escaped, //nolint:gosec // below maxBytes
	})
	return end + 1
}

// canonicalName spells the name in the node at so that equal names are equal bytes.
func (t *tape) canonicalName(at int) {
	n := &t.nodes[at]
	if !n.escaped {
		return
	}
	from := len(t.names)
	t.names = appendCanonical(t.names, t.src[n.from:n.to])
	n.from, n.to, n.copied = int32(from), int32(len(t.names)), true //nolint:gosec // below maxBytes
}

// name is the canonical spelling of the name in the node at.
func (t *tape) name(at int32) []byte {
	n := &t.nodes[at]
	if n.copied {
		return t.names[n.from:n.to]
	}
	return t.src[n.from:n.to]
}

// skipSpace returns the index of the first byte of b at or after i that is not white space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// skipText returns the index of the quote that ends the string whose text begins at b[i], -1 if that is no valid string, and whether it
// holds backslashes.
func skipText(b []byte, i int) (end int, escaped bool) {
	from, wide := i, uint64(0)
	for {
		for len(b)-i >= 8 {
			w := binary.LittleEndian.Uint64(b[i:])
			wide |= w
			// A byte of hit has its high bit set where b has a quote, a backslash or a control character; the lowest such bit is exact (Mycroft).
			quote, back := w^repeat('"'), w^repeat('\\')
			hit := ((quote-repeat(1))&^quote | (back-repeat(1))&^back | (w-repeat(' '))&^w) & repeat(0x80)
			if hit != 0 {
				i += bits.TrailingZeros64(hit) / 8
				break
			}
			i += 8
		}
		for i < len(b) && b[i] >= ' ' && b[i] != '"' && b[i] != '\\' {
			wide |= uint64(b[i])
			i++
		}
		switch {
		case i == len(b) || b[i] < ' ':
			return -1, false
		case b[i] == '"':
			if wide&repeat(0x80) != 0 && !utf8.Valid(b[from:i]) {
				return -1, false
			}
			return i, escaped
		}
		escaped = true
		if i = skipEscape(b, i); i < 0 {
			return -1, false
		}
	}
}

// repeat is a word of eight times the byte c.
func repeat(c byte) uint64 { return uint64(c) * 0x0101010101010101 }

// skipEscape returns the index behind the escape sequence whose backslash is b[i], -1 if it is none.
func skipEscape(b []byte, i int) int {
	if i+1 >= len(b) {
		return -1
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if i+6 <= len(b) && hex4(b[i+2:]) >= 0 {
			return i + 6
		}
	}
	return -1
}

// skipNumber returns the index behind the number that begins at b[i], -1 if it is none.
func skipNumber(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	start := i
	if i = skipDigits(b, i); i == start || b[start] == '0' && i > start+1 {
		return -1
	}
	if i < len(b) && b[i] == '.' {
		start = i + 1
		if i = skipDigits(b, start); i == start {
			return -1
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		start = i
		if i = skipDigits(b, start); i == start {
			return -1
		}
	}
	return i
}

func skipDigits(b []byte, i int) int {
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}

// skipLiteral returns the index behind true, false or null at b[i], -1 if it is none.
func skipLiteral(b []byte, i int) int {
	for _, literal := range [...]string{"true", "false", "null"} {
		if rest := b[i:]; len(rest) >= len(literal) && string(rest[:len(literal)]) == literal {
			return i + len(literal)
		}
	}
	return -1
}

// isZero tells whether a valid number is zero, however it is spelled.
func isZero(number []byte) bool {
	for _, c := range number {
		if c >= '1' && c <= '9' {
			return false
		}
		if c|0x20 == 'e' {
			return true
		}
	}
	return true
}

// countOf reads a number as a count of things; more than fits for what is no integer, as that is not one thing.
func countOf(number []byte) int64 {
	n := int64(0)
	for _, c := range number {
		if c < '0' || c > '9' || n > math.MaxInt64/10-1 {
			return math.MaxInt64
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

// compact appends the document raw without white space between its tokens. What is no document becomes another that is none.
func compact(dst, raw []byte) []byte {
	for len(raw) > 0 {
		i := bytes.IndexAny(raw, "\" \t\r\n")
		if i < 0 {
			return append(dst, raw...)
		}
		dst = append(dst, raw[:i]...)
		if raw[i] != '"' {
			raw = raw[i+1:]
			continue
		}
		end, _ := skipText(raw, i+1)
		if end < 0 {
			return append(dst, '"')
		}
		dst = append(dst, raw[i:end+1]...)
		raw = raw[end+1:]
	}
	return dst
}
