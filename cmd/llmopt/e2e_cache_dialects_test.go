package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicstream "github.com/anthropics/anthropic-sdk-go/packages/ssestream"
	"github.com/openai/openai-go/v3"
	openaistream "github.com/openai/openai-go/v3/packages/ssestream"
	"github.com/openai/openai-go/v3/responses"
	"google.golang.org/genai"

	"llm-auto-optimizer/bench/sim"
)

// dialectCase is an operation of a dialect: how it is asked, and what the vendor's own SDK makes of its answers.
type dialectCase struct {
	name  string
	path  [2]string // of bodies, of streams; empty: there are none
	write func(r *rand.Rand, text string, stream bool) string
	add   func(raw []byte) (any, error) // what the SDK adds a stream up to
}

// asker makes the parts of generated requests.
type asker struct{ *rand.Rand }

func (r asker) maybe(one string) string {
	if r.IntN(2) == 0 {
		return ""
	}
	return one
}

// directives have the simulator speak at some length, in frames of some size.
func (r asker) directives() string {
	return fmt.Sprintf("@sim:tokens=%d,chunk=%d,calls=%d", 1+r.IntN(24), 1+r.IntN(9), 1+r.IntN(2))
}

const weatherSchema = `{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}},"required":["city"]}`

var dialectCases = []dialectCase{
	{
		name: "chat", path: [2]string{"/v1/chat/completions", "/v1/chat/completions"},
		write: func(r *rand.Rand, text string, stream bool) string {
			a := asker{r}
			options := a.maybe(`,"seed":7`) + a.maybe(`,"tools":[{"type":"function","function":{"name":"weather","parameters":`+weatherSchema+`}}]`)
			if usage := a.maybe(`,"stream_options":{"include_usage":true}`); stream {
				options += usage
			}
			model := []string{"gpt-4o", "o3"}[r.IntN(2)] + a.directives()
			return fmt.Sprintf(`{"model":%q,"temperature":0,"stream":%t,"messages":[{"role":"user","content":%s}]%s}`, model, stream, text, options)
		},
		add: func(raw []byte) (any, error) {
			s := openaistream.NewStream[openai.ChatCompletionChunk](openaistream.NewDecoder(eventsOf(raw)), nil)
			acc := openai.ChatCompletionAccumulator{}
			for s.Next() {
				if !acc.AddChunk(s.Current()) {
					return nil, fmt.Errorf("a chunk does not fit: %s", s.Current().RawJSON())
				}
			}
			return acc.ChatCompletion, s.Err()
		},
	},
	{
		name: "completions", path: [2]string{"/v1/completions", "/v1/completions"},
		write: func(r *rand.Rand, text string, stream bool) string {
			return fmt.Sprintf(`{"model":"gpt-3.5-turbo-instruct%s","temperature":0,"stream":%t,"prompt":%s}`, asker{r}.directives(), stream, text)
		},
		add: func(raw []byte) (any, error) {
			s := openaistream.NewStream[openai.Completion](openaistream.NewDecoder(eventsOf(raw)), nil)
			text, last, all := "", openai.CompletionChoice{}, openai.Completion{}
			for s.Next() {
				for _, choice := range s.Current().Choices {
					text, last = text+choice.Text, choice
				}
				all = s.Current()
			}
			return []any{text, last.FinishReason, all.ID, all.Model, all.Usage}, s.Err()
		},
	},
	{
		name: "responses", path: [2]string{"/v1/responses", "/v1/responses"},
		write: func(r *rand.Rand, text string, stream bool) string {
			a := asker{r}
			options := a.maybe(`,"instructions":"be brief"`) + a.maybe(`,"tools":[{"type":"function","name":"weather","strict":false,"parameters":`+weatherSchema+`}]`)
			return fmt.Sprintf(`{"model":"gpt-4o%s","temperature":0,"store":false,"stream":%t,"input":%s%s}`, a.directives(), stream, text, options)
		},
		add: func(raw []byte) (any, error) {
			s := openaistream.NewStream[responses.ResponseStreamEventUnion](openaistream.NewDecoder(eventsOf(raw)), nil)
			text, arguments, whole := "", "", responses.Response{}
			for s.Next() {
				switch e := s.Current().AsAny().(type) {
				case responses.ResponseTextDeltaEvent:
					text += e.Delta
				case responses.ResponseFunctionCallArgumentsDeltaEvent:
					arguments += e.Delta
				case responses.ResponseCompletedEvent:
					whole = e.Response
				}
			}
			return []any{text, arguments, whole}, s.Err()
		},
	},
	{
		name: "messages", path: [2]string{"/v1/messages", "/v1/messages"},
		write: func(r *rand.Rand, text string, stream bool) string {
			a := asker{r}
			options := a.maybe(`,"system":"be brief"`) + a.maybe(`,"tools":[{"name":"weather","input_schema":`+weatherSchema+`}]`)
			return fmt.Sprintf(`{"model":"claude-sonnet-4-5%s","max_tokens":1000,"temperature":0,"stream":%t,"messages":[{"role":"user","content":%s}]%s}`, a.directives(), stream, text, options)
		},
		add: func(raw []byte) (any, error) {
			s := anthropicstream.NewStream[anthropic.MessageStreamEventUnion](anthropicstream.NewDecoder(eventsOf(raw)), nil)
			m := anthropic.Message{}
			for s.Next() {
				if err := m.Accumulate(s.Current()); err != nil {
					return nil, err
				}
			}
			return m, s.Err()
		},
	},
	{
		name: "generateContent",
		path: [2]string{"/v1beta/models/gemini-2.5-flash:generateContent", "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"},
		write: func(r *rand.Rand, text string, _ bool) string {
			options := asker{r}.maybe(`,"tools":[{"functionDeclarations":[{"name":"weather","parameters":` + weatherSchema + `}]}]`)
			return fmt.Sprintf(`{"generationConfig":{"temperature":0,"maxOutputTokens":%d},"contents":[{"role":"user","parts":[{"text":%s}]}]%s}`, 500+r.IntN(500), text, options)
		},
		add: addedUp,
	},
	{
		name: "embeddings", path: [2]string{"/v1/embeddings", ""},
		write: func(r *rand.Rand, text string, _ bool) string {
			return fmt.Sprintf(`{"model":"text-embedding-3-small","dimensions":%d,"input":[%s]}`, 2+r.IntN(20), text)
		},
	},
}

