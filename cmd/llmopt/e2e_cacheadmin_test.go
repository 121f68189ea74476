package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"llm-auto-optimizer/bench/sim"
)

const cacheRoute = `
[[routes]]
name = "support"
match = { model = ["gpt-4o-mini"] }
[[routes.targets]]
name = "a"
provider = "openai"
`

// keptAnswer is an answer that is kept, with what an operator needs to find it.
type keptAnswer struct {
	*cachedReply
	caller, body string // as it was asked for
	line         logLine
}

// keep has an answer kept, and waits until it can be found.
func (g *served) keep(caller, model, text string) *keptAnswer {
	g.t.Helper()
	body := strings.Replace(fmt.Sprintf(cachedBody, text, false), "gpt-4o", model, 1)
	r := askAs(g.t, g, caller, body)
	if r.err != nil || r.status != 200 || r.cache() != "miss" {
		g.t.Fatalf("%s, %s, %s: %d %q %v", caller, model, text, r.status, r.cache(), r.err)
	}
	k := &keptAnswer{r, caller, body, g.lineOf(r.header.Get("x-llmopt-id"))}
	g.eventually("the answer is kept", func() bool { return g.shows(k) })
	return k
}

// shows tells whether an answer is found.
func (g *served) shows(k *keptAnswer) bool {
	out := newCapture()
	return run(g.t.Context(), []string{"cache", "show", k.line.CacheKey, "--admin=" + g.admin}, nil, out, out) == 0
}

// again asks for an answer once more.
func (g *served) again(what string, k *keptAnswer, cache string) {
	g.t.Helper()
	if r := askAs(g.t, g, k.caller, k.body); r.err != nil || r.status != 200 || r.cache() != cache {
		g.t.Errorf("%s: %d %q %v, want %q", what, r.status, r.cache(), r.err, cache)
	}
}

// purge purges as ann, and checks how many answers in memory that takes.
func (g *served) purge(want int, flags ...string) string {
	g.t.Helper()
	text := g.cli(0, append([]string{"cache", "purge", "--by=ann", "--why=a test"}, flags...)...)
	if !strings.Contains(text, fmt.Sprintf("urged: %d in memory (", want)) {
		g.t.Errorf("%v: %s, want %d in memory", flags, text, want)
	}
	return text
}

func TestE2E_CacheIsLookedInto(t *testing.T) {
	t.Parallel()
	g, _, _ := cachedSim(t, cacheOn+"ttl = \"1h\"\n"+cacheRoute, "ttft=1ms,tokens=20")
	k := g.keep("ann", "gpt-4o-mini", "a")
	g.again("a hit", k, "hit")
	g.again("a hit", k, "hit")
	askAs(t, g, "ann", k.body, "Cache-Control", "no-store")
	want(t, "an answer", g.cli(0, "cache", "show", k.line.CacheKey), `^key +`+k.line.CacheKey+`
where +memory
state +fresh, for 5\dm(\d+s)? at most
created +2\d{3}-\d\d-\d\d \d\d:\d\d:\d\d, \S+ ago
expires +2\d{3}-.+
kept until +2\d{3}-.+
last hit +2\d{3}-.+
route +support
model +gpt-4o-mini
caller +`+k.line.Caller+`
request +openai, chat
answer +200, application/json, body of \S+ B, \S+ K?i?B with what is stored beside it
tokens +\d+ input, 0 cache read, 0 cache write, \d+ output \(0 reasoning\)
cost +(<\$0\.0001|\$0\.\d+)
latency +\S+
$`)
	if got := g.cli(0, "cache", "show", k.line.CacheKey, "--answer"); got != k.text {
		t.Errorf("the answer: %q, want %q", got, k.text)
	}
	var shown struct {
		Key, State, Route string
		Memory, Disk      bool
		Answer            []byte
		TokensOutput      string
	}
	if err := json.Unmarshal([]byte(g.cli(0, "cache", "show", strings.ToUpper(k.line.CacheKey), "--answer", "--json")), &shown); err != nil || shown.Key != k.line.CacheKey ||
		shown.State != "fresh" || shown.Route != "support" || !shown.Memory || shown.Disk || string(shown.Answer) != k.text || shown.TokensOutput != fmt.Sprint(k.line.Output) {
		t.Errorf("as JSON: %+v, %v", shown, err)
	}
	g.eventually("all is counted", func() bool {
		return g.metric(`llmopt_cache_requests_total{route="support",class="light",result="bypass"}`) == 1
	})
	want(t, "stats", g.cli(0, "cache"), `^tier +answers +size +limit +found +not found +written +evicted +rejected
memory +1 +\S+ KiB +16 MiB +2 +1 +1 +0 +0

route +hits +shared +misses +stale +bypassed +hit rate +stored +saved +time saved +remarks
direct +0 +0 +0 +0 +0 +- +0 +\$0 +0s
support +2 +0 +1 +0 +1 +66\.7% +1 +(<\$0\.0001|\$0\.\d+) +\S+
$`)
	want(t, "stats as JSON", g.cli(0, "cache", "stats", "--json"), `(?s)"enabled": true,.*"route": "support",\s+"requests": \{\s+"bypass": "1",\s+"hit": "2",\s+"miss": "1"\s+\}`)

	unknown := strings.Repeat("0a", 32)
	want(t, "an unknown answer", g.cli(1, "cache", "show", unknown), `not_found: no answer is kept under this key`)
	want(t, "no key", g.cli(2, "cache", "show", "abc"), `usage: key "abc": want 64 hexadecimal digits`)
	for _, c := range []struct{ request, says string }{
		{`{"key":"xyz"}`, `key \\"xyz\\": want 64 hexadecimal digits`}, {`{}`, `key \\"\\": want 64`},
	} {
		status, text := g.callAdmin("LookUpCache", c.request, "")
		if want(t, c.request, text, c.says); status != http.StatusBadRequest {
			t.Errorf("%s: status %d", c.request, status)
		}
	}
}

