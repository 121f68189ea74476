package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"
	openaistream "github.com/openai/openai-go/v3/packages/ssestream"
	"google.golang.org/genai"

	"llm-auto-optimizer/bench/sim"
)

// pair is one provider twice, in the same state: one that is reached directly and one behind llmopt serve. Whatever a
// client does must have the same result with both.
type pair struct {
	t                *testing.T
	gateway          *served
	direct, behind   *simulated
	straight, around *clients
}

// newPair starts two simulators that say the same and a gateway in front of one of them.
func newPair(t *testing.T, directives string, environ ...string) *pair {
	t.Helper()
	o := sim.Options{Now: fixedTime, Directives: sim.MustDirectives("ids=stable," + directives)}
	p := &pair{t: t, direct: simulate(t, o), behind: simulate(t, o)}
	p.gateway = serve(t, p.behind.url, environ...)
	p.straight = newClients(t, p.direct.url+"/v1", p.direct.url, p.direct.url)
	p.around = newClients(t, p.gateway.url+"/openai", p.gateway.url+"/anthropic", p.gateway.url+"/gemini")
	return p
}

// clients are the official SDKs, each with one base URL, and a bare HTTP client beside them. All use one transport, which
// keeps what goes over the wire.
type clients struct {
	t         *testing.T
	openai    openai.Client
	anthropic anthropic.Client
	gemini    *genai.Client
	http      *http.Client
	wire      *recorder

	openaiURL, anthropicURL, geminiURL string
}

func newClients(t *testing.T, openaiURL, anthropicURL, geminiURL string) *clients {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	c := &clients{
		t: t, wire: &recorder{transport: transport}, openaiURL: openaiURL, anthropicURL: anthropicURL, geminiURL: geminiURL,
	}
	c.http = &http.Client{Transport: c.wire}
	c.openai = openai.NewClient(
		openaioption.WithBaseURL(openaiURL), openaioption.WithAPIKey("key"), openaioption.WithMaxRetries(0), openaioption.WithHTTPClient(c.http))
	c.anthropic = anthropic.NewClient(
		anthropicoption.WithBaseURL(anthropicURL), anthropicoption.WithAPIKey("key"), anthropicoption.WithMaxRetries(0), anthropicoption.WithHTTPClient(c.http))
	c.gemini = c.geminiWith("key")
	return c
}

// anthropicWith makes a client for Anthropic with a key.
func (c *clients) anthropicWith(key string) *anthropic.Client {
	a := anthropic.NewClient(
		anthropicoption.WithBaseURL(c.anthropicURL), anthropicoption.WithAPIKey(key), anthropicoption.WithMaxRetries(0), anthropicoption.WithHTTPClient(c.http))
	return &a
}

// geminiWith makes a client for Gemini with a key. It does not retry, as the others don't.
func (c *clients) geminiWith(key string) *genai.Client {
	c.t.Helper()
	g, err := genai.NewClient(c.t.Context(), &genai.ClientConfig{
		APIKey: key, Backend: genai.BackendGeminiAPI, HTTPClient: c.http,
		HTTPOptions: genai.HTTPOptions{BaseURL: c.geminiURL, RetryOptions: &genai.HTTPRetryOptions{Attempts: genai.Ptr[int32](1)}},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return g
}

// same makes a call directly and through the gateway, in turn. What the call returns, and every answer on the wire
// (status, headers and each byte of the body), must be equal. It returns what the call returned.
func (p *pair) same(name string, call func(c *clients) any) any {
	p.t.Helper()
	p.straight.wire.reset()
	p.around.wire.reset()
	want, got := call(p.straight), call(p.around)
	if !reflect.DeepEqual(plain(got), plain(want)) {
		p.t.Errorf("%s: %s", name, difference(show(got), show(want)))
	}
	wantWire, gotWire := p.straight.wire.answers(), p.around.wire.answers()
	if len(wantWire) == 0 || len(wantWire) != len(gotWire) {
		p.t.Errorf("%s: %d answers through the gateway, %d directly", name, len(gotWire), len(wantWire))
		return got
	}
	for i := range wantWire {
		if diff := wantWire[i].differs(gotWire[i]); diff != "" {
			p.t.Errorf("%s: answer %d on the wire: %s", name, i, diff)
		}
	}
	return got
}

// plain is a result without what may differ: errors hold their requests, and Gemini's results hold the headers.
func plain(v any) any {
	switch v := v.(type) {
	case error:
		return factsOf(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = plain(v[i])
		}
		return list
	}
	if v != nil && strings.HasPrefix(reflect.TypeOf(v).String(), "*genai.") {
		text, err := json.Marshal(v)
		if err != nil {
			return err.Error()
		}
		var doc map[string]any
		if err := json.Unmarshal(text, &doc); err != nil {
			return err.Error()
		}
		delete(doc, "sdkHttpResponse")
		return doc
	}
	return v
}

// errorFacts is everything that a program can see in an error of an SDK.
type errorFacts struct {
	Type    string
	Status  int
	Kind    string
	Code    string
	Param   string
	Message string
	ID      string
	Raw     string
	Details []map[string]any
}

func factsOf(err error) errorFacts {
	var (
		o *openai.Error
		a *anthropic.Error
		g genai.APIError
		s *openaistream.StreamError
	)
	switch {
	case errors.As(err, &o):
		return errorFacts{"openai", o.StatusCode, o.Type, o.Code, o.Param, o.Message, o.Response.Header.Get("x-request-id"), o.RawJSON(), nil}
	case errors.As(err, &a):
		return errorFacts{"anthropic", a.StatusCode, string(a.Type()), "", "", "", a.RequestID, a.RawJSON(), nil}
	case errors.As(err, &g):
		return errorFacts{"gemini", g.Code, g.Status, "", "", g.Message, "", "", g.Details}
	case errors.As(err, &s):
		return errorFacts{"openai stream", 0, s.Event.Type, "", "", s.Message, "", string(s.Event.Data), nil}
	}
	return errorFacts{Type: fmt.Sprintf("%T", err), Message: err.Error()}
}

// show prints a result for a person.
func show(v any) string {
	if err, ok := v.(error); ok {
		return fmt.Sprintf("%+v", factsOf(err))
	}
	text, err := json.MarshalIndent(plain(v), "", "  ")
	if err != nil {
		return fmt.Sprintf("%+v", v)
	}
	return string(text)
}

// difference shows the places where two texts part.
func difference(got, want string) string {
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	around := func(s string) string { return s[max(0, min(at, len(s))-100):min(len(s), at+400)] }
	return fmt.Sprintf("from byte %d on, through the gateway:\n…%s…\ndirectly:\n…%s…", at, around(got), around(want))
}

// either is the error, or else the value.
func either(v any, err error) any {
	if err != nil {
		return err
	}
	return v
}

// recorder keeps what a client's exchanges brought.
type recorder struct {
	transport http.RoundTripper
	mu        sync.Mutex
	kept      []*wireAnswer
}

// wireAnswer is an answer as it came, its body as far as it was read.
type wireAnswer struct {
	Status  int
	Header  http.Header
	Trailer http.Header
	mu      sync.Mutex
	body    bytes.Buffer
	err     error // that ended the body, io.EOF included
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	a := &wireAnswer{Status: resp.StatusCode, Header: resp.Header.Clone(), Trailer: resp.Trailer}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		resp.Body = &recordedBody{a, resp.Body}
	}
	r.mu.Lock()
	r.kept = append(r.kept, a)
	r.mu.Unlock()
	return resp, nil
}

func (r *recorder) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = nil
}

func (r *recorder) answers() []*wireAnswer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.kept)
}

// last is the answer that came last.
func (r *recorder) last() *wireAnswer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kept[len(r.kept)-1]
}

type recordedBody struct {
	a *wireAnswer
	io.ReadCloser
}

func (b *recordedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.a.mu.Lock()
	defer b.a.mu.Unlock()
	b.a.body.Write(p[:n])
	if err != nil {
		b.a.err = err
	}
	return n, err
}

// differs says what is not the same; "" when nothing.
func (a *wireAnswer) differs(b *wireAnswer) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.Status != b.Status {
		return fmt.Sprintf("status %d, directly %d", b.Status, a.Status)
	}
	if want, got := endToEnd(a.Header), endToEnd(b.Header); !reflect.DeepEqual(want, got) {
		return fmt.Sprintf("headers %v, directly %v", got, want)
	}
	if !bytes.Equal(a.body.Bytes(), b.body.Bytes()) {
		return "body " + difference(b.body.String(), a.body.String())
	}
	return ""
}

// endToEnd are the headers that must pass: all but those of the hop and the gateway's own.
func endToEnd(h http.Header) http.Header {
	h = h.Clone()
	for name := range h {
		if name == "Connection" || name == "Keep-Alive" || strings.HasPrefix(name, "X-Llmopt-") {
			delete(h, name)
		}
	}
	return h
}

// settled expects that both simulators have seen the same calls and counted the same tokens.
func (p *pair) settled() {
	p.t.Helper()
	eventually(p.t, "simulators at rest", 10e9, func() bool { return p.direct.Stats().InFlight == 0 && p.behind.Stats().InFlight == 0 })
	want, got := p.direct.Stats(), p.behind.Stats()
	if !reflect.DeepEqual(got.Calls, want.Calls) || got.Completed != want.Completed || got.Broken != want.Broken ||
		got.TokensInput != want.TokensInput || got.TokensCached != want.TokensCached || got.TokensOutput != want.TokensOutput {
		p.t.Errorf("provider behind the gateway saw %+v, directly %+v", got, want)
	}
	if got.Malformed != 0 {
		p.t.Errorf("provider behind the gateway saw %d malformed requests", got.Malformed)
	}
}

// drain reads a stream of an SDK to its end: every event and how it ended.
func drain[T any](next func() bool, current func() T, end func() error) any {
	var all []any
	for next() {
		all = append(all, current())
	}
	if err := end(); err != nil {
		all = append(all, err)
	}
	return all
}

// bare sends a request with the bare client and returns status and body.
func (c *clients) bare(ctx context.Context, method, url, body string, header ...string) any {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer key")
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return []any{resp.StatusCode, string(text)}
}

// expectations are what the access log must say of exchanges. It is written a little later than the answers, so all of them
// are checked at once.
type expectations struct {
	ids    []string
	checks []func(logLine)
}

// expect has the line of an answer's exchange checked later.
func (e *expectations) expect(a *wireAnswer, check func(logLine)) {
	e.ids = append(e.ids, a.Header.Get("x-llmopt-id"))
	e.checks = append(e.checks, check)
}

// check checks all lines.
func (e *expectations) check(g *served) {
	g.t.Helper()
	for i, id := range e.ids {
		e.checks[i](g.lineOf(id))
	}
}
