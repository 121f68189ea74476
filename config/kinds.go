package config

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // containers have no time zone database

	"github.com/robfig/cron/v3"
)

// kindHeader and kindCredential are the kinds of secrets: a literal in a file is an error for credentials only.
const (
	kindHeader     = "header"
	kindCredential = "credential"
)

// stringKinds are the checks that the kind tag names. check returns what is wrong with the value, or "".
var stringKinds = map[string]struct {
	allowed string
	check   func(string) string
}{
	"listen":    {"host:port, [ipv6]:port or :port (all interfaces); port 0..65535", checkListen},
	"path":      {"path of a file, or empty", nil},
	"socket":    {"path of at most 100 bytes, or empty", checkSocket},
	"dir":       {"path of a directory, or empty", nil},
	"sink":      {"stdout, stderr, off, or the path of a file", checkSink},
	"base_url":  {"http:// or https:// URL without user, query and fragment", checkBaseURL},
	"endpoint":  {"http:// or https:// URL without user, query and fragment, or empty", checkEndpoint},
	"hostname":  {"host name, or empty", checkHostname},
	"namespace": {"letters, digits, '_', '-' and '.', or empty", checkNamespace},
	"money":     {"US dollars such as \"$2\" or \"$0.25\", or empty", checkMoney},
	"scope":     {"\"*\" (all together), \"each\" (every one on its own), or a name", checkScope},
	"provider":  {"name of a provider, or empty", nil},
	"model":     {"name of a model, or empty", nil},
	"pattern":   {"a name, with * for any run of characters", checkPattern},
	"patterns":  {"list of names, with * for any run of characters", checkPattern},
	"statuses":  {"list of statuses such as 429, or 5xx for all from 500 on", checkStatus},
	"overrides": {"list of " + strings.Join(overrideNames, ", "), checkOverride},
	"profiles":  {"list of development, production, test", checkProfile},
	"pairs":     {"list of \"name: value\"", checkPair},
	"timezone":  {"name of the time zone database such as Europe/Paris, UTC or Local", checkTimezone},
	"cron":      {"cron expression of five fields, or of six with seconds first, or empty", checkCron},
	kindHeader:  {"header names (a-z, 0-9, '-' and other token characters) with values without line breaks", nil},
}

func checkListen(s string) string {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "not an address with a port"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || !digits(port) || n > 65535 {
		return "not a port number"
	}
	if host == "" || isHost(host) {
		return ""
	}
	return "not a host name or IP address"
}

// checkSocket bounds the path as systems do: 104 or 108 bytes with an end mark.
func checkSocket(s string) string {
	if len(s) > 100 {
		return "too long for a socket"
	}
	return ""
}

func checkEndpoint(s string) string {
	if s == "" {
		return ""
	}
	return checkBaseURL(s)
}

func checkTimezone(s string) string {
	if _, err := time.LoadLocation(s); err != nil || s == "" {
		return "not a time zone"
	}
	return ""
}

var cronParser = cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

func checkCron(s string) string {
	if s == "" {
		return ""
	}
	if strings.Contains(s, "TZ=") {
		return "the time zone is schedule.timezone"
	}
	if _, err := cronParser.Parse(s); err != nil {
		return err.Error()
	}
	return ""
}

func checkSink(s string) string {
	if strings.TrimSpace(s) == "" {
		return "empty"
	}
	return ""
}

func checkScope(s string) string {
	if strings.TrimSpace(s) == "" {
		return "empty"
	}
	return ""
}

func checkProfile(s string) string {
	if slices.Contains(profileNames, s) {
		return ""
	}
	return "not a list of profiles"
}

func checkPair(s string) string {
	if name, _, ok := strings.Cut(s, ":"); !ok || !isToken(strings.TrimSpace(name)) {
		return "not a header's name, a colon and a value"
	}
	return ""
}

func checkHostname(s string) string {
	if s == "" || isHost(s) {
		return ""
	}
	return "not a host name"
}

func checkNamespace(s string) string {
	for i := range len(s) {
		if c := s[i]; !alphanumeric(c) && c != '_' && c != '-' && c != '.' {
			return "not a provider of the price list"
		}
	}
	return ""
}

// checkBaseURL accepts the empty string: that a provider has none is found when the layers are merged.
func checkBaseURL(s string) string {
	if s == "" {
		return ""
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '\\' {
			return "not a URL: it holds a space, a backslash, or a character beyond ASCII"
		}
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "not a URL"
	case u.Scheme != "http" && u.Scheme != "https":
		return "not an http:// or https:// URL"
	case u.User != nil:
		return "holds a user or password; use api_key or headers"
	case strings.Contains(s, "?"):
		return "holds a query; clients and headers carry parameters"
	case strings.Contains(s, "#"):
		return "holds a fragment"
	case !isHost(u.Hostname()):
		return "names no host"
	case strings.HasSuffix(u.Host, ":"):
		return "names no port after the colon"
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "not a port number"
		}
	}
	return ""
}

// isHost reports whether s is an IP address or a host name (letters, digits, '-', '_' in labels of 1 to 63 bytes).
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	if s = strings.TrimSuffix(s, "."); s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; !alphanumeric(c) && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// IsLoopback reports whether an address, host:port, is one of this machine only.
func IsLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// isProviderName reports whether s is one or more of a-z, 0-9 and '_'.
func isProviderName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_') {
			return false
		}
	}
	return s != ""
}

// isToken reports whether s is a token of RFC 9110, as header names are.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; !alphanumeric(c) && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// isHeaderValue reports whether s can stand in a header: no control characters but tabs, no blanks at the ends.
func isHeaderValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return strings.TrimSpace(s) == s
}

// credentialWords mark the names of headers that carry credentials.
var credentialWords = []string{"auth", "key", "token", "secret", "cookie", "password", "credential", "signature"}

// headerKind tells whether a header's value is a credential by the header's name.
func headerKind(name string) string {
	for _, word := range credentialWords {
		if strings.Contains(strings.ToLower(name), word) {
			return kindCredential
		}
	}
	return kindHeader
}
