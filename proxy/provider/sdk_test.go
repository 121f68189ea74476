package provider_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/ssestream"
	"github.com/openai/openai-go/v3/responses"
	"google.golang.org/genai"

	"llm-auto-optimizer/proxy/provider"
)

// failures are what the proxy says, one of each class of status.
var failures = []provider.Failure{
	{Status: 400, Code: "bad_request", Message: "The request is malformed."},
	{Status: 404, Code: "unknown_path", Message: "No provider serves this path."},
	{Status: 413, Code: "request_too_large", Message: "The body is too large."},
	{Status: 429, Code: "rate_limited", Message: `Too "many" requests.`},
	{Status: 500, Code: "internal_error", Message: "Internal error."},
	{Status: 502, Code: "upstream_broken", Message: "The provider closed the connection."},
	{Status: 504, Code: "upstream_timeout", Message: "The provider did not answer in time."},
}

// serve answers every request with status and body.
func serve(t *testing.T, status int, contentType string, body []byte) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func openAIClient(url string) openai.Client {
	return openai.NewClient(option.WithBaseURL(url+"/v1/"), option.WithAPIKey("k"), option.WithMaxRetries(0))
}

func anthropicClient(url string) anthropic.Client {
	return anthropic.NewClient(anthropicoption.WithBaseURL(url), anthropicoption.WithAPIKey("k"), anthropicoption.WithMaxRetries(0))
}

func geminiClient(t *testing.T, url string) *genai.Client {
	t.Helper()
	c, err := genai.NewClient(context.Background(), &genai.ClientConfig{
		APIKey: "k", Backend: genai.BackendGeminiAPI, HTTPOptions: genai.HTTPOptions{BaseURL: url},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func chatParams() openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model: "gpt-4o", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hi")},
	}
}

func messageParams() anthropic.MessageNewParams {
	return anthropic.MessageNewParams{
		Model: "claude-sonnet-4-5", MaxTokens: 5,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("hi"))},
	}
}

func TestAppendError_OpenAISDKRaisesItsError(t *testing.T) {
	t.Parallel()
	for _, f := range failures {
		c := openAIClient(serve(t, f.Status, "application/json", provider.AppendError(nil, provider.OpenAI, f)))
		_, err := c.Chat.Completions.New(context.Background(), chatParams())
		var e *openai.Error
		if !errors.As(err, &e) {
			t.Errorf("%d: got %T: %v", f.Status, err, err)
			continue
		}
		if e.StatusCode != f.Status || e.Code != f.Code || e.Message != f.Message || e.Type == "" || e.Param != "" {
			t.Errorf("%d: got status %d, code %q, message %q, type %q", f.Status, e.StatusCode, e.Code, e.Message, e.Type)
		}
	}
}

func TestAppendError_AnthropicSDKRaisesItsError(t *testing.T) {
	t.Parallel()
	want := map[int]anthropic.ErrorType{
		400: anthropic.ErrorTypeInvalidRequestError, 404: anthropic.ErrorTypeNotFoundError, 413: "request_too_large",
		429: anthropic.ErrorTypeRateLimitError, 500: anthropic.ErrorTypeAPIError, 502: anthropic.ErrorTypeAPIError,
		504: anthropic.ErrorTypeTimeoutError,
	}
	for _, f := range failures {
		c := anthropicClient(serve(t, f.Status, "application/json", provider.AppendError(nil, provider.Anthropic, f)))
		_, err := c.Messages.New(context.Background(), messageParams())
		var e *anthropic.Error
		if !errors.As(err, &e) {
			t.Errorf("%d: got %T: %v", f.Status, err, err)
			continue
		}
		checkAnthropic(t, e, f.Status, want[f.Status], f.Message)
	}
}

func checkAnthropic(t *testing.T, e *anthropic.Error, status int, kind anthropic.ErrorType, message string) {
	t.Helper()
	var doc anthropic.ErrorResponse
	if err := json.Unmarshal([]byte(e.RawJSON()), &doc); err != nil {
		t.Error(err)
	}
	if e.StatusCode != status || e.Type() != kind || doc.Error.Message != message {
		t.Errorf("got status %d, type %q, message %q; want %d, %q, %q", e.StatusCode, e.Type(), doc.Error.Message, status, kind, message)
	}
}

func TestAppendError_GeminiSDKRaisesItsError(t *testing.T) {
	t.Parallel()
	for _, f := range failures {
		c := geminiClient(t, serve(t, f.Status, "application/json", provider.AppendError(nil, provider.Gemini, f)))
		_, err := c.Models.GenerateContent(context.Background(), "gemini-2.5-pro", genai.Text("hi"), nil)
		checkGemini(t, err, f)
	}
}

func checkGemini(t *testing.T, err error, f provider.Failure) {
	t.Helper()
	var e genai.APIError
	if !errors.As(err, &e) {
		t.Errorf("%d: got %T: %v", f.Status, err, err)
		return
	}
	if e.Code != f.Status || e.Message != f.Message || e.Status == "" || len(e.Details) != 1 ||
		e.Details[0]["reason"] != any(strings.ToUpper(f.Code)) {
		t.Errorf("%d: got code %d, message %q, status %q, details %v", f.Status, e.Code, e.Message, e.Status, e.Details)
	}
}

// broken is what ends the streams below.
var broken = provider.Failure{Status: 502, Code: "upstream_broken", Message: "The provider broke off."}

