package main

import (
	"regexp"
	"syscall"
	"testing"
	"time"

	"llm-auto-optimizer/bench/sim"
)

// A server is killed while a decision is on its way, and another time while one is on trial, under load: after the restart in force is what was before, in
// its part, or what the operator has set, and the journal tells how it came to that.
func TestCrash_OptimizerInTheMiddleOfAChange(t *testing.T) {
	t.Parallel()
	const inForce = `weights/a/light 1 → 1\.5`
	for _, c := range []struct{ mode, run, before, after, journal, told string }{
		{"auto", `d1 .*chat applied: move`, `chat .* 20 % +` + inForce, `chat .* 20 % +` + inForce, `d1 +\d → \d +chat applied: move`, `^NUMBER.*\n2 +.* d1 `},
		{"canary", `d1 .*chat trying: move`, `On trial: d1 of route chat at 1 % of the sessions`, `chat .* 20 % +nothing`, `d1 +\d → \d +chat trying: move`, `2 → 3 +configuration: .*what was on trial ended with the last run, of route chat`},
	} {
		s := simulate(t, sim.Options{Directives: sim.MustDirectives("tokens=1")}) // nothing is learned of the speed of a busy machine
		file := newSettingsFile(t, optimizedSettings(s, "holdback = 0.2\n[optimizer.routing]\nmode = \""+c.mode+"\"\nmin_count = 20"))
		environ := []string{"OPTIMIZER_STORAGE__DIR=" + t.TempDir(), "OPTIMIZER_STORAGE__MIN_FREE=0", "OPTIMIZER_SERVER__HASH_KEY=secret", "KEY=k"}
		crashing := file.start(environ...)
		eventually(t, "the storage is up", 20*time.Second, func() bool { return crashing.metric("llmopt_storage_up") == 1 })
		g := &served{t: t, url: crashing.proxy, admin: crashing.admin}
		if bad := g.converse(240); bad > 0 {
			t.Fatalf("%s: %d exchanges failed", c.mode, bad)
		}
		want(t, c.mode+": run", g.cli(0, "optimizer", "run"), c.run)
		want(t, c.mode+": before", g.cli(0, "optimizer"), c.before)
		eventually(t, "the journal is written", 20*time.Second, func() bool { return regexp.MustCompile(c.journal).MatchString(g.cli(0, "journal")) })
		load := make(chan int64)
		go func() { load <- g.converse(80) }()
		crashing.signal(syscall.SIGKILL)
		if err := crashing.ended(10 * time.Second); err == nil {
			t.Fatal("a killed process ended well")
		}
		<-load // whatever became of it

		next := file.start(environ...)
		eventually(t, "the storage is up", 20*time.Second, func() bool { return next.metric("llmopt_storage_up") == 1 })
		g = &served{t: t, url: next.proxy, admin: next.admin}
		if bad := g.converse(16); bad > 0 {
			t.Errorf("%s: %d exchanges failed after the restart", c.mode, bad)
		}
		after := ""
		eventually(t, "what was known is there again", 20*time.Second, func() bool {
			after = g.cli(0, "optimizer")
			return regexp.MustCompile(c.after).MatchString(after)
		})
		if c.mode == "canary" && regexp.MustCompile("On trial").MatchString(after) {
			t.Errorf("a trial goes on whose arms have ended:\n%s", after)
		}
		list := g.cli(0, "journal")
		want(t, c.mode+": journal", list, c.journal)
		want(t, c.mode+": journal", list, c.told)
		want(t, c.mode+": replay", g.cli(0, "journal", "replay"), `1 decisions: 1 come out as they did, 0 otherwise`)
		if c.mode == "auto" { // an operator can still take it back
			g.converse(160)
			want(t, "undo", g.cli(0, "optimizer", "undo", "d1"), `undid d1: move`)
			want(t, "undone", g.cli(0, "optimizer"), `chat .* 20 % +nothing`)
		}
		next.signal(syscall.SIGTERM)
		if err := next.ended(20 * time.Second); err != nil {
			t.Errorf("%s: after SIGTERM: %v", c.mode, err)
		}
	}
}
