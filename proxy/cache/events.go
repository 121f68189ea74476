package cache

import (
	"bytes"
	"errors"
	"iter"

	"llm-auto-optimizer/proxy/provider"
	"llm-auto-optimizer/proxy/sse"
)

// errStream says that bytes are no whole stream of a format.
var errStream = errors.New("no whole stream")

// event is one event of a stream, or one element of an array.
type event struct {
	name []byte // the event field
	data []byte
	own  bool // data is joined from several lines, and valid until the next event only
}

// done is the data that ends OpenAI's older streams.
const done = "[DONE]"

// eventsOf iterates over a stored stream. An event that is none, cut off or outside of the framing is given as an error, the last thing there is.
func eventsOf(scanner *sse.Scanner, t *tape, f provider.Format, answer []byte) iter.Seq2[event, error] {
	if f == provider.JSONArray {
		return elementsOf(t, answer)
	}
	return func(yield func(event, error) bool) {
		scanner.Reset()
		for rest := answer; len(rest) > 0; {
			var ev sse.Event
			var ok bool
			ev, rest, ok = scanner.Next(rest)
			switch {
			case !ok:
			case ev.Part == sse.Tail || ev.Part == sse.Whole && ev.Data == nil && ignorable(ev.Raw):
			case ev.Part != sse.Whole || ev.Data == nil:
				yield(event{}, errStream)
				return
			case !yield(event{ev.Name, ev.Data, ev.At < 0}, nil):
				return
			}
		}
		if _, ok := scanner.Close(); ok {
			yield(event{}, errStream)
		}
	}
}

// ignorable tells blocks that hold no event: blank lines, comments, a byte order mark. What else holds no data is an error that broke in.
func ignorable(raw []byte) bool {
	for len(raw) > 0 {
		var line []byte
		line, raw, _ = bytes.Cut(raw, []byte{'\n'})
		if line = bytes.TrimRight(line, "\r"); len(line) > 0 && line[0] != ':' && string(line) != "\xEF\xBB\xBF" {
			return false
		}
	}
	return true
}

// elementsOf iterates over the elements of an array.
func elementsOf(t *tape, answer []byte) iter.Seq2[event, error] {
	return func(yield func(event, error) bool) {
		if t.parse(answer) != nil || !t.is(0, kindArray) {
			yield(event{}, errStream)
			return
		}
		var bounds []node // the tape may be used for each of them
		for e := int32(1); e < t.nodes[0].next; e = t.nodes[e].next {
			if !t.is(e, kindObject) {
				yield(event{}, errStream)
				return
			}
			bounds = append(bounds, t.nodes[e])
		}
		for _, n := range bounds {
			if !yield(event{data: answer[n.from:n.to]}, nil) {
				return
			}
		}
	}
}
