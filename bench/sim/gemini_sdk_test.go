package sim

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/genai"
)

func (s *simulator) gemini(key, version string) *genai.Client {
	s.t.Helper()
	c, err := genai.NewClient(s.t.Context(), &genai.ClientConfig{
		APIKey: key, Backend: genai.BackendGeminiAPI,
		HTTPOptions: genai.HTTPOptions{BaseURL: s.url, APIVersion: version, Headers: http.Header{"X-Sim-Ids": {"stable"}}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func TestGemini_StreamTellsWhatThePlainAnswerTells(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Now: fixed})
	for _, version := range []string{"v1beta", "v1"} {
		c := s.gemini("key", version)
		model := "gemini-2.5-flash@sim:tokens=33,chunk=4"
		config := &genai.GenerateContentConfig{ThinkingConfig: &genai.ThinkingConfig{IncludeThoughts: true}}
		plain, err := c.Models.GenerateContent(t.Context(), model, genai.Text("hello"), config)
		if err != nil {
			t.Fatal(err)
		}
		text, thought := "", ""
		var last *genai.GenerateContentResponse
		for chunk, err := range c.Models.GenerateContentStream(t.Context(), model, genai.Text("hello"), config) {
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range chunk.Candidates[0].Content.Parts {
				if part.Thought {
					thought += part.Text
				} else {
					text += part.Text
				}
			}
			last = chunk
		}
		if text != plain.Text() || text == "" || thought != plain.Candidates[0].Content.Parts[0].Text {
			t.Errorf("%s: stream %q (%q), plain %q", version, text, thought, plain.Text())
		}
		u := last.UsageMetadata
		if u.CandidatesTokenCount != 33 || u.ThoughtsTokenCount != 32 || u.TotalTokenCount != u.PromptTokenCount+33+32 {
			t.Errorf("%s: usage %+v", version, u)
		}
		if last.Candidates[0].FinishReason != genai.FinishReasonStop || last.ResponseID != plain.ResponseID {
			t.Errorf("%s: last chunk %+v", version, last)
		}
	}
}

func TestGemini_ArrayStreamIsOneJSONDocument(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	const body = `{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}`
	resp, got := s.do("POST", "/v1beta/models/gemini-2.0-flash:streamGenerateContent?key=k", body)
	var chunks []genai.GenerateContentResponse
	if err := json.Unmarshal([]byte(got), &chunks); err != nil || len(chunks) < defaultTokens {
		t.Fatalf("%d chunks, %v", len(chunks), err)
	}
	if ct := resp.Header.Get("Content-Type"); ct != geminiJSON {
		t.Errorf("content type %q", ct)
	}
	if reason := chunks[len(chunks)-1].Candidates[0].FinishReason; reason != genai.FinishReasonStop {
		t.Errorf("finish reason %q", reason)
	}
}

func TestGemini_FunctionsAreCalledAndThenAnswered(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	c := s.gemini("key", "v1beta")
	config := &genai.GenerateContentConfig{Tools: []*genai.Tool{{FunctionDeclarations: []*genai.FunctionDeclaration{{
		Name: "weather", Parameters: &genai.Schema{
			Type: genai.TypeObject, Properties: map[string]*genai.Schema{"city": {Type: genai.TypeString}},
		},
	}}}}}
	contents := genai.Text("weather?")
	answer, err := c.Models.GenerateContent(t.Context(), "gemini-2.5-pro", contents, config)
	if err != nil {
		t.Fatal(err)
	}
	calls := answer.FunctionCalls()
	if len(calls) != 1 || calls[0].Name != "weather" || calls[0].Args["city"] == nil {
		t.Fatalf("calls: %+v", calls)
	}
	contents = append(contents, answer.Candidates[0].Content,
		genai.NewContentFromFunctionResponse("weather", map[string]any{"sky": "blue"}, genai.RoleUser))
	if answer, err = c.Models.GenerateContent(t.Context(), "gemini-2.5-pro", contents, config); err != nil || answer.Text() == "" {
		t.Errorf("after the result: %v, %v", answer, err)
	}
}

func TestGemini_MediaAndCacheShowInTheUsage(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	c := s.gemini("key", "v1beta")
	contents := []*genai.Content{genai.NewContentFromParts([]*genai.Part{
		genai.NewPartFromText(strings.Repeat("look at this ", 600)), genai.NewPartFromBytes(make([]byte, 30_000), "image/png"),
	}, genai.RoleUser)}
	for i := range 2 {
		answer, err := c.Models.GenerateContent(t.Context(), "gemini-2.0-flash", contents, nil)
		if err != nil {
			t.Fatal(err)
		}
		u := answer.UsageMetadata
		if len(u.PromptTokensDetails) != 2 || u.PromptTokensDetails[1].Modality != genai.MediaModalityImage || u.PromptTokensDetails[1].TokenCount != geminiImage {
			t.Errorf("details: %+v", u.PromptTokensDetails)
		}
		if cached := u.CachedContentTokenCount > 0; cached != (i == 1) {
			t.Errorf("call %d: %d tokens cached", i, u.CachedContentTokenCount)
		}
	}
}

func TestGemini_OtherEndpoints(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	c := s.gemini("key", "v1beta")
	ctx := t.Context()
	if n, err := c.Models.CountTokens(ctx, "gemini-2.5-flash", genai.Text("hello"), nil); err != nil || n.TotalTokens == 0 {
		t.Errorf("count: %v, %v", n, err)
	}
	e, err := c.Models.EmbedContent(ctx, "gemini-embedding-001", genai.Text("hello"), nil)
	if err != nil || len(e.Embeddings) != 1 || len(e.Embeddings[0].Values) != defaultDimensions {
		t.Errorf("embed: %v, %v", e, err)
	}
	_, body := s.do("POST", "/v1beta/models/gemini-embedding-001:embedContent?key=k", `{"content":{"parts":[{"text":"a"}]},"outputDimensionality":4}`)
	var one struct{ Embedding struct{ Values []float32 } }
	if err := json.Unmarshal([]byte(body), &one); err != nil || len(one.Embedding.Values) != 4 {
		t.Errorf("embed one: %s, %v", body, err)
	}
	list, err := c.Models.List(ctx, nil)
	if err != nil || len(list.Items) != len(geminiModelNames) {
		t.Errorf("models: %v, %v", list, err)
	}
	if m, err := c.Models.Get(ctx, "gemini-2.5-flash", nil); err != nil || m.Name != "models/gemini-2.5-flash" {
		t.Errorf("model: %v, %v", m, err)
	}
}

func TestGemini_ErrorsAreTyped(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	check := func(key, model string, status int, word string) {
		t.Helper()
		_, err := s.gemini(key, "v1beta").Models.GenerateContent(t.Context(), model, genai.Text("hello"), nil)
		var e genai.APIError
		if !errors.As(err, &e) || e.Code != status || e.Status != word {
			t.Errorf("key %s, model %s: got %v, want %d %s", key, model, err, status, word)
		}
	}
	check("bad", "gemini-2.5-flash", 400, "INVALID_ARGUMENT")
	check("key", "missing", 404, "NOT_FOUND")
	check("key", "gemini@sim:fault=429", 429, "RESOURCE_EXHAUSTED")
	check("key", "gemini@sim:fault=503", 503, "UNAVAILABLE")
}
