package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/bench/compare"
)

// The whole comparison once, with turns that are too short to measure anything: every contender must answer rightly in every
// scenario, and the result must be recorded.
func TestBenchCompare_PlaysEveryScenario(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "bench", "compare", "--quick", "--rounds", "1", "--only", "direct,relay,llmopt")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		compare.Saturated, compare.Paced, "÷ bare relay", "without a proxy", "memory with 1,000 open streams, MB", "memory idle, MB",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the output lacks %q", want)
		}
	}
	if strings.Contains(string(out), "failed") {
		t.Errorf("a turn failed:\n%s", out)
	}
}

func TestBenchCompare_SaysWhatIsAllowed(t *testing.T) {
	t.Parallel()
	check := func(want string, args ...string) {
		t.Helper()
		var stderr strings.Builder
		code := run(t.Context(), append([]string{"bench", "compare", "--results", ""}, args...), os.Environ(), io.Discard, &stderr)
		if code != 2 || !strings.Contains(stderr.String(), want) {
			t.Errorf("%v: exit %d, %q; want %q", args, code, stderr.String(), want)
		}
	}
	if runtime.GOOS == "linux" {
		check("--rounds 0: want 1 to 100", "--rounds", "0")
		check("--only squid: want some of direct, haproxy, nginx, relay, llmopt", "--only", "squid")
		check("--url x: want NAME=http://HOST:PORT", "--url", "x")
		check("is no process id", "--url", "a=http://127.0.0.1:1,x")
		check("with a name of its own", "--url", "nginx=http://127.0.0.1:1")
	}
	var stderr strings.Builder
	if code := run(t.Context(), []string{"bench", "report", "--results", t.TempDir()}, nil, io.Discard, &stderr); code != 1 || !strings.Contains(stderr.String(), "holds no result") {
		t.Errorf("report without a result: exit %d, %q", code, stderr.String())
	}
}
