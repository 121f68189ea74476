package provider

import (
	"strings"
	"testing"
)

func TestAppendPath(t *testing.T) {
	t.Parallel()
	check := func(base, rest, want string) {
		t.Helper()
		if got := string(AppendPath([]byte("GET "), base, []byte(rest))); got != "GET "+want {
			t.Errorf("AppendPath(%q, %q): got %q, want %q", base, rest, got[4:], want)
		}
	}
	// The version stands once.
	check("/v1", "/v1/models", "/v1/models")
	check("/v1", "/models", "/v1/models")
	check("/v1/", "/v1/models", "/v1/models")
	check("/v1", "/v1", "/v1")
	check("/v1", "/v1/", "/v1/")
	check("/v1", "/v1//models", "/v1//models")
	check("/v1", "/v1/v1/models", "/v1/v1/models")
	check("/v1beta", "/v1beta/models/m:generateContent", "/v1beta/models/m:generateContent")
	check("/api/v1", "/v1/chat/completions", "/api/v1/chat/completions")
	check("/v1/projects/p/v1", "/v1/x", "/v1/projects/p/v1/x")
	// Only where the segments are equal, and only versions.
	check("/v1", "/v1beta/models", "/v1/v1beta/models")
	check("/v1beta", "/v1/models", "/v1beta/v1/models")
	check("/xv1", "/v1/models", "/xv1/v1/models")
	check("/openai", "/openai/deployments/d", "/openai/openai/deployments/d")
	check("/v1/openai", "/v1/models", "/v1/openai/v1/models")
	check("/v1", "//v1/models", "/v1//v1/models")
	check("/v1", "/v1%2Fmodels", "/v1/v1%2Fmodels")
	// One slash between the two, none lost, none doubled.
	check("", "/v1/messages", "/v1/messages")
	check("", "v1/messages", "/v1/messages")
	check("/", "/v1/messages", "/v1/messages")
	check("/base/", "/x/", "/base/x/")
	check("/base", "x", "/base/x")
	check("/base//", "/x", "/base//x")
	check("/base", "//x", "/base//x")
	// Nothing left.
	check("", "", "/")
	check("/", "", "/")
	check("/v1", "", "/v1")
	check("/v1/", "", "/v1/")
	check("", "/", "/")
	check("/v1", "/", "/v1/")
	// Raw.
	check("/v1", "/v1/../../admin", "/v1/../../admin")
	check("/v1", "/../admin", "/v1/../admin")
	check("/v1", "/./a/%2e%2e/b%2Fc/ü", "/v1/./a/%2e%2e/b%2Fc/ü")
	check("/v1", "/files/a;b=c&d,e", "/v1/files/a;b=c&d,e")
}

// The result is the base and the rest in their own bytes, but for one slash and one version.
func FuzzAppendPath(f *testing.F) {
	f.Add("/v1", "/v1/x")
	f.Add("", "")
	f.Add("/a/v2.1/", "v2.1")
	f.Fuzz(func(t *testing.T, base, rest string) {
		got := string(AppendPath(nil, base, []byte(rest)))
		stem := strings.TrimSuffix(base, "/")
		tail, ok := strings.CutPrefix(got, stem)
		if !ok || got == "" {
			t.Fatalf("%q + %q: got %q", base, rest, got)
		}
		version := stem[strings.LastIndexByte(stem, '/')+1:]
		switch {
		case rest == "" && (tail == "" || tail == "/"):
		case tail == rest && rest[0] == '/':
		case tail == "/"+rest && rest[0] != '/':
		case "/"+version+tail == rest && isVersion([]byte(version)) && (tail == "" || tail[0] == '/'):
		default:
			t.Errorf("%q + %q: got %q", base, rest, got)
		}
	})
}

func TestRewritePath(t *testing.T) {
	t.Parallel()
	check := func(op Operation, path, want string) {
		t.Helper()
		got, ok := RewritePath(nil, op, []byte(path), "new model/x")
		if !ok {
			got = nil
		}
		if string(got) != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	check(GenerateContent, "/v1beta/models/gemini-2.5-pro:streamGenerateContent", "/v1beta/models/new%20model%2Fx:streamGenerateContent")
	check(GenerateContent, "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-pro:generateContent",
		"/v1/projects/p/locations/l/publishers/google/models/new%20model%2Fx:generateContent")
	check(ChatCompletions, "/openai/deployments/gpt-4o/chat/completions", "/openai/deployments/new%20model%2Fx/chat/completions")
	check(ChatCompletions, "/v1/chat/completions", "")
	check(Messages, "/v1/messages", "")
}