func eventsOf(raw []byte) *http.Response {
	return &http.Response{Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: io.NopCloser(bytes.NewReader(raw))}
}

// canned is a transport that has the answer already.
type canned []byte

func (c canned) RoundTrip(req *http.Request) (*http.Response, error) {
	resp := eventsOf(c)
	resp.StatusCode, resp.Request = http.StatusOK, req
	return resp, nil
}

// addedUp is what Gemini's SDK reads of a stream, which it does not add up itself.
func addedUp(raw []byte) (any, error) {
	client, err := genai.NewClient(context.Background(), &genai.ClientConfig{APIKey: "key", Backend: genai.BackendGeminiAPI, HTTPClient: &http.Client{Transport: canned(raw)}})
	if err != nil {
		return nil, err
	}
	var text, thought string
	var rest []any
	var last *genai.GenerateContentResponse
	for chunk, err := range client.Models.GenerateContentStream(context.Background(), "g", genai.Text("x"), nil) {
		if err != nil {
			return nil, err
		}
		last = chunk
		for _, candidate := range chunk.Candidates {
			if candidate.Content == nil {
				continue
			}
			for _, part := range candidate.Content.Parts {
				switch {
				case part.Text == "":
					rest = append(rest, *part)
				case part.Thought:
					thought += part.Text
				default:
					text += part.Text
				}
			}
		}
	}
	return []any{text, thought, rest, last.Candidates[0].FinishReason, last.UsageMetadata, last.ModelVersion, last.ResponseID}, nil
}

// dialectRun asks one operation.
type dialectRun struct {
	*dialectCase
	t      *testing.T
	client *http.Client
}

