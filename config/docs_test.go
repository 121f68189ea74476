package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var updateDocs = flag.Bool("update", false, "write docs/configuration.md")

// TestDocs_ConfigurationIsTheReference holds docs/configuration.md to what llmopt config reference prints. After a change of the
// defaults or of reference.md: go test ./config -run Docs_Configuration -update
func TestDocs_ConfigurationIsTheReference(t *testing.T) {
	t.Parallel()
	const page = "../docs/configuration.md"
	want := Reference()
	for _, key := range keysOf(nil, settingsType, "") {
		_, isLeaf := leafAt(strings.Split(key, "."))
		if isLeaf && !strings.Contains(want, "| `"+key+"` | ") {
			t.Errorf("%s: not in the tables", key)
		}
	}
	if read(t, page) == want {
		return
	}
	if !*updateDocs {
		t.Fatalf("%s is not what llmopt config reference prints; run this test with -update", page)
	}
	if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

var (
	tomlBlock    = regexp.MustCompile("(?s)\n```toml\n(.*?\n)```\n")
	envReference = regexp.MustCompile(`"env:(\w+)"`)
	variableName = regexp.MustCompile(`\bOPTIMIZER_[A-Z0-9_]+\b`)
)

// TestDocs_ExamplesLoad loads every TOML example of the documentation. Files that an example names need not exist here.
func TestDocs_ExamplesLoad(t *testing.T) {
	t.Parallel()
	examples := 0
	for _, name := range pages(t) {
		for _, block := range tomlBlock.FindAllStringSubmatch(read(t, name), -1) {
			examples++
			file := filepath.Join(t.TempDir(), "example.toml")
			if err := os.WriteFile(file, []byte(block[1]), 0o600); err != nil {
				t.Fatal(err)
			}
			var environ []string
			for _, ref := range envReference.FindAllStringSubmatch(block[1], -1) {
				environ = append(environ, ref[1]+"=https://value.example") // fit for keys, and for URLs that are secrets
			}
			_, err := Load(Options{File: file, Environ: environ})
			for _, p := range problemsOf(err) {
				if !strings.Contains(p.Reason, "no such file") {
					t.Errorf("%s: %v\n%s", name, p, block[1])
				}
			}
		}
	}
	if examples < 5 {
		t.Errorf("found %d examples: the search is broken", examples)
	}
}

// TestDocs_VariablesExist looks every environment variable of the documentation up in the schema.
func TestDocs_VariablesExist(t *testing.T) {
	t.Parallel()
	found := 0
	for _, name := range slices.Concat(pages(t), []string{"../Dockerfile", "../deploy/llmopt.service", "../deploy/kubernetes.yaml"}) {
		for _, variable := range variableName.FindAllString(read(t, name), -1) {
			found++
			if _, ok := environPath(variable); !ok && !slices.Contains(notSettings, variable) && variable != "OPTIMIZER_SECTION__KEY" {
				t.Errorf("%s: %s is no setting", name, variable)
			}
		}
	}
	if found < 10 {
		t.Errorf("found %d variables: the search is broken", found)
	}
}

// pages are the files of the documentation.
func pages(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("../docs/*.md")
	if err != nil || len(names) == 0 {
		t.Fatalf("no documentation found: %v", err)
	}
	return append(names, "../README.md")
}

func problemsOf(err error) []Problem {
	wrong := new(Error)
	if !errors.As(err, &wrong) {
		return nil
	}
	return wrong.Problems
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