// callAdmin calls the admin service as curl does.
func (g *served) callAdmin(method, body, token string) (status int, text string) {
	g.t.Helper()
	req, err := http.NewRequest(http.MethodPost, g.admin+"/llmopt.control.v1.Admin/"+method, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	out := newCapture()
	_ = resp.Write(out)
	return resp.StatusCode, out.String()
}

// A purge takes what it names and nothing else; who asks for that gets a new answer.
func TestE2E_CacheIsPurged(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	g, _, _ := cachedSim(t, cacheOn+cacheRoute, "ttft=1ms,tokens=20", "OPTIMIZER_STORAGE__DIR="+dir, "OPTIMIZER_STORAGE__MIN_FREE=0B")
	ann, bob := g.keep("ann", "gpt-4o-mini", "a"), g.keep("bob", "gpt-4o-mini", "a")
	direct, other := g.keep("ann", "gpt-4o", "a"), g.keep("ann", "gpt-4.1", "a")
	all := []*keptAnswer{ann, bob, direct, other}
	check := func(what string, gone ...*keptAnswer) {
		t.Helper()
		for _, k := range all {
			cache := "hit"
			for _, x := range gone {
				if x == k {
					cache = "miss"
				}
			}
			g.again(what+": "+k.line.Route+" "+k.caller+" "+k.body, k, cache)
		}
		for _, k := range gone { // it is there anew
			g.eventually("kept again", func() bool { return g.shows(k) })
		}
	}

	dry := g.cli(0, "cache", "purge", "--all", "--dry-run")
	want(t, "a dry run", dry, `^Would be purged: 4 in memory \(\S+ KiB\), 0 on disk \(0 B\)\n$`)
	g.purge(1, "--entry="+ann.line.CacheKey, "--dry-run")
	check("after dry runs")
	if text := g.cli(0, "journal", "--kind=cache"); !strings.Contains(text, "no such entries") {
		t.Errorf("dry runs are journalled: %s", text)
	}

	want(t, "a purge", g.purge(1, "--entry="+ann.line.CacheKey), `^Purged: 1 in memory \(\S+ KiB\), 0 on disk \(0 B\)\n$`)
	if text := g.cli(1, "cache", "show", ann.line.CacheKey); !strings.Contains(text, "no answer is kept") {
		t.Errorf("a purged answer is shown: %s", text)
	}
	check("by key", ann)
	g.purge(2, "--route=support")
	check("by route", ann, bob)
	g.purge(1, "--route=direct", "--model=gpt-4.1")
	check("by route and model", other)
	g.purge(1, "--model=gpt-4o")
	check("by model", direct)
	g.purge(1, "--caller="+strings.ToUpper(bob.line.Caller))
	check("by caller", bob)
	g.purge(0, "--caller="+bob.line.Caller, "--model=gpt-4o")
	g.purge(0, "--entry="+ann.line.CacheKey, "--caller="+bob.line.Caller)
	g.purge(0, "--route=elsewhere")
	g.purge(0, "--caller=-")
	check("by what no answer has")
	want(t, "as JSON", g.cli(0, "cache", "purge", "--route=support", "--dry-run", "--json"), `(?s)"memoryEntries": "2",.*"diskEntries": "0",.*"diskPending": ""`)
	g.purge(4, "--all")
	check("of everything", all...)

	g.eventually("the journal has it", func() bool {
		return strings.Contains(g.cli(0, "journal", "--kind=cache", "--json"), `ann purged everything: 4 in memory`)
	})
	want(t, "the journal", g.cli(0, "journal", "--kind=cache"), `cache: ann purged route "direct", model "gpt-4.1": 1 in memory \(\S+ KiB\), 0 on disk \(0 B\):\s+a\s+test`)
	g.eventually("the log", func() bool { return strings.Contains(g.stderr.String(), `"picked":"key \"`+ann.line.CacheKey) })
	want(t, "the log", g.stderr.String(), `"level":"warn",.*"by":"ann","why":"a test","picked":"key \\"`+ann.line.CacheKey+`\\"","memory_entries":1,.*"message":"an operator has purged kept answers"`)

	want(t, "nothing named", g.cli(2, "cache", "purge"), `usage: nothing is picked: want key, route, model or caller, or all`)
	want(t, "all and more", g.cli(2, "cache", "purge", "--all", "--route=support"), `usage: all with route "support": want one of the two`)
	want(t, "no caller's hash", g.cli(2, "cache", "purge", "--caller=bob"), `usage: caller "bob": want 16 hexadecimal digits, the caller of the access log, or -`)
	want(t, "no key", g.cli(2, "cache", "purge", "--entry=12"), `usage: key "12": want 64`)
	for request, says := range map[string]string{
		`{"by":"ann"}`: `nothing is picked`, `{"all":true}`: `by \\"\\": want the name of who purges`, `{"all":true,"model":"m","by":"ann"}`: `all with model \\"m\\"`,
	} {
		status, text := g.callAdmin("PurgeCache", request, "")
		if want(t, request, text, `invalid_argument.*`+says); status != http.StatusBadRequest {
			t.Errorf("%s: status %d", request, status)
		}
	}
	check("after bad requests")
}

// What is purged does not come back from the disk, nor with the next start.
func TestE2E_CachePurgeOutlivesARestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	environ := []string{"OPTIMIZER_STORAGE__DIR=" + dir, "OPTIMIZER_STORAGE__MIN_FREE=0B"}
	g, up, file := cachedSim(t, cacheOn+"disk = \"128MiB\"\n"+cacheRoute, "ttft=1ms,tokens=20", environ...)
	g.eventually("the disk is up", func() bool { return strings.Contains(g.cli(0, "cache", "--json"), `"up": true`) })
	written := func(n float64) {
		t.Helper()
		g.eventually("written", func() bool { return g.metric(`llmopt_cache_writes_total{tier="disk"}`) == n })
	}
	kept, gone := g.keep("ann", "gpt-4o", "a"), g.keep("ann", "gpt-4o-mini", "a")
	written(2)
	want(t, "in both tiers", g.cli(0, "cache", "show", gone.line.CacheKey), `where +memory, disk\n`)
	want(t, "stats", g.cli(0, "cache"), `(?m)^disk +2 +\S+ \S+ +128 MiB +0 +\d+ +2 +0 +0\ndisk: 0 B wait to be written, 0 purges to be followed, 0 reads failed$`)
	want(t, "a dry run", g.purge(1, "--route=support", "--dry-run"), `1 on disk \(\S+ \S+\)\n$`)
	want(t, "a purge", g.purge(1, "--route=support"), `1 on disk \(\S+ \S+\)\n$`)
	queued := g.keep("ann", "gpt-4o-mini", "b")
	g.purge(1, "--entry="+queued.line.CacheKey) // it may wait to be written, or be written already
	g.again("what is not purged", kept, "hit")
	g.stop()

	g = serveFile(t, file.path, up.url, environ...)
	g.eventually("the disk is up", func() bool { return strings.Contains(g.cli(0, "cache", "--json"), `"up": true`) })
	want(t, "on disk only", g.cli(0, "cache", "show", kept.line.CacheKey), `where +disk\n(.*\n)+last hit +–\n`)
	for _, k := range []*keptAnswer{gone, queued} {
		want(t, "after a restart", g.cli(1, "cache", "show", k.line.CacheKey), `no answer is kept`)
	}
	want(t, "on disk only", g.purge(0, "--all", "--dry-run"), `1 on disk`)
	g.again("what is not purged", kept, "hit")
	g.again("what is purged", gone, "miss")
	g.again("what is purged", queued, "miss")
	written(2)
	g.purge(3, "--all")
	g.stop()

	g = serveFile(t, file.path, up.url, environ...)
	g.eventually("the disk is up", func() bool { return strings.Contains(g.cli(0, "cache", "--json"), `"up": true`) })
	for _, k := range []*keptAnswer{kept, gone, queued} {
		g.again("everything is purged", k, "miss")
	}
}

