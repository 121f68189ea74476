package load

import (
	"bytes"
	"io"

	"github.com/tidwall/gjson"
)

// usage is what an answer says of its tokens.
type usage struct {
	told   bool
	input  int64 // cached ones included
	cached int64
	output int64 // reasoning included

	fresh, written int64 // parts of input where an API states them apart
}

// maxAnswer is how much of a plain answer is kept to look for its usage; in longer ones it is not looked for.
const maxAnswer = 8 << 20

// readPlain reads an answer that is no stream to its end. It returns the beginning, up to maxAnswer.
func (u *usage) readPlain(api API, body io.Reader) ([]byte, error) {
	answer, err := io.ReadAll(io.LimitReader(body, maxAnswer))
	if err != nil {
		return answer, err
	}
	rest, err := io.Copy(io.Discard, body)
	if err == nil && rest == 0 {
		u.read(api, gjson.GetBytes(answer, usagePath(api)))
	}
	return answer, err
}

func usagePath(api API) string {
	if api == Generate {
		return "usageMetadata"
	}
	return "usage"
}

// readEvent looks for usage in an event of a stream. What comes later counts.
func (u *usage) readEvent(api API, data []byte) {
	if !bytes.Contains(data, []byte(`usage`)) {
		return
	}
	path := usagePath(api)
	switch api {
	case Responses:
		path = "response." + path
	case Messages:
		u.read(api, gjson.GetBytes(data, "message."+path)) // of the stream's beginning; at its end it stands as such
	}
	u.read(api, gjson.GetBytes(data, path))
}

func (u *usage) read(api API, said gjson.Result) {
	if !said.IsObject() {
		return
	}
	u.told = true
	set := func(n *int64, path string) {
		if v := said.Get(path); v.Exists() {
			*n = v.Int()
		}
	}
	switch api {
	case Chat, Embeddings:
		set(&u.input, "prompt_tokens")
		set(&u.cached, "prompt_tokens_details.cached_tokens")
		set(&u.output, "completion_tokens")
	case Responses:
		set(&u.input, "input_tokens")
		set(&u.cached, "input_tokens_details.cached_tokens")
		set(&u.output, "output_tokens")
	case Messages:
		set(&u.fresh, "input_tokens")
		set(&u.cached, "cache_read_input_tokens")
		set(&u.written, "cache_creation_input_tokens")
		set(&u.output, "output_tokens")
		u.input = u.fresh + u.cached + u.written
	case Generate:
		set(&u.input, "promptTokenCount")
		set(&u.cached, "cachedContentTokenCount")
		u.output = said.Get("candidatesTokenCount").Int() + said.Get("thoughtsTokenCount").Int()
	}
}
