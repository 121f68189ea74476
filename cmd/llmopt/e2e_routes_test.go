package main

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"llm-auto-optimizer/bench/sim"
)

// fleet is a server with a route over three simulated providers, a, b and c, in this order of priority.
type fleet struct {
	*served
	sims [3]*simulated
	file *settingsFile
}

// fleetSettings has the targets' names and weights filled in by mode: "retry" gives all three a share, "fallback" only the first, and the others as
// its fallback.
func fleetSettings(mode, more string, sims [3]*simulated) string {
	var s strings.Builder
	for i, name := range []string{"a", "b", "c"} {
		fmt.Fprintf(&s, "[providers.%s]\nbase_url = \"%s/v1\"\nrequest_usage = true\ntimeouts = { first_byte = \"1500ms\", idle = \"1500ms\" }\n", name, sims[i].url)
	}
	s.WriteString("[[routes]]\nname = \"chat\"\nmatch = { model = [\"gpt-4o\"] }\nbackoff = \"1ms\"\n" + more)
	if mode == "fallback" {
		s.WriteString("fallback = { error = [\"b\", \"c\"], rate_limit = [\"b\", \"c\"], context = [\"b\", \"c\"], content = [\"b\", \"c\"], budget = [\"b\", \"c\"] }\n")
	}
	for i, name := range []string{"a", "b", "c"} {
		weight := 1
		if mode == "fallback" && i > 0 {
			weight = 0
		}
		fmt.Fprintf(&s, "[[routes.targets]]\nname = \"%s\"\nprovider = \"%s\"\nkey = \"env:KEY\"\npriority = %d\nweight = %d\n", name, name, i, weight)
	}
	return s.String()
}

func newFleet(t *testing.T, mode, more string, environ ...string) *fleet {
	t.Helper()
	f := &fleet{}
	for i := range f.sims {
		f.sims[i] = simulate(t, sim.Options{Now: fixedTime, Directives: sim.MustDirectives("ids=stable,tokens=8")})
	}
	f.file = newSettingsFile(t, fleetSettings(mode, more, f.sims))
	f.served = serveFile(t, f.file.path, f.sims[0].url, append([]string{"KEY=k-configured"}, environ...)...)
	return f
}

// script says what the next call of a simulator gets.
func (f *fleet) script(i int, directives string) {
	f.t.Helper()
	text := ""
	if directives != "" {
		text = "1*" + directives
	}
	resp, err := http.Post(f.sims[i].url+"/sim/script", "text/plain", strings.NewReader(text))
	if err != nil || resp.StatusCode >= 300 {
		f.t.Fatalf("script %q: %v %v", directives, resp, err)
	}
	resp.Body.Close()
}

func (f *fleet) calls() (n [3]int64) {
	for i, s := range f.sims {
		st := s.Stats()
		n[i] = st.Total()
	}
	return n
}

const fleetBody = `{"model":"gpt-4o","stream":%t,"messages":[{"role":"user","content":"hello"}]}`

