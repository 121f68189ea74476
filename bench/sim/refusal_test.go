package sim

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"testing/synctest"
)

func TestRefusals_AreThoseOfTheProvider(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	const version = "anthropic-version: 2023-06-01"
	check := func(method, path, body string, status int, holds string) {
		t.Helper()
		resp, got := s.do(method, path, body, version)
		if resp.StatusCode != status || !strings.Contains(got, holds) {
			t.Errorf("%s %s %s: %d %s, want %d with %q", method, path, body, resp.StatusCode, got, status, holds)
		}
	}
	check("POST", chatPath, `{"model":`, 400, "could not parse the JSON body")
	check("POST", chatPath, `[]`, 400, "could not parse the JSON body")
	check("POST", chatPath, `{"messages":[]}`, 400, "you must provide a model")
	check("POST", chatPath, `{"model":"m"}`, 400, "Missing required parameter: 'messages'.")
	check("POST", chatPath, `{"model":"m","messages":[],"n":129}`, 400, "'n'")
	check("POST", "/v1/embeddings", `{"model":"m","input":"a","dimensions":5000}`, 400, "'dimensions'")
	check("POST", "/v1/responses", `{"model":"m"}`, 400, "'input'")
	check("POST", "/v1/completions", `{"model":"m"}`, 400, "'prompt'")
	check("POST", "/v1/embeddings", `{"model":"m"}`, 400, "'input'")
	check("POST", "/v1/moderations", `{}`, 400, "'input'")
	check("POST", "/v1/images/generations", `{}`, 400, "'prompt'")
	check("POST", "/v1/audio/speech", `{"model":"m"}`, 400, "'input'")
	check("POST", "/v1/audio/speech", `{"model":"m","input":"a","response_format":"midi"}`, 400, "Invalid response_format")
	check("POST", "/v1/audio/transcriptions", `{}`, 400, "multipart")
	check("POST", "/v1/files", `{}`, 404, "not_found_error") // with Anthropic's header it is Anthropic's
	check("POST", "/v1/messages", `{"model":`, 400, "not valid JSON")
	check("POST", "/v1/messages", `{"max_tokens":1,"messages":[]}`, 400, "model: Field required")
	check("POST", "/v1/messages", `{"model":"c","max_tokens":1}`, 400, "messages: Field required")
	check("POST", "/v1/messages", `{"model":"c","messages":[]}`, 400, "max_tokens: Field required")
	check("POST", "/v1/messages/count_tokens", `{"model":"c"}`, 400, "messages: Field required")
	check("GET", "/v1/models/missing", "", 404, "not_found_error")
	check("POST", "/v1beta/models/g:generateContent", `{"contents":`, 400, "Invalid JSON payload")
	check("POST", "/v1beta/models/g:generateContent", `{}`, 400, "contents is not specified")
	check("POST", "/v1beta/models/g:countTokens", `{}`, 400, "contents is not specified")
	check("POST", "/v1beta/models/g:embedContent", `{}`, 400, "content is not specified")
	check("POST", "/v1beta/models/g:batchEmbedContents", `{}`, 400, "requests is not specified")
	check("POST", "/v1beta/models/g:generateContent", `{"contents":[],"generationConfig":{"candidateCount":9}}`, 400, "candidateCount")
	check("POST", "/v1beta/models/g:embedContent", `{"content":{},"outputDimensionality":5000}`, 400, "outputDimensionality")
	check("POST", "/v1beta/models/g:batchEmbedContents", `{"requests":[{"content":{},"outputDimensionality":0}]}`, 400, "outputDimensionality")
	check("GET", "/v1beta/models/missing", "", 404, "NOT_FOUND")
	for status, word := range map[string]string{
		"401": "authentication_error", "402": "billing_error", "403": "permission_error", "404": "not_found_error",
		"413": "request_too_large", "502": "api_error", "504": "timeout_error",
	} {
		resp, got := s.do("POST", "/v1/messages", `{"model":"c","max_tokens":1,"messages":[]}`, version, "x-sim-fault: "+status)
		if itoa(resp.StatusCode) != status || !strings.Contains(got, word) {
			t.Errorf("Anthropic %s: %d %s", status, resp.StatusCode, got)
		}
	}
	for status, word := range map[string]string{
		"400": "INVALID_ARGUMENT", "401": "UNAUTHENTICATED", "403": "PERMISSION_DENIED", "404": "NOT_FOUND", "409": "ABORTED",
		"500": "INTERNAL", "503": "UNAVAILABLE", "504": "DEADLINE_EXCEEDED",
	} {
		resp, got := s.do("POST", "/v1beta/models/g:generateContent", `{"contents":[]}`, "x-sim-fault: "+status)
		if itoa(resp.StatusCode) != status || !strings.Contains(got, word) {
			t.Errorf("Gemini %s: %d %s", status, resp.StatusCode, got)
		}
	}
}

