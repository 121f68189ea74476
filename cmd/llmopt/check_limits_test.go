package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestCheck_Limits(t *testing.T) {
	t.Parallel()
	file := newSettingsFile(t, `
[callers.a]
header = { "x-team" = "a" }
[[limits]]
caller = "a"
requests_per_minute = 600
usd_per_day = "$25"
timezone = "Europe/Paris"
[[limits]]
name = "all"
usd_per_month = "2000"
rolling = true
observe = true
`).path
	environ := []string{"OPTIMIZER_STORAGE__DIR=", "OPTIMIZER_SERVER__LISTEN=:8080"}
	code, stdout, stderr := runCheck(t, environ, "--config", file)
	if code != 0 {
		t.Fatal(stderr)
	}
	for _, want := range []string{
		"a      a       *      *       600 requests a minute, $25 a day of Europe/Paris\n", "all    *       *      *       $2000 in any month (observes only)\n",
		"limits.all: without storage.dir its budget begins anew at each start", "limits.all: requests to models without a known price cost nothing of it, nor do tunnels, images, audio and batches",
		"callers that are known by headers: whoever reaches :8080 can send them",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("want %q in\n%s", want, stdout)
		}
	}
	_, stdout, _ = runCheck(t, environ, "--config", file, "--json")
	var r struct {
		Limits []checkLimit `json:"caller_limits"`
	}
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || len(r.Limits) != 2 || r.Limits[0].Allows[0] != "600 requests a minute" || !r.Limits[1].Observe {
		t.Errorf("%v: %s", err, stdout)
	}
}

// Limits for some callers do not bind the others, who may use the same keys: that is said.
func TestCheck_UnknownCallers(t *testing.T) {
	t.Parallel()
	const callers = "[callers.a]\nheader = { \"x-team\" = \"a\" }\n[[limits]]\ncaller = \"a\"\nconcurrent = 1\n"
	check := func(text string, said bool, environ ...string) {
		t.Helper()
		code, stdout, stderr := runCheck(t, environ, "--config", newSettingsFile(t, text).path)
		if code != 0 || strings.Contains(stdout, "callers without a name are served with the configured keys") != said {
			t.Errorf("%s\n%v: code %d, want said %t: %s%s", text, environ, code, said, stdout, stderr)
		}
	}
	const key = "OPTIMIZER_PROVIDERS__OPENAI__API_KEY=sk-key"
	check(callers, true, key)
	check(callers, false)
	check(callers+"[[limits]]\ncaller = \"each\"\nconcurrent = 1\n", false, key)
	check(callers+"[admission]\nunknown_callers = \"refuse\"\n", false, key)
	check("", false, key)
}