// Every fault of the simulator, streamed and not, at the first target, at the first two, and at all of them; with targets of one route and with
// fallbacks: what the client gets, and how many calls the providers see.
func TestE2E_RouteSurvivesEveryFault(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"retry", "fallback"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, mode, "ejection = { enabled = false }\nretry_budget = 1\n")
			whole := map[bool]string{}
			for _, stream := range []bool{false, true} {
				status, _, text, err := ask(t, f.url+"/v1/chat/completions", fmt.Sprintf(fleetBody, stream))
				if status != 200 || err != nil {
					t.Fatal(status, text, err)
				}
				whole[stream] = text
			}
			const (
				served = iota // by the target itself: nothing is wrong with the answer
				saved         // by the next target
				broken        // the client is told, since content had gone out
				passed        // the provider's own answer is the client's business
				either        // saved or broken
			)
			kinds := map[string][2]int{}
			for _, name := range sim.FaultNames() {
				if !strings.HasPrefix(name, "early-") {
					kinds[name] = [2]int{served, served}
				}
			}
			for _, name := range []string{"reset-head", "close-head", "stall-head", "error-body", "408", "409", "429", "500", "502", "503", "504", "529", "401", "402", "403"} {
				kinds[name] = [2]int{saved, saved}
			}
			for _, name := range []string{"reset-mid", "close-mid", "truncated-chunk", "bad-chunk", "stall-mid", "length-long"} {
				kinds[name] = [2]int{saved, broken}
			}
			kinds["no-end"] = [2]int{served, broken}
			kinds["empty"] = [2]int{saved, saved}
			kinds["bad-chunk"] = [2]int{saved, either} // it comes with the first content or after it
			kinds["error-event"] = [2]int{served, passed}
			kinds["error-event,after=0"] = [2]int{served, saved}
			kinds["reset-mid,after=0"] = [2]int{saved, saved}
			kinds["close-mid,after=1"] = [2]int{saved, saved} // the first frame tells the role only
			kinds["400"] = [2]int{passed, passed}
			kinds["422"] = [2]int{passed, passed}
			kinds["huge"] = [2]int{passed, passed}
			for fault, kind := range kinds {
				for failing := 1; failing <= 3; failing++ {
					for _, stream := range []bool{false, true} {
						what := kind[0]
						if stream {
							what = kind[1]
						}
						if failing > 1 && what != saved { // no second target is asked
							continue
						}
						if failing == 2 && strings.HasPrefix(fault, "stall") { // each takes its time
							continue
						}
						if strings.HasPrefix(fault, "40") && fault != "408" && fault != "409" && fault != "400" {
							continue // these take the key out: see below
						}
						for i := range failing {
							f.script(i, "size=20000,after=3,retry-after=1ms,interval=1us,fault="+fault)
						}
						before := f.calls()
						status, header, text, err := ask(t, f.url+"/v1/chat/completions", fmt.Sprintf(fleetBody, stream))
						after := f.calls()
						if what == either {
							if what = saved; err != nil {
								what = broken
							}
						}
						where := fmt.Sprintf("%s at %d, stream=%t", fault, failing, stream)
						wantCalls := [3]int64{1, 0, 0}
						wantTarget, attempts := "a", 1
						if what == saved {
							attempts = min(failing+1, 3)
							wantTarget = string("abc"[attempts-1])
							for i := range attempts {
								wantCalls[i] = 1
							}
						}
						if fault == "no-usage-option" && stream { // once more without what was refused
							wantCalls[0], attempts = 2, 2
						}
						for i := range after {
							if n := after[i] - before[i]; n != wantCalls[i] {
								t.Errorf("%s: %d calls at %c, want %d", where, n, "abc"[i], wantCalls[i])
							}
						}
						if header.Get("x-llmopt-target") != wantTarget || header.Get("x-llmopt-attempts") != fmt.Sprint(attempts) {
							t.Errorf("%s: headers say %s after %s attempts (%s), want %s after %d; %d %.300s", where, header.Get("x-llmopt-target"), header.Get("x-llmopt-attempts"),
								header.Get("x-llmopt-tried"), wantTarget, attempts, status, text)
						}
						switch good := err == nil && status == 200 && text == whole[stream]; {
						case what == served, what == saved && failing < 3:
							if same := good || what == served && err == nil && status == 200; !same {
								t.Errorf("%s: got %d, %v, %.300q", where, status, err, text)
							}
						case what == saved: // all have failed
							if status < 400 && !strings.Contains(text, `"error"`) || err != nil && !strings.Contains(text, "upstream_") {
								t.Errorf("%s everywhere: got %d, %v, %.300q", where, status, err, text)
							}
						case what == broken:
							if err == nil || !strings.Contains(text, "upstream_") {
								t.Errorf("%s: a broken stream looks whole: %v, %.300q", where, err, text)
							}
						}
						for i := range failing {
							f.script(i, "")
						}
						if fault == "idle-close" { // it may hit the next request otherwise, which then goes elsewhere
							<-time.After(100 * time.Millisecond)
						}
						if strings.HasPrefix(fault, "429") { // the targets would be left alone for a second
							for i := range failing {
								cliOutput(t, 0, "targets", "restore", "chat/"+string("abc"[i]), "--admin", f.admin)
							}
						}
					}
				}
			}
			f.eventually("no slot is held", func() bool {
				return f.metric("llmopt_target_in_flight") == 0 && f.metric("llmopt_route_exchanges_in_flight") == 0
			})
		})
	}
}

