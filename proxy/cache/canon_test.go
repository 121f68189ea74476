package cache

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"unicode/utf16"
)

// canonical is the canonical form of a document, nil where there is none.
func canonical(doc []byte) []byte {
	var t tape
	t.loose = true
	if t.parse(doc) != nil {
		return nil
	}
	c := canon{tape: &t}
	if c.value(0); c.repeat {
		return nil
	}
	return c.buf
}

// respell writes a value again, its members in another order, with other white space and other escapes.
func respell(b *bytes.Buffer, v any, r *rand.Rand) {
	space := func() { b.WriteString([]string{"", "", " ", "\n\t"}[r.IntN(4)]) }
	space()
	switch v := v.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		b.WriteByte('{')
		for i, name := range names {
			if i > 0 {
				b.WriteByte(',')
			}
			respell(b, name, r)
			b.WriteByte(':')
			respell(b, v[name], r)
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			respell(b, e, r)
		}
		b.WriteByte(']')
	case string:
		b.WriteByte('"')
		for _, c := range v {
			switch plain := c >= ' ' && c != '"' && c != '\\'; {
			case c == '/' && r.IntN(2) == 0:
				b.WriteString(`\/`)
			case plain && r.IntN(2) == 0:
				b.WriteRune(c)
			default:
				for _, unit := range utf16.Encode([]rune{c}) {
					fmt.Fprintf(b, []string{"\\u%04x", "\\u%04X"}[r.IntN(2)], unit)
				}
			}
		}
		b.WriteByte('"')
	default:
		plain, _ := json.Marshal(v)
		b.Write(plain)
	}
	space()
}

func decode(doc []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

// FuzzCanonical checks the form against encoding/json: only what is JSON has one, it is JSON of the same value, it is its own form, and however
// the value is spelled it is the same. As the form holds the value, different values have different forms.
func FuzzCanonical(f *testing.F) {
	f.Add([]byte(`{"b":[1,2.50,-0,1e9],"a":{"é😀/":"\ud83d\ude00\u0007\n"},"":null}`), uint64(1))
	f.Add([]byte(`{"a":1,"\u0061":2}`), uint64(2))
	f.Add([]byte(`["\ud800","\\u0061","\u2028"]`), uint64(3))
	f.Add(promptBody(2000), uint64(4))
	f.Fuzz(func(t *testing.T, doc []byte, seed uint64) {
		form := canonical(doc)
		if form == nil {
			return
		}
		v, err := decode(doc)
		if err != nil || !json.Valid(doc) {
			t.Fatalf("a form of what is no JSON: %q", doc)
		}
		same, err := decode(form)
		if err != nil || !reflect.DeepEqual(v, same) {
			t.Fatalf("the form %q of %q is another value: %v", form, doc, err)
		}
		if again := canonical(form); !bytes.Equal(again, form) {
			t.Fatalf("the form %q has the form %q", form, again)
		}
		if bytes.Contains(form, []byte(`\ud`)) {
			return // half a surrogate pair, which encoding/json replaces
		}
		var b bytes.Buffer
		respell(&b, v, rand.New(rand.NewPCG(seed, 1)))
		if again := canonical(b.Bytes()); !bytes.Equal(again, form) {
			t.Fatalf("%q has the form %q, %q has %q", doc, form, b.Bytes(), again)
		}
	})
}

// FuzzReader checks that pieces given to the digest are the whole form.
func FuzzReader(f *testing.F) {
	f.Add(promptBody(20000), promptBody(20000))
	f.Add([]byte(`{"a":1}`), []byte(`{"a":1.0}`))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		var r Reader
		a, v := r.Read(chatQuestion(string(one)))
		b, w := r.Read(chatQuestion(string(two)))
		var tape tape
		forms := [2][]byte{}
		for i, doc := range [][]byte{one, two} {
			if tape.parse(doc) != nil {
				return
			}
			c := canon{tape: &tape, skip: silent[chatQuestion("").Operation]}
			c.value(0)
			forms[i] = bytes.Clone(c.buf)
		}
		if v.Grade < Variable || w.Grade < Variable {
			return
		}
		if (a == b) != bytes.Equal(forms[0], forms[1]) {
			t.Fatalf("keys %v and %v of %q and %q", a, b, one, two)
		}
	})
}
