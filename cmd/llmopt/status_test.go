package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/optimizer/control"
	"llm-auto-optimizer/optimizer/control/controlpb"
	"llm-auto-optimizer/proxy/policy"
)

// adminOf serves the admin service of r on a free loopback port until the test ends and returns its address.
func adminOf(t *testing.T, r *window.Recorder, token string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := control.New(control.Options{
		Version:   control.Version{Version: "v9.8.7"},
		ProxyURL:  "http://127.0.0.1:1234",
		AdminURL:  "http://" + ln.Addr().String(),
		Token:     config.NewSecret(token),
		Providers: func() map[string]config.Provider { return map[string]config.Provider{"openai": {}, "anthropic": {}} },
		Policy:    policy.NewHolder(policy.Snapshot{}),
		Windows:   r,
		Log:       zerolog.Nop(),
	})
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln, nil) }()
	t.Cleanup(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(s.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// command runs one command with a command line of its own and returns what it printed.
func command(ctx context.Context, cmd interface{ Run(*environment) error }, environ []string, args ...string) (string, error) {
	parser, err := kong.New(cmd)
	if err != nil {
		return "", err
	}
	if _, err := parser.Parse(args); err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = cmd.Run(&environment{ctx: ctx, stdout: &out, stderr: &out, environ: environ})
	return out.String(), err
}

// busy is a recorder that has just seen some traffic, part of it under a hostile name.
func busy() *window.Recorder {
	r := window.NewRecorder(10)
	now := time.Now()
	for range 9 {
		r.Series(window.Key{Target: "openai/gpt"}).Record(now, &window.Observation{
			Duration: 1500 * time.Millisecond, TTFT: 250 * time.Millisecond, TokensInput: 1000, TokensOutput: 20, CostNanoUSD: 250_000_000,
		})
	}
	r.Series(window.Key{Target: "openai/gpt"}).Record(now, &window.Observation{Outcome: window.RateLimited, Duration: time.Millisecond, Unpriced: true})
	r.Series(window.Key{Target: "evil/\x1b[31mred"}).Record(now, &window.Observation{Duration: time.Second})
	return r
}

func TestStatus_PrintsATable(t *testing.T) {
	t.Parallel()
	addr := adminOf(t, busy(), "")
	out, err := command(t.Context(), &statusCmd{}, []string{"OPTIMIZER_ADMIN__LISTEN=" + addr})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"llmopt v9.8.7, up ", "mode observe, policy 1, ready\n", "proxy http://127.0.0.1:1234, admin http://" + addr, "providers anthropic, openai\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("got\n%s\nwant it to contain %q", out, want)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("got an escape sequence of a client's: %q", out)
	}
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	table := lines[4:]
	if len(table) != 4 || !strings.HasPrefix(table[1], "evil/?[31mred ") || !strings.HasPrefix(table[2], "openai/gpt ") || !strings.HasPrefix(table[3], "total ") {
		t.Fatalf("got table\n%s", strings.Join(table, "\n"))
	}
	fields := strings.Fields(table[2])
	fields = append(fields[:2], fields[3:]...) // without the rate, which depends on the time of day
	want := "openai/gpt 10 10.0% 251ms 251ms 1.50s 1.50s 9.00k 0 180 $2.2500 rate_limited 1, unpriced 1"
	if got := strings.Join(fields, " "); got != want {
		t.Errorf("got row\n%s, want\n%s", got, want)
	}
}

func TestStatus_JSONIsTheAnswerOfTheAPI(t *testing.T) {
	t.Parallel()
	out, err := command(t.Context(), &statusCmd{}, nil, "--json", "--admin", adminOf(t, busy(), "")+"/", "--span", "1h")
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		NotReady *string
		Targets  []struct {
			Target  string
			Summary struct{ Requests, TokensCacheRead string }
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(got.Targets) != 2 || got.Targets[1].Summary.Requests != "10" {
		t.Errorf("got %s", out)
	}
	if got.NotReady == nil || got.Targets[1].Summary.TokensCacheRead != "0" {
		t.Errorf("fields that are zero are missing: %s", out)
	}
}

func TestStatus_IdleServerSaysSo(t *testing.T) {
	t.Parallel()
	out, err := command(t.Context(), &statusCmd{}, nil, "--admin", adminOf(t, window.NewRecorder(1), ""), "--span", "10m")
	if err != nil || !strings.Contains(out, "No requests in the last 10m") {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestStatus_Token(t *testing.T) {
	t.Parallel()
	addr := adminOf(t, busy(), "s3cret")
	check := func(ok bool, environ []string, args ...string) {
		t.Helper()
		_, err := command(t.Context(), &statusCmd{}, environ, append(args, "--admin", addr)...)
		if (err == nil) != ok {
			t.Errorf("%v %v: got %v", environ, args, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "OPTIMIZER_ADMIN__TOKEN") || errors.Is(err, errUsage)) {
			t.Errorf("%v %v: got %v, want advice and exit status 1", environ, args, err)
		}
	}
	check(false, nil)
	check(false, []string{"OPTIMIZER_ADMIN__TOKEN=other"})
	check(true, []string{"OPTIMIZER_ADMIN__TOKEN=s3cret"})
	check(true, []string{"OPTIMIZER_ADMIN__TOKEN=other"}, "--token", "s3cret")
	check(true, nil, "--health") // open to everyone
}

func TestStatus_NothingListens(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{nil, {"--health"}, {"--watch"}, {"--json"}} {
		_, err := command(t.Context(), &statusCmd{}, []string{"OPTIMIZER_ADMIN__LISTEN=" + addr}, args...)
		if err == nil || !strings.Contains(err.Error(), "nothing listens at http://"+addr) || errors.Is(err, errUsage) {
			t.Errorf("%v: got %v", args, err)
		}
	}
}

func TestStatus_Health(t *testing.T) {
	t.Parallel()
	out, err := command(t.Context(), &statusCmd{}, []string{"OPTIMIZER_ADMIN__LISTEN=" + adminOf(t, busy(), "")}, "--health")
	if err != nil || out != "ok\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestStatus_WatchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	addr := adminOf(t, busy(), "")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := &statusCmd{adminFlags: adminFlags{Admin: addr}, Span: time.Minute, JSON: true, Watch: true}
	out := &lineSink{first: cancel}
	if err := cmd.Run(&environment{ctx: ctx, stdout: out, stderr: out}); err != nil {
		t.Fatal(err)
	}
	if strings.Count(out.String(), "\n") != 1 || !json.Valid(out.Bytes()) {
		t.Errorf("got %q, want one line of JSON", out.String())
	}
}

// lineSink keeps what is written and reports the first write.
type lineSink struct {
	bytes.Buffer
	first func()
}

func (s *lineSink) Write(p []byte) (int, error) {
	s.first()
	return s.Buffer.Write(p)
}

func TestStatus_UsageErrors(t *testing.T) {
	t.Parallel()
	check := func(environ []string, args ...string) {
		t.Helper()
		if _, err := command(t.Context(), &statusCmd{}, environ, args...); !errors.Is(err, errUsage) {
			t.Errorf("%v %v: got %v, want a usage error", environ, args, err)
		}
	}
	check(nil, "--admin", "ftp://localhost:1")
	check(nil, "--admin", "http://")
	check(nil, "--admin", "localhost:1", "--span", "0s")
	check(nil, "--admin", "localhost:1", "--span=-5m")
	check([]string{"OPTIMIZER_ADMIN__LISTEN=nonsense"})
	check([]string{"OPTIMIZER_ADMIN__LISTEN=127.0.0.1:0"})
}

func TestURLOfListener(t *testing.T) {
	t.Parallel()
	check := func(listen, want string) {
		t.Helper()
		if got, err := urlOfListener(listen); err != nil || got != want {
			t.Errorf("urlOfListener(%q): got %q, %v, want %q", listen, got, err, want)
		}
	}
	check("127.0.0.1:8081", "http://127.0.0.1:8081")
	check("0.0.0.0:9", "http://127.0.0.1:9")
	check(":9", "http://127.0.0.1:9")
	check("[::]:9", "http://[::1]:9")
	check("admin.internal:9", "http://admin.internal:9")
}

func TestShortNumbers(t *testing.T) {
	t.Parallel()
	check := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	check(shortDuration(0), "0s")
	check(shortDuration(.000042), "42µs")
	check(shortDuration(.3124), "312ms")
	check(shortDuration(1.236), "1.24s")
	check(shortDuration(200), "3m20s")
	check(shortDuration(300), "5m")
	check(shortDuration(4*3600+600), "4h10m")
	check(shortDuration(51*3600), "2d3h")
	check(shortCount(0), "0")
	check(shortCount(999), "999")
	check(shortCount(1000), "1.00k")
	check(shortCount(45_600), "45.6k")
	check(shortCount(999_499), "999k")
	check(shortCount(999_500), "1.00M")
	check(shortCount(7_000_000_000_000_000), "7000T")
	check(dollars(0), "$0")
	check(dollars(99_999), "<$0.0001")
	check(dollars(1_234_567_890), "$1.2346")
	check(dollars(123_456_000_000), "$123.46")
	check(cost(&controlpb.Summary{CostNanousd: 5_000_000, Unpriced: 1}), "$0.0050")
	check(cost(&controlpb.Summary{Unpriced: 1}), "unpriced") // unknown is not zero
	check(cost(&controlpb.Summary{}), "$0")
	check(percent(0, 0), "-")
	check(percent(1, 8), "12.5%")
	check(quantile(&controlpb.Quantiles{}, (*controlpb.Quantiles).GetP50), "-")
	check(clip(strings.Repeat("a", 40)+strings.Repeat("b", 40)), strings.Repeat("a", 27)+"…"+strings.Repeat("b", 27))
}

func TestVersion(t *testing.T) {
	t.Parallel()
	out, err := command(t.Context(), &versionCmd{}, nil, "--json")
	var got control.Version
	if err != nil || json.Unmarshal([]byte(out), &got) != nil || got.Version == "" || !strings.HasPrefix(got.Go, "go") {
		t.Errorf("got %q, %v", out, err)
	}
	if out, err := command(t.Context(), &versionCmd{}, nil); err != nil || !strings.HasPrefix(out, "llmopt "+got.Version+"\n") {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestVersion_LinkerGoesBeforeBuildInfo(t *testing.T) {
	t.Parallel()
	info := &debug.BuildInfo{
		Main:     debug.Module{Version: "v0.1.0"},
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}},
	}
	check := func(v, want control.Version) {
		t.Helper()
		if fillVersion(&v, info); v != want {
			t.Errorf("got %+v, want %+v", v, want)
		}
	}
	check(control.Version{}, control.Version{Version: "v0.1.0", Commit: "abc", Date: "2026-01-02T03:04:05Z"})
	check(control.Version{Version: "v2", Commit: "d", Date: "e"}, control.Version{Version: "v2", Commit: "d", Date: "e"})
	info.Main.Version = "(devel)"
	check(control.Version{Commit: "d"}, control.Version{Commit: "d", Date: "2026-01-02T03:04:05Z"})
}
