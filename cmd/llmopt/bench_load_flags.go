package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"llm-auto-optimizer/bench/load"
)

const (
	benchRate        = 10.0
	benchMaxRate     = 1e6
	benchFor         = 30 * time.Second
	benchMaxFor      = 168 * time.Hour
	benchMaxForText  = "168h"  // as it can be typed
	benchMaxInFlight = 1 << 16 // connections to one address; there are not more ports
	benchMaxSpeed    = 1e6

	arrivalsConstant = "constant"
	arrivalsPoisson  = "poisson"
	arrivalsTrace    = "trace"
)

// benchModels are the models that requests name when nothing else is said.
var benchModels = map[load.API]string{
	load.Chat:       "gpt-4o-mini",
	load.Responses:  "gpt-4o-mini",
	load.Embeddings: "text-embedding-3-small",
	load.Messages:   "claude-haiku-4-5",
	load.Generate:   "gemini-2.5-flash",
}

// benchLoad is a load that is ready to run.
type benchLoad struct {
	driver   *load.Driver
	kind     load.Kind
	arrivals string        // their kind
	trace    *load.Trace   // nil: not from one
	rate     float64       // 0: by the trace
	length   time.Duration // how long sending takes
}

// badFlag is the error about a flag's value.
func badFlag(name string, value any, want string, args ...any) error {
	return fmt.Errorf("%w: --%s %v: want %s", errUsage, name, value, fmt.Sprintf(want, args...))
}

