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

var updateDocs = flag.Bool("update", false, "write the keys of default.toml into docs/configuration.md")

// The page of settings, and the marks around the part of it that is made from default.toml.
const (
	settingsPage = "../docs/configuration.md"
	keysBegin    = "<!-- begin: made from config/default.toml -->\n"
	keysEnd      = "<!-- end -->\n"
)

// TestDocs_ListEveryKey holds the page's tables of keys to default.toml. After a change there: go test ./config -run
// Docs_ListEveryKey -update
func TestDocs_ListEveryKey(t *testing.T) {
	t.Parallel()
	page := read(t, settingsPage)
	before, rest, ok := strings.Cut(page, keysBegin)
	got, after, closed := strings.Cut(rest, keysEnd)
	if !ok || !closed {
		t.Fatalf("%s lacks the marks %q and %q", settingsPage, keysBegin, keysEnd)
	}
	want := keyTables(string(defaultTOML))
	for _, key := range keysOf(nil, settingsType, "") {
		_, isLeaf := leafAt(strings.Split(key, "."))
		if isLeaf && !strings.Contains(want, "| `"+key+"` | ") {
			t.Errorf("%s: not in the tables", key)
		}
	}
	if got == want {
		return
	}
	if !*updateDocs {
		t.Fatalf("%s does not say what default.toml says; run this test with -update", settingsPage)
	}
	if err := os.WriteFile(settingsPage, []byte(before+keysBegin+want+keysEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// keyTables renders default.toml for the page: a heading for each section, a table for its keys, and the providers that
// are built in as they stand.
func keyTables(document string) string {
	var out, comment strings.Builder
	document, providers, _ := strings.Cut(document, "# The providers. ")
	section, open := "", false
	row := func(key, value string) {
		text, allowed, _ := strings.Cut(comment.String(), " Allowed: ")
		if !open {
			out.WriteString("\n| Key | Default | Allowed | Meaning |\n|---|---|---|---|\n")
			open = true
		}
		out.WriteString("| `" + key + "` | `" + value + "` | " + allowed + " | " + text + " |\n")
	}
	for line := range strings.Lines(document) {
		line = strings.TrimRight(line, "\n")
		switch key, value, isKey := strings.Cut(line, " = "); {
		case line == "":
			comment.Reset()
		case line[0] == '#':
			if comment.Len() > 0 {
				comment.WriteByte(' ')
			}
			comment.WriteString(strings.TrimSpace(line[1:]))
		case line[0] == '[':
			section = strings.Trim(line, "[]")
			if strings.Contains(comment.String(), " Allowed: ") {
				row(section, "{}")
				continue
			}
			out.WriteString("\n### " + section + "\n\n" + comment.String() + "\n")
			open = false
		case isKey:
			row(section+"."+key, value)
		}
	}
	intro, tables, _ := strings.Cut(providers, "\n")
	out.WriteString("\n### providers\n\nThe providers. " + intro + "\n\n```toml\n" + strings.TrimSpace(tables) + "\n```\n")
	return out.String()
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
				environ = append(environ, ref[1]+"=value")
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
