package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// load loads the file (none when empty) and the variables, one NAME=value a line.
func load(file, variables string) (*Config, error) {
	var environ []string
	for line := range strings.Lines(variables) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			environ = append(environ, line)
		}
	}
	return Load(Options{File: file, Environ: environ})
}

// TestLoad_Files loads testdata/*.toml, .yaml and .json in the environment of the .env file beside it. What a bad one is told
// stands in the .want file, one problem a line.
func TestLoad_Files(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.*.*")
	files = slices.DeleteFunc(files, func(name string) bool { return slices.Contains([]string{".env", ".want"}, filepath.Ext(name)) })
	if err != nil || len(files) < 10 {
		t.Fatalf("testdata: got %d files, error %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			base := strings.TrimSuffix(file, filepath.Ext(file))
			variables, err := os.ReadFile(base + ".env")
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			_, err = load(file, string(variables))
			if strings.HasSuffix(base, ".good") {
				if err != nil {
					t.Errorf("want no problem, got\n%v", err)
				}
				return
			}
			wrong := new(Error)
			if !errors.As(err, &wrong) {
				t.Fatalf("want an *Error, got %v", err)
			}
			var got strings.Builder
			for _, p := range wrong.Problems {
				got.WriteString(p.String() + "\n")
			}
			want, err := os.ReadFile(base + ".want")
			if err != nil {
				t.Fatalf("%v; got\n%s", err, got.String())
			}
			if got.String() != string(want) {
				t.Errorf("got\n%swant\n%s", got.String(), want)
			}
			if strings.Contains(got.String(), "s3cret") {
				t.Error("a secret is shown")
			}
		})
	}
}