func (d *dialectRun) ask(base, body string, stream bool) (text, from string) {
	path := d.path[0]
	if stream {
		path = d.path[1]
	}
	req, err := http.NewRequest(http.MethodPost, base+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header = http.Header{"Authorization": {"Bearer key"}, "Content-Type": {"application/json"}}
	switch d.name {
	case "messages":
		req.Header = http.Header{"X-Api-Key": {"key"}, "Anthropic-Version": {"2023-06-01"}, "Content-Type": {"application/json"}}
	case "generateContent":
		req.Header = http.Header{"X-Goog-Api-Key": {"key"}, "Content-Type": {"application/json"}}
	}
	resp, err := d.client.Do(req)
	if err != nil {
		d.t.Error(err)
		return "", ""
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		d.t.Errorf("%s: %d %v %s", body, resp.StatusCode, err, raw)
	}
	return string(raw), resp.Header.Get("x-llmopt-cache")
}

// sameAnswer complains where an answer that was converted is not the one that the provider itself gives in that form: the same JSON, or the same to the SDK.
func (d *dialectRun) sameAnswer(stream bool, got, want string) {
	d.t.Helper()
	if !stream {
		var a, b any
		if json.Unmarshal([]byte(got), &a) != nil || json.Unmarshal([]byte(want), &b) != nil || !reflect.DeepEqual(a, b) {
			d.t.Errorf("the body from the cache is\n%s\nthe provider's\n%s", got, want)
		}
		return
	}
	a, err := d.add([]byte(got))
	b, wrong := d.add([]byte(want))
	if err != nil || wrong != nil || show(a) != show(b) {
		d.t.Errorf("the stream from the cache is\n%s\nthe provider's\n%s\n%v, %v: %s", got, want, err, wrong, difference(show(a), show(b)))
	}
}

// Of every dialect, streamed and not, hundreds of generated requests, or CACHE_ANSWERS of them: a kept answer is what the provider had said, byte for byte, and in the
// other form it is what the provider would have said in that form, as the vendor's own SDK reads it.
func TestE2E_CacheSaysWhatTheProviderSays(t *testing.T) {
	t.Parallel()
	rounds := 200
	if n, err := strconv.Atoi(os.Getenv("CACHE_ANSWERS")); err == nil {
		rounds = n
	} else if testing.Short() || raceEnabled {
		rounds = 50
	}
	o := sim.Options{Now: fixedTime, Directives: sim.MustDirectives("ids=stable")}
	direct, behind := simulate(t, o), simulate(t, o)
	file := newSettingsFile(t, "[cache]\nenabled = true\nstore = \"all\"\nmemory = \"256MiB\"\n")
	g := serveFile(t, file.path, behind.url, "OPTIMIZER_LOG__ACCESS=off")
	const workers = 2
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * workers, DisableCompression: true}, Timeout: 20 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	kept := 0
	for i := range dialectCases {
		for _, stream := range []bool{false, true} {
			d := &dialectRun{&dialectCases[i], t, client}
			if stream && d.path[1] == "" {
				continue
			}
			bodies, first := make([][2]string, rounds), make([]string, rounds)
			for i := range bodies { // the same request in both forms: the same draws
				text := quoteJSON(fmt.Sprintf("%s %d %t: Grüße, \"世界\" 👋", d.name, i, stream))
				for form := range bodies[i] {
					bodies[i][form] = d.write(rand.New(rand.NewPCG(uint64(i), 3)), text, form == 1)
				}
			}
			each := func(do func(i int)) {
				var wg sync.WaitGroup
				for w := range workers {
					wg.Go(func() {
						for i := w; i < rounds && !t.Failed(); i += workers {
							do(i)
						}
					})
				}
				wg.Wait()
			}
			asked := func(i int, base string, stream bool) (string, string) {
				if stream {
					return d.ask(base, bodies[i][1], true)
				}
				return d.ask(base, bodies[i][0], false)
			}
			each(func(i int) {
				answer, from := asked(i, g.url, stream)
				if first[i] = answer; from != "miss" {
					t.Errorf("%s: %q the first time", bodies[i], from)
				}
			})
			if t.Failed() {
				return
			}
			kept += rounds
			g.eventually("all are kept", func() bool { return g.metric("llmopt_cache_stored_total") == float64(kept) })
			each(func(i int) {
				if again, from := asked(i, g.url, stream); from != "hit" || again != first[i] {
					t.Errorf("%s: %q, now\n%s\nand before\n%s", bodies[i], from, again, first[i])
				}
				if d.path[1] == "" {
					return
				}
				told, from := asked(i, g.url, !stream)
				want, _ := asked(i, direct.url, !stream)
				if from != "hit" {
					t.Errorf("%s: %q in the other form", bodies[i], from)
				}
				d.sameAnswer(!stream, told, want)
			})
			if t.Failed() {
				return
			}
		}
	}
}

func quoteJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}
