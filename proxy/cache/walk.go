package cache

import "strconv"

// raw is the JSON of the value in the node at, empty for nowhere.
func (t *tape) raw(at int32) []byte {
	if at == nowhere {
		return nil
	}
	n := &t.nodes[at]
	if n.kind == kindString {
		return t.src[n.from-1 : n.to+1]
	}
	return t.src[n.from:n.to]
}

// inside is what stands between the quotes of a string; nil for any other value and nowhere.
func (t *tape) inside(at int32) []byte {
	if at == nowhere || t.nodes[at].kind != kindString {
		return nil
	}
	return t.src[t.nodes[at].from:t.nodes[at].to]
}

// str is the meaning of a string, in canonical spelling; nil for any other value. Only a string with escapes is copied.
func (t *tape) str(at int32) []byte {
	s := t.inside(at)
	if s != nil && t.nodes[at].escaped {
		return appendCanonical(nil, s)
	}
	return s
}

// member is the value of the first member of the object in the node at with this name, which needs no escapes; nowhere if there is none.
func (t *tape) member(at int32, name string) int32 {
	if at == nowhere || t.nodes[at].kind != kindObject {
		return nowhere
	}
	for m := at + 1; m < t.nodes[at].next; m = t.nodes[m+1].next {
		if string(t.name(m)) == name {
			return m + 1
		}
	}
	return nowhere
}

// isNull reports whether there is no value at a node, or null.
func (t *tape) isNull(at int32) bool { return at == nowhere || string(t.raw(at)) == "null" }

// is tells the kind of the value in a node; false for nowhere.
func (t *tape) is(at int32, k kind) bool { return at != nowhere && t.nodes[at].kind == k }

// some reports whether test holds for an element of the array in the node at, or for the value itself where that is no array and not null.
func (t *tape) some(at int32, test func(e int32) bool) bool {
	if t.nodes[at].kind != kindArray {
		return t.nodes[at].kind == kindObject && test(at)
	}
	for e := at + 1; e < t.nodes[at].next; e = t.nodes[e].next {
		if test(e) {
			return true
		}
	}
	return false
}

// empty reports whether the value is an array or an object without members.
func (t *tape) empty(at int32) bool {
	return at != nowhere && (t.nodes[at].kind == kindArray || t.nodes[at].kind == kindObject) && t.nodes[at].next == at+1
}

// each calls f for each member of the object in the node at, with its name in canonical spelling, until one fails. It fails for what is no object.
func (t *tape) each(at int32, f func(name string, value int32) error) error {
	if !t.is(at, kindObject) {
		return ErrNotConvertible
	}
	for m := at + 1; m < t.nodes[at].next; m = t.nodes[m+1].next {
		if err := f(string(t.name(m)), m+1); err != nil {
			return err
		}
	}
	return nil
}

// elements calls f for each element of the array in the node at until one fails. It fails for what is no array.
func (t *tape) elements(at int32, f func(e int32) error) error {
	if !t.is(at, kindArray) {
		return ErrNotConvertible
	}
	for e := at + 1; e < t.nodes[at].next; e = t.nodes[e].next {
		if err := f(e); err != nil {
			return err
		}
	}
	return nil
}

// appendCount appends a number.
func appendCount(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }
