package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLoadSettings_SayWhereValuesComeFrom(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.yaml")
	write(t, file, "server:\n  max_body: 1MiB\nproviders:\n  x:\n    base_url: http://127.0.0.1:1/\n    headers: {x-a: b}\n    api_key: env:KEY\nflags:\n  request_usage:\n    tags: [a, b]\n")
	_, settings, err := LoadSettings(Options{File: file, Environ: []string{
		"OPTIMIZER_ENV=test", "OPTIMIZER_SERVER__WRITE_TIMEOUT=90s", "OPTIMIZER_PROVIDERS__X__HEADERS__X_TOKEN=s3cret", "KEY=s3cret",
	}})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]Setting{}
	for _, s := range settings {
		if strings.Contains(fmt.Sprint(s), "s3cret") {
			t.Errorf("a secret is shown: %+v", s)
		}
		found[s.Key] = s
	}
	for _, want := range []Setting{
		{Key: "server.max_body", Value: `"1MiB"`, Layer: "file", Source: file, Line: 2},
		{Key: "server.write_timeout", Value: `"1m30s"`, Layer: "environment", Source: "OPTIMIZER_SERVER__WRITE_TIMEOUT"},
		{Key: "server.listen", Value: `"127.0.0.1:0"`, Layer: "profile", Source: "test.toml", Line: 4, Restart: true},
		{Key: "server.raw_io", Value: "true", Layer: "default", Restart: true},
		{Key: "providers.x.base_url", Value: `"http://127.0.0.1:1"`, Layer: "file", Source: file, Line: 5},
		{Key: "providers.x.api_key", Value: `"***"`, Layer: "file", Source: file, Line: 7},
		{Key: "providers.x.headers.x-token", Value: `"***"`, Layer: "environment", Source: "OPTIMIZER_PROVIDERS__X__HEADERS__X_TOKEN"},
		{Key: "providers.x.timeouts.idle", Value: `"5m"`, Layer: "default"},
		{Key: "flags.request_usage.tags", Value: `["a", "b"]`, Layer: "file", Source: file, Line: 10},
		{Key: "flags.request_usage.percent", Value: "100", Layer: "default"},
	} {
		if got := found[want.Key]; got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
}

// TestLoad_Profiles changes the working directory, where a profile's own file is looked for.
//
//nolint:paralleltest // it changes the working directory
func TestLoad_Profiles(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	listen := func(want string, o Options) {
		t.Helper()
		c, err := Load(o)
		if err != nil {
			t.Fatal(err)
		}
		if c.Server.Listen != want {
			t.Errorf("%v: listens on %s, want %s", o, c.Server.Listen, want)
		}
	}
	env := []string{"OPTIMIZER_ENV=test"}
	listen("127.0.0.1:8080", Options{})
	listen("127.0.0.1:0", Options{Environ: env})
	if err := os.Mkdir("config", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join("config", "test.toml"), "server.listen = ':1'\n")
	write(t, "other.toml", "server.listen = ':2'\n")
	listen("127.0.0.1:8080", Options{})
	listen(":1", Options{Environ: env})
	listen(":2", Options{Environ: env, File: "other.toml"})
	listen(":3", Options{Environ: append(env, "OPTIMIZER_SERVER__LISTEN=:3")})
	for _, name := range profileNames {
		if _, err := Load(Options{Environ: []string{"OPTIMIZER_ENV=" + name}, File: "other.toml"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestChanged_NamesKeys(t *testing.T) {
	t.Parallel()
	parse := func(variables string) *Config {
		t.Helper()
		c, err := load("", variables)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	from := parse("OPTIMIZER_PROVIDERS__X__BASE_URL=http://127.0.0.1:1\nOPTIMIZER_PROVIDERS__OPENAI__API_KEY=a")
	to := parse("OPTIMIZER_PROVIDERS__OPENAI__API_KEY=b\nOPTIMIZER_SERVER__MAX_CONNECTIONS=7\nOPTIMIZER_FLAGS__REQUEST_USAGE__PERCENT=1")
	got := Changed(from, to)
	has := func(key string) bool { return slices.Contains(got, key) }
	for _, key := range []string{"providers.openai.api_key", "providers.x.base_url", "server.max_connections", "flags.request_usage.percent"} {
		if !has(key) {
			t.Errorf("%s is missing in %v", key, got)
		}
	}
	if has("server.listen") {
		t.Errorf("server.listen has not changed: %v", got)
	}
	if got, want := NeedRestart(from, to), []string{"server.max_connections"}; !reflect.DeepEqual(got, want) {
		t.Errorf("restart: got %v, want %v", got, want)
	}
	if got := Changed(from, from); len(got) != 0 {
		t.Errorf("nothing has changed: %v", got)
	}
}

// FuzzParse feeds documents of all formats to the parsers: they must neither panic nor name lines that do not exist.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.*.*")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, uint8(len(text)%3))
	}
	names := []string{"x.toml", "x.yaml", "x.json"}
	f.Fuzz(func(t *testing.T, text []byte, format uint8) {
		start := time.Now()
		doc, err := parse(names[format%3], text)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
		if err == nil && doc.values == nil {
			t.Error("neither values nor an error")
		}
		for key, line := range doc.lines {
			if line < 1 || line > 1+strings.Count(string(text), "\n")+strings.Count(string(text), "\r") {
				t.Errorf("%s on line %d", key, line)
			}
		}
	})
}
