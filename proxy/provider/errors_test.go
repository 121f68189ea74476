package provider

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestAppendError(t *testing.T) {
	t.Parallel()
	check := func(d Dialect, f Failure, want string) {
		t.Helper()
		if got := string(AppendError([]byte("> "), d, f)); got != "> "+want {
			t.Errorf("%v, %+v:\n got %s\nwant %s", d, f, got[2:], want)
		}
	}
	f := Failure{502, "upstream_broken", `No "answer".`}
	openAI := `{"error":{"message":"No \"answer\".","type":"server_error","param":null,"code":"upstream_broken"}}`
	check(OpenAI, f, openAI)
	check(0, f, openAI)
	check(Gemini+1, f, openAI)
	check(Anthropic, f,
		`{"type":"error","error":{"type":"api_error","message":"No \"answer\".","code":"upstream_broken"},"request_id":null}`)
	check(Gemini, f, `{"error":{"code":502,"message":"No \"answer\".","status":"UNAVAILABLE","details":[`+
		`{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"UPSTREAM_BROKEN","domain":"llmopt"}]}}`)
	f = Failure{404, "", "No."}
	check(OpenAI, f, `{"error":{"message":"No.","type":"invalid_request_error","param":null,"code":null}}`)
	check(Anthropic, f, `{"type":"error","error":{"type":"not_found_error","message":"No."},"request_id":null}`)
	check(Gemini, f, `{"error":{"code":404,"message":"No.","status":"NOT_FOUND"}}`)
}

func TestAppendError_TypeOfStatus(t *testing.T) {
	t.Parallel()
	check := func(status int, openAI, anthropic, gemini string) {
		t.Helper()
		for d, want := range map[Dialect]string{
			OpenAI: `"type":"` + openAI + `"`, Anthropic: `"type":"` + anthropic + `"`, Gemini: `"status":"` + gemini + `"`,
		} {
			if got := string(AppendError(nil, d, Failure{Status: status})); !strings.Contains(got, want) {
				t.Errorf("%v, %d: got %s, want %s", d, status, got, want)
			}
		}
	}
	check(400, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT")
	check(401, "authentication_error", "authentication_error", "UNAUTHENTICATED")
	check(402, "invalid_request_error", "billing_error", "INVALID_ARGUMENT")
	check(403, "permission_error", "permission_error", "PERMISSION_DENIED")
	check(404, "invalid_request_error", "not_found_error", "NOT_FOUND")
	check(408, "invalid_request_error", "timeout_error", "DEADLINE_EXCEEDED")
	check(409, "invalid_request_error", "invalid_request_error", "ABORTED")
	check(413, "invalid_request_error", "request_too_large", "INVALID_ARGUMENT")
	check(429, "rate_limit_error", "rate_limit_error", "RESOURCE_EXHAUSTED")
	check(431, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT")
	check(499, "invalid_request_error", "invalid_request_error", "CANCELLED")
	check(500, "server_error", "api_error", "INTERNAL")
	check(501, "server_error", "api_error", "UNIMPLEMENTED")
	check(502, "server_error", "api_error", "UNAVAILABLE")
	check(503, "server_error", "overloaded_error", "UNAVAILABLE")
	check(504, "server_error", "timeout_error", "DEADLINE_EXCEEDED")
	check(529, "server_error", "overloaded_error", "INTERNAL")
}

func TestAppendErrorEvent(t *testing.T) {
	t.Parallel()
	f := Failure{504, "upstream_stalled", "Stalled."}
	check := func(d Dialect, op Operation, array bool, want string) {
		t.Helper()
		if got := string(AppendErrorEvent([]byte("x"), d, op, array, f)); got != "x"+want {
			t.Errorf("%v, %v, %v:\n got %q\nwant %q", d, op, array, got[1:], want)
		}
	}
	openAI, anthropic, gemini := AppendError(nil, OpenAI, f), AppendError(nil, Anthropic, f), AppendError(nil, Gemini, f)
	chat := "\n\ndata: " + string(openAI) + "\n\n"
	named := "\n\nevent: error\ndata: {\"type\":\"error\",\"sequence_number\":0,\"code\":\"upstream_stalled\"," +
		"\"message\":\"Stalled.\",\"param\":null," + string(openAI[1:]) + "\n\n"
	messages := "\n\nevent: error\ndata: " + string(anthropic) + "\n\n"
	block := "\r\n\r\n" + string(gemini) + "\r\n\r\n"
	check(OpenAI, ChatCompletions, false, chat)
	check(OpenAI, Completions, false, chat)
	check(OpenAI, Responses, false, named)
	check(OpenAI, Opaque, false, named)
	check(Anthropic, Messages, false, messages)
	check(Anthropic, Opaque, false, messages)
	check(Gemini, GenerateContent, false, block)
	check(Gemini, GenerateContent, true, "\n,\n"+string(gemini)+"\n]")
	// The format of the operation decides, not who serves it.
	check(Gemini, ChatCompletions, false, chat)
	check(OpenAI, Messages, false, messages)
	check(Anthropic, operationsEnd, false, messages)
}

// An array that was cut between elements stays one, with the error as its last element; one that was cut inside an
// element can't be taken for whole.
func TestAppendErrorEvent_EndsAnArray(t *testing.T) {
	t.Parallel()
	const stream = "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a b\"}]}}]}\n,\r\n{\"x\":\"y\"}"
	whole := map[int]int{strings.Index(stream, "\n,"): 2, strings.Index(stream, ",\r"): 2, len(stream): 3} // cut → elements
	for cut := 2; cut <= len(stream); cut++ {
		var elements []struct {
			Error *struct {
				Code   int
				Status string
			}
		}
		err := json.Unmarshal(AppendErrorEvent([]byte(stream[:cut]), Gemini, GenerateContent, true, Failure{Status: 502}), &elements)
		want, ok := whole[cut]
		if !ok {
			if err == nil {
				t.Errorf("cut at %d: is JSON: %+v", cut, elements)
			}
			continue
		}
		if err != nil || len(elements) != want {
			t.Errorf("cut at %d: got %d elements, %v; want %d", cut, len(elements), err, want)
			continue
		}
		if last := elements[want-1].Error; last == nil || last.Code != 502 || last.Status != "UNAVAILABLE" {
			t.Errorf("cut at %d: the last element is no error", cut)
		}
	}
}

// Whatever the words are, the documents are JSON and hold them, and an event has no line end inside.
func FuzzAppendError(f *testing.F) {
	f.Add(502, "code", "message")
	f.Add(-1, "\x00\x7f\u2028\"\\", "a\n\nb\r\n\xff\xc3")
	f.Fuzz(func(t *testing.T, status int, code, message string) {
		failure := Failure{status, code, message}
		for d := OpenAI; d <= Gemini; d++ {
			body := AppendError(nil, d, failure)
			var doc struct{ Error struct{ Message string } }
			if err := json.Unmarshal(body, &doc); err != nil || doc.Error.Message != string([]rune(message)) {
				t.Errorf("%v: %q holds %q: %v", d, body, doc.Error.Message, err)
			}
			for op := Opaque; op < operationsEnd; op++ {
				event := strings.Trim(string(AppendErrorEvent(nil, d, op, false, failure)), "\r\n")
				if lines := strings.Count(event, "\n"); strings.Contains(event, "\r") || lines > 1 ||
					lines == 1 && !strings.HasPrefix(event, "event: error\ndata: ") {
					t.Errorf("%v, %v: %q", d, op, event)
				}
			}
		}
	})
}
