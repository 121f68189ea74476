package cache

import (
	"bytes"

	"llm-auto-optimizer/proxy/provider"
)

// replayable are the response headers that are kept besides content-type, in lower case: those that tell of the answer. Never kept are those that tell
// of the exchange or its caller: cookies, ids, limits, times, servers.
var replayable = [...]string{"content-language", "openai-version", "content-disposition", "x-content-type-options"}

// AppendHeader appends the header to the block of headers that an entry keeps, if it may be replayed. The name may be in any case.
func AppendHeader(block, name, value []byte) []byte {
	for _, known := range replayable {
		if bytes.EqualFold(name, []byte(known)) && !bytes.ContainsAny(value, "\r\n\x00") {
			block = append(append(block, known...), ": "...)
			return append(append(block, value...), "\r\n"...)
		}
	}
	return block
}

// NextHeader takes the first header off a block that AppendHeader made; false at its end.
func NextHeader(block []byte) (name, value, rest []byte, ok bool) {
	line, rest, ok := bytes.Cut(block, []byte("\r\n"))
	if !ok {
		return nil, nil, nil, false
	}
	name, value, ok = bytes.Cut(line, []byte(": "))
	return name, value, rest, ok
}

// TypeOf is the content type of an answer in this format, as the vendor of the operation's dialect spells it.
func TypeOf(op provider.Operation, f provider.Format) string {
	google := op == provider.GenerateContent || op == provider.EmbedContent
	switch {
	case f == provider.EventStream && google:
		return "text/event-stream"
	case f == provider.EventStream:
		return "text/event-stream; charset=utf-8"
	case google:
		return "application/json; charset=UTF-8"
	}
	return "application/json"
}
