package provider

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
)

func TestRewrite(t *testing.T) {
	t.Parallel()
	check := func(body string, e Edits, want string) {
		t.Helper()
		r := Scan(ChatCompletions, nil, []byte(body))
		if got := string(Rewrite([]byte("> "), []byte(body), &r, e)); got != "> "+want {
			t.Errorf("Rewrite(%s, %+v):\n got %s\nwant %s", body, e, got[2:], want)
		}
	}
	usage, model := Edits{IncludeUsage: true}, Edits{Model: `m"2`}

	// No stream_options.
	check(`{}`, usage, `{"stream_options":{"include_usage":true}}`)
	check(` { } `, usage, ` {"stream_options":{"include_usage":true} } `)
	check(`{ "a": 1 }`, usage, `{"stream_options":{"include_usage":true}, "a": 1 }`)
	// Without include_usage.
	check(`{"stream_options":{}}`, usage, `{"stream_options":{"include_usage":true}}`)
	check(`{"stream_options":{ }}`, usage, `{"stream_options":{"include_usage":true }}`)
	check(`{"stream_options": { "x": [] }}`, usage, `{"stream_options": {"include_usage":true, "x": [] }}`)
	// With another value.
	check(`{"stream_options":{"include_usage":false,"x":1}}`, usage, `{"stream_options":{"include_usage":true,"x":1}}`)
	check(`{"stream_options":{"x":1,"include_usage": null }}`, usage, `{"stream_options":{"x":1,"include_usage": true }}`)
	check(`{"stream_options" : null }`, usage, `{"stream_options" : {"include_usage":true} }`)
	// Nothing to do, or nothing of ours to repair.
	check(`{"stream_options":{"include_usage":true}}`, usage, `{"stream_options":{"include_usage":true}}`)
	check(`{"stream_options":{"include_usage":"yes"}}`, usage, `{"stream_options":{"include_usage":"yes"}}`)
	check(`{"stream_options":7}`, usage, `{"stream_options":7}`)
	check(`not json`, Edits{Model: "m", IncludeUsage: true}, `not json`)
	// The last of keys that repeat is the one that counts.
	check(`{"stream_options":null,"stream_options":{"include_usage":false,"include_usage":null}}`, usage,
		`{"stream_options":null,"stream_options":{"include_usage":false,"include_usage":true}}`)
	check(`{"stream_options":{"include_usage":false},"stream_options":{"include_usage":true}}`, usage,
		`{"stream_options":{"include_usage":false},"stream_options":{"include_usage":true}}`)
	check(`{"model":"a","model":"b"}`, model, `{"model":"a","model":"m\"2"}`)
	// Escaped keys.
	check(`{"str\u0065am_options":{"\u0069nclude_usage":false}}`, usage, `{"str\u0065am_options":{"\u0069nclude_usage":true}}`)
	check(`{"mod\u0065l":"a"}`, model, `{"mod\u0065l":"m\"2"}`)

	check(`{ "model" : "a\"b" , "x" : 1 }`, model, `{ "model" : "m\"2" , "x" : 1 }`)
	check(`{"model":null}`, model, `{"model":"m\"2"}`)
	check(`{"x":{"model":"a"}}`, model, `{"x":{"model":"a"}}`)
	check(`{"model":"a"}`, Edits{}, `{"model":"a"}`)
	check(`{"model":"a"}`, Edits{Model: "\x00\x1f/\\ é\xff"}, "{\"model\":\"\\u0000\\u001f/\\\\ é\ufffd\"}")
	// Both, in either order.
	both := Edits{Model: "b", IncludeUsage: true}
	check(`{"model":"a"}`, both, `{"stream_options":{"include_usage":true},"model":"b"}`)
	check(`{"stream_options":{},"model":"a"}`, both, `{"stream_options":{"include_usage":true},"model":"b"}`)
	check(`{"model":"a","stream_options":null}`, both, `{"model":"b","stream_options":{"include_usage":true}}`)
}

