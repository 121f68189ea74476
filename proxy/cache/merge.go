package cache

import "bytes"

// merged is an object that is put together from the pieces a stream tells it in.
type merged struct{ fields []mergedField }

// mergedField is one member: JSON, or a text that grows.
type mergedField struct {
	name    string // in canonical spelling
	raw     []byte
	text    []byte // the inside of the string so far
	growing bool
}

func (m *merged) find(name string) *mergedField {
	for i := range m.fields {
		if m.fields[i].name == name {
			return &m.fields[i]
		}
	}
	return nil
}

// set says that the member is this. It fails where it was said to be something else; null is nothing.
func (m *merged) set(name string, raw []byte) error {
	f := m.find(name)
	switch {
	case f == nil:
		m.fields = append(m.fields, mergedField{name: name, raw: raw})
	case string(raw) == "null" || !f.growing && bytes.Equal(f.raw, raw):
	case f.growing || string(f.raw) != "null":
		return ErrNotConvertible
	default:
		f.raw = raw
	}
	return nil
}

// replace says that the member is this from now on; null changes nothing.
func (m *merged) replace(name string, raw []byte) {
	switch f := m.find(name); {
	case f == nil:
		m.fields = append(m.fields, mergedField{name: name, raw: raw})
	case string(raw) != "null":
		*f = mergedField{name: name, raw: raw}
	}
}

// grow adds the value in a node, a string or null, to the text of the member.
func (m *merged) grow(name string, t *tape, at int32) error {
	if t.isNull(at) {
		return m.set(name, []byte("null"))
	}
	if !t.is(at, kindString) {
		return ErrNotConvertible
	}
	f := m.find(name)
	if f == nil {
		m.fields = append(m.fields, mergedField{name: name})
		f = &m.fields[len(m.fields)-1]
	}
	if !f.growing && f.raw != nil && string(f.raw) != "null" {
		return ErrNotConvertible
	}
	f.growing, f.raw = true, nil
	f.text = append(f.text, t.inside(at)...)
	return nil
}

// appendTo appends the members, behind a brace or another member.
func (m *merged) appendTo(dst []byte) []byte {
	for i := range m.fields {
		f := &m.fields[i]
		if !f.growing {
			dst = appendMember(dst, f.name, f.raw)
			continue
		}
		dst = append(appendName(dst, f.name), '"')
		dst = append(append(dst, f.text...), '"')
	}
	return dst
}

// numbered are objects that a stream tells apart by a number, in the order of these.
type numbered[T any] struct {
	index []int64
	items []*T
}

// at is the item with that number.
func (n *numbered[T]) at(index int64) *T {
	i := 0
	for ; i < len(n.index) && n.index[i] <= index; i++ {
		if n.index[i] == index {
			return n.items[i]
		}
	}
	item := new(T)
	n.index = append(n.index, 0)
	n.items = append(n.items, nil)
	copy(n.index[i+1:], n.index[i:])
	copy(n.items[i+1:], n.items[i:])
	n.index[i], n.items[i] = index, item
	return item
}

// maxItems bounds the choices, tool calls and blocks of an answer that is put together.
const maxItems = 1 << 10

// indexOf is the number in a node, 0 where there is none.
func indexOf(t *tape, at int32) (int64, error) {
	if at == nowhere {
		return 0, nil
	}
	n := countOf(t.raw(at))
	if !t.is(at, kindNumber) || n >= maxItems {
		return 0, ErrNotConvertible
	}
	return n, nil
}

// appendComma appends a comma unless an object or an array has just begun.
func appendComma(dst []byte) []byte {
	if c := dst[len(dst)-1]; c != '{' && c != '[' {
		dst = append(dst, ',')
	}
	return dst
}

// appendName appends a member up to its value. The name is in canonical spelling.
func appendName(dst []byte, name string) []byte {
	dst = append(append(appendComma(dst), '"'), name...)
	return append(dst, '"', ':')
}

func appendMember(dst []byte, name string, raw []byte) []byte {
	return append(appendName(dst, name), raw...)
}

// appendQuoted appends the text s as a JSON string. s is UTF-8.
func appendQuoted(dst, s []byte) []byte {
	dst = append(dst, '"')
	for _, c := range s {
		if c < ' ' || c == '"' || c == '\\' {
			dst = appendRune(dst, rune(c))
		} else {
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// appendPlain appends the meaning of the inside of a valid string; false where it holds half a surrogate pair, which has none.
func appendPlain(dst, inside []byte) ([]byte, bool) {
	start := len(dst)
	dst = appendCanonical(dst, inside)
	to := start
	for from := start; from < len(dst); from++ {
		c := dst[from]
		if c == '\\' {
			from++
			switch c = dst[from]; c {
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			case 't':
				c = '\t'
			case 'b':
				c = '\b'
			case 'f':
				c = '\f'
			case 'u':
				r := hex4(dst[from+1:])
				if r >= ' ' {
					return dst[:start], false
				}
				c = byte(r)
				from += 4
			}
		}
		dst[to] = c
		to++
	}
	return dst[:to], true
}
