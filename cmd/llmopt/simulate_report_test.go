package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSimulate_Report(t *testing.T) {
	t.Parallel()
	dir, scenarios, incidents := t.TempDir(), t.TempDir(), t.TempDir()
	write := func(dir, name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const targets = "route r slo ttft 2s errors 1%\ntarget a price 1 2 ttft 300ms tpot 5ms\ntarget b price 2 4 ttft 300ms tpot 5ms\n"
	const traffic = "traffic rate 5/s input lognormal 800 1 output lognormal 100 1\n"
	write(scenarios, "short.txt", targets+traffic+"run 4m\n")
	write(scenarios, "absent.txt", targets+"traffic trace traces/nowhere.csv\nrun 4m\n")
	write(incidents, "outage.txt", targets+traffic+"at 3m a errors 100% for 30s\nrun 4m\n")
	out := cliOutput(t, 0, "simulate", "--report", "--range", "", "--quiet", "0", "--scenarios", scenarios, "--mitigate", incidents, "--out", dir)
	for _, want := range []string{"incidents: 1 scenarios", "llmopt-auto-no-ejection", "best static with reflexes", "mitigation, outage", "absent: its trace is not there"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	for _, suffix := range []string{".json", ".txt", "-cost.svg", "-violations.svg"} {
		paths, err := filepath.Glob(filepath.Join(dir, "simulate-*"+suffix))
		if err != nil || len(paths) != 1 {
			t.Fatalf("%s: %v, %v", suffix, paths, err)
		}
		text, err := os.ReadFile(paths[0])
		if err != nil || len(text) == 0 {
			t.Fatalf("%s: %d bytes, %v", paths[0], len(text), err)
		}
		if suffix == ".json" && !json.Valid(text) {
			t.Errorf("no JSON: %.200s", text)
		}
	}
	cliOutput(t, 2, "simulate", "--report", "--range", "5..3")
	cliOutput(t, 2, "simulate", "--report", "--range", "", "--quiet", "0")
	cliOutput(t, 2, "simulate", "--report", "--range", "", "--mitigate", scenarios)
	cliOutput(t, 2, "simulate", "--report", "--range", "", "--scenarios", dir+"/none")
}