func (f *fleet) ask(body string, header ...string) (int, http.Header, string) {
	f.t.Helper()
	req, err := http.NewRequest(http.MethodPost, f.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer k-client")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

func TestE2E_RouteOverrides(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "retry", "overrides = [\"target\", \"attempts\", \"timeout\"]\n")
	body := fmt.Sprintf(fleetBody, false)
	check := func(status int, target, code string, header ...string) {
		t.Helper()
		got, h, text := f.ask(body, header...)
		if got != status || status == 200 && h.Get("x-llmopt-target") != target || !strings.Contains(text, code) {
			t.Errorf("%q: got %d from %s: %s", header, got, h.Get("x-llmopt-target"), text)
		}
	}
	check(200, "a", "")
	check(200, "c", "", "x-llmopt-target", "c")
	check(400, "", "unknown_target", "x-llmopt-target", "d")
	check(403, "", "override_forbidden", "x-llmopt-route-options", "hedge=off")
	check(400, "", "bad_route_option", "x-llmopt-route-options", "attempts=0")
	check(400, "", "bad_route_option", "x-llmopt-route-options", "colour=red")
	f.script(0, "fault=500")
	check(500, "", "", "x-llmopt-route-options", "attempts=1")
	f.script(0, "ttft=20s")
	check(200, "b", "", "x-llmopt-route-options", "timeout=50ms")
}

// A key that is refused is out until it is changed; the client's own key is its own business.
func TestE2E_RouteRotatesKeys(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{})
	settings := func(first string) string {
		return fmt.Sprintf(`[providers.p]
base_url = "%s/v1"
[[routes]]
name = "chat"
match = { model = ["gpt-4o"] }
[[routes.targets]]
name = "first"
provider = "p"
key = "env:%s"
[[routes.targets]]
name = "second"
provider = "p"
key = "env:GOOD"
priority = 1
[[routes]]
name = "own"
match = { model = ["gpt-4o-mini"] }
[[routes.targets]]
name = "open"
provider = "openai"
`, s.url, first)
	}
	file := newSettingsFile(t, settings("WORSE"))
	f := &fleet{served: serveFile(t, file.path, s.url, "GOOD=k-good", "WORSE=k-bad")}
	body := fmt.Sprintf(fleetBody, false)
	for i, want := range []string{"2", "1", "1"} {
		status, h, text := f.ask(body)
		if status != 200 || h.Get("x-llmopt-target") != "second" || h.Get("x-llmopt-attempts") != want {
			t.Errorf("request %d: %d from %s after %s attempts: %s", i, status, h.Get("x-llmopt-target"), h.Get("x-llmopt-attempts"), text)
		}
	}
	if !strings.Contains(f.metrics(), `llmopt_target_state{route="chat",target="first",state="key_refused"} 1`) {
		t.Error("the state does not show in the metrics")
	}
	file.replace(settings("GOOD"))
	f.eventually("the new key is used", func() bool {
		_, h, _ := f.ask(body)
		return h.Get("x-llmopt-target") == "first"
	})
	file.replace(strings.Replace(settings("GOOD"), "[[routes]]", "api_key = \"env:WORSE\"\n[[routes]]\nname = \"shared\"\nmatch = { model = [\"gpt-4o-2024\"] }\n[[routes.targets]]\nname = \"only\"\nprovider = \"p\"\n[[routes]]", 1))
	shared := strings.Replace(body, "gpt-4o", "gpt-4o-2024", 1)
	f.eventually("a provider's bad key is out", func() bool {
		_, _, _ = f.ask(shared)
		return strings.Contains(f.metrics(), `llmopt_target_state{route="shared",target="only",state="key_refused"} 1`)
	})
	file.replace(strings.Replace(settings("GOOD"), "[[routes]]", "api_key = \"env:GOOD\"\n[[routes]]\nname = \"shared\"\nmatch = { model = [\"gpt-4o-2024\"] }\n[[routes.targets]]\nname = \"only\"\nprovider = \"p\"\n[[routes]]", 1))
	f.eventually("a provider's new key is used", func() bool {
		status, _, _ := f.ask(shared)
		return status == 200
	})
	mini := strings.Replace(body, "gpt-4o", "gpt-4o-mini", 1)
	for range 3 { // the client's own bad key takes nothing out
		if status, h, text := f.ask(mini, "Authorization", "Bearer k-bad"); status != 401 || h.Get("x-llmopt-attempts") != "1" {
			t.Errorf("got %d: %s", status, text)
		}
	}
	if status, _, text := f.ask(mini); status != 200 {
		t.Errorf("another client: %d: %s", status, text)
	}
}

// The client's credential goes to no other provider than the one it was sent to, and the body changes in nothing but the model.
func TestE2E_RouteRewritesTheModelAlone(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{Directives: sim.MustDirectives("echo=true")})
	file := newSettingsFile(t, fmt.Sprintf(`[providers.other]
base_url = "%[1]s/v1"
[providers.vertex]
dialect = "gemini"
base_url = "%[1]s"
[[routes]]
name = "chat"
match = { model = ["alias-*"] }
[[routes.targets]]
name = "elsewhere"
provider = "other"
model = "gpt-4o \"quoted\""
[[routes]]
name = "google"
match = { model = ["gem*"], header = { x-team = "a*" } }
[[routes.targets]]
name = "g"
provider = "vertex"
model = "gemini-3/new"
key = "env:GKEY"
[[routes]]
name = "claude"
match = { tag = ["cheap"] }
[[routes.targets]]
name = "haiku"
provider = "anthropic"
model = "claude-haiku"
`, s.url))
	g := serveFile(t, file.path, s.url, "GKEY=k-google")
	see := func(path, body string, header ...string) (sim.Echo, http.Header) {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, g.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var e sim.Echo
		if err := json.NewDecoder(resp.Body).Decode(&e); err != nil {
			t.Fatal(err)
		}
		return e, resp.Header
	}
	bodyOf := func(e sim.Echo) string {
		b, err := base64.StdEncoding.DecodeString(e.BodyBase64)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	headers := func(e sim.Echo) string { return fmt.Sprint(e.Headers) }

	body := `{ "messages":[{"role":"user","content":"h\u00e9"}],  "model" : "alias-1", "x":1.50 }`
	e, h := see("/v1/chat/completions", body, "Authorization", "Bearer k-client-secret", "x-api-key", "k-client-secret")
	if want := strings.Replace(body, `"alias-1"`, `"gpt-4o \"quoted\""`, 1); bodyOf(e) != want {
		t.Errorf("body %s, want %s", bodyOf(e), want)
	}
	if strings.Contains(headers(e), "k-client-secret") {
		t.Errorf("the client's credential reached another provider: %s", headers(e))
	}
	if h.Get("x-llmopt-target") != "elsewhere" {
		t.Errorf("served by %s", h.Get("x-llmopt-target"))
	}
	gem := `{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}`
	e, h = see("/gemini/v1beta/models/gemini-2.5-pro:generateContent?key=k-client-secret", gem, "x-team", "alpha")
	if h.Get("x-llmopt-target") != "g" || !strings.Contains(e.Target, "models/gemini-3%2Fnew:generateContent") || bodyOf(e) != gem {
		t.Errorf("served by %s at %s: %s", h.Get("x-llmopt-target"), e.Target, bodyOf(e))
	}
	if strings.Contains(e.Target+headers(e), "k-client-secret") || !strings.Contains(headers(e), "k-google") {
		t.Errorf("credentials: %s %s", e.Target, headers(e))
	}
	if _, h = see("/gemini/v1beta/models/gemini-2.5-pro:generateContent", gem, "x-team", "beta", "x-goog-api-key", "k"); h.Get("x-llmopt-target") != "gemini/gemini-2.5-pro" {
		t.Errorf("another team is served by %s", h.Get("x-llmopt-target"))
	}
	msg := `{"model":"claude-opus","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`
	e, h = see("/anthropic/v1/messages", msg, "x-api-key", "k-anthropic", "x-llmopt-tags", "b, cheap")
	if h.Get("x-llmopt-target") != "haiku" || bodyOf(e) != strings.Replace(msg, "claude-opus", "claude-haiku", 1) || !strings.Contains(headers(e), "k-anthropic") {
		t.Errorf("served by %s: %s %s", h.Get("x-llmopt-target"), bodyOf(e), headers(e))
	}
	if strings.Contains(strings.ToLower(headers(e)), "x-llmopt") {
		t.Errorf("our headers reached the provider: %s", headers(e))
	}
}

