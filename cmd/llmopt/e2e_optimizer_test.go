package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"llm-auto-optimizer/bench/sim"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/optimizer/runner"
)

// optimizedSettings are two targets of a route, of which a costs a quarter of what b does.
func optimizedSettings(s *simulated, more string) string {
	return fmt.Sprintf(`
[schedule]
optimize = ""
[optimizer]
cool_down = "0s"
max_step = 0.25
%s
[providers.one]
base_url = "%s/v1"
[providers.two]
base_url = "%s/v1"
[[routes]]
name = "chat"
match = { model = ["gpt-4o"] }
[[routes.targets]]
name = "a"
provider = "one"
key = "env:KEY"
price = { input = "1", output = "1" }
[[routes.targets]]
name = "b"
provider = "two"
key = "env:KEY"
price = { input = "4", output = "4" }
`, more, s.url, s.url)
}

// converse sends exchanges of different conversations, and tells how many did not end well.
func (g *served) converse(n int) (failed int64) {
	g.t.Helper()
	const workers = 8
	var bad atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for i := range n / workers {
				body := fmt.Sprintf(`{"model":"gpt-4o","stream":%t,"messages":[{"role":"user","content":"hello %d %d %d"}]}`, i%2 == 0, n, w, i)
				req, _ := http.NewRequest(http.MethodPost, g.url+"/v1/chat/completions", strings.NewReader(body))
				req.Header.Set("Authorization", "Bearer k")
				resp, err := client.Do(req)
				if err != nil {
					bad.Add(1)
					continue
				}
				if _, err = io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
					bad.Add(1)
				}
				resp.Body.Close()
			}
		})
	}
	wg.Wait()
	return bad.Load()
}

// arms are the exchanges by arm, once the access log has n of them.
func (g *served) arms(n int) map[string]int {
	g.t.Helper()
	arms := map[string]int{}
	g.eventually("all lines of the access log", func() bool {
		clear(arms)
		lines := g.log()
		for _, l := range lines {
			arms[l.Arm]++
		}
		return len(lines) >= n
	})
	return arms
}

func (g *served) cli(status int, args ...string) string {
	g.t.Helper()
	return cliOutput(g.t, status, append(args, "--admin="+g.admin)...)
}

// want complains where a text lacks a pattern.
func want(t testing.TB, what, text, pattern string) {
	t.Helper()
	if !regexp.MustCompile(pattern).MatchString(text) {
		t.Errorf("%s: want %q in:\n%s", what, pattern, text)
	}
}

