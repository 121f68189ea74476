package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSimulate_Command(t *testing.T) {
	t.Parallel()
	out := cliOutput(t, 0, "simulate", "--scenario", "../../bench/scenarios/three-targets.txt", "--seeds", "1", "--policy", "all")
	for _, want := range []string{"llmopt", "least-busy", "share a < 2% within 3s of 5m", "met"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	if out := cliOutput(t, 0, "simulate", "--scenario", "../../bench/scenarios/outage.txt", "--seeds", "1", "--json"); !strings.HasPrefix(out, "[") {
		t.Errorf("JSON: %.200s", out)
	}
	if out := cliOutput(t, 0, "simulate", "--generate", "3"); !strings.Contains(out, "# generated from seed 3") {
		t.Errorf("generated: %.300s", out)
	}
	file := filepath.Join(t.TempDir(), "s.txt")
	text, err := os.ReadFile("../../bench/scenarios/three-targets.txt")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "violations < 2%", "violations > 50%", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := cliOutput(t, 1, "simulate", "--scenario", file, "--seeds", "1"); !strings.Contains(out, "NOT MET") {
		t.Errorf("unmet: %s", out)
	}
	if err := os.WriteFile(file, []byte("route r\nrun 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cliOutput(t, 2, "simulate", "--scenario", file)
	cliOutput(t, 2, "simulate")
	cliOutput(t, 2, "simulate", "--generate", "1", "--policy", "magic")
}
