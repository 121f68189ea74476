package sim

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"strings"
	"testing"
	"time"
)

// line sends requests over one connection, one after the other.
type line struct {
	t  *testing.T
	nc net.Conn
	r  *bufio.Reader
}

func newLine(t *testing.T, nc net.Conn) *line { return &line{t, nc, bufio.NewReader(nc)} }

func (a *line) ask(target, body string, headers ...string) *reply {
	a.t.Helper()
	send(a.t, a.nc, wire("POST", target, body, headers...))
	resp, err := receive(a.r)
	if err != nil {
		a.t.Fatal(err)
	}
	return resp
}

// burst asks n times and returns how many were let through.
func (a *line) burst(n int, headers ...string) (through int) {
	a.t.Helper()
	for range n {
		if a.ask(chatPath, plainChat, headers...).StatusCode == 200 {
			through++
		}
	}
	return through
}

func TestQuota_BucketFillsUpAndIsStepped(t *testing.T) {
	t.Parallel()
	inVirtualTime(t, Options{Quota: MustQuota("requests=100/s,burst=100ms")}, func(s *Server, dial func() net.Conn) {
		a := newLine(t, dial())
		defer a.nc.Close()
		check := func(what string, got, want int) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %d let through, want %d", what, got, want)
			}
		}
		check("full bucket", a.burst(20), 10)
		time.Sleep(50 * time.Millisecond)
		check("after half of it", a.burst(20), 5)
		s.SetQuota(MustQuota("requests=60/s,burst=100ms"))
		check("stepped down", a.burst(1), 0)
		time.Sleep(time.Minute)
		check("full again", a.burst(20), 6)
		s.SetQuota(Quota{})
		check("lifted", a.burst(50), 50)
		st := s.Stats().Quota
		if st.Through != 21 || st.Refused != 10+15+1+14 {
			t.Errorf("through %d, refused %d", st.Through, st.Refused)
		}
		if want := .05*100 + 60*60; math.Abs(st.Allowed["requests"]-want) > 1e-6 || st.Taken["requests"] != 21 {
			t.Errorf("allowed %v, taken %v; want %v and 21", st.Allowed, st.Taken, want)
		}
		if n := len(st.Seconds); n != 2 || st.Seconds[0].Through != 15 || st.Seconds[1].Through != 6 {
			t.Errorf("seconds: %+v", st.Seconds)
		}
	})
}

func TestQuota_WindowsBeginAtWholePeriods(t *testing.T) {
	t.Parallel()
	inVirtualTime(t, Options{Quota: MustQuota("requests=5/m,kind=window")}, func(s *Server, dial func() net.Conn) {
		a := newLine(t, dial())
		defer a.nc.Close()
		time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute + 50*time.Second)))
		if n := a.burst(8); n != 5 {
			t.Errorf("%d let through, want 5", n)
		}
		resp := a.ask(chatPath, plainChat)
		if got := resp.Header.Get("x-ratelimit-reset-requests"); got != "10s" || resp.Header.Get("Retry-After") != "10" {
			t.Errorf("reset %s, retry after %s", got, resp.Header.Get("Retry-After"))
		}
		s.SetQuota(MustQuota("requests=7/m,kind=window"))
		if n := a.burst(8); n != 2 {
			t.Errorf("raised by 2: %d let through", n)
		}
		time.Sleep(10 * time.Second)
		if n := a.burst(9); n != 7 {
			t.Errorf("next window: %d let through", n)
		}
	})
}

func TestQuota_ScopesAndConcurrency(t *testing.T) {
	t.Parallel()
	check := func(scope string, sameKey, otherKey, otherModel bool) {
		t.Helper()
		inVirtualTime(t, Options{Quota: MustQuota("requests=1/h,scope=" + scope)}, func(_ *Server, dial func() net.Conn) {
			a := newLine(t, dial())
			defer a.nc.Close()
			for i, c := range []struct {
				key, model string
				through    bool
			}{{"one", "m", true}, {"one", "m", sameKey}, {"two", "m", otherKey}, {"one", "n", otherModel}} {
				raw := strings.Replace(wire("POST", chatPath, strings.Replace(plainChat, "gpt-4o", c.model+"-long", 1)), "Bearer key", "Bearer "+c.key, 1)
				send(t, a.nc, raw)
				resp, err := receive(a.r)
				if err != nil || resp.StatusCode == 200 != c.through {
					t.Errorf("scope %s, request %d: %v, %v", scope, i, resp, err)
				}
			}
		})
	}
	check("key", false, true, false)
	check("all", false, false, false)
	check("model", false, false, true)
	check("key+model", false, true, true)

	inVirtualTime(t, Options{Quota: MustQuota("concurrent=1")}, func(s *Server, dial func() net.Conn) {
		long, a := newLine(t, dial()), newLine(t, dial())
		defer a.nc.Close()
		done := make(chan int)
		go func() { done <- long.ask(chatPath, plainChat, "x-sim-ttft: 1m").StatusCode }()
		time.Sleep(time.Second)
		if resp := a.ask(chatPath, plainChat); resp.StatusCode != 429 || !strings.Contains(resp.Body, "concurrent requests: Limit 1, Used 1") {
			t.Errorf("a second one at a time: %d %s", resp.StatusCode, resp.Body)
		}
		if status := <-done; status != 200 || a.burst(1) != 1 {
			t.Errorf("the first: %d, or its place is not free", status)
		}
		go func() { send(t, long.nc, wire("POST", chatPath, plainChat, "x-sim-ttft: 1m")) }()
		time.Sleep(time.Second)
		long.nc.Close()
		time.Sleep(time.Second)
		if a.burst(1) != 1 {
			t.Error("a client that left keeps its place")
		}
	})
}