// cuts are the states in which a stream may be when its event is appended, by what is missing of the last event's end;
// typed says that the SDK must raise our error. At half an event it raises a syntax error instead.
var cuts = []struct {
	name    string
	missing int
	typed   bool
}{{"between events", 0, true}, {"before the blank line", 1, true}, {"inside a line", 12, false}}

func TestAppendErrorEvent_OpenAISDKRaisesItsError(t *testing.T) {
	t.Parallel()
	for _, cut := range cuts {
		const chunk = `data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"}}]}` + "\n\n"
		body := provider.AppendErrorEvent([]byte(chunk+chunk[:len(chunk)-cut.missing]), provider.OpenAI, provider.ChatCompletions, false, broken)
		c := openAIClient(serve(t, 200, "text/event-stream", body))
		stream := c.Chat.Completions.NewStreaming(context.Background(), chatParams())
		chunks := 0
		for stream.Next() {
			chunks++
		}
		checkOpenAIStream(t, cut.name, stream.Err(), cut.typed, chunks)
	}
}

func TestAppendErrorEvent_OpenAISDKRaisesItsErrorOnResponses(t *testing.T) {
	t.Parallel()
	for _, cut := range cuts {
		const chunk = "event: response.output_text.delta\n" +
			`data: {"type":"response.output_text.delta","sequence_number":1,"item_id":"i","output_index":0,"content_index":0,"delta":"a"}` + "\n\n"
		body := provider.AppendErrorEvent([]byte(chunk+chunk[:len(chunk)-cut.missing]), provider.OpenAI, provider.Responses, false, broken)
		c := openAIClient(serve(t, 200, "text/event-stream", body))
		stream := c.Responses.NewStreaming(context.Background(), responses.ResponseNewParams{Model: "gpt-5"})
		chunks := 0
		for stream.Next() {
			chunks++
		}
		checkOpenAIStream(t, cut.name, stream.Err(), cut.typed, chunks)
		if !cut.typed {
			continue
		}
		// A reader of the documented, flat form finds it too.
		var flat responses.ResponseErrorEvent
		_, data, _ := strings.Cut(string(body[strings.LastIndex(string(body), "event: error"):]), "data: ")
		if err := json.Unmarshal([]byte(data), &flat); err != nil || flat.Code != broken.Code || flat.Message != broken.Message ||
			flat.Type != "error" || !flat.JSON.SequenceNumber.Valid() {
			t.Errorf("%s: flat event %+v, %v", cut.name, flat, err)
		}
	}
}

func checkOpenAIStream(t *testing.T, cut string, err error, typed bool, chunks int) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: the stream ended well after %d chunks", cut, chunks)
	}
	if !typed {
		return
	}
	var e *ssestream.StreamError
	if !errors.As(err, &e) {
		t.Errorf("%s: got %T: %v", cut, err, err)
		return
	}
	var doc struct{ Error openai.Error }
	if err := json.Unmarshal(e.Event.Data, &doc); err != nil || chunks != 2 ||
		doc.Error.Code != broken.Code || doc.Error.Message != broken.Message || doc.Error.Type != "server_error" {
		t.Errorf("%s: after %d chunks got %s, %v", cut, chunks, e.Event.Data, err)
	}
}

func TestAppendErrorEvent_AnthropicSDKRaisesItsError(t *testing.T) {
	t.Parallel()
	for _, cut := range cuts {
		const chunk = "event: content_block_delta\n" +
			`data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}` + "\n\n"
		body := provider.AppendErrorEvent([]byte(chunk+chunk[:len(chunk)-cut.missing]), provider.Anthropic, provider.Messages, false, broken)
		c := anthropicClient(serve(t, 200, "text/event-stream", body))
		stream := c.Messages.NewStreaming(context.Background(), messageParams())
		chunks := 0
		for stream.Next() {
			chunks++
		}
		if stream.Err() == nil {
			t.Errorf("%s: the stream ended well after %d chunks", cut.name, chunks)
		}
		if !cut.typed {
			continue
		}
		var e *anthropic.Error
		if !errors.As(stream.Err(), &e) || chunks != 2 {
			t.Errorf("%s: after %d chunks got %T: %v", cut.name, chunks, stream.Err(), stream.Err())
			continue
		}
		checkAnthropic(t, e, 200, anthropic.ErrorTypeAPIError, broken.Message)
	}
}

// Google ends lines with CRLF, compatible servers with LF.
func TestAppendErrorEvent_GeminiSDKRaisesItsError(t *testing.T) {
	t.Parallel()
	for _, eol := range []string{"\r\n", "\n"} {
		for _, cut := range cuts {
			chunk := `data: {"candidates":[{"content":{"role":"model","parts":[{"text":"a"}]}}]}` + eol + eol
			missing := cut.missing * len(eol)
			body := provider.AppendErrorEvent([]byte(chunk+chunk[:len(chunk)-missing]), provider.Gemini, provider.GenerateContent, false, broken)
			c := geminiClient(t, serve(t, 200, "text/event-stream", body))
			chunks, last := 0, error(nil)
			for r, err := range c.Models.GenerateContentStream(context.Background(), "gemini-2.5-pro", genai.Text("hi"), nil) {
				if err != nil {
					last = err
				} else if len(r.Candidates) > 0 {
					chunks++
				}
			}
			if last == nil {
				t.Errorf("%q, %s: the stream ended well after %d chunks", eol, cut.name, chunks)
			}
			if !cut.typed {
				continue
			}
			checkGemini(t, last, broken)
			if chunks != 2 {
				t.Errorf("%q, %s: got %d chunks", eol, cut.name, chunks)
			}
		}
	}
}
