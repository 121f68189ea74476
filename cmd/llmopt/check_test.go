package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runCheck runs the command and returns its exit status and what it printed.
func runCheck(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{"check"}, args...), environ, &out, &errs)
	return code, out.String(), errs.String()
}

func TestCheck_DefaultsAreFine(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := runCheck(t, nil)
	if code != 0 || stderr != "" {
		t.Fatalf("got status %d, stderr %q", code, stderr)
	}
	for _, want := range []string{
		"http://127.0.0.1:8080\n", "http://127.0.0.1:8081\n",
		"https://api.openai.com/v1", "https://api.anthropic.com", "https://generativelanguage.googleapis.com",
		"the client's own", "2026-08-01", "LiteLLM",
		"  OPENAI_BASE_URL=http://127.0.0.1:8080/openai\n",
		"  ANTHROPIC_BASE_URL=http://127.0.0.1:8080/anthropic\n",
		"  GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:8080/gemini\n",
		"no provider has a key configured",
		"llmopt-data, at most 2GiB, 64MiB of the disk stay free\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("want %q in\n%s", want, stdout)
		}
	}
}

func TestCheck_ShowsNoSecretAndWarns(t *testing.T) {
	t.Parallel()
	environ := []string{
		"OPTIMIZER_SERVER__LISTEN=:0",
		"OPTIMIZER_ADMIN__LISTEN=0.0.0.0:8081",
		"OPTIMIZER_ADMIN__TOKEN=s3cret",
		"OPTIMIZER_PROVIDERS__OPENAI__API_KEY=s3cret",
		"OPTIMIZER_PROVIDERS__GPU_BOX__BASE_URL=http://10.0.0.1:8000/v1",
		"OPTIMIZER_PROVIDERS__GPU_BOX__TLS__INSECURE=true",
		"OPTIMIZER_PROVIDERS__GPU_BOX__TIMEOUTS__TOTAL=0",
		"OPTIMIZER_PROVIDERS__OLLAMA__BASE_URL=http://localhost:11434/v1",
		"OPTIMIZER_STORAGE__DIR=",
	}
	code, stdout, stderr := runCheck(t, environ)
	if code != 0 {
		t.Fatalf("got status %d, stderr %q", code, stderr)
	}
	for _, want := range []string{
		"http://127.0.0.1:PORT/gpu_box\n", "configured (***)", "none",
		"server.listen :0 is reached from other machines without TLS",
		"providers.openai: whoever reaches :0 uses the configured key",
		"providers.gpu_box.tls.insecure",
		"providers.gpu_box: http://10.0.0.1:8000/v1 is not encrypted",
		`no provider "gpu_box"`,
		"admin.token has less than 16 characters",
		"storage.dir is empty",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("want %q in\n%s", want, stdout)
		}
	}
	for _, unwanted := range []string{"s3cret", "localhost:11434/v1 is not encrypted", "no provider has a key"} {
		if strings.Contains(stdout, unwanted) {
			t.Errorf("%q is in\n%s", unwanted, stdout)
		}
	}
}

func TestCheck_ReportsAllProblems(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(file, []byte("[server]\nlisten = \"8080\"\nfrobnicate = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := []string{"OPTIMIZER_SERVER__MAX_BODY=huge", "OPTIMIZER_PROVIDERS__OPENAI__API_KEY=s3cret\x01"}
	code, stdout, stderr := runCheck(t, environ, "--config", file)
	if code != 2 || stdout != "" {
		t.Errorf("got status %d, stdout %q", code, stdout)
	}
	lines := []string{
		file + ":2: server.listen", file + ":3: server.frobnicate: unknown key",
		"OPTIMIZER_PROVIDERS__OPENAI__API_KEY: providers.openai.api_key", `OPTIMIZER_SERVER__MAX_BODY: server.max_body = "huge"`,
	}
	for _, want := range lines {
		if strings.Count(stderr, want) != 1 {
			t.Errorf("want %q once in\n%s", want, stderr)
		}
	}
	if strings.Contains(stderr, "s3cret") {
		t.Errorf("a secret is shown:\n%s", stderr)
	}

	code, stdout, _ = runCheck(t, environ, "--config", file, "--json")
	var report struct {
		OK       bool
		Problems []struct {
			Source, Key string
			Line        int
		}
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatal(err)
	}
	if code != 2 || report.OK || len(report.Problems) != len(lines) || report.Problems[0].Line != 2 {
		t.Errorf("got status %d, %+v", code, report)
	}
}

func TestCheck_JSON(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := runCheck(t, []string{"OPTIMIZER_SERVER__LISTEN=[::]:9000"}, "--json")
	var report struct {
		OK     bool
		Proxy  string
		Limits struct {
			MaxBody string `json:"max_body"`
		}
		Providers []checkProvider
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != 0 {
		t.Fatalf("got status %d, %v, stderr %q", code, err, stderr)
	}
	if !report.OK || report.Proxy != "http://127.0.0.1:9000" || report.Limits.MaxBody != "64MiB" || len(report.Providers) != 3 {
		t.Errorf("got %+v", report)
	}
	if p := report.Providers[0]; p.Name != "anthropic" || p.PricedAs != "anthropic" || p.Priced < 20 || p.Timeouts["first_byte"] != "10m" {
		t.Errorf("got %+v", p)
	}
}

func TestCheck_ReadsThePriceFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "prices.json")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	environ := []string{"OPTIMIZER_PRICES__FILE=" + file}
	put(`{"ours": {"input_cost_per_token": -1}}`)
	code, _, stderr := runCheck(t, environ)
	if code != 2 || !strings.Contains(stderr, `model "ours": input_cost_per_token: negative`) {
		t.Errorf("got status %d, stderr %q", code, stderr)
	}
	put(`{"half": {"input_cost_per_token": 1e-6}}`)
	code, stdout, stderr := runCheck(t, environ)
	if code != 0 || !strings.Contains(stdout, file) || !strings.Contains(stdout, "half: no price of output tokens") {
		t.Errorf("got status %d, stderr %q, stdout\n%s", code, stderr, stdout)
	}
}

func TestCheck_MissingFile(t *testing.T) {
	t.Parallel()
	code, _, stderr := runCheck(t, nil, "--config", "testdata/none.toml")
	if code != 2 || !strings.Contains(stderr, "testdata/none.toml: no such file") {
		t.Errorf("got status %d, stderr %q", code, stderr)
	}
}

func TestCheck_Routes(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "llmopt.toml")
	if err := os.WriteFile(file, []byte(`
[[routes]]
name = "chat"
match = { model = ["gpt-5-mini", "mini-*"], tag = ["batch"] }
[[routes.targets]]
name = "known"
provider = "openai"
model = "gpt-4o-mini"
key = "env:K"
[[routes.targets]]
name = "unknown"
provider = "openai"
model = "nobody-knows-this"
[[routes]]
name = "spare"
[[routes.targets]]
name = "only"
provider = "anthropic"
`), 0o600); err != nil {
		t.Fatal(err)
	}
	out := newCapture()
	if code := run(t.Context(), []string{"check", "--config", file}, []string{"K=secret-key"}, out, out); code != 0 {
		t.Fatalf("status %d: %s", code, out)
	}
	for _, want := range []string{
		"model gpt-5-mini or mini-*, tag batch", "its own key", "nothing: a fallback only",
		`routes.chat.targets.unknown: "nobody-knows-this" has no known price`, "routes.chat.targets.unknown has no key",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	if strings.Contains(out.String(), "secret-key") {
		t.Error("a key is shown")
	}
}
