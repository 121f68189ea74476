package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func loadText(t *testing.T, text string) (*Config, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(Options{File: file, Environ: []string{"K=key"}})
}

// Settings that look right and would limit something else than they say are refused.
func TestLoad_RefusesWhatLimitsSomethingElse(t *testing.T) {
	t.Parallel()
	check := func(text, want string) {
		t.Helper()
		_, err := loadText(t, text)
		switch {
		case err == nil || !strings.Contains(err.Error(), want):
			t.Errorf("%s\ngot  %v\nwant %s", text, err, want)
		case strings.Contains(err.Error(), "sk-in-the-file"):
			t.Errorf("the secret shows: %v", err)
		}
	}
	const route = "[[routes]]\nname = \"chat\"\nmatch.model = [\"x\"]\n[[routes.targets]]\nname = \"a\"\nprovider = \"openai\"\n"
	check("[callers.each]\nheader = {x=\"1\"}", `callers.each: a reserved name`)
	check(strings.Replace(route, `"chat"`, `"each"`, 1), `routes.each: a reserved name`)
	check(strings.Replace(route, `"a"`, `"each"`, 1), `routes.chat.targets.each: a reserved name`)
	check("[callers.a]\nheader = {x=\"1\", Y=\"2\"}\n[callers.b]\nheader = {y=\"2\", X=\"1\"}", `callers.b.header: that of callers.a too`)
	for _, name := range []string{"Authorization", "x-api-key", "api-key", "X-Goog-Api-Key"} {
		check("[callers.a]\nheader = {"+name+"=\"sk-in-the-file\"}", `callers.a.header.`+strings.ToLower(name)+`: carries a credential (allowed: credential = "env:NAME" in place of header)`)
	}
	check("[[limits]]\ntarget = \"opnai/gpt-5\"\nconcurrent = 1", `limits.opnai_gpt-5.target = "opnai/gpt-5": no such provider, did you mean openai?`)
	check("[[limits]]\ntarget = \"/\"\nconcurrent = 1", `= "/": no such provider`)
	check("[[limits]]\ntarget = \"openai/\"\nconcurrent = 1", `= "openai/": names no model`)
	check(route+"[[limits]]\nroute = \"chat\"\ntarget = \"openai/x\"\nconcurrent = 1", `limits.chat-openai_x.target = "openai/x": is for requests that no route matches (allowed: a)`)
	check("[[limits]]\nconcurrent = 1\nrolling = true", `limits.all.rolling = true: is for limits in dollars`)
	check("[[limits]]\nconcurrent = 1\ntimezone = \"Europe/Paris\"", `limits.all.timezone = "Europe/Paris": is for limits in dollars`)
	check("[[limits]]\nusd_per_day = \"$5\"\nrolling = true\ntimezone = \"UTC\"", `limits.all.timezone = "UTC": stands beside rolling`)
	check("[[limits]]\nrequests_per_second = 10\nrequests_per_minute = 100\nburst = 5", `limits.all.burst = 5: stands beside both`)
	check("[admission]\nunknown_callers = \"refuse\"", `admission.unknown_callers = "refuse": there are no callers`)
	check("[admission]\nunknown_callers = \"drop\"", `admission.unknown_callers = "drop": not a choice`)
}

// What stands in limit_defaults is for those limits that it makes sense for.
func TestLoad_LimitDefaultsMayBeForOthers(t *testing.T) {
	t.Parallel()
	c, err := loadText(t, `
[admission]
unknown_callers = "refuse"
[limit_defaults]
timezone = "Europe/Paris"
rolling = true
[callers.a]
header = { x = "1" }
[callers.b]
header = { x = "2" }
[[limits]]
concurrent = 1
[[limits]]
target = "openai/gpt-5"
usd_per_day = "$5"
[[limits]]
usd_per_day = "$5"
rolling = false
timezone = "Asia/Tokyo"
[[limits]]
requests_per_minute = 100
requests_per_second = 5
`)
	if err != nil {
		t.Fatal(err)
	}
	if c.Admission.UnknownCallers != CallersRefused {
		t.Errorf("unknown callers: %q", c.Admission.UnknownCallers)
	}
}

// A limit without a name is called by those whom it is for: it keeps its name, and its counts, when another comes before it.
func TestLoad_NamesOfLimits(t *testing.T) {
	t.Parallel()
	const callers = "[callers.team_a]\nheader = {x=\"1\"}\n[callers.team_b]\nheader = {x=\"2\"}\n"
	names := func(text string) (out []string) {
		t.Helper()
		c, err := loadText(t, callers+text)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range c.LimitList() {
			out = append(out, l.Name)
		}
		return out
	}
	check := func(text string, want ...string) {
		t.Helper()
		if got := names(text); !slices.Equal(got, want) {
			t.Errorf("%s\ngot  %v\nwant %v", text, got, want)
		}
	}
	a, b := "[[limits]]\ncaller = \"team_a\"\nusd_per_day = \"$1\"\n", "[[limits]]\ncaller = \"team_b\"\nusd_per_day = \"$1\"\n"
	check(a, "team_a")
	check(b+a, "team_b", "team_a")
	check(a+b+a, "team_a", "team_b", "team_a-2")
	check("[[limits]]\nconcurrent = 1\n[[limits]]\ncaller = \"each\"\nroute = \"direct\"\nconcurrent = 1\n", "all", "each-direct")
	check("[[limits]]\ntarget = \"openai/gpt-4.1\"\nconcurrent = 1\n", "openai_gpt-4_1")
	check(a+a+"[[limits]]\nname = \"team_a-2\"\nconcurrent = 1\n[[limits]]\nname = \"team_a\"\nconcurrent = 1\n", "team_a-3", "team_a-4", "team_a-2", "team_a")
	check("[limit_defaults]\ncaller = \"each\"\n[[limits]]\nconcurrent = 1\n[[limits]]\ncaller = \"*\"\nconcurrent = 1\n", "each", "all")
	long := func(end string) string {
		return "[[limits]]\ntarget = \"openai/" + strings.Repeat("x", 70) + end + "\"\nconcurrent = 1\n"
	}
	got, again := names(long("a")+long("b")), names(long("b")+long("a"))
	if got[0] == got[1] || got[0] != again[1] || got[1] != again[0] || len(got[0]) > 64 {
		t.Errorf("long names: %v, then %v", got, again)
	}
}

// Names of limits do not depend on the format of the file.
func TestLoad_NamesOfLimitsInYAML(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("limits:\n- {caller: each, concurrent: 1}\n- {concurrent: 2}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Options{File: file})
	if err != nil {
		t.Fatal(err)
	}
	if list := c.LimitList(); len(list) != 2 || list[0].Name != "each" || list[1].Name != "all" {
		t.Errorf("got %+v", list)
	}
}

// What reaches the server only at its start says so on a reload.
func TestNeedRestart_Admission(t *testing.T) {
	t.Parallel()
	before, err := loadText(t, "")
	if err != nil {
		t.Fatal(err)
	}
	after, err := loadText(t, "[callers.a]\nheader = {x=\"1\"}\n[admission]\nlease = \"1m\"\nentries = 10\nmax_wait = \"1s\"\nwaiters = 5\njitter = \"0s\"\nunknown_callers = \"refuse\"\n")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := NeedRestart(before, after), []string{"admission.entries", "admission.lease"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
