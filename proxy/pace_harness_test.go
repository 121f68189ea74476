package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"llm-auto-optimizer/config"
)

// strict is a provider that lets so many requests a second through, from a bucket that holds a second's, and refuses the others.
type strict struct {
	told       bool          // its headers say what is left
	retryAfter string        // of what it refuses; empty: it does not say
	ttft       time.Duration // until an answer begins
	unpaid     bool          // what it refuses is for want of money
	hangUp     bool          // it breaks connections

	mu           sync.Mutex
	rate, level  float64 // requests a second, and what is left
	last         time.Time
	capacity     float64 // that there was since
	sent, passed int
}

func newStrict(t testing.TB, s *strict) (url string) {
	t.Helper()
	s.level, s.last = s.rate, time.Now()
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return srv.URL
}

// to changes the limit.
func (s *strict) to(rate float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fill()
	s.rate, s.level = rate, min(s.level, rate)
}

func (s *strict) fill() {
	now := time.Now()
	more := s.rate * now.Sub(s.last).Seconds()
	s.capacity += more
	s.level, s.last = min(s.level+more, s.rate), now
}

// begin counts from now on.
func (s *strict) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fill()
	s.capacity, s.sent, s.passed = s.level, 0, 0
}

// counts are what was let through, as a share of what could be, and what was refused, as a share of what was sent.
func (s *strict) counts() (used, refused float64, sent int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fill()
	return float64(s.passed) / s.capacity, float64(s.sent-s.passed) / float64(max(s.sent, 1)), s.sent
}

const strictAnswer = `{"id":"1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi."},"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":3,"total_tokens":23}}`

// ServeHTTP answers as OpenAI does.
func (s *strict) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	s.mu.Lock()
	if s.hangUp {
		s.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	s.fill()
	s.sent++
	through := s.level >= 1
	if through {
		s.level--
		s.passed++
	}
	retryAfter := s.retryAfter
	if s.told {
		w.Header().Set("x-ratelimit-limit-requests", strconv.Itoa(int(s.rate)))
		w.Header().Set("x-ratelimit-remaining-requests", strconv.Itoa(int(s.level)))
		w.Header().Set("x-ratelimit-reset-requests", fmt.Sprintf("%dms", int(1e3*(s.rate-s.level)/s.rate)))
	}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case through:
		<-time.After(s.ttft)
		_, _ = io.WriteString(w, strictAnswer)
	case s.unpaid:
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"error":{"message":"You exceeded your current quota.","type":"insufficient_quota","code":"insufficient_quota"}}`)
	default:
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"error":{"message":"Rate limit reached.","type":"requests","code":"rate_limit_exceeded"}}`)
	}
}

// client sends chat requests, each under a key.
type paceClient struct {
	url  string
	http http.Client
}

func newPaceClient(t testing.TB, g *gateway) *paceClient {
	t.Helper()
	tr := &http.Transport{MaxIdleConnsPerHost: 1000}
	t.Cleanup(tr.CloseIdleConnections)
	return &paceClient{"http://" + g.addr + "/v1/chat/completions", http.Client{Transport: tr, Timeout: 20 * time.Second}}
}

// ask sends one request; the error is that of the transport.
func (c *paceClient) ask(key, model string) (*http.Response, []byte, error) {
	body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"hello there"}]}`, model)
	req, err := http.NewRequest(http.MethodPost, c.url, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, text, err
}

// mustAsk fails the test where there is no answer.
func (c *paceClient) mustAsk(t testing.TB, key, model string) (*http.Response, []byte) {
	t.Helper()
	resp, body, err := c.ask(key, model)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

func errorCode(body []byte) string {
	var e struct{ Error struct{ Code string } }
	_ = json.Unmarshal(body, &e)
	return e.Error.Code
}

// offer sends requests at random, so many a second on average. wg waits for the answers.
func (c *paceClient) offer(wg *sync.WaitGroup, model string, rate float64, lasts time.Duration, got func(resp *http.Response, body []byte)) {
	for now, end := time.Now(), time.Now().Add(lasts); now.Before(end); {
		now = now.Add(time.Duration(rand.ExpFloat64() / rate * float64(time.Second)))
		<-time.After(time.Until(now))
		wg.Go(func() {
			if resp, body, err := c.ask("sk-load", model); err == nil {
				got(resp, body)
			}
		})
	}
}

// pacedRoute routes the model m to targets at these addresses, in order of priority.
func pacedRoute(urls ...string) *config.Config {
	c := testConfig(urls[0])
	r := config.Route{Name: "r", Match: config.Match{Model: []string{"m"}}, Attempts: 3, Backoff: time.Millisecond, MaxWait: time.Second, RetryBudget: 1, RetryOn: []string{"429", "5xx"}, Targets: map[string]config.Target{}}
	for i, url := range urls {
		name := string(rune('a' + i))
		p := c.Providers["openai"]
		p.Name, p.BaseURL, p.APIKey = name, url+"/v1", config.NewSecret("sk-"+name)
		c.Providers[name] = p
		r.Targets[name] = config.Target{Name: name, Provider: name, Model: "m", Weight: 1, Priority: i}
	}
	c.Routes = map[string]config.Route{"r": r}
	return c
}