func TestQuota_TokensAreSettledAndHeadersTellThem(t *testing.T) {
	t.Parallel()
	const version = "anthropic-version: 2023-06-01"
	inVirtualTime(t, Options{Now: fixed, Quota: MustQuota("requests=60/m,input=60000/m,output=600/m")}, func(_ *Server, dial func() net.Conn) {
		a := newLine(t, dial())
		defer a.nc.Close()
		resp := a.ask("/v1/messages", `{"model":"c","max_tokens":900,"messages":[{"role":"user","content":"hi"}]}`, version, "x-sim: tokens=650,input=4400")
		want := map[string]string{
			"requests-limit": "60", "requests-remaining": "59", "requests-reset": "2026-10-01T12:00:01Z",
			"input-tokens-limit": "60000", "input-tokens-remaining": "56000", "input-tokens-reset": "2026-10-01T12:00:05Z",
			"output-tokens-limit": "600", "output-tokens-remaining": "0", "output-tokens-reset": "2026-10-01T12:01:05Z",
			"tokens-limit": "600", "tokens-remaining": "0", "tokens-reset": "2026-10-01T12:01:05Z",
		}
		for name, value := range want {
			if got := resp.Header.Get("anthropic-ratelimit-" + name); got != value {
				t.Errorf("%s: %q, want %q", name, got, value)
			}
		}
		resp = a.ask("/v1/messages", `{"model":"c","max_tokens":9,"messages":[]}`, version)
		if resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "6" || resp.Header.Get("Retry-After-Ms") != "" || // 51 missing, 10 a second
			!strings.Contains(resp.Body, "rate limit of 600 output tokens per minute") || resp.Header.Get("anthropic-ratelimit-requests-remaining") != "59" {
			t.Errorf("in debt: %d %v %s", resp.StatusCode, resp.Header, resp.Body)
		}
		time.Sleep(6 * time.Second)
		if resp = a.ask("/v1/messages", `{"model":"c","messages":[]}`, version); resp.StatusCode != 400 || resp.Header.Get("anthropic-ratelimit-output-tokens-remaining") != "10" {
			t.Errorf("what is wrong takes no tokens: %d %v", resp.StatusCode, resp.Header)
		}
	})
	inVirtualTime(t, Options{Quota: MustQuota("requests=3000/m,tokens=30000/m")}, func(_ *Server, dial func() net.Conn) {
		a := newLine(t, dial())
		defer a.nc.Close()
		resp := a.ask(chatPath, plainChat, "x-sim: tokens=100,input=400")
		for name, value := range map[string]string{
			"limit-requests": "3000", "remaining-requests": "2999", "reset-requests": "20ms",
			"limit-tokens": "30000", "remaining-tokens": "29500", "reset-tokens": "1s",
		} {
			if got := resp.Header.Get("x-ratelimit-" + name); got != value {
				t.Errorf("%s: %q, want %q", name, got, value)
			}
		}
		const more = " Visit https://platform.openai.com/account/rate-limits to learn more."
		for limit, message := range map[string]string{
			"40000": "Request too large for gpt-4o in organization org-simulated on tokens per min (TPM): Limit 30000, Requested 40021. " +
				"The input or output tokens must be reduced in order to run successfully." + more,
			"29979": "Rate limit reached for gpt-4o in organization org-simulated on tokens per min (TPM): Limit 30000, Used 500, Requested 30000. " +
				"Please try again in 1s." + more,
		} {
			resp = a.ask(chatPath, strings.Replace(plainChat, "{", `{"max_tokens":`+limit+`,`, 1))
			var body struct{ Error map[string]any }
			if err := json.Unmarshal([]byte(resp.Body), &body); err != nil || body.Error["message"] != message || body.Error["type"] != "tokens" {
				t.Errorf("%s: %s", limit, resp.Body)
			}
		}
	})
}

