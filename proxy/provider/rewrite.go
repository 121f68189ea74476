package provider

// Edits is what to change in a request body.
type Edits struct {
	Model        string // the model's new name; empty leaves it
	IncludeUsage bool   // ask for usage at the end of the stream (OpenAI chat and text completions)
}

// Rewrite appends body to dst with the edits done in place: every other byte stays as it is and where it is, because
// re-serialising would change what a provider's prompt cache sees. r is what Scan made of this body.
//
// A body that does not name its model is left so: it stands in the path. stream_options is added as the first member,
// or completed, where it is an object or null; of any other type it is left for the provider to refuse.
func Rewrite(dst, body []byte, r *Request, e Edits) []byte {
	at := 0
	model := e.Model != "" && r.edits.model.found()
	usage := e.IncludeUsage && r.edits.usage != keepUsage
	if usage && (!model || r.edits.usageAt.start < r.edits.model.start) {
		dst = r.edits.appendUsage(append(dst, body[:r.edits.usageAt.start]...))
		at, usage = r.edits.usageAt.end, false
	}
	if model {
		dst = appendString(append(dst, body[at:r.edits.model.start]...), e.Model)
		at = r.edits.model.end
	}
	if usage {
		dst = r.edits.appendUsage(append(dst, body[at:r.edits.usageAt.start]...))
		at = r.edits.usageAt.end
	}
	return append(dst, body[at:]...)
}

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