// One of three targets fails altogether while clients go on asking: hardly any of them notices.
func TestE2E_RouteOutage(t *testing.T) {
	t.Parallel()
	var sims [3]*simulated
	for i := range sims {
		sims[i] = simulate(t, sim.Options{Directives: sim.MustDirectives("ttft=5ms,tokens=4")})
	}
	settings := strings.ReplaceAll(fleetSettings("retry", "", sims), "priority = 1", "priority = 0")
	file := newSettingsFile(t, strings.ReplaceAll(settings, "priority = 2", "priority = 0"))
	g := serveFile(t, file.path, sims[0].url, "KEY=k")
	var failed, asked atomic.Int64
	var wg sync.WaitGroup
	var streams sync.RWMutex // held while one runs: what is cut behind its first content can't be served anew, and is another test's
	stop := make(chan struct{})
	once := func(stream bool) {
		if stream {
			streams.RLock()
			defer streams.RUnlock()
		}
		asked.Add(1)
		status, _, text, err := ask(t, g.url+"/v1/chat/completions", fmt.Sprintf(fleetBody, stream))
		if err != nil || status != 200 || stream && !strings.HasSuffix(text, "data: [DONE]\n\n") {
			failed.Add(1)
			t.Logf("stream %t: %d, %v, %q", stream, status, err, text)
		}
	}
	for range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
					once(i%2 == 0)
				}
			}
		})
	}
	g.eventually("load", func() bool { return asked.Load() > 300 })
	streams.Lock()
	sims[1].Close()
	streams.Unlock()
	g.eventually("the target is ejected", func() bool { return g.metric(`llmopt_target_up{route="chat",target="b"}`) == 0 })
	before := asked.Load()
	g.eventually("more load", func() bool { return asked.Load() > before+300 })
	close(stop)
	wg.Wait()
	if failed.Load() > asked.Load()/1000 {
		t.Errorf("%d of %d requests failed", failed.Load(), asked.Load())
	}
	g.eventually("the log says so", func() bool { return strings.Contains(g.stderr.String(), "target ejected") })
}

func TestE2E_ExplainAndTargets(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "fallback", "")
	cli := func(status int, args ...string) string {
		t.Helper()
		return cliOutput(t, status, append(args, "--admin", f.admin)...)
	}
	holds := func(text string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in %s", want, text)
			}
		}
	}
	holds(cli(0, "explain", "--model", "gpt-4o"), "Route chat sends it to a with probability 1.000 (by its share); 3 attempts at most", "fallback on error", "b, c", "has no weight")
	holds(cli(0, "explain", "--model", "another"), "No route matches: it goes straight to openai/another")
	holds(cli(0, "explain", "--model", "gpt-4o", "--header", "x-llmopt-target: c", "--json"), `"target": "c"`, `"why": "pin"`)
	cli(1, "explain", "--model", "gpt-4o", "--header", "x-llmopt-target: nobody")
	cli(1, "explain", "--model", "gpt-4o", "--path", "/nowhere")
	cli(2, "explain")
	holds(cli(0, "targets"), "chat/a", "chat/b", "healthy")
	cached := newFleet(t, "retry", "affinity = true\n")
	cached.file.replace(strings.NewReplacer("priority = 1", "priority = 0", "priority = 2", "priority = 0").Replace(fleetSettings("retry", "affinity = true\n", cached.sims)))
	cached.eventually("the reload", func() bool { return cached.metric("llmopt_config_reloads_total") > 0 })
	holds(cliOutput(t, 0, "explain", "--model", "gpt-4o", "--input", "2000", "--admin", cached.admin), "where its begin is likely cached", "saves up to $0.00")

	holds(cli(0, "targets", "drain", "chat/a", "--reason", "maintenance"), "chat/a is drained")
	if _, h, _ := f.ask(fmt.Sprintf(fleetBody, false)); h.Get("x-llmopt-target") != "b" {
		t.Errorf("while a is drained %s serves", h.Get("x-llmopt-target"))
	}
	holds(cli(0, "explain", "--model", "gpt-4o"), "No target of route chat can serve it now; its fallback b does")
	f.eventually("the log says why", func() bool { return strings.Contains(f.stderr.String(), "maintenance") })
	holds(cli(0, "targets", "restore", "chat/a"), "chat/a is healthy")
	holds(cli(0, "targets", "eject", "chat/a"), "chat/a is ejected")
	if _, h, _ := f.ask(fmt.Sprintf(fleetBody, false)); h.Get("x-llmopt-target") != "b" {
		t.Errorf("while a is ejected %s serves", h.Get("x-llmopt-target"))
	}
	holds(cli(0, "targets", "restore", "chat/a"), "chat/a is healthy")
	if _, h, _ := f.ask(fmt.Sprintf(fleetBody, false)); h.Get("x-llmopt-target") != "a" {
		t.Errorf("after all %s serves", h.Get("x-llmopt-target"))
	}
	cli(1, "targets", "drain", "chat/nobody")
	cli(2, "targets", "drain", "chat")
}