func TestQuota_SpellingsAndSilence(t *testing.T) {
	t.Parallel()
	const azure = "/openai/deployments/d/chat/completions?api-version=2024-10-21"
	check := func(quota, target, want, without string) {
		t.Helper()
		inVirtualTime(t, Options{Quota: MustQuota(quota)}, func(_ *Server, dial func() net.Conn) {
			a := newLine(t, dial())
			defer a.nc.Close()
			got := ""
			for range 2 {
				resp := a.ask(target, `{"model":"m","messages":[],"contents":[]}`)
				got += fmt.Sprintf("%d %v %s\n", resp.StatusCode, resp.Header, resp.Body)
			}
			if !strings.Contains(got, "\n429 ") || !strings.Contains(got, want) || without != "" && strings.Contains(got, without) {
				t.Errorf("%s: want %q and no %q in %s", quota, want, without, got)
			}
		})
	}
	check("requests=1/m", chatPath, "X-Ratelimit-Remaining-Requests:[0] X-Ratelimit-Reset-Requests:[1m0s]", "-Tokens:")
	check("requests=1/m,headers=off", chatPath, "Retry-After:[60] Retry-After-Ms:[60000]", "X-Ratelimit")
	check("requests=1/m,retry-after=off", chatPath, "X-Ratelimit-Limit-Requests:[1]", "Retry-After")
	check("requests=1/m,headers=mistral", chatPath, "X-Ratelimit-Limit-Req-Minute:[1] X-Ratelimit-Remaining-Req-Minute:[0]", "Reset")
	check("requests=1/m", azure, `"code":"429","message": "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 have exceeded call rate`, "")
	check("requests=1/m", azure, "X-Ratelimit-Reset-Requests:[60]", "")
	gemini := "/v1beta/models/g:generateContent"
	check("requests=1/m", gemini, `"retryDelay": "60s"`, "X-Ratelimit")
	check("requests=1/m", gemini, `"quotaId": "GenerateRequestsPerMinutePerProjectPerModel"`, "Retry-After")
	check("requests=1/m,retry-after=off", gemini, "RESOURCE_EXHAUSTED", "retryDelay")
}

func TestQuota_IsSetWhileRunningAndStatsTellOfIt(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Minimal: true})
	status := func(path, body string, want int) *reply {
		t.Helper()
		resp, _ := s.do("POST", path, body)
		if resp.StatusCode != want {
			t.Errorf("%s %s: %d %s, want %d", path, body, resp.StatusCode, resp.Body, want)
		}
		return resp
	}
	if resp := status(chatPath, plainChat, 200); resp.Header.Get("x-ratelimit-limit-requests") != "10000" || s.Stats().Quota != nil {
		t.Errorf("without a quota: %v", resp.Header)
	}
	status("/sim/quota", "requests=1", 400)
	status("/sim/quota", "requests=1/h", 204)
	status(chatPath, plainChat, 200)
	status(chatPath, plainChat, 429)
	status("/v1/files", "{}", 400) // not counted
	_, got := s.do("GET", "/sim/stats", "")
	var st Stats
	if err := json.Unmarshal([]byte(got), &st); err != nil || st.Quota == nil || st.Quota.Limits != "requests=1/h" || st.Quota.Through != 1 ||
		st.Quota.Refused != 1 || st.Quota.RefusedBy["requests"] != 1 {
		t.Errorf("stats %s, %v", got, err)
	}
	status("/sim/quota", "", 204)
	if resp := status(chatPath, plainChat, 200); resp.Header.Get("x-ratelimit-limit-requests") != "10000" {
		t.Errorf("lifted: %v", resp.Header)
	}
	s.Reset()
	if s.Stats().Quota != nil {
		t.Error("a reset leaves counts")
	}
}

func TestParseQuota_Refuses(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"requests", "requests=1", "requests=0/s", "requests=-1/s", "requests=1/fortnight", "requests=NaN/s", "tokens=1/0s", "concurrent=0", "kind=leaky", "scope=team",
		"headers=maybe", "retry-after=1s", "burst=0", "burst=x", "burst=1s,kind=window", "rpm=5",
	} {
		if q, err := ParseQuota(bad); err == nil {
			t.Errorf("%q: accepted as %+v", bad, q)
		}
	}
	if q := MustQuota(" requests=50/10s, concurrent=3 ,"); !q.limited() || q.limits[measureRequests].period != 10*time.Second {
		t.Errorf("%+v", q)
	}
}
