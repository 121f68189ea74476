package provider

import (
	"strings"
	"testing"
)

// A frame that repeats the one before is read like any other.
func TestMeter_RepeatedFramesMeanTheSame(t *testing.T) {
	t.Parallel()
	frame := func(delta, rest string) string {
		return `{"model":"m","choices":[{"index":0,"delta":{` + delta + `},"finish_reason":null}]` + rest + `}`
	}
	streams := [][]string{
		{frame(`"content":"a"`, ""), frame(`"content":"bc"`, ""), frame(`"content":""`, ""), frame(`"content":"d\"e"`, "")},
		{frame(`"content":"a"`, ""), frame(`"content":"b"`, `,"usage":{"prompt_tokens":3}`), frame(`"content":"c"`, "")},
		{frame(`"content":"a"`, `,"o":"x"`), frame(`"content":"b"`, `,"o":"yz"`), frame(`"content":"c"`, `,"error":{"code":502}`)},
		{frame(`"content":"a","refusal":"b"`, ""), frame(`"content":"a","refusal":"cd"`, ""), frame(`"content":"a","refusal":"cd"`, "")},
		{frame(`"reasoning":"a","reasoning_content":"a"`, ""), frame(`"reasoning":"bc","reasoning_content":"bc"`, "")},
		{frame(`"content":"a"`, ""), frame(`"reasoning":"abc"`, ""), frame(`"reasoning":"abcd"`, ""), frame(`"content":"ab"`, "")},
		{frame(`"content":"a"`, ""), `{"choices":[{"index":0,"delta":{"content":"cut`, frame(`"content":"b"`, "")},
		{frame(`"content":"a"`, ""), strings.Replace(frame(`"content":"b"`, ""), "null", `"stop"`, 1)},
		{`{"choices":[{"index":3,"delta":{"content":"a"},"finish_reason":"stop"}]}`, `{"choices":[{"index":3,"delta":{"content":"b"},"finish_reason":"stop"}]}`},
	}
	for _, frames := range streams {
		body := events(frames...)
		var m Meter
		got := read(&m, ChatCompletions, EventStream, body)
		m.Reset(ChatCompletions, EventStream)
		m.memory.misses = maxMisses // reads every frame
		m.Write(body)
		m.Close()
		if want := readingOf(&m); got.String() != want.String() {
			t.Errorf("%s:\ngot  %v\nwant %v", body, got, want)
		}
	}
}
