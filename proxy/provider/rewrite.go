package provider

import "slices"

// Edits is what to change in a request body.
type Edits struct {
	Model        string      // the model's new name; empty leaves it
	IncludeUsage bool        // ask for usage at the end of the stream (OpenAI chat and text completions)
	Breakpoints  Breakpoints // mark the prompt for the provider's cache (Anthropic messages); found in this very body
}

// Rewrite appends body to dst with the edits done in place: every other byte stays as it is and where it is, because
// re-serialising would change what a provider's prompt cache sees. r is what Scan made of this body.
//
// A body that does not name its model is left so: it stands in the path. stream_options is added as the first member,
// or completed, where it is an object or null; of any other type it is left for the provider to refuse. A string that is to
// be marked becomes a list with one block of text, which is the same prompt.
func Rewrite(dst, body []byte, r *Request, e Edits) []byte {
	var list [2 + MaxBreakpoints]edit
	n := 0
	add := func(kind editKind, at span, i int) {
		list[n] = edit{at, kind, i}
		for k := n; k > 0 && list[k].start < list[k-1].start; k-- { // in the order of the body
			list[k], list[k-1] = list[k-1], list[k]
		}
		n++
	}
	if e.Model != "" && r.edits.model.found() {
		add(putModel, r.edits.model, 0)
	}
	if e.IncludeUsage && r.edits.usage != keepUsage {
		add(putUsage, r.edits.usageAt, 0)
	}
	for i, b := range e.Breakpoints.at[:e.Breakpoints.n] {
		add(putBreakpoint, b.span, i)
	}
	if n == 0 {
		return append(dst, body...)
	}
	dst = slices.Grow(dst, len(body)+len(e.Model)+n*editRoom)
	at := 0
	for _, change := range list[:n] {
		dst = append(dst, body[at:change.start]...)
		at = change.end
		switch change.kind {
		case putModel:
			dst = appendString(dst, e.Model)
		case putUsage:
			dst = r.edits.appendUsage(dst)
		case putBreakpoint:
			dst = e.Breakpoints.appendTo(dst, body, e.Breakpoints.at[change.i])
		}
	}
	return append(dst, body[at:]...)
}

// editRoom is what an edit adds to a body at most, but for the model's name.
const editRoom = 96

// edit is one place that Rewrite changes.
type edit struct {
	span
	kind editKind
	i    int // of the breakpoint
}

type editKind uint8

const (
	putModel editKind = iota
	putUsage
	putBreakpoint
)

// span is a half-open range of offsets in a body.
type span struct{ start, end int }

// found tells a value's place from the zero value: no value stands at offset 0.
func (s span) found() bool { return s.end > 0 }

// edits says where the values that Rewrite may change stand in the body.
type edits struct {
	model   span // value of model
	usage   usageEdit
	usageAt span // what the usage edit replaces; empty where it inserts
	alone   bool // what it inserts becomes the only member of its object
}

// usageEdit is how to get to a body that asks for usage.
type usageEdit uint8

const (
	keepUsage  usageEdit = iota // it does already, or cannot
	addOptions                  // insert stream_options into the body
	setOptions                  // replace the value of stream_options
	addMember                   // insert include_usage into stream_options
	setMember                   // replace the value of include_usage
)

func (e *edits) appendUsage(dst []byte) []byte {
	switch e.usage {
	case addOptions:
		dst = append(dst, `"stream_options":{"include_usage":true}`...)
	case setOptions:
		return append(dst, `{"include_usage":true}`...)
	case addMember:
		dst = append(dst, `"include_usage":true`...)
	case setMember:
		return append(dst, "true"...)
	}
	if !e.alone {
		dst = append(dst, ',')
	}
	return dst
}