// The optimizer moves traffic to what is cheaper, holds sessions back, says why, can be asked to take it back, and knows it all after a restart.
func TestE2E_OptimizerTunesAndRemembers(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{Directives: sim.MustDirectives("tokens=1")}) // nothing is learned of the speed of a busy machine
	dir := t.TempDir()
	file := newSettingsFile(t, optimizedSettings(s, "holdback = 0.2\n[optimizer.routing]\nmode = \"auto\"\nmin_count = 20"))
	g := serveFile(t, file.path, s.url, "OPTIMIZER_STORAGE__DIR="+dir, "OPTIMIZER_SERVER__HASH_KEY=secret", "KEY=k")
	if bad := g.converse(240); bad > 0 {
		t.Fatalf("%d exchanges failed", bad)
	}
	want(t, "run", g.cli(0, "optimizer", "run"), `d1 +\d\d:\d\d:\d\d chat moved \d+ % of the light exchanges from b to a: the cheapest mix within the objective \(part of the cost that is saved 0\.\d+ > 0\.01\); expected cost −\d+ %`)
	want(t, "status", g.cli(0, "optimizer"), `chat +budget recommend, caching recommend, limits recommend, routing auto, timeouts recommend +20 % +weights/a/light 1 → 1\.5`)
	if bad := g.converse(160); bad > 0 {
		t.Fatalf("%d exchanges failed", bad)
	}
	arms := g.arms(400)
	if held := arms["holdback"]; held < 12 || held > 60 {
		t.Errorf("arms %v: want a fifth of 160 held back", arms)
	}
	list := g.cli(0, "journal")
	want(t, "journal", list, `(?m)^2 .* d1 +1→2 +chat moved \d+ % of the light exchanges from b to a`)
	want(t, "filtered", g.cli(0, "journal", "--tuner=routing", "--since=1h"), `d1`)
	want(t, "filtered", g.cli(0, "journal", "--verdict=rolled_back"), `no such entries`)
	want(t, "show", g.cli(0, "journal", "show", "d1", "--json"), `(?s)"record": \{.*"evidence": \{.*"guard"`)
	g.explains("d1")
	want(t, "replay", g.cli(0, "journal", "replay"), `1 decisions: 1 come out as they did, 0 otherwise`)
	if n := g.metric(`llmopt_optimizer_decisions_total{tuner="routing",verdict="applied"}`); n != 1 {
		t.Errorf("%v decisions applied", n)
	}
	g.stop()

	g = serveFile(t, file.path, s.url, "OPTIMIZER_STORAGE__DIR="+dir, "OPTIMIZER_SERVER__HASH_KEY=secret", "KEY=k")
	want(t, "after a restart", g.cli(0, "optimizer"), `chat .* 20 % +weights/a/light 1 → 1\.5`)
	want(t, "pin", g.cli(0, "optimizer", "pin", "chat", "retry_share", "0.4", "--why=a test", "--by=ann"), `chat: ann pinned retry_share to 0.4 for 1d: a test`)
	want(t, "undo", g.cli(0, "optimizer", "undo", "d1"), `d1 .*undid d1 \(move`)
	want(t, "undone", g.cli(0, "optimizer"), `(?s)chat .* 20 % +retry_share 0.2 → 0.4.*Pinned: route chat, retry_share = 0.4, by ann: a test`)
	want(t, "undo again", g.cli(1, "optimizer", "undo", "d1"), `undone: it is not in force`)
	want(t, "reset", g.cli(0, "optimizer", "reset", "chat"), `chat: .* put the route back to the operator's own settings`)
	want(t, "reset", g.cli(0, "optimizer"), `chat .* 20 % +nothing`)
	want(t, "journal", g.cli(0, "journal", "list", "--json"), `"verdict": "ordered"`)
}

// Recommendations wait for an answer; a trial has arms of its own, and ends when an operator says so.
func TestE2E_OptimizerAsks(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{Directives: sim.MustDirectives("tokens=1")}) // nothing is learned of the speed of a busy machine
	file := newSettingsFile(t, optimizedSettings(s, "[optimizer.routing]\nmode = \"recommend\"\nmin_count = 20"))
	g := serveFile(t, file.path, s.url, "KEY=k")
	if bad := g.converse(160); bad > 0 {
		t.Fatalf("%d exchanges failed", bad)
	}
	want(t, "run", g.cli(0, "optimizer", "run"), `d1 .*chat should move .*; approve d1 within 1d`)
	want(t, "status", g.cli(0, "optimizer"), `(?s)0 % +nothing.*Recommended: d1: chat move .*optimizer approve d1`)
	want(t, "reject", g.cli(0, "optimizer", "reject", "d1", "--why=no", "--for=1h"), `chat: .* rejected d1 \(move.*\): no`)
	want(t, "mode", g.cli(0, "optimizer", "mode", "routing", "canary", "--route=chat"), `set tuner routing of route chat to canary`)
	want(t, "held off", g.cli(0, "optimizer", "run"), `chat may not move .*: an operator has rejected the like: no, not again before`)
	file.replace(optimizedSettings(s, "[optimizer.routing]\nmode = \"canary\"\nmin_count = 20") + "[routes.classes]\nlight_input = 999\n") // another configuration: the route begins anew
	g.eventually("the reload", func() bool { return g.metric("llmopt_config_reloads_total") == 1 })
	want(t, "run", g.cli(0, "optimizer", "run"), `.`)
	want(t, "bad mode", g.cli(2, "optimizer", "mode", "routing", "wild"), `must be one of`)
	want(t, "bad route", g.cli(1, "optimizer", "freeze", "nowhere"), `there is no route "nowhere"`)
	want(t, "freeze", g.cli(0, "optimizer", "freeze", "--for=1h", "--by=bob"), `bob froze all routes for 1h`)
	want(t, "status", g.cli(0, "optimizer"), `Frozen: all routes, by bob, until`)
	want(t, "thaw", g.cli(0, "optimizer", "thaw"), `thawed all routes`)
	var ordered struct {
		Decision struct{ Verdict, By, Reason string }
	}
	if err := json.Unmarshal([]byte(g.cli(0, "optimizer", "freeze", "chat", "--by=bob", "--json")), &ordered); err != nil || ordered.Decision.By != "bob" || ordered.Decision.Verdict != "ordered" {
		t.Errorf("as JSON: %v, %+v", err, ordered)
	}
	if out := g.cli(0, "optimizer", "run", "--json"); out != "" {
		var d struct{ Verdict, Route string }
		if err := json.NewDecoder(strings.NewReader(out)).Decode(&d); err != nil || d.Route != "chat" || d.Verdict == "" {
			t.Errorf("a cycle as JSON: %v: %s", err, out)
		}
	}
}

