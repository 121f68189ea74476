package sim

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"strings"
)

// pixel is a PNG of one transparent pixel.
const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="

// images answers POST …/images/generations.
func (x *exchange) images(a *answer) {
	if x.in.model == "" {
		x.in.model = "gpt-image-1"
	}
	if !x.openAIAdmits(a, "prompt", x.in.prompt) {
		return
	}
	x.seal(x.in.prompt.Raw)
	const perImage = 1056 // tokens of a square of medium quality
	input, output := countTokens(len(x.in.prompt.Raw)), perImage*x.in.choices
	a.ctype, a.tokens = "application/json", output
	a.str("{\n  \"created\": ")
	a.int(int(x.now().Unix()))
	a.str(",\n  \"background\": \"opaque\",\n  \"data\": [")
	for i := range x.in.choices {
		if i > 0 {
			a.str(",")
		}
		a.str("\n    {\n      \"b64_json\": \"")
		a.image(x.d.size.or(0))
		a.str("\"\n    }")
	}
	a.str("\n  ],\n  \"output_format\": \"png\",\n  \"quality\": \"medium\",\n  \"size\": \"1024x1024\",\n  \"usage\": {\n    \"input_tokens\": ")
	a.int(input)
	a.str(",\n    \"input_tokens_details\": {\n      \"image_tokens\": 0,\n      \"text_tokens\": ")
	a.int(input)
	a.str("\n    },\n    \"output_tokens\": ")
	a.int(output)
	a.str(",\n    \"total_tokens\": ")
	a.int(input + output)
	a.str("\n  }\n}\n")
}

// image appends a PNG in base64; bytes behind its end, which readers ignore, make it as large as ordered.
func (a *answer) image(size int) {
	raw, err := base64.StdEncoding.DecodeString(pixel)
	if err != nil {
		panic("BUG: pixel: " + err.Error())
	}
	if size > len(raw) {
		raw = append(raw, make([]byte, size-len(raw))...)
	}
	a.body = base64.StdEncoding.AppendEncode(a.body, raw)
}

// audioTypes are the content types of speech by response_format.
var audioTypes = map[string]string{
	"": "audio/mpeg", "mp3": "audio/mpeg", "opus": "audio/opus", "aac": "audio/aac", "flac": "audio/flac",
	"wav": "audio/wav", "pcm": "audio/pcm",
}

const (
	defaultSpeech = 64 << 10 // bytes
	speechFrame   = 4 << 10
)

// speech answers POST …/audio/speech with a stream of bytes.
func (x *exchange) speech(a *answer) {
	if !x.openAIAdmits(a, "input", x.in.input) {
		return
	}
	ctype, ok := audioTypes[x.in.format.Str]
	if !ok {
		a.openAIError(400, "Invalid response_format", "invalid_request_error", "response_format", "")
		return
	}
	x.seal(x.in.input.Raw)
	a.ctype, a.stream = ctype, true
	for left := x.d.size.or(defaultSpeech); left > 0; left -= speechFrame {
		a.body = appendNoise(a.body, x.hash+uint64(left), min(left, speechFrame))
		a.cut(1)
	}
	a.tail = len(a.frames)
}

// appendNoise appends n bytes that depend on the seed alone.
func appendNoise(dst []byte, seed uint64, n int) []byte {
	r := random{seed}
	for ; n > 0; n -= 8 {
		v := r.next()
		for i := range min(n, 8) {
			dst = append(dst, byte(v>>(8*i)))
		}
	}
	return dst
}

// part is one field of a form.
type part struct {
	name, file string
	data       []byte
}

// form reads the multipart body. It reports false when the body is none.
func (x *exchange) form() (parts []part, ok bool) {
	kind, params, err := mime.ParseMediaType(string(x.req.header("content-type")))
	if err != nil || kind != "multipart/form-data" {
		return nil, false
	}
	r := multipart.NewReader(bytes.NewReader(x.body), params["boundary"])
	for {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return parts, len(parts) > 0
		}
		if err != nil {
			return nil, false
		}
		data, err := io.ReadAll(p)
		if err != nil {
			return nil, false
		}
		parts = append(parts, part{p.FormName(), p.FileName(), data})
	}
}

// field is the text of a form's field.
func field(parts []part, name string) string {
	for _, p := range parts {
		if p.name == name && p.file == "" {
			return string(p.data)
		}
	}
	return ""
}

// transcriptions answers POST …/audio/transcriptions with what arrived: the file's size and the fields' names.
func (x *exchange) transcriptions(a *answer) {
	parts, ok := x.form()
	if !ok {
		a.openAIError(400, "Could not parse multipart form", "invalid_request_error", "", "")
		return
	}
	var names []string
	text, size := "no file", 0
	for _, p := range parts {
		names = append(names, p.name)
		if p.file != "" {
			text, size = "file "+p.file+" of "+itoa(len(p.data))+" bytes", len(p.data)
		}
	}
	text += "; fields " + strings.Join(names, ", ")
	usage := transcriptionUsage(size, len(text))
	switch {
	case field(parts, "stream") == "true":
		a.ctype, a.stream = eventStream, true
		for _, piece := range (&call{arguments: text}).pieces(x.chunk()) {
			a.str(`data: {"type":"transcript.text.delta","delta":`)
			a.quote(piece)
			a.str("}\n\n")
			a.cut(x.chunk())
		}
		a.tail = len(a.frames)
		a.str(`data: {"type":"transcript.text.done","text":`)
		a.quote(text)
		a.str(usage + "}\n\n")
		a.cut(0)
	case field(parts, "response_format") == "text":
		a.ctype, a.tokens = "text/plain; charset=utf-8", countTokens(len(text))
		a.str(text + "\n")
	default:
		a.ctype, a.tokens = "application/json", countTokens(len(text))
		a.str(`{"text":`)
		a.quote(text)
		a.str(usage + "}")
	}
}

// transcriptionUsage is the usage member, its comma in front.
func transcriptionUsage(audio, text int) string {
	in, out := 1+audio/audioBytesPerToken, countTokens(text)
	return `,"usage":{"type":"tokens","total_tokens":` + itoa(in+out) + `,"input_tokens":` + itoa(in) +
		`,"input_token_details":{"text_tokens":0,"audio_tokens":` + itoa(in) + `},"output_tokens":` + itoa(out) + `}`
}
