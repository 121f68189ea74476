package cache

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"llm-auto-optimizer/proxy/provider"
)

func entry() *Entry {
	return &Entry{
		Key: Key{1, 2, 3}, Created: time.Unix(1000, 7), Expires: time.Unix(2000, 8), Route: []byte("fast"), Caller: []byte("12345678"),
		Model: []byte("gpt"), Dialect: provider.OpenAI, Operation: provider.ChatCompletions, Format: provider.EventStream, Status: 200,
		Usage: provider.Usage{Input: 1, CacheRead: 2, Output: 3, WebSearches: 4}, Cost: 12345, Unpriced: true, Asked: true, Latency: time.Second, FirstByte: time.Millisecond,
		Type: []byte("text/event-stream"), Header: []byte("openai-version: 1\r\n"), Answer: []byte("data: {}\n\ndata: [DONE]\n\n"),
	}
}

func TestEntry_ComesBack(t *testing.T) {
	t.Parallel()
	e := entry()
	b := e.Append([]byte("before"))[len("before"):]
	if len(b) != e.Size() {
		t.Errorf("size: got %d, want %d", e.Size(), len(b))
	}
	var got Entry
	if err := Decode(&got, &e.Key, b); err != nil || !reflect.DeepEqual(&got, e) {
		t.Errorf("got %+v, %v, want %+v", got, err, e)
	}
}

func TestDecode_AllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	e := entry()
	b := e.Append(nil)
	var got Entry
	if n := testing.AllocsPerRun(50, func() { _ = Decode(&got, &e.Key, b) }); n != 0 {
		t.Errorf("allocations: got %v, want 0", n)
	}
}

func TestDecode_RefusesWhatWasChanged(t *testing.T) {
	t.Parallel()
	e := entry()
	b := e.Append(nil)
	var got Entry
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			if Decode(&got, nil, b) == nil {
				t.Errorf("bit %d of byte %d flipped: no error", bit, i)
			}
			b[i] ^= 1 << bit
		}
		if Decode(&got, nil, b[:i]) == nil {
			t.Errorf("cut to %d bytes: no error", i)
		}
	}
	if Decode(&got, nil, append(b, 0)) == nil {
		t.Error("a byte too many: no error")
	}
	if Decode(&got, &Key{9}, b) == nil {
		t.Error("another key: no error")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(entry().Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Entry
		if Decode(&e, nil, b) == nil && !bytes.Equal(e.Append(nil), b) {
			t.Errorf("decoded and encoded again: %q, was %q", e.Append(nil), b)
		}
	})
}
