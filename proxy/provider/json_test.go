package provider

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestSkipValue(t *testing.T) {
	t.Parallel()
	check := func(in string, want int) {
		t.Helper()
		if got := skipValue([]byte(in), 0); got != want {
			t.Errorf("skipValue(%q): got %d, want %d", in, got, want)
		}
	}
	check(`"a"x`, 3)
	check(`"a\""x`, 5)
	check(`"a\\"x`, 5)
	check(`"a\\\"`, -1)
	check(`"`, -1)
	check(`12,`, 2)
	check(`-1.5e3}`, 6)
	check(`true`, 4)
	check(`null `, 4)
	check(`{}`, 2)
	check(`[1,"]",{"a":"}"}]x`, 17)
	check(`{"a":[`, -1)
	check(`[`+strings.Repeat("[", 10000)+strings.Repeat("]", 10000)+`]`, 20002)
	check(``, -1)
	check(`}`, -1)
	check(`x`, -1)
}

// The quote is found in every word of the fast path and behind it, and not where a backslash escapes it.
func TestClosingQuote(t *testing.T) {
	t.Parallel()
	for n := range 60 {
		text := strings.Repeat("x", n)
		for escapes := range 6 {
			in := `"` + text + strings.Repeat(`\`, escapes) + `"`
			want := len(in) - 1
			if escapes%2 != 0 {
				in += `y"`
				want += 2
			}
			for _, tail := range []string{"", `,"next":"\""}`} {
				if got := closingQuote([]byte(in+tail), 1); got != want {
					t.Errorf("closingQuote(%s): got %d, want %d", in+tail, got, want)
				}
			}
			if got := closingQuote([]byte(in[:want]), 1); got != -1 {
				t.Errorf("closingQuote(%s): got %d, want -1", in[:want], got)
			}
		}
	}
}

func TestObject_WalksMembersInOrder(t *testing.T) {
	t.Parallel()
	check := func(in, want string, closed bool) {
		t.Helper()
		var got strings.Builder
		o := openObject([]byte(in))
		for o.next() {
			if o.buf[o.keyAt] != '"' {
				t.Errorf("object %q: keyAt %d is no quote", in, o.keyAt)
			}
			got.WriteString(string(o.key) + "=" + string(o.value()) + ";")
		}
		if got.String() != want || o.closed != closed {
			t.Errorf("object %q: got %q closed %t, want %q closed %t", in, got.String(), o.closed, want, closed)
		}
		if o.next() {
			t.Errorf("object %q: another member after the last", in)
		}
	}
	check(` { "a" : 1 , "b":"x\"y" ,"c":{"d":[]}, "e":null } tail`, `a=1;b="x\"y";c={"d":[]};e=null;`, true)
	check(`{}`, ``, true)
	check(`{"a":1`, `a=1;`, false)
	check(`{"a":"x`, ``, false)
	check(`{"a"`, ``, false)
	check(`{"a`, ``, false)
	check(`{,"a":1}`, ``, false)
	check(`{a:1}`, ``, false)
	check(`["a"]`, ``, false)
	check(``, ``, false)
}

func TestArray_WalksElements(t *testing.T) {
	t.Parallel()
	check := func(in, want string, closed bool) {
		t.Helper()
		var got strings.Builder
		a := openArray([]byte(in))
		for a.next() {
			got.WriteString(string(a.value()) + ";")
		}
		if got.String() != want || a.closed != closed {
			t.Errorf("array %q: got %q closed %t, want %q closed %t", in, got.String(), a.closed, want, closed)
		}
	}
	check(` [ 1 , "a,b", {"c":[2]} , [] ] `, `1;"a,b";{"c":[2]};[];`, true)
	check(`[]`, ``, true)
	check(`[1,`, `1;`, false)
	check(`{}`, ``, false)
}

func TestCountOf(t *testing.T) {
	t.Parallel()
	check := func(in string, want int64, ok bool) {
		t.Helper()
		if got, gotOK := countOf([]byte(in)); gotOK != ok || ok && got != want {
			t.Errorf("countOf(%q): got %d, %t, want %d, %t", in, got, gotOK, want, ok)
		}
	}
	check("0", 0, true)
	check("42", 42, true)
	check("42.00", 42, true)
	check("9223372036854775807", 1<<63-1, true)
	check("9223372036854775808", 0, false)
	check("99999999999999999999999", 0, false)
	check("-1", 0, false)
	check("1.5", 0, false)
	check("1e3", 0, false)
	check(`"1"`, 0, false)
	check("", 0, false)
	check("null", 0, false)
}

func TestMember_AndStrings(t *testing.T) {
	t.Parallel()
	b := []byte(`{"x":{"usage":1},"usage":"plain","esc":"a\nb"}`)
	if got := member(b, "usage"); string(got) != `"plain"` {
		t.Errorf("member: got %s", got)
	}
	if got := member(b, "none"); got != nil {
		t.Errorf("member that is absent: got %s", got)
	}
	if s, ok := plainString(member(b, "usage")); !ok || string(s) != "plain" {
		t.Errorf("plainString: got %q, %t", s, ok)
	}
	if _, ok := plainString(member(b, "esc")); ok {
		t.Error("plainString took a string with an escape")
	}
	if s, ok := stringOf(member(b, "esc")); !ok || string(s) != `a\nb` {
		t.Errorf("stringOf: got %q, %t", s, ok)
	}
	if _, ok := stringOf([]byte(`{"a":1}`)); ok {
		t.Error("stringOf took an object")
	}
}

// FuzzJSON compares the walkers with encoding/json: on valid JSON they see the same members and elements, on any other
// input they stay inside it.
func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":[true,"x\"",{"c":null}],"\u0061":-1.5e-7}`))
	f.Add([]byte(`[[],{},"",0]`))
	f.Add([]byte(`{"a":`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if end := skipValue(b, 0); end > len(b) {
			t.Fatalf("skipValue: %d beyond %d", end, len(b))
		}
		var members, elements [][]byte
		o := openObject(b)
		for o.next() {
			members = append(members, o.key, o.value())
		}
		a := openArray(b)
		for a.next() {
			elements = append(elements, a.value())
		}
		if !json.Valid(b) {
			return
		}
		trimmed := bytes.TrimSpace(b)
		if end := skipValue(trimmed, 0); end != len(trimmed) {
			t.Fatalf("skipValue(%q): got %d, want %d", trimmed, end, len(trimmed))
		}
		var wantElements []json.RawMessage
		if json.Unmarshal(b, &wantElements) == nil && trimmed[0] == '[' {
			if !a.closed || len(elements) != len(wantElements) {
				t.Fatalf("array %q: got %d elements closed %t, want %d", b, len(elements), a.closed, len(wantElements))
			}
			for i := range elements {
				if !bytes.Equal(elements[i], wantElements[i]) {
					t.Fatalf("array %q element %d: got %q, want %q", b, i, elements[i], wantElements[i])
				}
			}
		}
		if trimmed[0] == '{' {
			if !o.closed {
				t.Fatalf("object %q: not closed", b)
			}
			d := json.NewDecoder(bytes.NewReader(b))
			if _, err := d.Token(); err != nil {
				t.Fatal(err)
			}
			for i := 0; d.More(); i += 2 {
				key, err := d.Token()
				if err != nil {
					t.Fatal(err)
				}
				var want json.RawMessage
				if err := d.Decode(&want); err != nil {
					t.Fatal(err)
				}
				var got string
				if i >= len(members) {
					t.Fatalf("object %q: %d members only", b, len(members)/2)
				}
				if json.Unmarshal([]byte(`"`+string(members[i])+`"`), &got) != nil || got != key {
					t.Fatalf("object %q: got key %q, want %q", b, members[i], key)
				}
				if !bytes.Equal(members[i+1], want) {
					t.Fatalf("object %q: got %q, want %q", b, members[i+1], want)
				}
			}
		}
	})
}

func TestJSON_DoesNotAllocate(t *testing.T) {
	b := []byte(`{"model":"gpt-4o","messages":[{"role":"user","content":"hi \"you\""}],"n":1,"stream":true}`)
	if n := testing.AllocsPerRun(100, func() {
		for o := openObject(b); o.next(); {
			for a := openArray(o.value()); a.next(); {
				member(a.value(), "content")
			}
			countOf(o.value())
			plainString(o.value())
		}
	}); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}