// Thousands of exchanges at once, against providers of which a third of the answers fail in some way, with clients that leave: nothing that looks whole is
// broken, and afterwards nothing is held.
func TestE2E_RouteManyFaultsAtOnce(t *testing.T) {
	t.Parallel()
	rates, err := sim.ParseRates("500=.08,429=.04,reset-head=.04,close-head=.04,reset-mid=.05,close-mid=.04,bad-chunk=.02,error-body=.02,empty=.02,no-end=.02,error-event=.02")
	if err != nil {
		t.Fatal(err)
	}
	var sims [3]*simulated
	for i := range sims {
		sims[i] = simulate(t, sim.Options{Seed: uint64(i), Rates: rates, Directives: sim.MustDirectives("ttft=2ms~0.5,tpot=100us,tokens=12,retry-after=1ms")})
	}
	settings := strings.NewReplacer("priority = 1", "priority = 0", "priority = 2", "priority = 0").Replace(fleetSettings("retry", "affinity = true\nhedge = 0.5\nretry_budget = 1\n", sims))
	file := newSettingsFile(t, settings)
	g := serveFile(t, file.path, sims[0].url, "KEY=k", "OPTIMIZER_LOG__ACCESS=off")
	const workers, each = 40, 60
	var whole, told, left atomic.Int64
	var wg sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}, Timeout: 30 * time.Second}
	for worker := range workers {
		wg.Go(func() {
			for i := range each {
				stream := i%2 == 0
				ctx, cancel := context.WithCancel(t.Context())
				if i%7 == 0 {
					ctx, cancel = context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond/10)
				}
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+"/v1/chat/completions",
					strings.NewReader(fmt.Sprintf(`{"model":"gpt-4o","stream":%t,"messages":[{"role":"user","content":"hello %d %d"}]}`, stream, worker, i)))
				if err != nil {
					t.Error(err)
				}
				req.Header.Set("Authorization", "Bearer k")
				resp, err := client.Do(req)
				if err != nil {
					cancel()
					left.Add(1)
					continue
				}
				text, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				cancel()
				switch {
				case ctx.Err() != nil && i%7 == 0:
					left.Add(1)
				case err != nil || resp.StatusCode >= 400 || strings.Contains(string(text), `"error"`):
					told.Add(1)
				case stream && !strings.HasSuffix(string(text), "data: [DONE]\n\n"), !stream && !json.Valid(text):
					t.Errorf("broken, but looks whole: %.300q", text)
				default:
					whole.Add(1)
				}
			}
		})
	}
	wg.Wait()
	client.CloseIdleConnections()
	t.Logf("%d whole, %d told of a failure, %d left", whole.Load(), told.Load(), left.Load())
	if n := whole.Load(); n < workers*each*7/10 {
		t.Errorf("%d of %d answers are whole", n, workers*each)
	}
	g.eventually("nothing is held", func() bool {
		return g.metric("llmopt_target_in_flight")+g.metric("llmopt_route_exchanges_in_flight")+g.metric("llmopt_exchanges_in_flight") == 0 &&
			sumOf(t, g.metrics(), `llmopt_upstream_connections{provider="a",state="used"}`)+sumOf(t, g.metrics(), `llmopt_upstream_connections{provider="b",state="used"}`) == 0
	})
	for i, s := range sims {
		eventually(t, fmt.Sprintf("provider %d has nothing under way", i), 5*time.Second, func() bool { st := s.Stats(); return st.InFlight == 0 })
	}
}

