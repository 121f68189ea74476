package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const limitsFile = `
[callers.team_a]
credential = "env:TEAM_A_KEY"
priority = 1

[callers.team-b]
header = { "X-Team" = "b" }

[[limits]]
caller = "team_a"
route = "*"
requests_per_minute = 600
input_tokens_per_minute = 200_000
output_tokens_per_minute = 50_000
concurrent = 20
usd_per_day = "$25"
timezone = "Europe/Paris"

[[limits]]
name = "all"
requests_per_second = 50
smooth = "500ms"
observe = true
`

func TestLoad_Limits(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(file, []byte(limitsFile), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Options{File: file, Environ: []string{"TEAM_A_KEY=secret-of-a"}})
	if err != nil {
		t.Fatal(err)
	}
	a, b := c.Callers["team_a"], c.Callers["team-b"]
	if a.Credential.Reveal() != "secret-of-a" || a.Priority != 1 || a.Name != "team_a" || b.Header["x-team"] != "b" {
		t.Errorf("callers: %+v %+v", a, b)
	}
	list := c.LimitList()
	if len(list) != 2 || list[0].Name != "team_a" || list[1].Name != "all" {
		t.Fatalf("limits: %+v", list)
	}
	first, second := list[0], list[1]
	if first.Caller != "team_a" || first.Route != "*" || first.RequestsPerMinute != 600 || first.InputTokensPerMinute != 200_000 || first.Concurrent != 20 ||
		Money(first.USDPerDay) != 25_000_000_000 || first.Zone().String() != "Europe/Paris" || first.Observe {
		t.Errorf("first: %+v", first)
	}
	if second.Caller != "*" || second.RequestsPerSecond != 50 || second.Smooth != 500*time.Millisecond || !second.Observe || second.Timezone != "UTC" {
		t.Errorf("second: %+v", second)
	}
}

func TestLoad_WrongLimits(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"[[limits]]\ncaller = \"each\"":                                                     `limits.each: limits nothing`,
		"[[limits]]\nname = \"a b\"\nconcurrent = 1":                                        `limits[0].name`,
		"[[limits]]\ncaller = \"teem\"\nconcurrent = 1\n[callers.team]\nheader = {x=\"1\"}": `limits.teem.caller = "teem": no such name, did you mean team?`,
		"[[limits]]\nroute = \"nowhere\"\nconcurrent = 1":                                   `limits.nowhere.route = "nowhere": no such name`,
		"[[limits]]\ntarget = \"nowhere\"\nconcurrent = 1":                                  `limits.nowhere.target = "nowhere": no such name`,
		"[[limits]]\nusd_per_day = \"$0\"":                                                  `limits.all.usd_per_day = "$0": nothing could be spent`,
		"[[limits]]\nusd_per_day = \"a lot\"":                                               `limits.all.usd_per_day = "a lot"`,
		"[[limits]]\nconcurrent = -1":                                                       `limits.all.concurrent = -1: out of range`,
		"[[limits]]\nconcurrent = 1\nburst = 2":                                             `limits.all.burst = 2: is for requests_per_second`,
		"[[limits]]\nrequests_per_second = 1\nburst = 2\nsmooth = \"1s\"":                   `limits.all.smooth = "1s": stands beside burst`,
		"[[limits]]\nrequests_per_hour = 1":                                                 `limits.all.requests_per_hour: unknown key`,
		"[[limits]]\nconcurrent = 1\ntimezone = \"Mars\"":                                   `limits.all.timezone = "Mars": not a time zone`,
		"[callers.a]\npriority = 1":                                                         `callers.a: has neither a credential nor a header`,
		"[callers.a]\ncredential = \"sk-in-the-file\"":                                      `callers.a.credential: a secret in a file`,
		"[callers.a]\ncredential = \"env:K\"\n[callers.b]\ncredential = \"env:K\"":          `callers.b.credential: that of callers.a too`,
		"[callers.a]\ncredential = \"env:K\"\nheader = {x=\"1\"}":                           `callers.a.header: stands beside credential`,
		"[caller_defaults]\ncredential = \"env:K\"":                                         `belongs to one caller: set callers.NAME.credential`,
		"[callers.a]\nheader = {\"x y\"=\"1\"}":                                             `callers.a.header.x y: not a header's name`,
		"[callers.a]\nheader = {x=\"1\"}\npriority = 101":                                   `callers.a.priority = 101: out of range`,
		"[admission]\nmax_wait = \"2h\"":                                                    `admission.max_wait = "2h": out of range`,
	} {
		file := filepath.Join(t.TempDir(), "c.toml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(Options{File: file, Environ: []string{"K=key"}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot  %v\nwant %s", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "sk-in-the-file") {
			t.Errorf("the secret shows: %v", err)
		}
	}
}