// An answer is what the settings in force make of it.
func TestE2E_CacheStatesOfAnswers(t *testing.T) {
	t.Parallel()
	const hour, moment, off = "ttl = \"1h\"\n", "ttl = \"1s\"\n", "[routes.cache]\nenabled = false\n"
	g, _, file := cachedSim(t, cacheOn+hour+cacheRoute, "ttft=1ms,tokens=20")
	k, direct := g.keep("ann", "gpt-4o-mini", "a"), g.keep("ann", "gpt-4o", "a")
	reloads := 0.
	check := func(settings, state string) {
		t.Helper()
		file.replace(settings)
		reloads++
		g.eventually("a reload", func() bool { return g.metric("llmopt_config_reloads_total") == reloads })
		shows := regexp.MustCompile(`\nstate +` + state + `\n`)
		g.eventually(settings+": "+state, func() bool { return shows.MatchString(g.cli(0, "cache", "show", k.line.CacheKey)) })
	}
	check(cacheOn+moment+cacheRoute, `expired: nobody gets it`)
	check(cacheOn+moment+"stale_if_error = \"1h\"\n"+cacheRoute, `stale: it stands in where no target can serve`)
	check(cacheOn+hour+cacheRoute+off, `unused: its route keeps no answers now`)
	check(cacheOn+hour+strings.ReplaceAll(cacheRoute, "support", "sales"), `unused: .+`)
	want(t, "outside of routes", g.cli(0, "cache", "show", direct.line.CacheKey), `\nstate +fresh, (.*\n)+route +direct\n`)
	g.purge(1, "--route=support") // also where the route is gone
}