// A body that is too large to be kept streams through the route with one attempt, its begin edited.
func TestE2E_RouteLargeBody(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{Directives: sim.MustDirectives("echo=true")})
	file := newSettingsFile(t, fmt.Sprintf(`[providers.p]
base_url = "%s/v1"
[[routes]]
name = "chat"
match = { model = ["alias"] }
[[routes.targets]]
name = "t"
provider = "p"
model = "a-much-longer-name"
`, s.url))
	g := serveFile(t, file.path, s.url, "OPTIMIZER_SERVER__REPLAY_LIMIT=4KiB")
	body := `{"model":"alias","messages":[{"role":"user","content":"` + strings.Repeat("x", 300<<10) + `"}]}`
	want := strings.Replace(body, `"alias"`, `"a-much-longer-name"`, 1)
	for _, chunked := range []bool{false, true} {
		var from io.Reader = strings.NewReader(body)
		if chunked {
			from = io.MultiReader(from)
		}
		req, err := http.NewRequest(http.MethodPost, g.url+"/v1/chat/completions", from)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var e sim.Echo
		if err := json.NewDecoder(resp.Body).Decode(&e); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if sum := fmt.Sprintf("%x", sha256.Sum256([]byte(want))); e.BodySHA256 != sum || e.BodyBytes != len(want) || resp.Header.Get("x-llmopt-target") != "t" {
			t.Errorf("chunked %t: the provider sees %d bytes, want %d; target %s", chunked, e.BodyBytes, len(want), resp.Header.Get("x-llmopt-target"))
		}
	}
}

// What an operator has done to targets is journalled, shown by llmopt status, and holds over a restart, until it is taken back.
func TestE2E_RouteTargetsStayAsAnOperatorHasSetThem(t *testing.T) {
	t.Parallel()
	dir := "OPTIMIZER_STORAGE__DIR=" + filepath.Join(t.TempDir(), "state")
	f := newFleet(t, "retry", "", dir)
	restart := func() {
		f.stop()
		f.served = serveFile(t, f.file.path, f.sims[0].url, "KEY=k-configured", dir)
	}
	serves := func(want string) {
		t.Helper()
		if _, h, _ := f.ask(fmt.Sprintf(fleetBody, false)); h.Get("x-llmopt-target") != want {
			t.Errorf("%s serves, want %s", h.Get("x-llmopt-target"), want)
		}
	}
	status := func(want string) {
		t.Helper()
		if text := cliOutput(t, 0, "status", "--admin", f.admin); !strings.Contains(text, want) {
			t.Errorf("status without %q: %s", want, text)
		}
	}
	cliOutput(t, 0, "targets", "drain", "chat/a", "--reason", "maintenance", "--admin", f.admin)
	cliOutput(t, 0, "targets", "eject", "chat/b", "--reason", "wrong answers", "--admin", f.admin)
	restart()
	serves("c")
	status("route chat: 1 of 3 targets take traffic; a drained (maintenance), b ejected (wrong answers)")
	cliOutput(t, 0, "targets", "restore", "chat/a", "--admin", f.admin)
	restart()
	serves("a")
	status("route chat: 2 of 3 targets take traffic; b ejected (wrong answers)")
	settings := fleetSettings("retry", "", f.sims)
	for i, text := range []string{strings.Replace(settings, `name = "b"`, `name = "renamed"`, 1), settings} {
		f.file.replace(text)
		f.eventually("a reload", func() bool { return f.metric("llmopt_config_reloads_total") > float64(i) })
	}
	status("route chat: 2 of 3 targets take traffic; b ejected (wrong answers)")
	cliOutput(t, 0, "targets", "restore", "chat/b", "--admin", f.admin)
	status("route chat: 3 of 3 targets take traffic\n")
	f.eventually("all four are journalled", func() bool {
		text := cliOutput(t, 0, "journal", "--admin", f.admin)
		return strings.Count(text, "target: ") == 4 && strings.Contains(text, "drain: maintenance") && strings.Contains(text, "eject: wrong answers") &&
			strings.Contains(text, "restore: by hand") && strings.Contains(text, "routes.chat.targets.b")
	})
}

// A reload that changes nothing of the routes leaves their state as it is, attempts under way included.
func TestE2E_RouteStateOutlivesReloads(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "retry", "")
	cliOutput(t, 0, "targets", "drain", "chat/a", "--admin", f.admin)
	reloads := f.metric("llmopt_config_reloads_total")
	file := f.file
	file.replace(fleetSettings("retry", "", f.sims) + "[log.levels]\nproxy = \"info\"\n")
	f.eventually("a reload", func() bool { return f.metric("llmopt_config_reloads_total") > reloads })
	if _, h, _ := f.ask(fmt.Sprintf(fleetBody, false)); h.Get("x-llmopt-target") != "b" {
		t.Errorf("after a reload %s serves, which is drained", h.Get("x-llmopt-target"))
	}
	file.replace(fleetSettings("retry", "attempts = 2\n", f.sims))
	f.eventually("another reload", func() bool { return f.metric("llmopt_config_reloads_total") > reloads+1 })
	if _, h, _ := f.ask(fmt.Sprintf(fleetBody, false)); h.Get("x-llmopt-target") != "b" {
		t.Errorf("after a change of the route %s serves, which is drained", h.Get("x-llmopt-target"))
	}
	if text := cliOutput(t, 0, "status", "--admin", f.admin); !strings.Contains(text, "chat/b") {
		t.Errorf("status: %s", text)
	}
}