// All commands about the optimizer print JSON where they are asked to.
func TestOptimizerCmd_TakesJSON(t *testing.T) {
	t.Parallel()
	commands := reflect.TypeFor[optimizerCmd]()
	for i := range commands.NumField() {
		if f, known := commands.Field(i).Type.FieldByName("JSON"); !known || f.Tag.Get("name") != "json" {
			t.Errorf("optimizer %s takes no --json", commands.Field(i).Name)
		}
	}
}

// A change on trial: its sessions and as many others have arms of their own, and an operator can end it.
func TestE2E_OptimizerTries(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{Directives: sim.MustDirectives("tokens=1")}) // nothing is learned of the speed of a busy machine
	file := newSettingsFile(t, optimizedSettings(s, "[optimizer.routing]\nmode = \"canary\"\nmin_count = 20"))
	g := serveFile(t, file.path, s.url, "KEY=k")
	if bad := g.converse(160); bad > 0 {
		t.Fatalf("%d exchanges failed", bad)
	}
	want(t, "run", g.cli(0, "optimizer", "run"), `d1 .*chat tries on 1 % of the sessions to move`)
	want(t, "status", g.cli(0, "optimizer"), `On trial: d1 of route chat at 1 % of the sessions`)
	g.converse(1600)
	arms := g.arms(160 + 1600)
	for _, arm := range []string{"canary", "control", "holdback"} { // 1, 1 and 2 %
		if n := arms[arm]; n < 3 || n > 70 {
			t.Errorf("arms %v", arms)
		}
	}
	want(t, "undo", g.cli(0, "optimizer", "undo", "d1"), `ended the trial of d1 \(move`)
	want(t, "status", g.cli(0, "optimizer"), `2 % +nothing`)
	g.cli(0, "optimizer", "run")
	if n := g.metric("llmopt_optimizer_trials"); n != 0 {
		t.Errorf("%v trials", n)
	}
}

// sick is a tuner that fails in a certain way.
type sick struct {
	optimizer.Routing
	propose func(*optimizer.RouteEvidence) optimizer.Proposal
}

func (s sick) Propose(e *optimizer.RouteEvidence) optimizer.Proposal { return s.propose(e) }

