package sim

import (
	"bufio"
	"strings"
	"testing"
)

// form is a multipart body and the header that goes with it.
func form(fields ...string) (body, header string) {
	var b strings.Builder
	for i := 0; i < len(fields); i += 2 {
		b.WriteString("--b\r\nContent-Disposition: form-data; name=\"" + fields[i] + "\"")
		if fields[i] == "file" {
			b.WriteString("; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg")
		}
		b.WriteString("\r\n\r\n" + fields[i+1] + "\r\n")
	}
	b.WriteString("--b--\r\n")
	return b.String(), "multipart/form-data; boundary=b"
}

func TestForms_TranscriptionsInEveryFormat(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	check := func(ctype, starts, holds string, fields ...string) {
		t.Helper()
		body, header := form(append([]string{"model", "whisper-1", "file", "12345"}, fields...)...)
		nc := s.dial()
		send(t, nc, "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer k\r\nConnection: close\r\nContent-Type: "+
			header+"\r\nContent-Length: "+itoa(len(body))+"\r\n\r\n"+body)
		resp, err := receive(bufio.NewReader(nc))
		if err != nil {
			t.Fatal(err)
		}
		if resp.Header.Get("Content-Type") != ctype || !strings.HasPrefix(resp.Body, starts) || !strings.Contains(resp.Body, holds) {
			t.Errorf("%v: %q %q, want %q with %q…%q", fields, resp.Header.Get("Content-Type"), resp.Body, ctype, starts, holds)
		}
	}
	const text = "file a.mp3 of 5 bytes; fields model, file"
	check("application/json", `{"text":"`+text+`"`, `"usage":{"type":"tokens"`)
	check("text/plain; charset=utf-8", text+", response_format\n", "", "response_format", "text")
	check(eventStream, `data: {"type":"transcript.text.delta","delta":"file"}`, `data: {"type":"transcript.text.done","text":"`+text, "stream", "true")
}

func TestForms_ObjectsThatAreNotThere(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	for _, path := range []string{
		"/v1/models/missing-model", "/v1/files/file-x", "/v1/files/file-x/content", "/v1/batches/batch_x", "/v1/responses/resp_x",
	} {
		if resp, got := s.do("GET", path, ""); resp.StatusCode != 404 || !strings.Contains(got, `"error"`) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, got)
		}
	}
	if _, got := s.do("GET", "/v1/files/file-x/content", "", "x-sim-size: 1000003"); len(got) != 1_000_003 {
		t.Errorf("file of an ordered size: %d bytes", len(got))
	}
	if _, got := s.do("POST", "/v1/images/generations", `{"prompt":"a"}`, "x-sim-size: 30000"); len(got) < 40_000 {
		t.Errorf("image of an ordered size: %d bytes", len(got))
	}
}

func TestForms_StoredObjectsAreBounded(t *testing.T) {
	t.Parallel()
	var o objects
	for i := range maxObjects + 10 {
		o.put(&object{kind: "file", id: itoa(i)})
	}
	if n := len(o.all("file")); n != maxObjects || o.get("file", "9") != nil || o.get("file", "10") == nil {
		t.Errorf("%d objects", n)
	}
}

func TestForms_PromptCacheIsBounded(t *testing.T) {
	t.Parallel()
	p := promptCache{min: 1}
	for i := range 3 * maxEntries {
		p.put(uint64(i), fixed().Add(implicitTTL))
	}
	if n := len(p.young) + len(p.old); n > maxEntries || !p.has(3*maxEntries-1, fixed()) || p.has(0, fixed()) {
		t.Errorf("%d entries", n)
	}
	if p.has(3*maxEntries-1, fixed().Add(implicitTTL)) {
		t.Error("a prefix outlives its time")
	}
}

// A response repeats parts of its request: they must not break the lines of events, however they were laid out.
func TestForms_RepeatedJSONStaysOnOneLine(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	request := "{\n \"model\": \"gpt-5\", \"input\": \"hi\",\r\n \"stream\": true, \"metadata\": {\n\t\"a\": \"b\"\n},\n \"tools\": [\n{\"type\": \"web_search\"}\n],\n" +
		" \"include\": [\"reasoning.encrypted_content\"]}"
	_, got := s.do("POST", "/v1/responses", request)
	for line := range strings.Lines(got) {
		if line != "\n" && !strings.HasPrefix(line, "event: response.") && !strings.HasPrefix(line, "data: {") {
			t.Fatalf("line %q", line)
		}
	}
	for _, holds := range []string{`"metadata":{"a":"b"}`, `"tools":[{"type":"web_search"}]`, `"encrypted_content":"`} {
		if !strings.Contains(got, holds) {
			t.Errorf("%s is missing", holds)
		}
	}
}
