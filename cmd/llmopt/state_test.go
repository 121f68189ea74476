package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"llm-auto-optimizer/bench/sim"
	"llm-auto-optimizer/optimizer/control/controlpb"
	"llm-auto-optimizer/optimizer/state"
	"llm-auto-optimizer/proxy/ledger"
	"llm-auto-optimizer/storage"
)

// cliOutput runs a command line as a user does; it must end with the status.
func cliOutput(t testing.TB, status int, args ...string) string {
	t.Helper()
	out := newCapture()
	if code := run(t.Context(), args, nil, out, out); code != status {
		t.Errorf("llmopt %s: status %d, want %d: %s", strings.Join(args, " "), code, status, out)
	}
	return out.String()
}

// offline opens the state in a directory once no process uses it any more.
func offline(t testing.TB, dir string) *storage.Store {
	t.Helper()
	var s *storage.Store
	eventually(t, "the state is free to be opened", 20*time.Second, func() bool {
		var err error
		s, err = storage.OpenDir(dir, storage.Limits{})
		return err == nil
	})
	return s
}

// storedSums are all totals in a store together.
func storedSums(t testing.TB, s *storage.Store) (sum ledger.Sums) {
	t.Helper()
	err := s.Totals(t.Context(), 0, 1<<40, func(total storage.Total) error {
		var sums ledger.Sums
		var k ledger.Key
		if err := k.UnmarshalBinary(total.Key); err != nil {
			return err
		}
		if err := sums.UnmarshalBinary(total.Data); err != nil {
			return err
		}
		sum.Add(&sums)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// engineOf returns the process of a server's engine.
func engineOf(t testing.TB, c *child) *os.Process {
	t.Helper()
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", c.cmd.Process.Pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for field := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				if p, err := os.FindProcess(pid); err == nil {
					return p
				}
			}
		}
	}
	t.Skip("the children of a process can't be found on this system")
	return nil
}

// killEngine kills it once there is one.
func killEngine(t testing.TB, c *child) {
	t.Helper()
	eventually(t, "there is an engine to kill", 10*time.Second, func() bool {
		return c.metric("llmopt_storage_up") == 1 && engineOf(t, c).Kill() == nil
	})
}

const plainBody = `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}]}`

// told counts what a client of the server is told.
type told struct {
	mu    sync.Mutex
	at    []time.Time
	costs []float64 // USD
}

