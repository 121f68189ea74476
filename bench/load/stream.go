package load

import (
	"bytes"
	"errors"
	"io"

	"github.com/tidwall/gjson"

	"llm-auto-optimizer/proxy/sse"
)

// stream follows the events of a streamed answer.
type stream struct {
	api     API
	scanner sse.Scanner
	content int  // pieces of content seen
	ended   bool // the API's mark of a complete answer was seen
	failed  bool // the provider told of an error
	usage   *usage
	failure string // what it told
}

const readSize = 8 << 10

// read follows a body to its end. After each read that brought content or the end it calls seen with the number of pieces of
// content that came with it; when that returns false it stops without an error. A body that ends without the API's own mark
// is an io.ErrUnexpectedEOF.
func (s *stream) read(body io.Reader, seen func(pieces int) bool) error {
	buf := make([]byte, readSize)
	for {
		n, err := body.Read(buf)
		before := s.content
		s.write(buf[:n])
		if (s.content > before || s.ended) && !seen(s.content-before) {
			return nil
		}
		switch {
		case errors.Is(err, io.EOF) && !s.ended && !s.failed:
			return io.ErrUnexpectedEOF
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

func (s *stream) write(p []byte) {
	for len(p) > 0 {
		var ev sse.Event
		var ok bool
		if ev, p, ok = s.scanner.Next(p); ok && len(ev.Data) > 0 {
			s.event(&ev)
		}
	}
}

// event looks for the things that matter in an event.
func (s *stream) event(ev *sse.Event) {
	s.usage.readEvent(s.api, ev.Data)
	switch {
	case isError(ev):
		s.failed, s.failure = true, beginning(ev.Data)
	case s.api == Chat:
		if bytes.Equal(ev.Data, []byte("[DONE]")) {
			s.ended = true
		} else if gjson.GetBytes(ev.Data, "choices.0.delta.content").Str != "" {
			s.content++
		}
	case s.api == Responses:
		switch {
		case isEvent(ev, "response.completed"), isEvent(ev, "response.incomplete"):
			s.ended = true
		case isEvent(ev, "response.failed"):
			s.failed, s.failure = true, beginning(ev.Data)
		case bytes.HasSuffix(ev.Name, []byte(".delta")):
			s.content++
		}
	case s.api == Messages:
		switch {
		case isEvent(ev, "message_stop"):
			s.ended = true
		case isEvent(ev, "content_block_delta"):
			s.content++
		}
	case s.api == Generate:
		candidate := gjson.GetBytes(ev.Data, "candidates.0")
		if candidate.Get("finishReason").Str != "" {
			s.ended = true
		}
		if candidate.Get("content.parts.0").Exists() {
			s.content++
		}
	}
}

// isEvent tells whether the event is of a type; the first part of one too long to come whole has lost its name.
func isEvent(ev *sse.Event, name string) bool {
	if len(ev.Name) > 0 {
		return string(ev.Name) == name
	}
	rest, ok := bytes.CutPrefix(ev.Data, []byte(`{"type":"`))
	return ok && bytes.HasPrefix(rest, []byte(name+`"`))
}

// isError tells whether an event is what the vendors send when an answer breaks off: an event of that name, or an object
// that begins with an error.
func isError(ev *sse.Event) bool {
	if string(ev.Name) == "error" {
		return true
	}
	rest, ok := bytes.CutPrefix(ev.Data, []byte("{"))
	return ok && bytes.HasPrefix(bytes.TrimLeft(rest, " \r\n\t"), []byte(`"error"`))
}
