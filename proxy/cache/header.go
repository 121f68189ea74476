package cache

import (
	"bytes"

	"llm-auto-optimizer/proxy/provider"
)

// replayable are the response headers that are kept besides content-type, in lower case: those that tell of the answer. Never kept are those that tell
// of the exchange or its caller: cookies, ids, limits, times, servers.
var replayable = [...]string{"content-language", "openai-version", "content-disposition", "x-content-type-options"}

// AppendHeaders appends the headers that may be replayed, as whole lines. get is the value of a header by its name in lower case; nil: there is none.
func AppendHeaders(block []byte, get func(name string) []byte) []byte {
	for _, name := range replayable {
		if value := get(name); value != nil && !bytes.ContainsAny(value, "\r\n\x00") {
			block = append(append(block, name...), ": "...)
			block = append(append(block, value...), "\r\n"...)
		}
	}
	return block
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