// ask sends a request and takes note of the answer. It returns false when there was none.
func (a *told) ask(client *http.Client, base string) bool {
	req, err := http.NewRequest(http.MethodPost, base+"/v1/chat/completions", strings.NewReader(plainBody))
	if err != nil {
		return false
	}
	req.Header.Set("Authorization", "Bearer key")
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	cost, err := strconv.ParseFloat(resp.Header.Get("x-llmopt-cost-usd"), 64)
	if _, broken := io.ReadAll(resp.Body); err != nil || broken != nil || resp.StatusCode != 200 {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at, a.costs = append(a.at, time.Now()), append(a.costs, cost)
	return true
}

// until counts what was told before a moment.
func (a *told) until(end time.Time) (n int64, nanoUSD float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, at := range a.at {
		if at.Before(end) {
			n++
			nanoUSD += a.costs[i] * 1e9
		}
	}
	return n, nanoUSD
}

// Servers are killed at random moments under load, some with their engine. After each: the state opens, the totals are what clients
// were told but for the last second, the journal has no hole and agrees with the snapshot in force.
func TestCrash_StateIsWhole(t *testing.T) {
	t.Parallel()
	rounds := 3
	if n, err := strconv.Atoi(os.Getenv("CRASH_ROUNDS")); err == nil {
		rounds = n
	}
	const workers = 3
	// A flush begins each second; a machine that is busy with other tests may take another to finish it.
	const bound = 3 * time.Second
	s := simulate(t, sim.Options{})
	dir := filepath.Join(t.TempDir(), "state")
	settings := newSettingsFile(t, providerAt(s.url))
	var sure, possible ledger.Sums // what must be stored, and what may be
	for round := range rounds {
		c := settings.start("OPTIMIZER_STORAGE__DIR="+dir, "OPTIMIZER_STORAGE__MIN_FREE=0")
		var a told
		var wg sync.WaitGroup
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}, Timeout: 20 * time.Second}
		for range workers {
			wg.Go(func() {
				for a.ask(client, c.proxy) {
					pause()
				}
			})
		}
		settings.replace(providerAt(s.url) + fmt.Sprintf("timeouts.total = \"%dm\"\n", 10+round))
		c.signal(syscall.SIGHUP)
		for limit := time.Now().Add(20 * time.Second); time.Now().Before(limit); pause() { // a machine that is busy may be slow to begin
			if n, _ := a.until(time.Now()); n > 0 {
				break
			}
		}
		<-time.After(bound + time.Duration(100+rand.IntN(1400))*time.Millisecond)
		var engine *os.Process
		if round%2 == 1 {
			engine = engineOf(t, c)
		}
		killed := time.Now()
		c.signal(syscall.SIGKILL)
		if engine != nil {
			_ = engine.Kill()
		}
		_ = c.ended(10 * time.Second)
		wg.Wait()
		client.CloseIdleConnections()

		early, earlyCost := a.until(killed.Add(-bound))
		all, allCost := a.until(time.Now())
		sure.Attempts, sure.CostNanoUSD = sure.Attempts+early, sure.CostNanoUSD+int64(earlyCost+.5)
		each := allCost / float64(max(all, 1))
		possible.Attempts += all + workers // those under way may have been counted before their client was told
		possible.CostNanoUSD += int64(allCost + workers*each + .5)

		store := offline(t, dir)
		sum := storedSums(t, store)
		if sum.Attempts < sure.Attempts || sum.CostNanoUSD < sure.CostNanoUSD || sum.Attempts > possible.Attempts || sum.CostNanoUSD > possible.CostNanoUSD {
			t.Errorf("round %d: %d attempts, %d NanoUSD are stored; clients were told %d, %d before the last second and %d, %d in all", round,
				sum.Attempts, sum.CostNanoUSD, sure.Attempts, sure.CostNanoUSD, possible.Attempts, possible.CostNanoUSD)
		}
		// What was lost this time does not come back: the next round starts from what is stored.
		sure, possible = sum, sum
		if early == 0 || all == 0 {
			t.Errorf("round %d: no load", round)
		}
		journalIsWhole(t, store, uint64(round+1))
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}

