package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"google.golang.org/genai"

	"llm-auto-optimizer/bench/sim"
)

// ask sends a request with a key and returns the answer; a body that breaks off is told by err.
func ask(t testing.TB, url, body string) (status int, header http.Header, text string, err error) {
	t.Helper()
	req, reqErr := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if reqErr != nil {
		t.Fatal(reqErr)
	}
	req.Header.Set("Authorization", "Bearer k")
	tr := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(b), err
}

// Every fault of the simulator, plain and streamed: what the client sees and what the record says.
func TestE2E_EveryFault(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{Now: fixedTime})
	g := serve(t, s.url, "OPTIMIZER_PROVIDER_DEFAULTS__TIMEOUTS__FIRST_BYTE=4s", "OPTIMIZER_PROVIDER_DEFAULTS__TIMEOUTS__IDLE=2s")
	const (
		whole    = "whole"    // the answer as the provider sent it
		clean    = "clean"    // an error in the dialect's shape under the status
		cut      = "cut"      // the connection is cut
		withCode = "withCode" // cut after an error event of ours
	)
	type want struct {
		status  int
		end     string
		outcome string
	}
	seen := map[string]bool{}
	check := func(fault string, plain, streamed want) {
		t.Helper()
		seen[fault] = true
		for _, stream := range []bool{false, true} {
			w := plain
			if stream {
				w = streamed
			}
			t.Run(fmt.Sprintf("%s/stream=%t", fault, stream), func(t *testing.T) {
				t.Parallel()
				body := fmt.Sprintf(`{"model":"gpt-4o@sim:tokens=8,after=3,stall=20s,size=200000,interval=100us,fault=%s","stream":%t,"messages":[{"role":"user","content":"hello"}]}`, fault, stream)
				status, header, text, err := ask(t, g.url+"/v1/chat/completions", body)
				end := whole
				ours := strings.Contains(text, `"upstream_`)
				switch {
				case err != nil && ours:
					end = withCode
				case err != nil:
					end = cut
				case ours:
					end = clean
				}
				if status != w.status || end != w.end {
					t.Errorf("got %d, %s (%v, %.200q); want %d, %s", status, end, err, text[max(0, len(text)-200):], w.status, w.end)
				}
				if line := g.lineOf(header.Get("x-llmopt-id")); line.Outcome != w.outcome {
					t.Errorf("outcome %q, want %q (%s)", line.Outcome, w.outcome, line.Detail)
				}
			})
		}
	}
	fine := want{200, whole, "ok"}
	gone := want{502, clean, "broken"}
	midPlain, midStream := want{502, clean, "broken"}, want{200, withCode, "broken"}
	for _, f := range []string{"gzip", "br", "zstd", "deflate", "interim-100", "interim-103", "http10", "chunked", "odd-case", "duplicate-headers",
		"hop-headers", "big-header", "comments", "crlf", "surplus", "idle-close", "drip", "no-usage-option", "no-cache-control"} {
		check(f, fine, fine)
	}
	for _, f := range []string{"reset-head", "close-head"} {
		check(f, gone, gone)
	}
	check("stall-head", want{504, clean, "timeout_first_byte"}, want{504, clean, "timeout_first_byte"})
	check("stall-mid", want{504, clean, "timeout_idle"}, want{200, withCode, "timeout_idle"})
	for _, f := range []string{"reset-mid", "close-mid", "truncated-chunk", "bad-chunk"} {
		check(f, midPlain, midStream)
	}
	check("length-long", midPlain, midStream)
	check("no-end", fine, midStream) // a stream without its terminal mark; nothing that a plain answer has
	check("length-short", fine, fine)
	check("huge", fine, fine)
	check("error-event", fine, want{200, whole, "stream_error"})
	check("error-body", want{200, whole, "upstream_error"}, want{200, whole, "upstream_error"})
	check("empty", fine, midStream)
	for _, f := range []string{"429", "500", "503", "529", "400"} {
		status, outcome := 0, "upstream_error"
		_, _ = fmt.Sscan(f, &status)
		switch f {
		case "429":
			outcome = "rate_limited"
		case "400":
			outcome = "client_error"
		}
		check(f, want{status, whole, outcome}, want{status, whole, outcome})
	}
	for _, f := range sim.FaultNames() {
		if !seen[f] && !strings.HasPrefix(f, "early-") { // those act before the body is read: a header asks for them, see below
			t.Errorf("fault %s is not tried", f)
		}
	}
}