func TestLoad_Defaults(t *testing.T) {
	t.Parallel()
	c, err := Load(Options{})
	if err != nil {
		t.Fatal(err)
	}
	provider := Provider{
		Headers:     map[string]Secret{},
		Timeouts:    Timeouts{Connect: 10 * time.Second, FirstByte: 10 * time.Minute, Idle: 5 * time.Minute, Total: 30 * time.Minute},
		MaxIdle:     512,
		IdleTimeout: time.Minute,
		Pacing:      Pacing{Enabled: true, Share: .97, MaxWait: 2 * time.Second, Waiters: 1000, Concurrency: "off", MinConcurrent: 2},
	}
	openai, anthropic, gemini := provider, provider, provider
	openai.Name, openai.Dialect, openai.BaseURL, openai.RequestUsage = "openai", "openai", "https://api.openai.com/v1", true
	anthropic.Name, anthropic.Dialect, anthropic.BaseURL = "anthropic", "anthropic", "https://api.anthropic.com"
	gemini.Name, gemini.Dialect, gemini.BaseURL = "gemini", "gemini", "https://generativelanguage.googleapis.com"
	want := &Config{
		Server: Server{
			Listen: "127.0.0.1:8080", ReplayLimit: 8 * MiB, MaxBody: 64 * MiB, MaxHeader: 8 * KiB,
			HeaderTimeout: 10 * time.Second, BodyTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
			WriteTimeout: time.Minute, ShutdownTimeout: 30 * time.Second, ResponseHeaders: true, MaxConnections: 65536, RawIO: true, MemoryThreshold: 90,
		},
		Admin:   Admin{Listen: "127.0.0.1:8081"},
		Log:     Log{Level: "info", Format: "json", Access: "stderr", MaxSize: 100 * MiB, MaxBackups: 10, MaxAge: 30 * day, Compress: false},
		Prices:  Prices{Refresh: 30 * time.Second},
		Windows: Windows{MaxSeries: 300},
		Storage: Storage{
			Dir: "llmopt-data", MinFree: 64 * MiB, MaxSize: 2 * GiB, BackupKeep: 7,
			Retention: Retention{Finest: 2 * time.Hour, Minutes: 2 * day, Hours: 400 * day, Totals: 400 * day, Journal: 400 * day, Snapshots: 1000},
		},
		Schedule: Schedule{
			Timezone: "UTC", Rollup: "*/10 * * * * *", Retention: "23 * * * *", Backup: "0 3 * * *", Rotate: "0 0 * * *", Optimize: "*/10 * * * * *", Analyse: "*/5 * * * *", Jitter: time.Minute, Timeout: 10 * time.Minute,
		},
		Cache: Cache{Memory: 256 * MiB, CacheRules: CacheRules{TTL: time.Hour, Store: "deterministic", Coalesce: true, Revalidate: .01, MaxEntry: MiB, Finish: []string{}, MaxTTL: day}},
		Optimizer: Optimizer{
			Enabled: true, Holdback: .02, Deadline: 5 * time.Second, MaxStep: .2, MaxMove: 1, MinMove: .02, CoolDown: time.Minute, PerHour: 6,
			Routing:  RoutingTuner{Mode: "canary", MinShare: .0001, MaxShare: .9999, MinSaving: .01, Confidence: .8, MinCount: 20},
			Timeouts: TimeoutsTuner{Mode: "recommend"}, Budget: BudgetTuner{Mode: "recommend"},
			Limits:  LimitsTuner{Mode: "recommend"},
			Caching: CachingTuner{Mode: "recommend", MinTTL: 30 * time.Second, MaxTTL: 7 * 24 * time.Hour, MaxStale: .01, StaleCost: 10},
			Canary:  OptimizerCanary{Time: 2 * time.Minute, Requests: 300, Longest: 24 * time.Hour, Failures: .003, Violations: .005},
		},
		Telemetry: Telemetry{Protocol: "grpc", Service: "llmopt", Traces: true, Sample: 10, Metrics: true, Interval: time.Minute},
		Providers: map[string]Provider{"openai": openai, "anthropic": anthropic, "gemini": gemini},
		Routes:    map[string]Route{},
		Callers:   map[string]Caller{},
		Limits:    map[string]Limit{},
		Admission: Admission{MaxWait: 2 * time.Second, Waiters: 1000, Jitter: 20 * time.Millisecond, Lease: 15 * time.Minute, Entries: 10_000, UnknownCallers: "serve"},
		Alerts:    Alerts{Repeat: 4 * time.Hour, Timeout: 10 * time.Second, GiveUp: time.Hour, Queue: 100, Webhooks: map[string]Webhook{}},
		Budget:    Budget{Period: "month", Timezone: "UTC"},
	}
	every := Flag{Enabled: true, Percent: 100, Share: 100, Environments: []string{}, Routes: []string{}, Headers: []string{}, Tags: []string{}}
	want.FlagSettings = map[string]Flag{"request_usage": every, "response_headers": every}
	want.Flags, want.sum = newFlagSet(want.FlagSettings, ""), FingerprintOf(nil)
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestLoad_LaterLayersWin(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.toml")
	write(t, file, "server.listen = ':1'\nserver.max_body = '1MiB'\nproviders.openai.timeouts.idle = '1s'\n"+
		"provider_defaults.timeouts = { idle = '2s', total = '3s' }\n")
	c, err := load(file, "OPTIMIZER_SERVER__MAX_BODY=2000\nOPTIMIZER_PROVIDERS__GEMINI__TIMEOUTS__TOTAL=4s")
	if err != nil {
		t.Fatal(err)
	}
	check := func(got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	check(c.Server.Listen, ":1")
	check(c.Server.MaxBody, Size(2000))
	check(c.Providers["openai"].Timeouts, Timeouts{10 * time.Second, 10 * time.Minute, time.Second, 3 * time.Second})
	check(c.Providers["gemini"].Timeouts, Timeouts{10 * time.Second, 10 * time.Minute, 2 * time.Second, 4 * time.Second})
}

func TestLoad_ProvidersFromEnvironmentAlone(t *testing.T) {
	t.Parallel()
	c, err := load("", `
		OPTIMIZER_PROVIDERS__MY_AZURE__BASE_URL=https://x.openai.azure.com/openai/
		OPTIMIZER_PROVIDERS__MY_AZURE__API_KEY=s3cret
		OPTIMIZER_PROVIDERS__MY_AZURE__AUTH=api-key
		OPTIMIZER_PROVIDERS__MY_AZURE__HEADERS__API_VERSION=2024-10-21
		OPTIMIZER_PROVIDERS__MY_AZURE__HEADERS__X_TOKEN=env:TOKEN
		OPTIMIZER_PROVIDERS__MY_AZURE__TLS__INSECURE=1
		OPTIMIZER_PROVIDERS__MY_AZURE__MAX_IDLE=7
		OPTIMIZER_PROVIDERS__A__B___BASE_URL=http://127.0.0.1:1
		OPTIMIZER_PROVIDERS___X__BASE_URL=http://[::1]:2/v1
		OPTIMIZER_ENV=test
		OPTIMIZER_DATA=/nowhere
		TOKEN=s3cret token`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.ProviderNames(), []string{"_x", "a__b_", "anthropic", "gemini", "my_azure", "openai"}; !reflect.DeepEqual(got, want) {
		t.Errorf("names: got %v, want %v", got, want)
	}
	want := c.Providers["a__b_"] // every default
	want.Name, want.BaseURL, want.APIKey, want.Auth = "my_azure", "https://x.openai.azure.com/openai", NewSecret("s3cret"), "api-key"
	want.Headers = map[string]Secret{"api-version": NewSecret("2024-10-21"), "x-token": NewSecret("s3cret token")}
	want.TLS.Insecure, want.MaxIdle = true, 7
	if got := c.Providers["my_azure"]; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestLoad_HeadersMeetAcrossLayers: the case of a header doesn't matter, and its name may hold dots.
func TestLoad_HeadersMeetAcrossLayers(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.toml")
	write(t, file, "[providers.openai.headers]\nX-Team = 'red'\n'x.y' = 'dots'\n")
	c, err := load(file, "OPTIMIZER_PROVIDERS__OPENAI__HEADERS__X_TEAM=blue")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Secret{"x-team": NewSecret("blue"), "x.y": NewSecret("dots")}
	if got := c.Providers["openai"].Headers; !reflect.DeepEqual(got, want) {
		t.Errorf("got %d headers, team %q", len(got), got["x-team"].Reveal())
	}
}

func TestLoad_ReferencesAreRelativeToTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "key"), "s3cret\r\n")
	write(t, filepath.Join(dir, "prices.json"), "{}")
	file := filepath.Join(dir, "c.toml")
	write(t, file, "providers.openai.api_key = 'file:key'\nprices.file = 'prices.json'\nlog.access = 'logs/access.log'\n")
	c, err := load(file, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Providers["openai"].APIKey.Reveal(); got != "s3cret" {
		t.Errorf("key: got %q", got)
	}
	if want := filepath.Join(dir, "prices.json"); c.Prices.File != want {
		t.Errorf("prices.file: got %q, want %q", c.Prices.File, want)
	}
	if want := filepath.Join(dir, "logs/access.log"); c.Log.Access != want {
		t.Errorf("log.access: got %q, want %q", c.Log.Access, want)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A route's cache is as [cache] says, but for what the route, or the defaults of routes, say of their own.
func TestLoad_CacheOfRoutes(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.toml")
	text := "[cache]\nenabled = true\nttl = \"2h\"\nmemory = \"8MiB\"\n[route_defaults.cache]\nidle = \"1m\"\n" +
		"[[routes]]\nname = \"a\"\n[[routes.targets]]\nname = \"x\"\nprovider = \"openai\"\n" +
		"[[routes]]\nname = \"b\"\nmatch = { model = [\"m\"] }\n[routes.cache]\nenabled = false\nttl = \"5m\"\nstore = \"all\"\n[[routes.targets]]\nname = \"x\"\nprovider = \"openai\"\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Options{File: file})
	if err != nil {
		t.Fatal(err)
	}
	a, b := c.Routes["a"].Cache, c.Routes["b"].Cache
	if !a.Enabled || a.TTL != 2*time.Hour || a.Idle != time.Minute || a.Store != "deterministic" {
		t.Errorf("a: %+v", a)
	}
	if b.Enabled || b.TTL != 5*time.Minute || b.Store != "all" || b.MaxEntry != MiB {
		t.Errorf("b: %+v", b)
	}
	if _, err := load("", "OPTIMIZER_CACHE__DISK=1GiB\nOPTIMIZER_STORAGE__DIR="); err == nil || !strings.Contains(err.Error(), "cache.disk") {
		t.Errorf("a disk without a folder: %v", err)
	}
	if err := os.WriteFile(file, []byte("[cache]\nstore = \"some\"\n[[routes]]\nname = \"a\"\n[routes.cache]\nmemory = \"1MiB\"\nttl = \"0s\"\n[[routes.targets]]\nname = \"x\"\nprovider = \"openai\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Load(Options{File: file})
	for _, want := range []string{"cache.store", "routes.a.cache.memory", "routes.a.cache.ttl"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not named: %v", want, err)
		}
	}
}
