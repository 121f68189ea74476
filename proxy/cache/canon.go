package cache

import (
	"bytes"
	"hash"
	"slices"
	"unicode/utf16"
	"unicode/utf8"
)

// The canonical form of a document is JSON itself: no white space, members sorted by name, each string in its one shortest spelling,
// numbers as they are spelled. So documents with the same canonical form are the same value to every parser, whatever it makes of numbers, and two
// spellings of one string are one. Numbers keep their spelling because they reach a model as text, in schemas for example: 1 and 1.0 may be
// answered differently.

// canon writes the canonical form of a tape into a digest, or keeps it in buf where there is none.
type canon struct {
	tape   *tape
	digest hash.Hash
	buf    []byte
	skip   []string // names of members of the outermost object that are left out
	repeat bool     // a name repeats, so there is no such form
}

const (
	block  = 4 << 10 // bytes given to the digest at once
	direct = 1 << 10 // bytes from which on they are given to it uncopied
)

func (c *canon) put(b []byte) {
	if c.digest != nil {
		if len(b) >= direct {
			c.flush()
			_, _ = c.digest.Write(b) // never fails
			return
		}
		if len(c.buf)+len(b) > block {
			c.flush()
		}
	}
	c.buf = append(c.buf, b...)
}

func (c *canon) flush() {
	if c.digest != nil {
		_, _ = c.digest.Write(c.buf)
		c.buf = c.buf[:0]
	}
}

// value writes the value in the node at.
func (c *canon) value(at int32) {
	t := c.tape
	switch n := &t.nodes[at]; n.kind {
	case kindObject:
		c.object(at)
	case kindArray:
		c.buf = append(c.buf, '[')
		for e := at + 1; e < n.next; e = t.nodes[e].next {
			if e > at+1 {
				c.buf = append(c.buf, ',')
			}
			c.value(e)
		}
		c.buf = append(c.buf, ']')
	case kindString:
		c.buf = append(c.buf, '"')
		c.text(t.src[n.from:n.to], n.escaped)
		c.buf = append(c.buf, '"')
	default:
		c.put(t.src[n.from:n.to])
	}
}

// object writes an object, its members sorted by name.
func (c *canon) object(at int32) {
	t, base, end := c.tape, len(c.tape.order), c.tape.nodes[at].next
	for name := at + 1; name < end; name = t.nodes[name+1].next {
		t.order = append(t.order, name)
	}
	if !t.sortNames(t.order[base:]) {
		c.repeat = true
	}
	first := true
	c.buf = append(c.buf, '{')
	for i := base; i < len(t.order); i++ {
		name := t.order[i]
		if at == 0 && slices.Contains(c.skip, string(t.name(name))) {
			continue
		}
		if !first {
			c.buf = append(c.buf, ',')
		}
		first = false
		c.buf = append(c.buf, '"')
		c.put(t.name(name))
		c.buf = append(c.buf, '"', ':')
		c.value(name + 1)
	}
	c.buf = append(c.buf, '}')
	t.order = t.order[:base]
}

// text writes the inside of a string.
func (c *canon) text(raw []byte, escaped bool) {
	if !escaped {
		c.put(raw)
		return
	}
	for len(raw) > block { // in pieces, so that the buffer stays small
		n := bytes.LastIndexByte(raw[:block], ' ') + 1 // what an escape sequence never holds
		if n == 0 {
			break
		}
		c.buf = appendCanonical(c.buf, raw[:n])
		c.flushFull()
		raw = raw[n:]
	}
	c.buf = appendCanonical(c.buf, raw)
	c.flushFull()
}

func (c *canon) flushFull() {
	if len(c.buf) > block {
		c.flush()
	}
}

// sortNames sorts nodes of names and reports whether no two are the same.
func (t *tape) sortNames(names []int32) (unique bool) {
	const short = 16 // up to here insertion is faster than anything else
	if len(names) > short {
		slices.SortFunc(names, func(a, b int32) int { return bytes.Compare(t.name(a), t.name(b)) })
		for i := 1; i < len(names); i++ {
			if bytes.Equal(t.name(names[i-1]), t.name(names[i])) {
				return false
			}
		}
		return true
	}
	for i := 1; i < len(names); i++ {
		at := names[i]
		name := t.name(at)
		j := i
		for ; j > 0; j-- {
			order := bytes.Compare(t.name(names[j-1]), name)
			if order == 0 {
				return false
			}
			if order < 0 {
				break
			}
			names[j] = names[j-1]
		}
		names[j] = at
	}
	return true
}

// appendCanonical appends the inside of a valid string in its canonical spelling: only quotes, backslashes and control characters are escaped, by
// their short escape where they have one. A surrogate without its other half, which parsers read differently, stays an escape in lower case.
func appendCanonical(dst, raw []byte) []byte {
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return append(dst, raw...)
		}
		dst = append(dst, raw[:i]...)
		c := raw[i+1]
		raw = raw[i+2:]
		switch c {
		case '/':
			dst = append(dst, c)
		case 'u':
			r := hex4(raw)
			raw = raw[4:]
			if utf16.IsSurrogate(r) && len(raw) >= 6 && raw[0] == '\\' && raw[1] == 'u' {
				if pair := utf16.DecodeRune(r, hex4(raw[2:])); pair != utf8.RuneError {
					r, raw = pair, raw[6:]
				}
			}
			dst = appendRune(dst, r)
		default:
			dst = append(dst, '\\', c)
		}
	}
}

// appendRune appends a character of a string in its canonical spelling.
func appendRune(dst []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	switch {
	case r == '"' || r == '\\':
		return append(dst, '\\', byte(r))
	case r == '\n':
		return append(dst, '\\', 'n')
	case r == '\r':
		return append(dst, '\\', 'r')
	case r == '\t':
		return append(dst, '\\', 't')
	case r == '\b':
		return append(dst, '\\', 'b')
	case r == '\f':
		return append(dst, '\\', 'f')
	case r < ' ' || utf16.IsSurrogate(r):
		return append(dst, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
	}
	return utf8.AppendRune(dst, r)
}

// hex4 is the value of the four hexadecimal digits that b begins with, -1 if it does not.
func hex4(b []byte) rune {
	if len(b) < 4 {
		return -1
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}