// journalIsWhole checks that entries follow on each other, the last one leads to the snapshot in force, and there are at least so many.
func journalIsWhole(t testing.TB, s *storage.Store, least uint64) {
	t.Helper()
	var n, version uint64
	err := s.Entries(t.Context(), 0, 1<<62, func(number uint64, entry []byte) error {
		e, err := state.DecodeEntry(entry)
		if err != nil {
			return err
		}
		if n++; number != n || e.From != version {
			t.Errorf("entry %d stands where %d should, and leads from policy %d, not %d", number, n, e.From, version)
		}
		version = e.To
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	current, err := s.Current(t.Context())
	if err != nil || current.Version != version || n < least {
		t.Errorf("%d entries lead to policy %d, in force is %d, %v; want at least %d", n, version, current.Version, err, least)
	}
}

// A restart goes on where the last run ended: windows, totals, callers and policy versions.
func TestState_OutlivesARestart(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{})
	dir := filepath.Join(t.TempDir(), "state")
	environ := []string{"OPTIMIZER_STORAGE__DIR=" + dir}
	var a told
	caller := ""
	for round := range int64(3) {
		g := serve(t, s.url, environ...)
		for range 5 {
			if !a.ask(http.DefaultClient, g.url) {
				t.Fatal("no answer")
			}
		}
		resp := post(t, g.url+"/v1/chat/completions", plainBody)
		_, _ = io.ReadAll(resp.Body)
		line := g.lineOf(resp.Header.Get("x-llmopt-id"))
		if who := line.Caller; caller == "" {
			caller = who
		} else if who != caller {
			t.Errorf("the caller is %s now, was %s", who, caller)
		}
		var status controlpb.GetStatusResponse
		g.eventually("all attempts are seen", func() bool {
			text := cliOutput(t, 0, "status", "--json", "--admin", g.admin)
			if err := json.Unmarshal([]byte(text), &status); err != nil {
				t.Logf("%v in %s", err, text)
			}
			return strings.Contains(text, fmt.Sprintf(`"requests": "%d"`, 6*(round+1)))
		})
		if ready := getText(t, g.admin+"/readyz"); ready != "ready\n" {
			t.Errorf("readyz: %q", ready)
		}
		g.stop()
	}
	store := offline(t, dir)
	defer store.Close()
	if sum := storedSums(t, store); sum.Attempts != 18 {
		t.Errorf("got %+v", sum)
	}
	journalIsWhole(t, store, 1)
	if c, err := store.Current(t.Context()); c.Version != 1 || err != nil {
		t.Errorf("nothing was changed, and the policy's version is %d, %v", c.Version, err)
	}
}

func getText(t testing.TB, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The commands, through a running server and on its directory.
func TestState_Commands(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{})
	tmp := t.TempDir()
	dir, file := filepath.Join(tmp, "state"), filepath.Join(tmp, "a.backup")
	retention := fmt.Sprintf("%d * * * *", (time.Now().Minute()+30)%60) // not while the test runs it
	g := serve(t, s.url, "OPTIMIZER_STORAGE__DIR="+dir, "OPTIMIZER_STORAGE__BACKUP_DIR="+filepath.Join(tmp, "backups"), "OPTIMIZER_STORAGE__BACKUP_KEEP=2",
		"OPTIMIZER_SCHEDULE__RETENTION="+retention)
	var a told
	if !a.ask(http.DefaultClient, g.url) {
		t.Fatal("no answer")
	}
	g.eventually("totals are stored", func() bool { return g.metric("llmopt_state_flushes_total") > 0 })
	at := "--admin=" + g.admin
	check := func(text string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("no %q in\n%s", w, text)
			}
		}
	}
	check(cliOutput(t, 0, "state", "inspect", at), dir, "totals        1", "journal        1", "free on the disk")
	check(cliOutput(t, 0, "state", "inspect", at, "--json"), `"schema": "1"`, `"name": "totals"`)
	check(cliOutput(t, 0, "state", "backup", file, at), "a.backup")
	check(cliOutput(t, 0, "state", "compact", at), "before", "now")
	check(cliOutput(t, 0, "journal", at), "settings at the start", "0→1", "anthropic, gemini, openai")
	check(cliOutput(t, 0, "journal", "show", "1", "--json", at), `"kind": "configuration"`)
	check(cliOutput(t, 1, "journal", "show", "7", at), "the journal has no entry 7")
	check(cliOutput(t, 0, "jobs", at), "rollup", "*/10 * * * * *", "retention", "backup", "0 3 * * *")
	check(cliOutput(t, 0, "jobs", "--json", at), `"cron": "`+retention+`"`)
	check(cliOutput(t, 1, "jobs", "run", "cleaning", at), `no such job: "cleaning"; there are rollup, retention, backup`)
	for range 3 {
		check(cliOutput(t, 0, "jobs", "run", "backup", at), "backup done in")
	}
	check(cliOutput(t, 0, "jobs", "run", "retention", at), "retention done in")
	check(cliOutput(t, 0, "jobs", at), "ok")
	kept, _ := filepath.Glob(filepath.Join(tmp, "backups", "*"))
	if len(kept) != 2 {
		t.Errorf("backups kept: %v", kept)
	}

	check(cliOutput(t, 1, "state", "inspect", "--dir", dir), "a server is using "+dir)
	check(cliOutput(t, 2, "state", "inspect", "--dir", filepath.Join(tmp, "nothing")), "no such file")
	check(cliOutput(t, 2, "state", "inspect", "--dir", tmp), "holds no state")
	half := filepath.Join(tmp, "half.backup")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(half, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	check(cliOutput(t, 1, "state", "restore", half, at), "400 Bad Request", "not a whole backup")
	check(cliOutput(t, 0, "state", "restore", file, at), "restored from a.backup")
	g.eventually("the restore is in the journal", func() bool {
		return strings.Contains(cliOutput(t, 0, "journal", at), "state restored from a backup")
	})
	g.stop()

	check(cliOutput(t, 0, "state", "inspect", "--dir", dir), "totals        1")
	check(cliOutput(t, 0, "journal", "--dir", dir), "settings at the start", "1→2")
	check(cliOutput(t, 0, "state", "compact", "--dir", dir), "before")
	check(cliOutput(t, 0, "state", "backup", "--dir", dir, filepath.Join(tmp, "b.backup")), "b.backup")
	elsewhere := filepath.Join(tmp, "elsewhere")
	check(cliOutput(t, 1, "state", "restore", "--dir", elsewhere, half), "not a whole backup")
	check(cliOutput(t, 0, "state", "restore", "--dir", elsewhere, filepath.Join(tmp, "b.backup")), "restored")
	check(cliOutput(t, 0, "journal", "--dir", elsewhere), "1→2")
	check(cliOutput(t, 1, "state", "inspect", at), "nothing listens at")
}

