package config

import (
	"reflect"

	"strings"
	"testing"
	"time"
)

// TestDefaults_DocumentEveryKey holds default.toml to the schema: every key stands in it, under a comment that ends with
// what may stand there.
func TestDefaults_DocumentEveryKey(t *testing.T) {
	t.Parallel()
	lines := strings.Split(string(defaultTOML), "\n")
	at := linesOf(defaultTOML)
	for _, key := range keysOf(nil, settingsType, "") {
		if key == "providers" || key == "routes" || key == "route_defaults.targets" || key == "alerts.webhooks" || key == "callers" || key == "limits" {
			continue // their keys are free; the tables of defaults document them
		}
		line, ok := at[key]
		if !ok {
			t.Errorf("%s: missing", key)
			continue
		}
		comment := lines[line-2]
		if !strings.HasPrefix(comment, "# ") {
			t.Errorf("default.toml:%d: %s has no comment", line, key)
		}
		want := stringKinds[kindHeader].allowed
		if l, isLeaf := leafAt(strings.Split(key, ".")); isLeaf {
			want = l.allowed()
		} else if key != "provider_defaults.headers" && key != "route_defaults.match.header" && key != "caller_defaults.header" {
			continue
		}
		if comment != "# Allowed: "+want {
			t.Errorf("default.toml:%d: %s: got %q, want %q", line, key, comment, "# Allowed: "+want)
		}
	}
}

// TestSchema_TagsAreRight decodes both ends of every range and finds every kind.
func TestSchema_TagsAreRight(t *testing.T) {
	t.Parallel()
	leaves := 0
	for _, key := range keysOf(nil, settingsType, "") {
		l, isLeaf := leafAt(strings.Split(key, "."))
		if !isLeaf {
			continue
		}
		leaves++
		if l.typ.Kind() != reflect.String && l.allow != "" {
			l.permits(reflect.Zero(l.typ)) // panics on a tag it can't read
		}
		if _, ok := stringKinds[l.kind]; !ok && l.kind != "" && l.kind != kindCredential {
			t.Errorf("%s: no kind %q", key, l.kind)
		}
		if l.allowed() == "" {
			t.Errorf("%s: nothing is allowed", key)
		}
	}
	if leaves < 30 {
		t.Errorf("got %d leaves", leaves)
	}
}

func TestLeaf_Decode(t *testing.T) {
	t.Parallel()
	check := func(key string, raw any, text bool, want any) {
		t.Helper()
		l, ok := leafAt(strings.Split(key, "."))
		if !ok {
			t.Fatalf("no key %s", key)
		}
		v, reason := l.decode(raw, text)
		if want == nil {
			if reason == "" {
				t.Errorf("%s = %#v: got %v, want a problem", key, raw, v)
			}
			return
		}
		if reason != "" || !v.IsValid() || v.Interface() != want {
			t.Errorf("%s = %#v: got %v %q, want %v", key, raw, v, reason, want)
		}
	}
	check("windows.max_series", int64(5), false, 5)
	check("windows.max_series", "5", true, 5)
	check("windows.max_series", "5", false, nil) // quoted in a file
	check("windows.max_series", "0", true, nil)
	check("windows.max_series", 5.0, false, nil)
	check("server.max_body", int64(7), false, Size(7))
	check("server.max_body", int64(-7), false, nil)
	check("server.max_body", "16GiB", false, 16*GiB)
	check("server.max_body", "17179869185", true, nil) // one byte more
	check("server.header_timeout", int64(10), false, nil)
	check("server.header_timeout", "9ms", false, nil)
	check("provider_defaults.timeouts.total", int64(0), false, time.Duration(0))
	check("provider_defaults.timeouts.total", "0", true, time.Duration(0))
	check("provider_defaults.timeouts.total", "7d", true, 7*day)
	check("provider_defaults.timeouts.total", "7d1ns", true, nil)
	check("admin.pprof", true, false, true)
	check("admin.pprof", "true", false, nil)
	check("admin.pprof", "0", true, false)
	check("admin.pprof", "yes", true, nil)
	check("log.level", "warn", false, "warn")
	check("log.level", "WARN", false, nil)
	check("provider_defaults.auth", "", false, "")
	check("provider_defaults.auth", "basic", false, nil)
	check("server.listen", "8080", true, nil)
	check("server.listen", ":0", true, ":0")
	check("server.listen", "[::1]:65535", true, "[::1]:65535")
	check("server.listen", "127.0.0.1:65536", true, nil)
	check("server.listen", "a b:1", true, nil)
	check("server.listen", "host:http", true, nil)
	check("log.access", " ", true, nil)

	url := func(s string, ok bool) {
		t.Helper()
		if ok {
			check("provider_defaults.base_url", s, true, s)
		} else {
			check("provider_defaults.base_url", s, true, nil)
		}
	}
	url("https://api.openai.com/v1", true)
	url("http://[::1]:8080/a%2Fb", true)
	url("http://ollama:11434", true)
	url("ftp://x", false)
	url("api.openai.com", false)
	url("https://", false)
	url("https://:443", false)
	url("https://x:", false)
	url("https://x:0", false)
	url("https://x:99999", false)
	url("https://u:p@x", false)
	url("https://x/?a=b", false)
	url("https://x/?", false)
	url("https://x/#f", false)
	url("https://x/a b", false)
	url("https://x\\y", false)
	url("https://x/ü", false)
	url("https://-x-/", false)
}

func TestEditDistance(t *testing.T) {
	t.Parallel()
	check := func(a, b string, want int) {
		t.Helper()
		if got := editDistance(a, b); got != want {
			t.Errorf("editDistance(%q, %q): got %d, want %d", a, b, got, want)
		}
		if got := editDistance(b, a); got != want {
			t.Errorf("editDistance(%q, %q): got %d, want %d", b, a, got, want)
		}
	}
	check("", "", 0)
	check("", "abc", 3)
	check("kitten", "sitting", 3)
	check("flaw", "lawn", 2)
	check("listen", "listen", 0)
	if _, ok := nearest("zzzzzz", []string{"listen"}); ok {
		t.Error("nearest finds what is not near")
	}
	if got, _ := nearest("listn", []string{"lister", "listen"}); got != "listen" {
		t.Errorf("nearest: got %q", got)
	}
}

func TestLinesOf(t *testing.T) {
	t.Parallel()
	got := linesOf([]byte("# c\na = 1\n[b.c]\nd = { e = 1, f.g = 2 }\n\"x y\" = '''\n\n'''\nz = 1"))
	want := map[string]int{"a": 2, "b": 3, "b.c": 3, "b.c.d": 4, "b.c.d.e": 4, "b.c.x y": 5, "b.c.z": 8, "b.c.d.f": 4, "b.c.d.f.g": 4}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
