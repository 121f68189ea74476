package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLoad_Pacing(t *testing.T) {
	t.Parallel()
	load := func(text string) (*Config, error) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "c.toml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return Load(Options{File: file})
	}
	c, err := load("[provider_defaults.pacing]\nmax_wait = \"5s\"\nshare = 0.9\n[providers.openai.pacing]\nshare = 1\nconcurrency = \"aimd\"\n")
	if err != nil {
		t.Fatal(err)
	}
	if p := c.Providers["openai"].Pacing; !p.Enabled || p.Share != 1 || p.MaxWait != 5*time.Second || p.Concurrency != "aimd" || p.Waiters != 1000 {
		t.Errorf("openai: %+v", p)
	}
	if p := c.Providers["gemini"].Pacing; p.Share != .9 || p.Concurrency != "off" || p.MinConcurrent != 2 {
		t.Errorf("gemini: %+v", p)
	}
	check := func(text, want string) {
		t.Helper()
		if _, err := load("[providers.openai.pacing]\n" + text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	check("share = 0.4", "0.5..1")
	check("max_wait = \"11m\"", "1ms..10m")
	check("waiters = 0", "1..100000")
	check("concurrency = \"on\"", "off, aimd, gradient")
	check("min_concurrent = 8\nmax_concurrent = 4", "less than min_concurrent, 8")
}