func TestRewrite_AsksForUsageOnlyWhereThatIsKnown(t *testing.T) {
	t.Parallel()
	body := []byte(`{"model":"a","stream":true}`)
	for op := Opaque; op < operationsEnd; op++ {
		r := Scan(op, nil, body)
		changed := !bytes.Equal(Rewrite(nil, body, &r, Edits{IncludeUsage: true}), body)
		if want := op == ChatCompletions || op == Completions; changed != want {
			t.Errorf("%v: changed %v, want %v", op, changed, want)
		}
	}
}

func TestRewrite_LeavesTheModelOfAPathAlone(t *testing.T) {
	t.Parallel()
	body := []byte(`{"model":"x","contents":[]}`)
	r := Scan(GenerateContent, []byte("/v1beta/models/m:generateContent"), body)
	if got := Rewrite(nil, body, &r, Edits{Model: "y"}); !bytes.Equal(got, body) {
		t.Errorf("got %s", got)
	}
}

func TestRewrite_AllocatesNothing(t *testing.T) {
	body := requestOf(ChatCompletions, "prose", 4096, rand.New(rand.NewPCG(1, 2)))
	r := Scan(ChatCompletions, nil, body)
	dst := make([]byte, 0, 2*len(body))
	if n := testing.AllocsPerRun(100, func() { Rewrite(dst, body, &r, Edits{Model: "m", IncludeUsage: true}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Rewrite changes the fields it is asked to change and no other byte.
func FuzzRewrite(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		const model = "new/\"model\""
		r := Scan(ChatCompletions, nil, body)
		if got := Rewrite(nil, body, &r, Edits{}); !bytes.Equal(got, body) {
			t.Fatalf("no edits: %q became %q", body, got)
		}
		withModel := Rewrite(nil, body, &r, Edits{Model: model})
		withUsage := Rewrite(nil, body, &r, Edits{IncludeUsage: true})
		withBoth := Rewrite(nil, body, &r, Edits{Model: model, IncludeUsage: true})

		var raw map[string]json.RawMessage
		if json.Unmarshal(body, &raw) != nil || raw == nil {
			return
		}
		var options map[string]json.RawMessage
		_ = json.Unmarshal(raw["stream_options"], &options)
		replaced := len(options["include_usage"])
		if string(raw["stream_options"]) == "null" {
			replaced = len("null")
		}
		sameBytes(t, body, withModel, len(raw["model"]))
		sameBytes(t, body, withUsage, replaced)

		want := decode(t, body)
		if _, ok := want["model"]; ok {
			want["model"] = model
		}
		sameDocument(t, withModel, want)
		askForUsage(want)
		sameDocument(t, withBoth, want)
		want = decode(t, body)
		askForUsage(want)
		sameDocument(t, withUsage, want)

		again := Scan(ChatCompletions, nil, withModel)
		if two := Rewrite(nil, withModel, &again, Edits{IncludeUsage: true}); !bytes.Equal(two, withBoth) {
			t.Errorf("%q: both edits give %q, one after the other %q", body, withBoth, two)
		}
	})
}

// sameBytes checks that got is body with at most one run of replaced bytes changed into something else.
func sameBytes(t *testing.T, body, got []byte, replaced int) {
	t.Helper()
	head := 0
	for head < len(body) && head < len(got) && body[head] == got[head] {
		head++
	}
	tail := 0
	for tail < len(body) && tail < len(got) && body[len(body)-1-tail] == got[len(got)-1-tail] {
		tail++
	}
	if head+tail < len(body)-replaced {
		t.Errorf("more than the edit changed:\n%q\n%q", body, got)
	}
}

func decode(t *testing.T, body []byte) (doc map[string]any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	return doc
}

func sameDocument(t *testing.T, got []byte, want map[string]any) {
	t.Helper()
	if doc := decode(t, got); !json.Valid(got) || !reflect.DeepEqual(doc, want) {
		t.Errorf("%q means\n%v, want\n%v", got, doc, want)
	}
}

// askForUsage is the edit on the decoded document.
func askForUsage(doc map[string]any) {
	switch options := doc["stream_options"].(type) {
	case nil:
		doc["stream_options"] = map[string]any{"include_usage": true}
	case map[string]any:
		if v := options["include_usage"]; v == nil || v == false {
			options["include_usage"] = true
		}
	}
}
