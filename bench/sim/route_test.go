package sim

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestRoute_KnowsOperationsUnderAnyBase(t *testing.T) {
	t.Parallel()
	check := func(target string, want operation, dialect dialect, headers ...string) {
		t.Helper()
		var r request
		if err := r.parse([]byte("POST " + target + " HTTP/1.1\r\nHost: h\r\n" + strings.Join(append(headers, ""), "\r\n") + "\r\n")); err != nil {
			t.Fatal(err)
		}
		if op, d := route(&r); op != want || d != dialect {
			t.Errorf("%s %v: got %v of dialect %d, want %v of %d", target, headers, op, d, want, dialect)
		}
	}
	const version, key, goog = "anthropic-version: 2023-06-01", "x-api-key: k", "x-goog-api-key: k"
	check("/v1/chat/completions", opChat, dialectOpenAI)
	check("/openai/deployments/gpt/chat/completions?api-version=1", opChat, dialectOpenAI)
	check("/openai/v1/responses", opResponses, dialectOpenAI, version)
	check("/v1/responses/resp_1/input_items", opResponse, dialectOpenAI)
	check("/v1/completions", opCompletions, dialectOpenAI)
	check("/v1/messages?beta=true", opMessages, dialectAnthropic)
	check("/anthropic/v1/messages/count_tokens", opCountTokens, dialectAnthropic)
	check("/v1/messages/batches", opUnknown, dialectAnthropic, version)
	check("/v1/models", opModels, dialectOpenAI)
	check("/v1/models", opAnthropicModels, dialectAnthropic, key)
	check("/v1/models/x", opAnthropicModels, dialectAnthropic, version)
	check("/v1/models", opGeminiModels, dialectGemini, goog)
	check("/v1beta/models/gemini", opGeminiModels, dialectGemini)
	check("/v1/models?key=k", opGeminiModels, dialectGemini)
	check("/v1beta/models/gemini:generateContent", opGenerate, dialectGemini)
	check("/v1/models/gemini@sim:ttft=1s:streamGenerateContent?alt=sse", opStreamGenerate, dialectGemini)
	check("/v1beta/files", opUnknown, dialectGemini)
	check("/v1/files/file-1/content", opFiles, dialectOpenAI)
	check("/v1/batches/batch_1/cancel", opBatches, dialectOpenAI)
	check("/echo/v1/messages", opEcho, dialectOpenAI)
	check("/sim/stats", opControl, dialectOpenAI)
	check("/", opUnknown, dialectOpenAI)
}

func TestGeminiModel_IsUnescaped(t *testing.T) {
	t.Parallel()
	check := func(path, want string) {
		t.Helper()
		if got := geminiModel([]byte(path)); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	check("/v1beta/models/gemini-2.5-pro:generateContent", "gemini-2.5-pro")
	check("/v1beta/models/g%40sim%3Attft=1s:generateContent", "g@sim:ttft=1s")
	check("/v1beta/tunedModels/mine:generateContent", "mine")
	check("/v1beta/models/sim:tokens=3", "sim:tokens=3")
	check("/v1beta/models", "")
}

func TestDocumentation_ListsEveryDirectiveAndFault(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(DirectiveNames(), FaultNames()...) {
		if !regexp.MustCompile(`(^|[\s(])` + regexp.QuoteMeta(name) + `[=,.:(\s]`).Match(source) {
			t.Errorf("doc.go does not mention %s", name)
		}
	}
	for i, name := range OperationNames() {
		if op := operationByName(name); name == "" || op != opUnknown+operation(i) {
			t.Errorf("operation %d is called %q", i, name)
		}
	}
	if f, _ := faultByName(faultNames[len(faultNames)-1]); f<<1 != faultsEnd {
		t.Error("faultNames and the constants differ in length")
	}
}