// A late answer is overtaken by a second attempt elsewhere; the slower one is stopped at once and charged.
func TestE2E_RouteHedges(t *testing.T) {
	t.Parallel()
	spans := &collector{}
	f := newFleet(t, "retry", "hedge = 0.5\n", "OPTIMIZER_TELEMETRY__ENDPOINT="+spans.overGRPC(t), "OPTIMIZER_TELEMETRY__PROTOCOL=grpc", "OPTIMIZER_TELEMETRY__SAMPLE=0")
	for range 450 { // until the target knows its times
		for _, stream := range []bool{false, true} {
			if status, _, text, err := ask(t, f.url+"/v1/chat/completions", fmt.Sprintf(fleetBody, stream)); status != 200 || err != nil {
				t.Fatal(status, text, err)
			}
		}
	}
	check := func(stream bool, first, second, want string, within time.Duration) http.Header {
		t.Helper()
		f.script(0, first)
		f.script(1, second)
		before := f.sims[0].Stats()
		start := time.Now()
		status, h, text, err := ask(t, f.url+"/v1/chat/completions", fmt.Sprintf(fleetBody, stream))
		took := time.Since(start)
		if status != 200 || err != nil || stream && !strings.HasSuffix(text, "data: [DONE]\n\n") || h.Get("x-llmopt-target") != want || took > within {
			t.Errorf("stream %t, %s, %s: %d from %s (%s) after %v, %v: %.200s", stream, first, second, status, h.Get("x-llmopt-target"), h.Get("x-llmopt-tried"), took, err, text)
		}
		if want == "b" {
			eventually(t, "the slower attempt is stopped", 5*time.Second, func() bool { // within a second, where the machine has time
				st := f.sims[0].Stats()
				return st.Canceled+st.Broken > before.Canceled+before.Broken && st.InFlight == 0
			})
		}
		line := f.lineOf(h.Get("x-llmopt-id"))
		if line.Attempts != 2 || line.Cost == 0 {
			t.Errorf("the log says %+v", line)
		}
		f.script(0, "")
		f.script(1, "")
		return h
	}
	for _, stream := range []bool{false, true} {
		check(stream, "ttft=20s", "", "b", 3*time.Second)
		check(stream, "ttft=300ms", "ttft=20s", "a", 3*time.Second)
		check(stream, "ttft=300ms", "fault=500", "a", 3*time.Second)
		check(stream, "ttft=300ms", "fault=400", "a", 3*time.Second)
		check(stream, "ttft=100ms,fault=reset-mid,after=0", "ttft=300ms", "b", 3*time.Second)
	}
	if n := f.metric("llmopt_route_hedges_total"); n < 8 {
		t.Errorf("%v hedges are counted", n)
	}
	if f.metric("llmopt_route_hedge_cost_usd_total") <= 0 {
		t.Error("the slower attempts have cost nothing")
	}
	const sampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, slow := range []int{0, 1} { // the rival wins, and loses
		f.script(slow, "ttft=20s")
		f.script(1-slow, "ttft=300ms")
		if status, h, _ := f.ask(fmt.Sprintf(fleetBody, true), "traceparent", sampled); status != 200 || h.Get("x-llmopt-attempts") != "2" {
			t.Errorf("traced: %d, %s attempts", status, h.Get("x-llmopt-attempts"))
		}
	}
	f.script(0, "ttft=300ms")
	f.script(1, "")
	status, h, _ := f.ask(fmt.Sprintf(fleetBody, false), "x-llmopt-target", "a")
	if status != 200 || h.Get("x-llmopt-attempts") != "1" {
		t.Errorf("a pinned request was hedged: %d, %s attempts", status, h.Get("x-llmopt-attempts"))
	}
	f.eventually("nothing is held", func() bool {
		return f.metric("llmopt_target_in_flight")+f.metric("llmopt_route_exchanges_in_flight") == 0
	})
	f.stop()
	spans.hedged(t)
}

// hedged wants both attempts of two exchanges, the one that served as well as the one that was stopped.
func (c *collector) hedged(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var got []string
	for _, span := range c.spans {
		if a := attributesOf(span.GetAttributes()); a["llmopt.why"] != "" {
			why := strings.Replace(a["llmopt.why"], "exploration", "share", 1) // one of a hundred
			got = append(got, why+" "+a["llmopt.target"]+" "+a["llmopt.outcome"])
		}
	}
	slices.Sort(got)
	want := []string{"hedge b canceled", "hedge b ok", "share a canceled", "share a ok"}
	if !slices.Equal(got, want) {
		t.Errorf("attempts %v, want %v", got, want)
	}
}