func TestE2E_EarlyAnswers(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{})
	g := serve(t, s.url)
	check := func(fault string, want int) {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, g.url+"/v1/chat/completions", strings.NewReader(
			`{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"`+strings.Repeat("x", 20<<20)+`"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer k")
		req.Header.Set("x-sim-fault", fault)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", fault, err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != want {
			t.Errorf("%s: got %d, %v; want %d", fault, resp.StatusCode, err, want)
		}
	}
	check("early-413", 413)
	check("early-413-close", 413)
	check("early-stream", 200)
}

// The provider closes idle connections all the time. Whoever asks with a safe method never notices. A POST may fail, where the
// provider's kernel had taken it when the connection was closed; but none reaches the provider twice.
func TestE2E_IdleCloseRace(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{IdleTimeout: 200 * time.Millisecond})
	g := serve(t, s.url)
	const workers, each = 64, 12
	var failed [2]atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for i := range each {
				req, _ := http.NewRequest(http.MethodGet, g.url+"/v1/models", http.NoBody)
				if w%2 == 1 {
					req, _ = http.NewRequest(http.MethodPost, g.url+"/v1/embeddings", strings.NewReader(`{"model":"text-embedding-3-small","input":"x"}`))
				}
				req.Header.Set("Authorization", "Bearer k")
				resp, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				if _, _ = io.Copy(io.Discard, resp.Body); resp.StatusCode != 200 {
					failed[w%2].Add(1)
				}
				resp.Body.Close()
				<-time.After(time.Duration(195+(w*each+i)%9) * time.Millisecond) // around the provider's idle timeout
			}
		})
	}
	wg.Wait()
	calls, retries, found := s.Stats().Calls, g.metric("llmopt_stale_connection_retries_total"), g.metric("llmopt_upstream_stale_connections_total")
	t.Logf("calls %v, %.0f connections found closed, %.0f requests repeated; failed: %d safe ones, %d others", calls, found, retries,
		failed[0].Load(), failed[1].Load())
	const posts = workers / 2 * each
	if n := calls["embeddings"]; n != posts-failed[1].Load() {
		t.Errorf("the provider got %d posts, of %d of which %d failed", n, posts, failed[1].Load())
	}
	if failed[0].Load() > 0 || failed[1].Load() > posts/20 {
		t.Errorf("failed: %d safe requests, %d others", failed[0].Load(), failed[1].Load())
	}
	if retries+found == 0 {
		t.Error("no connection was ever stale: the test has not tested")
	}
}

// A client that leaves, through each SDK, in mid-stream and before the first byte: the provider sees it within a second.
func TestE2E_SDKsAbort(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{})
	g := serve(t, s.url)
	oa := openai.NewClient(option.WithBaseURL(g.url+"/openai"), option.WithAPIKey("k"), option.WithMaxRetries(0))
	an := anthropic.NewClient(anthropicoption.WithBaseURL(g.url+"/anthropic"), anthropicoption.WithAPIKey("k"), anthropicoption.WithMaxRetries(0))
	ge, err := genai.NewClient(context.Background(), &genai.ClientConfig{APIKey: "k", Backend: genai.BackendGeminiAPI, HTTPOptions: genai.HTTPOptions{BaseURL: g.url + "/gemini"}})
	if err != nil {
		t.Fatal(err)
	}
	const slow, never = "@sim:tokens=500,tpot=20ms", "@sim:ttft=60s"
	streams := map[string]func(ctx context.Context, model string, first func()){
		"openai": func(ctx context.Context, model string, first func()) {
			st := oa.Chat.Completions.NewStreaming(ctx, openai.ChatCompletionNewParams{Model: "gpt-4o" + model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hi")}})
			for st.Next() {
				first()
			}
		},
		"anthropic": func(ctx context.Context, model string, first func()) {
			st := an.Messages.NewStreaming(ctx, anthropic.MessageNewParams{Model: "claude-haiku-4-5" + model, MaxTokens: 1000, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("hi"))}})
			for st.Next() {
				first()
			}
		},
		"gemini": func(ctx context.Context, model string, first func()) {
			for _, err := range ge.Models.GenerateContentStream(ctx, "gemini-2.5-flash"+model, genai.Text("hi"), nil) {
				if err == nil {
					first()
				}
			}
		},
	}
	for name, stream := range streams {
		for _, model := range []string{slow, never} {
			before := s.Stats()
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan struct{})
			var once sync.Once
			begun := make(chan struct{})
			go func() { defer close(ended); stream(ctx, model, func() { once.Do(func() { close(begun) }) }) }()
			if model == slow {
				<-begun
			} else {
				eventually(t, name+": the request is at the provider", 5*time.Second, func() bool { return s.Stats().InFlight > 0 })
			}
			cancel()
			eventually(t, name+model+": the provider sees the cancel", time.Second, func() bool { return s.Stats().Canceled == before.Canceled+1 })
			<-ended
			eventually(t, "nothing in flight", 5*time.Second, func() bool { return s.Stats().InFlight == 0 })
		}
	}
	if n := g.metric(`llmopt_exchanges_total{outcome="canceled"}`); n != 6 {
		t.Errorf("exchanges canceled: %.0f, want 6", n)
	}
}