// load refuses flags that make no sense and makes the driver.
func (c *benchLoadCmd) load(env *environment) (*benchLoad, error) {
	kind, err := c.kind(env)
	if err != nil {
		return nil, err
	}
	switch {
	case c.For != nil && (*c.For <= 0 || *c.For > benchMaxFor):
		return nil, badFlag("for", *c.For, "more than 0 and at most %s", benchMaxForText)
	case c.Drain < 0 || c.Drain > benchMaxFor:
		return nil, badFlag("drain", c.Drain, "0 to %s", benchMaxForText)
	case c.MaxInFlight < 1 || c.MaxInFlight > benchMaxInFlight:
		return nil, badFlag("max-in-flight", c.MaxInFlight, "1 to %d", benchMaxInFlight)
	}
	l := &benchLoad{kind: *kind}
	arrivals, err := c.arrivals(l)
	if err != nil {
		return nil, err
	}
	l.driver, err = load.New(load.Options{
		Arrivals: load.Until(arrivals, l.length), Kinds: []load.Kind{*kind}, Seed: c.Seed, MaxInFlight: c.MaxInFlight, Drain: c.Drain,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	return l, nil
}

// arrivals are when requests are sent. It sets the load's kind of arrivals, trace, rate and length.
func (c *benchLoadCmd) arrivals(l *benchLoad) (load.Arrivals, error) {
	l.arrivals = c.Arrivals
	if c.Arrivals == "" {
		l.arrivals = arrivalsPoisson
		if c.Trace != "" {
			l.arrivals = arrivalsTrace
		}
	}
	isTrace := l.arrivals == arrivalsTrace
	switch {
	case l.arrivals != arrivalsConstant && l.arrivals != arrivalsPoisson && !isTrace:
		return nil, badFlag("arrivals", c.Arrivals, "%s, %s or %s", arrivalsConstant, arrivalsPoisson, arrivalsTrace)
	case isTrace && c.Trace == "":
		return nil, badFlag("arrivals", c.Arrivals, "a file too: --trace FILE")
	case isTrace && c.Rate != nil:
		return nil, badFlag("rate", *c.Rate, "none with a trace, which goes by its own times; --speed makes it faster")
	case !isTrace && (c.Trace != "" || c.Lengths != "" || c.From != 0 || c.Speed != 1):
		return nil, badFlag("arrivals", l.arrivals, "%s with --trace, --lengths, --from or --speed", arrivalsTrace)
	}
	l.length = benchFor
	if c.For != nil {
		l.length = *c.For
	}
	if isTrace {
		return c.traced(l)
	}
	l.rate = benchRate
	if c.Rate != nil {
		l.rate = *c.Rate
	}
	if !(l.rate > 0 && l.rate <= benchMaxRate) {
		return nil, badFlag("rate", l.rate, "more than 0 and at most %d", int(benchMaxRate))
	}
	if l.arrivals == arrivalsConstant {
		return load.Constant(l.rate), nil
	}
	return load.Poisson(l.rate, c.Seed), nil
}

// traced are the arrivals of a trace.
func (c *benchLoadCmd) traced(l *benchLoad) (load.Arrivals, error) {
	if !(c.Speed > 0 && c.Speed <= benchMaxSpeed) {
		return nil, badFlag("speed", c.Speed, "more than 0 and at most %d", int(benchMaxSpeed))
	}
	var err error
	if l.trace, err = load.OpenTrace(c.Trace, c.Lengths, c.Seed); err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	if c.From < 0 || c.From > l.trace.Span {
		return nil, badFlag("from", c.From, "0 to %s, the length of the trace", l.trace.Span)
	}
	if c.For == nil {
		l.length = time.Duration(float64(l.trace.Span-c.From)/c.Speed) + 1 // the last one too
	}
	return l.trace.Arrivals(c.From, c.Speed), nil
}

// kind is what is sent.
func (c *benchLoadCmd) kind(env *environment) (*load.Kind, error) {
	api, err := load.ParseAPI(c.API)
	if err != nil {
		return nil, badFlag("api", c.API, "one of %s", strings.Join(load.APIs(), ", "))
	}
	k := &load.Kind{
		API: api, BaseURL: strings.TrimRight(c.URL, "/"), Model: c.Model, Weight: 1, Stream: c.Stream,
		Usage: c.Usage && c.Stream && api == load.Chat, Prefixes: c.Prefixes, PrefixTokens: c.PrefixTokens, MaxTokens: c.MaxTokens, Leave: c.Leave,
	}
	if k.Model == "" {
		k.Model = benchModels[api]
	}
	if k.Prompt, err = parseSize(c.Prompt); err != nil {
		return nil, badFlag("prompt", c.Prompt, "tokens, or median~sigma such as 250~0.5")
	}
	if k.Header, err = parseHeaders(c.Header); err != nil {
		return nil, err
	}
	if k.Key, err = secret(env, c.Key); err != nil {
		return nil, fmt.Errorf("%w: --key: %w", errUsage, err)
	}
	if wrong := new(load.FieldError); errors.As(k.Check(), &wrong) {
		field, _, _ := strings.Cut(wrong.Field, ".")
		return nil, badFlag(benchFields[field], wrong.Value, "%s", wrong.Allowed)
	}
	return k, nil
}

// benchFields are the flags that fill a kind's fields.
var benchFields = map[string]string{
	"BaseURL": "url", "Model": "model", "Stream": "stream", "Prompt": "prompt", "Prefixes": "prefixes", "PrefixTokens": "prefix-tokens",
	"MaxTokens": "max-tokens", "Leave": "leave",
}

// parseSize reads "median" or "median~sigma".
func parseSize(s string) (size load.Size, err error) {
	median, sigma, spread := strings.Cut(s, "~")
	if size.Median, err = strconv.Atoi(median); err == nil && spread {
		size.Sigma, err = strconv.ParseFloat(sigma, 64)
	}
	return size, err
}

// parseHeaders reads "Name: value" lines.
func parseHeaders(lines []string) (http.Header, error) {
	h := http.Header{}
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsFunc(name, notInHeaderNames) || strings.ContainsFunc(value, isControl) {
			return nil, badFlag("header", strconv.Quote(name), "\"Name: value\" in printable characters")
		}
		switch name = http.CanonicalHeaderKey(name); name {
		case "Host", "Content-Length", "Transfer-Encoding", "Connection":
			return nil, badFlag("header", name, "a header that does not belong to the connection")
		}
		h.Add(name, strings.TrimSpace(value))
	}
	return h, nil
}

func notInHeaderNames(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// secret reads env:NAME, file:PATH, or is the key itself.
func secret(env *environment, s string) (string, error) {
	if name, ok := strings.CutPrefix(s, "env:"); ok {
		value := env.lookup(name)
		if value == "" {
			return "", fmt.Errorf("the environment variable %s is not set", name)
		}
		return value, nil
	}
	path, ok := strings.CutPrefix(s, "file:")
	if !ok {
		return s, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(content)), nil
}