// Each cause has its own fallback, and the request's own faults have none.
func TestE2E_RouteFallsBackByCause(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{})
	answers := map[string]struct {
		status int
		body   string
	}{
		"long prompt":    {400, `{"error":{"message":"This model's maximum context length is 8192 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`},
		"bad words":      {400, `{"error":{"message":"triggering Azure OpenAI's content management policy","code":"content_filter"}}`},
		"no money":       {429, `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}`},
		"too fast":       {429, `{"error":{"message":"Rate limit reached","code":"rate_limit_exceeded"}}`},
		"down":           {503, `{"error":{"message":"overloaded"}}`},
		"forbidden file": {403, `{"error":{"message":"You do not have permission to access the File abc"}}`},
		"nonsense":       {400, `{"error":{"message":"Unrecognized request argument","type":"invalid_request_error"}}`},
	}
	strict := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for word, a := range answers {
			if strings.Contains(string(body), word) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Retry-After", "60")
				w.Header().Set("Content-Encoding", "gzip")
				w.WriteHeader(a.status)
				z := gzip.NewWriter(w)
				_, _ = io.WriteString(z, a.body)
				_ = z.Close()
			}
		}
	}))
	t.Cleanup(strict.Close)
	var text strings.Builder
	fmt.Fprintf(&text, "[providers.strict]\nbase_url = \"%s/v1\"\n[providers.p]\nbase_url = \"%s/v1\"\n", strict.URL, s.url)
	text.WriteString(`[[routes]]
name = "chat"
match = { model = ["gpt-4o"] }
max_wait = "0s"
backoff = "0s"
attempts = 2
ejection = { enabled = false }
fallback = { error = ["spare"], context = ["big"], content = ["lax"], rate_limit = ["other"], budget = ["cheap"] }
[[routes.targets]]
name = "main"
provider = "strict"
key = "env:K"
`)
	for _, name := range []string{"spare", "big", "lax", "other", "cheap"} {
		fmt.Fprintf(&text, "[[routes.targets]]\nname = \"%s\"\nprovider = \"p\"\nkey = \"env:K\"\nweight = 0\n", name)
	}
	f := &fleet{served: serveFile(t, newSettingsFile(t, text.String()).path, s.url, "K=k")}
	check := func(words string, status int, target string) {
		t.Helper()
		got, h, answer := f.ask(`{"model":"gpt-4o","messages":[{"role":"user","content":"` + words + `"}]}`)
		if got != status || h.Get("x-llmopt-target") != target {
			t.Errorf("%s: %d from %s (%s), want %d from %s: %s", words, got, h.Get("x-llmopt-target"), h.Get("x-llmopt-tried"), status, target, answer)
		}
	}
	check("long prompt", 200, "big")
	check("bad words", 200, "lax")
	check("nonsense", 400, "main")
	check("down", 200, "spare")
	check("too fast", 200, "other")
	check("hello", 200, "other") // while main is left alone
	cliOutput(t, 0, "targets", "restore", "chat/main", "--admin", f.admin)
	for range 4 {
		check("forbidden file", 200, "spare") // one request's 403 says little of the key
	}
	if text := cliOutput(t, 0, "targets", "--admin", f.admin); strings.Contains(text, "key_refused") {
		t.Errorf("403s of a file take the target out: %s", text)
	}
	check("no money", 200, "cheap")
	check("hello", 200, "cheap")
	if text := cliOutput(t, 0, "targets", "--admin", f.admin); !strings.Contains(text, "key_refused") {
		t.Errorf("a key without money stays in: %s", text)
	}
}

// The first-byte deadline that a target has taught is kept, where the route wants one.
func TestE2E_RouteLearnsDeadlines(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "retry", "first_byte_factor = 2\n")
	for range 300 {
		if status, _, text := f.ask(fmt.Sprintf(fleetBody, false)); status != 200 {
			t.Fatal(status, text)
		}
	}
	file := strings.ReplaceAll(fleetSettings("retry", "first_byte_factor = 2\n", f.sims), `first_byte = "1500ms"`, `first_byte = "60s"`)
	reloads := f.metric("llmopt_config_reloads_total")
	f.file.replace(file)
	f.eventually("a reload", func() bool { return f.metric("llmopt_config_reloads_total") > reloads })
	f.script(0, "ttft=20s")
	start := time.Now()
	status, h, text := f.ask(fmt.Sprintf(fleetBody, false))
	if took := time.Since(start); status != 200 || h.Get("x-llmopt-target") != "b" || took < 900*time.Millisecond || took > 10*time.Second {
		t.Errorf("%d from %s after %v: %s", status, h.Get("x-llmopt-target"), took, text)
	}
}

// When everything fails, repetitions do not multiply the load: a fifth of the exchanges under way at a time.
func TestE2E_RouteRetryBudget(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "retry", "ejection = { enabled = false }\n")
	const clients = 40
	for _, s := range f.sims {
		resp, err := http.Post(s.url+"/sim/script", "text/plain", strings.NewReader("1000*ttft=300ms,fault=reset-mid,after=0"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			if status, _, text := f.ask(fmt.Sprintf(fleetBody, false)); status != 502 {
				t.Errorf("%d: %s", status, text)
			}
		})
	}
	wg.Wait()
	calls := int64(0)
	for _, n := range f.calls() {
		calls += n
	}
	if calls < clients+3 || calls > clients+clients/2 {
		t.Errorf("%d calls for %d requests", calls, clients)
	}
	if made, refused := f.metric("llmopt_route_repeats_total"), f.metric("llmopt_route_repeats_refused_total"); int64(made) != calls-clients || refused < clients/2 {
		t.Errorf("%v repetitions made, %v refused; %d calls", made, refused, calls)
	}
}