// The optimizer is made to panic, to hang and to want nonsense while requests come in: none of them notices, and the optimizer comes back.
func TestE2E_OptimizerChaos(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{Directives: sim.MustDirectives("tokens=1")}) // nothing is learned of the speed of a busy machine
	file := newSettingsFile(t, optimizedSettings(s, "[optimizer.routing]\nmode = \"auto\"\nmin_count = 20"))
	options := config.Options{File: file.path, Environ: []string{
		"OPTIMIZER_SERVER__LISTEN=127.0.0.1:0", "OPTIMIZER_ADMIN__LISTEN=127.0.0.1:0", "OPTIMIZER_LOG__ACCESS=off", "OPTIMIZER_STORAGE__DIR=", "OPTIMIZER_OPTIMIZER__DEADLINE=1s", "KEY=k",
	}}
	c, err := config.Load(options)
	if err != nil {
		t.Fatal(err)
	}
	stderr := newCapture()
	server, err := newGateway(c, options, io.Discard, stderr)
	if err != nil {
		t.Fatal(err)
	}
	server.start()
	g := &served{t: t, url: server.proxyURL, admin: server.adminURL}
	load, end := context.WithCancel(t.Context())
	var failed, sent atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for load.Err() == nil {
			failed.Add(g.converse(80))
			sent.Add(80)
		}
	})
	hung := make(chan struct{})
	tuner := optimizer.DefaultRouting
	infect := func(propose func(*optimizer.RouteEvidence) optimizer.Proposal) {
		with := optimizerOf(c)
		with.Tuners = []optimizer.Tuner{sick{tuner, propose}}
		server.optimizer.Change(t.Context(), with)
	}
	g.cli(0, "optimizer", "freeze")
	g.cli(0, "optimizer", "run") // there is a hold-back
	g.cli(0, "optimizer", "thaw")
	version := server.policy.Load().Version
	infect(func(*optimizer.RouteEvidence) optimizer.Proposal { panic("chaos") })
	want(t, "panic", g.cli(0, "optimizer", "run"), `left its routing tuner out for 1h: the tuner panicked: chaos`)
	g.cli(0, "optimizer", "mode", "routing", "auto") // lets it in again
	infect(func(*optimizer.RouteEvidence) optimizer.Proposal { <-hung; return optimizer.Proposal{} })
	want(t, "hang", g.cli(1, "optimizer", "run"), runner.ErrLate.Error())
	want(t, "hang", g.cli(0, "optimizer"), `Left out: tuner routing until .*: the optimizer did not end in time`)
	g.cli(0, "optimizer", "mode", "routing", "auto")
	infect(func(e *optimizer.RouteEvidence) optimizer.Proposal {
		clear(e.InForce.Targets) // what does not belong to it
		return optimizer.Proposal{Changes: []optimizer.Change{{Name: "weights/a/light", From: 1, To: -1}}}
	})
	want(t, "nonsense", g.cli(0, "optimizer", "run"), `refused|left its routing tuner out`)
	if now := server.policy.Load(); now.Version != version || len(now.Routes["chat"].Targets) != 2 {
		t.Errorf("policy %d, %+v: the sick tuner has changed it", now.Version, now.Routes["chat"])
	}
	infect(tuner.Propose)
	g.cli(0, "optimizer", "mode", "routing", "auto")
	last := ""
	for i := 0; i < 1000 && !strings.Contains(last, "chat moved"); i++ {
		pause()
		last = g.cli(0, "optimizer", "run")
	}
	want(t, "well again", last, "chat moved")
	end()
	wg.Wait()
	close(hung)
	if n := failed.Load(); n > 0 || sent.Load() == 0 {
		t.Errorf("%d of %d exchanges failed", n, sent.Load())
	}
	if err := server.shutdown(); err != nil {
		t.Error(err)
	}
}

func TestObjectiveOf(t *testing.T) {
	t.Parallel()
	o := objectiveOf(&config.Objective{TTFTp95: time.Second, ErrorRate: .5, MaxCostPer1K: "$2.50", Quality: .8})
	if o != (optimizer.Objective{TTFT: time.Second, Violations: .55, Quality: .8, MaxCost: 2.5}) {
		t.Errorf("%+v", o)
	}
}

func TestLikeness(t *testing.T) {
	t.Parallel()
	price := config.Rates{Input: 1, Output: 5, CacheRead: 1}
	dearer, cached := price, price
	dearer.Input, cached.CacheRead = 2, 0
	one := config.Target{Provider: "openai", Model: "m", Quality: .9}
	elsewhere, worse, other, named := one, one, one, config.Target{Provider: "openai"}
	elsewhere.Provider, worse.Quality, other.Model = "azure", .5, "n"
	named2, overridden := named, named
	named2.Provider, overridden.Price = "azure", config.TargetPrice{Input: "2"}
	if likeness(&one, &price) != likeness(&elsewhere, &price) {
		t.Error("the same model at the same price is alike wherever it is")
	}
	for _, pair := range [][2]string{
		{likeness(&one, &price), likeness(&one, &dearer)}, {likeness(&one, &price), likeness(&one, &cached)}, {likeness(&one, &price), likeness(&worse, &price)},
		{likeness(&one, &price), likeness(&other, &price)}, {likeness(&named, nil), likeness(&named2, nil)}, {likeness(&named, nil), likeness(&overridden, nil)}, {likeness(&one, nil), likeness(&elsewhere, nil)},
	} {
		if pair[0] == pair[1] {
			t.Errorf("%q is alike", pair[0])
		}
	}
	if again := named; likeness(&named, nil) != likeness(&again, nil) {
		t.Error("two keys of one provider are alike")
	}
}