func TestRefusals_OfKeys(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	check := func(target, key string, status int, holds string) {
		t.Helper()
		nc := s.dial()
		send(t, nc, "GET "+target+" HTTP/1.1\r\nHost: h\r\n"+key+"\r\n")
		resp, err := receive(bufio.NewReader(nc))
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != status || !strings.Contains(resp.Body, holds) {
			t.Errorf("%s %q: %d %s", target, key, resp.StatusCode, resp.Body)
		}
	}
	check("/v1/models", "", 401, "You didn't provide an API key.")
	check("/v1/models", "Authorization: Bearer sk-bad\r\n", 401, "invalid_api_key")
	check("/v1/models", "api-key: k\r\n", 200, "gpt-4o")
	check("/v1/models", "anthropic-version: x\r\n", 401, "authentication_error")
	check("/v1/models", "anthropic-version: x\r\nx-api-key: bad\r\n", 401, "invalid x-api-key")
	check("/v1beta/models", "", 403, "PERMISSION_DENIED")
	check("/v1beta/models?key=bad", "", 400, "API key not valid")
	check("/v1beta/models?key=k", "", 200, "gemini")
}

func TestConn_ReadsRequestsThatComeInAnyPieces(t *testing.T) {
	t.Parallel()
	inVirtualTime(t, Options{}, func(s *Server, dial func() net.Conn) {
		const raw = "POST /echo/x HTTP/1.1\r\nHost: h\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n3\r\nefg\r\n0\r\nX-T: u\r\n\r\n"
		whole := ""
		for split := len(raw) - 1; split > 0; split-- {
			nc := dial()
			go func() {
				send(t, nc, raw[:split])
				send(t, nc, raw[split:])
			}()
			resp, err := receive(bufio.NewReader(nc))
			if err != nil {
				t.Fatalf("split at %d: %v", split, err)
			}
			got, _, _ := strings.Cut(resp.Body, `"connection"`)
			if whole == "" {
				whole = got
			}
			if got != whole || resp.StatusCode != 200 {
				t.Errorf("split at %d: got %s, want %s", split, got, whole)
			}
			nc.Close()
			synctest.Wait()
		}
	})
}

func TestConn_LongHeadsAreReadAndEndlessOnesRefused(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	long := strings.Repeat("x", 100_000)
	if e := s.echoed("GET /v1/echo HTTP/1.1\r\nHost: h\r\nX-Long: " + long + "\r\n\r\n"); e.Headers[1][1] != long {
		t.Error("a long header was not read")
	}
	nc := s.dial()
	go send(t, nc, "GET /v1/echo HTTP/1.1\r\nX: "+strings.Repeat("x", maxHead+initialBuffer))
	resp, err := receive(bufio.NewReader(nc))
	if err != nil || resp.StatusCode != 431 {
		t.Errorf("%v, %v", resp, err)
	}
}

func TestNew_RefusesOptionsThatContradictThemselves(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{Capacity: -1}, {MaxBody: -1}, {IdleTimeout: -1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v: accepted", o)
				}
			}()
			New(o)
		}()
	}
}
