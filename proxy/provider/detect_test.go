package provider

import "testing"

func TestDetect(t *testing.T) {
	t.Parallel()
	check := func(path string, anthropicVersion, googAPIKey bool, want Dialect) {
		t.Helper()
		if got := Detect([]byte(path), anthropicVersion, googAPIKey); got != want {
			t.Errorf("Detect(%q, %v, %v): got %v, want %v", path, anthropicVersion, googAPIKey, got, want)
		}
	}
	// The path alone.
	check("/v1/chat/completions", false, false, OpenAI)
	check("/v1/responses", false, false, OpenAI)
	check("/v1/models", false, false, OpenAI)
	check("/v1/models/ft:gpt-4o:org::id", false, false, OpenAI)
	check("/v1/messages", false, false, Anthropic)
	check("/v1/messages/count_tokens", false, false, Anthropic)
	check("/v1/messages/batches/b_1/results", false, false, Anthropic)
	check("/v1/messagesX", false, false, OpenAI)
	check("/v1/threads/t_1/messages", false, false, OpenAI)
	check("/v1beta/models", false, false, Gemini)
	check("/v1alpha/auth_tokens", false, false, Gemini)
	check("/v1beta1/projects/p/locations/l/publishers/google/models/m:rawPredict", false, false, Gemini)
	check("/v1beta/openai/chat/completions", false, false, Gemini)
	check("/v1betamax/x", false, false, Gemini)
	check("/vbeta/x", false, false, OpenAI)
	check("/beta/x", false, false, OpenAI)
	check("/v1/models/gemini-2.5-pro:generateContent", false, false, Gemini)
	check("/v1/models/gemini-2.5-pro%3AstreamGenerateContent", false, false, Gemini)
	check("/v1/models/gemini-2.5-pro%3astreamGenerateContent", false, false, Gemini)
	check("/v1/projects/p/locations/l/publishers/google/models/m:countTokens", false, false, Gemini)
	check("/v1/models/x:generateContent/y", false, false, OpenAI)
	check("/v1/models/generateContent", false, false, OpenAI)
	check("/upload/v1beta/files", false, false, Gemini)
	check("/upload/v1/files", false, false, Gemini)
	check("/upload/files", false, false, OpenAI)
	check("/download/v1beta/files/f:download", false, false, Gemini)
	check("/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent", false, false, Gemini)
	check("/ws/other", false, false, OpenAI)
	check("", false, false, OpenAI)
	check("/", false, false, OpenAI)
	// Nothing is decoded or cleaned.
	check("/v1/%6Dessages", false, false, OpenAI)
	check("/v1/../v1beta/models", false, false, OpenAI)
	// A vendor's header alone.
	check("/v1/models", true, false, Anthropic)
	check("/v1/models", false, true, Gemini)
	check("/v1/chat/completions", true, false, Anthropic)
	check("/v1/files", false, true, Gemini)
	// A header against the path: who sent the credential gets it.
	check("/v1beta/models/m:generateContent", true, false, Anthropic)
	check("/v1/messages", false, true, Gemini)
	// Both headers: the path, then the credential.
	check("/v1/messages", true, true, Anthropic)
	check("/v1beta/models", true, true, Gemini)
	check("/v1/models", true, true, Gemini)
}

func TestParseDialect(t *testing.T) {
	t.Parallel()
	for _, d := range []Dialect{OpenAI, Anthropic, Gemini} {
		if got, ok := ParseDialect(d.String()); got != d || !ok {
			t.Errorf("ParseDialect(%q): got %v, %v", d.String(), got, ok)
		}
	}
	for _, name := range []string{"", "OpenAI", "bedrock"} {
		if d, ok := ParseDialect(name); ok {
			t.Errorf("ParseDialect(%q): got %v", name, d)
		}
	}
	for _, d := range []Dialect{0, Gemini + 1, 255} {
		if got := d.String(); got != "" {
			t.Errorf("Dialect(%d): got %q", d, got)
		}
	}
}
