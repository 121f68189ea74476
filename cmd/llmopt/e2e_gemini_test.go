package main

import (
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/genai"
)

func (c *clients) generate(model string, contents []*genai.Content, config *genai.GenerateContentConfig) any {
	return either(c.gemini.Models.GenerateContent(c.t.Context(), model, contents, config))
}

func (c *clients) generateStream(model string, contents []*genai.Content, config *genai.GenerateContentConfig) any {
	var all []any
	for chunk, err := range c.gemini.Models.GenerateContentStream(c.t.Context(), model, contents, config) {
		all = append(all, either(chunk, err))
	}
	return all
}

// textOf puts a stream's text together.
func textOf(chunks []any) (text, thought string) {
	for _, c := range chunks {
		r, ok := c.(*genai.GenerateContentResponse)
		if !ok || len(r.Candidates) == 0 {
			continue
		}
		for _, part := range r.Candidates[0].Content.Parts {
			if part.Thought {
				thought += part.Text
			} else {
				text += part.Text
			}
		}
	}
	return text, thought
}

func TestE2E_GeminiGenerate(t *testing.T) {
	t.Parallel()
	p := newPair(t, "tokens=33,chunk=4")
	hello := genai.Text("Grüße, 世界 👋")
	config := &genai.GenerateContentConfig{ThinkingConfig: &genai.ThinkingConfig{IncludeThoughts: true}}
	plain, ok := p.same("plain", func(c *clients) any { return c.generate("gemini-2.5-flash", hello, config) }).(*genai.GenerateContentResponse)
	if !ok || plain.Text() == "" || plain.UsageMetadata.ThoughtsTokenCount != 32 {
		t.Fatalf("the test has not tested: %s", show(plain))
	}
	chunks := p.same("stream", func(c *clients) any { return c.generateStream("gemini-2.5-flash", hello, config) }).([]any)
	if text, thought := textOf(chunks); text != plain.Text() || thought != plain.Candidates[0].Content.Parts[0].Text {
		t.Errorf("stream says %q (%q), plain answer %q", text, thought, plain.Text())
	}
	p.settled()
}

// Newer Google SDKs speak v1; both versions, and streams that are JSON arrays instead of events, pass.
func TestE2E_GeminiVersionsAndArrays(t *testing.T) {
	t.Parallel()
	p := newPair(t, "tokens=10")
	const body = `{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}`
	for _, path := range []string{"/v1/models/gemini-2.0-flash:generateContent", "/v1beta/models/gemini-2.0-flash:generateContent"} {
		p.same(path, func(c *clients) any {
			return c.bare(t.Context(), "POST", c.geminiURL+path, body, "x-goog-api-key", "key", "Authorization", "")
		})
	}
	array := p.same("array", func(c *clients) any {
		return c.bare(t.Context(), "POST", c.geminiURL+"/v1beta/models/gemini-2.0-flash:streamGenerateContent?key=key", body)
	})
	var chunks []genai.GenerateContentResponse
	if list, ok := array.([]any); !ok || json.Unmarshal([]byte(list[1].(string)), &chunks) != nil || len(chunks) != 10 {
		t.Errorf("array stream: %d chunks in %s", len(chunks), show(array))
	}
	p.settled()
}

func TestE2E_GeminiTools(t *testing.T) {
	t.Parallel()
	p := newPair(t, "calls=2")
	config := &genai.GenerateContentConfig{Tools: []*genai.Tool{{FunctionDeclarations: []*genai.FunctionDeclaration{{
		Name: "weather", Parameters: &genai.Schema{Type: genai.TypeObject, Properties: map[string]*genai.Schema{"city": {Type: genai.TypeString}}},
	}}}}}
	contents := genai.Text("weather?")
	answer := p.same("plain", func(c *clients) any { return c.generate("gemini-2.5-pro", contents, config) }).(*genai.GenerateContentResponse)
	if calls := answer.FunctionCalls(); len(calls) != 2 || calls[0].Args["city"] == nil {
		t.Fatalf("the test has not tested: %s", show(answer))
	}
	p.same("stream", func(c *clients) any { return c.generateStream("gemini-2.5-pro", contents, config) })
	contents = append(contents, answer.Candidates[0].Content,
		genai.NewContentFromFunctionResponse("weather", map[string]any{"sky": "blue"}, genai.RoleUser))
	if told := p.same("answered", func(c *clients) any { return c.generate("gemini-2.5-pro", contents, config) }).(*genai.GenerateContentResponse); told.Text() == "" {
		t.Errorf("after the result: %s", show(told))
	}
	p.settled()
}

func TestE2E_GeminiImagesIn(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	contents := []*genai.Content{genai.NewContentFromParts([]*genai.Part{
		genai.NewPartFromText(strings.Repeat("look at this ", 600)), genai.NewPartFromBytes([]byte(photo), "image/png"),
	}, genai.RoleUser)}
	p.same("plain", func(c *clients) any { return c.generate("gemini-2.0-flash", contents, nil) })
	chunks := p.same("stream", func(c *clients) any { return c.generateStream("gemini-2.0-flash", contents, nil) }).([]any)
	last := chunks[len(chunks)-1].(*genai.GenerateContentResponse).UsageMetadata
	if last.CachedContentTokenCount == 0 || len(last.PromptTokensDetails) != 2 {
		t.Errorf("usage: %s", show(last))
	}
	p.settled()
}

func TestE2E_GeminiCountEmbedAndModels(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	ctx := t.Context()
	count := p.same("countTokens", func(c *clients) any {
		return either(c.gemini.Models.CountTokens(ctx, "gemini-2.5-flash", genai.Text("hello"), nil))
	}).(*genai.CountTokensResponse)
	if count.TotalTokens == 0 {
		t.Errorf("the test has not tested: %s", show(count))
	}
	embedded := p.same("embed", func(c *clients) any {
		return either(c.gemini.Models.EmbedContent(ctx, "gemini-embedding-001", genai.Text("hello"), nil))
	}).(*genai.EmbedContentResponse)
	if len(embedded.Embeddings) != 1 || len(embedded.Embeddings[0].Values) == 0 {
		t.Errorf("the test has not tested: %s", show(embedded))
	}
	p.same("models", func(c *clients) any {
		list, err := c.gemini.Models.List(ctx, nil)
		if err != nil {
			return err
		}
		return list.Items
	})
	p.same("model", func(c *clients) any { return either(c.gemini.Models.Get(ctx, "gemini-2.5-flash", nil)) })
	p.settled()
}
