package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSimulate_Command(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	written := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	b, err := os.ReadFile("../../bench/scenarios/three-targets.txt")
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(b), "at 12m") // the first of its incidents
	text += "expect share a < 2% within 3s of 5m\nexpect failed < 0.1%\nexpect violations < 2%\nrun 10m\n"
	out := cliOutput(t, 0, "simulate", "--scenario", written("three-targets.txt", text), "--seeds", "1", "--policy", "all")
	for _, want := range []string{"llmopt", "least-busy", "share a < 2% within 3s of 5m", "met"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	if out := cliOutput(t, 0, "simulate", "--scenario", written("json.txt", text), "--seeds", "1", "--json"); !strings.HasPrefix(out, "[") {
		t.Errorf("JSON: %.200s", out)
	}
	if out := cliOutput(t, 0, "simulate", "--generate", "3"); !strings.Contains(out, "# generated from seed 3") {
		t.Errorf("generated: %.300s", out)
	}
	unmet := written("unmet.txt", strings.Replace(text, "violations < 2%", "violations > 50%", 1))
	if out := cliOutput(t, 1, "simulate", "--scenario", unmet, "--seeds", "1"); !strings.Contains(out, "NOT MET") {
		t.Errorf("unmet: %s", out)
	}
	cliOutput(t, 2, "simulate", "--scenario", written("wrong.txt", "route r\nrun 5\n"))
	cliOutput(t, 2, "simulate")
	cliOutput(t, 2, "simulate", "--generate", "1", "--policy", "magic")
}
