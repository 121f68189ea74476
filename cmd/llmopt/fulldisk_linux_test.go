package main

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"llm-auto-optimizer/bench/sim"
)

// The disk of the state fills up in one moment under load, and has room again later: no request fails meanwhile, the server says what is
// the matter, and in the end everything is stored.
func TestState_FullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=96m"); err != nil {
		t.Skipf("a file system of its own can only be mounted with privileges: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	s := simulate(t, sim.Options{})
	c := startChild(t, s.url, "OPTIMIZER_STORAGE__DIR="+dir, "OPTIMIZER_STORAGE__MIN_FREE=8MiB")
	var a told
	serve := func(n int) {
		t.Helper()
		for range n {
			if !a.ask(http.DefaultClient, c.proxy) {
				t.Fatal("a request failed")
			}
		}
	}
	serve(20)
	eventually(t, "state is stored", 10*time.Second, func() bool { return c.metric("llmopt_state_flushes_total") > 0 })
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for chunk := make([]byte, 1<<16); err == nil; {
		_, err = f.Write(chunk)
	}
	f.Close()
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	eventually(t, "the server says so", 20*time.Second, func() bool {
		serve(2)
		return strings.Contains(getText(t, c.admin+"/readyz"), "ready\nstate is in memory for now: ") && c.metric("llmopt_storage_up") == 0
	})
	serve(20)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "state is stored again", 30*time.Second, func() bool {
		serve(1)
		return c.metric("llmopt_storage_up") == 1 && c.metric("llmopt_state_totals_pending") == 0
	})
	c.signal(syscall.SIGTERM)
	if err := c.ended(20 * time.Second); err != nil {
		t.Errorf("after SIGTERM: %v; %s", err, c.stderr)
	}
	store := offline(t, dir)
	defer store.Close()
	n, _ := a.until(time.Now())
	if sum := storedSums(t, store); sum.Attempts != n {
		t.Errorf("%d attempts are stored, clients were told of %d", sum.Attempts, n)
	}
	if aside, _ := filepath.Glob(filepath.Join(dir, "damaged-*")); len(aside) > 0 {
		t.Errorf("taken for damage: %v", aside)
	}
}