func TestState_InMemorySaysSo(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{})
	g := serve(t, s.url)
	at := "--admin=" + g.admin
	if text := getText(t, g.admin+"/readyz"); text != "ready\nstorage.dir is empty: state is in memory only\n" {
		t.Errorf("readyz: %q", text)
	}
	if text := cliOutput(t, 1, "state", "inspect", at); !strings.Contains(text, "no state is stored: storage.dir is empty") {
		t.Errorf("got %s", text)
	}
	if text := cliOutput(t, 1, "state", "backup", filepath.Join(t.TempDir(), "b"), at); !strings.Contains(text, "no state is stored") {
		t.Errorf("got %s", text)
	}
	if text := cliOutput(t, 0, "jobs", at); !strings.Contains(text, "optimize") || strings.Contains(text, "rollup") {
		t.Errorf("got %s", text)
	}
}

// The engine is killed, and its directory taken away, under a server that goes on serving, says so, and stores again when it can.
func TestState_EngineTrouble(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{})
	dir := filepath.Join(t.TempDir(), "state")
	c := startChild(t, s.url, "OPTIMIZER_STORAGE__DIR="+dir)
	ctx, cancel := context.WithCancel(t.Context())
	var failed atomic.Int64
	var a told
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			if !a.ask(http.DefaultClient, c.proxy) {
				failed.Add(1)
			}
			pause()
		}
	})
	for range 3 {
		before := c.metric("llmopt_storage_restarts_total")
		killEngine(t, c)
		eventually(t, "the engine is begun anew", 20*time.Second, func() bool {
			return c.metric("llmopt_storage_restarts_total") > before && c.metric("llmopt_storage_up") == 1
		})
	}
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	killEngine(t, c)
	eventually(t, "the server says that it keeps state in memory", 20*time.Second, func() bool {
		return strings.Contains(getText(t, c.admin+"/readyz"), "ready\nstate is in memory for now: ")
	})
	if c.metric("llmopt_storage_up") != 0 {
		t.Error("up without an engine")
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	eventually(t, "state is stored again", 20*time.Second, func() bool { return c.metric("llmopt_storage_up") == 1 })
	cancel()
	wg.Wait()
	c.signal(syscall.SIGTERM)
	if err := c.ended(20 * time.Second); err != nil {
		t.Errorf("after SIGTERM: %v; %s", err, c.stderr)
	}
	store := offline(t, dir)
	defer store.Close()
	n, _ := a.until(time.Now())
	if sum := storedSums(t, store); sum.Attempts != n || n == 0 || failed.Load() > 0 {
		t.Errorf("%d attempts are stored, clients were told %d, %d requests failed", sum.Attempts, n, failed.Load())
	}
}