// A disk that is not there is told of, and a purge is in force all the same.
func TestE2E_CachePurgeWithoutItsDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, cacheFolder), []byte("in the way"), 0o600); err != nil {
		t.Fatal(err)
	}
	g, _, _ := cachedSim(t, cacheOn+"disk = \"128MiB\"\n", "ttft=1ms,tokens=20", "OPTIMIZER_STORAGE__DIR="+dir, "OPTIMIZER_STORAGE__MIN_FREE=0B")
	k := g.keep("ann", "gpt-4o", "a")
	want(t, "stats", g.cli(0, "cache"), `The disk is not up: its database is not there: the log says why\.\n`)
	want(t, "an unknown answer", g.cli(1, "cache", "show", strings.Repeat("0a", 32)), `unavailable: the answer is not in memory, and the disk can't be asked now`)
	want(t, "a dry run", g.cli(1, "cache", "purge", "--all", "--dry-run"), `Would be purged: 1 in memory (.+), 0 on disk (.+)\n.*the disk could not be looked through: .*: what is there is not counted`)
	g.again("after a dry run", k, "hit")
	want(t, "a purge", g.cli(1, "cache", "purge", "--all"), `Purged: 1 in memory (.+), where more may follow\n.*a server that starts before that may find it again`)
	g.again("after a purge", k, "miss")
	want(t, "stats", g.cli(0, "cache"), `, 1 purges to be followed`)
}

func TestE2E_CacheAdminWithoutCache(t *testing.T) {
	t.Parallel()
	g := serve(t, simulate(t, sim.Options{}).url, "OPTIMIZER_ADMIN__TOKEN=secret")
	for _, method := range []string{"CacheStats", "LookUpCache", "PurgeCache"} {
		for token, want := range map[string]int{"": http.StatusUnauthorized, "wrong": http.StatusUnauthorized} {
			if status, text := g.callAdmin(method, `{"all":true,"by":"ann"}`, token); status != want {
				t.Errorf("%s with token %q: status %d: %s", method, token, status, text)
			}
		}
	}
	want(t, "stats", g.cli(0, "cache", "--token=secret"), `^No answers are kept: cache.enabled is false, and no route has it true\. See docs/cache\.md\.\n$`)
	want(t, "show", g.cli(1, "cache", "show", strings.Repeat("0a", 32), "--token=secret"), `failed_precondition: no answers are kept: cache.enabled is false`)
	want(t, "purge", g.cli(1, "cache", "purge", "--all", "--token=secret"), `failed_precondition: no answers are kept: cache.enabled is false`)
	want(t, "no token", g.cli(1, "cache", "purge", "--all"), `wants a token that matches its admin.token`)
	g.stop() // it lets nobody see what is in flight
}
