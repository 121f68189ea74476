package load

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/bench/sim"
)

// provider runs a simulated one until the test ends.
func provider(t testing.TB, o sim.Options) (s *sim.Server, url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s = sim.New(o)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-served; !errors.Is(err, sim.ErrServerClosed) {
			t.Errorf("provider: %v", err)
		}
	})
	return s, "http://" + ln.Addr().String()
}

// seen waits until s has nothing in flight, ends it and tells what it has seen.
func seen(t *testing.T, s *sim.Server) sim.Stats {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("provider: %v", err)
	}
	return s.Stats()
}

// everyKind is one kind for each way to ask.
func everyKind(url string) (kinds []Kind) {
	for api := range apisEnd {
		for _, stream := range []bool{false, true} {
			if stream && api == Embeddings {
				continue
			}
			k := Kind{API: api, Usage: stream && api == Chat, BaseURL: url, Key: "key", Model: "model-1", Weight: 1, Stream: stream, Prompt: Size{Median: 50, Sigma: .5}, MaxTokens: 500}
			if api <= Embeddings {
				k.BaseURL += "/v1"
			}
			if api != Embeddings {
				k.Prefixes, k.PrefixTokens = 2, 1500
			}
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// burst is n requests at once.
func burst(n int) Arrivals { return at(make([]int, n)...) }

func TestWire_EveryKindIsUnderstood(t *testing.T) {
	t.Parallel()
	for _, k := range everyKind("http://x") {
		s, url := provider(t, sim.Options{})
		base := k.BaseURL[len("http://x"):]
		k.BaseURL = url + base
		d := newDriver(t, Options{Arrivals: burst(20), Kinds: []Kind{k}, MaxInFlight: 1, Drain: time.Minute})
		d.Run(t.Context())
		st, seen := d.Stats(), seen(t, s)
		if st.Outcomes[window.OK] != 20 || seen.Completed != 20 || seen.Connections != 1 {
			t.Errorf("%v, stream %v: got outcomes %v; the provider completed %d over %d connections", k.API, k.Stream, st.Outcomes, seen.Completed, seen.Connections)
		}
		if st.Statuses[200] != 20 || st.SendLag.Count() != 20 || st.Gap.Count() != st.Chunks-st.TTFT.Count() {
			t.Errorf("%v, stream %v: statuses %v, %d lags, %d gaps of %d chunks", k.API, k.Stream, st.Statuses, st.SendLag.Count(), st.Gap.Count(), st.Chunks)
		}
		if st.Told != 20 || st.TokensInput != seen.TokensInput || st.TokensCached != seen.TokensCached || st.TokensOutput != seen.TokensOutput {
			t.Errorf("%v, stream %v: %d answers told of %d tokens in, %d cached, %d out; the provider said %d, %d, %d", k.API, k.Stream, st.Told,
				st.TokensInput, st.TokensCached, st.TokensOutput, seen.TokensInput, seen.TokensCached, seen.TokensOutput)
		}
		if n := st.TTFT.Count(); k.Stream != (n == 20) {
			t.Errorf("%v, stream %v: %d times to first token", k.API, k.Stream, n)
		}
		if (seen.TokensCached > 0) != (k.Prefixes > 0) {
			t.Errorf("%v, stream %v: %d tokens came from the cache", k.API, k.Stream, seen.TokensCached)
		}
	}
}

// Where the same prompt is to get the same answer, requests ask for temperature 0 as their API has it, and say nothing else than others do.
func TestKind_SteadyAsksForTemperatureZero(t *testing.T) {
	t.Parallel()
	for _, k := range everyKind("http://x") {
		if k.API == Embeddings {
			continue
		}
		for _, limit := range []int{500, 0} {
			if k.MaxTokens = limit; limit == 0 && k.API == Messages {
				continue
			}
			k.Steady = false
			plain := string(k.appendBody(nil, []byte("be kind"), []byte("hi"), limit))
			k.Steady = true
			body := string(k.appendBody(nil, []byte("be kind"), []byte("hi"), limit))
			path := "temperature"
			if k.API == Generate {
				path = "generationConfig.temperature"
			}
			if !gjson.Valid(body) || gjson.Get(body, path).Raw != "0" || gjson.Get(plain, path).Exists() {
				t.Errorf("%v, stream %v: %s; else %s", k.API, k.Stream, body, plain)
			}
			without := strings.NewReplacer(`,"temperature":0`, "", `,"generationConfig":{"temperature":0}`, "").Replace(body)
			if without != plain {
				t.Errorf("%v, stream %v: %s differs from %s", k.API, k.Stream, body, plain)
			}
		}
	}
}

func TestWire_LeavingIsSeen(t *testing.T) {
	t.Parallel()
	s, url := provider(t, sim.Options{Directives: sim.MustDirectives("ttft=1s,tpot=10ms,tokens=400")})
	kinds := everyKind(url)
	for i := range kinds {
		kinds[i].Leave = 1
	}
	d := newDriver(t, Options{Arrivals: burst(100), Kinds: kinds, MaxInFlight: 100, Drain: time.Minute})
	d.Run(t.Context())
	st := d.Stats()
	if seen := seen(t, s); st.Outcomes[window.Canceled] != 100 || seen.Canceled != 100 || seen.CanceledWaiting == 0 || seen.CanceledWaiting == 100 {
		t.Errorf("got outcomes %v; the provider saw %d of 100 clients leave, %d before its answer", st.Outcomes, seen.Canceled, seen.CanceledWaiting)
	}
}

func TestWire_FaultsAreTold(t *testing.T) {
	t.Parallel()
	check := func(fault string, plain, streamed window.Outcome) {
		t.Helper()
		_, url := provider(t, sim.Options{Directives: sim.MustDirectives("tokens=50,fault=" + fault)})
		for _, k := range everyKind(url) {
			d := newDriver(t, Options{Arrivals: burst(1), Kinds: []Kind{k}, MaxInFlight: 1, Drain: time.Minute})
			d.Run(t.Context())
			want := plain
			if k.Stream {
				want = streamed
			}
			if st := d.Stats(); st.Outcomes[want] != 1 || (st.Examples[want] == "") != (want == window.OK) {
				t.Errorf("%s, %v, stream %v: got outcomes %v, %q, want %v", fault, k.API, k.Stream, st.Outcomes, st.Examples, want)
			}
		}
	}
	check("429", window.RateLimited, window.RateLimited)
	check("529", window.UpstreamError, window.UpstreamError)
	check("reset-head", window.Broken, window.Broken)
	check("reset-mid", window.Broken, window.Broken)
	check("no-end", window.OK, window.Broken)
	check("error-event", window.OK, window.StreamError)
}

func TestWire_NobodyListens(t *testing.T) {
	t.Parallel()
	d := newDriver(t, Options{Arrivals: burst(3), Kinds: everyKind("http://127.0.0.1:1"), MaxInFlight: 3, Drain: time.Minute})
	d.Run(t.Context())
	if st := d.Stats(); st.Outcomes[window.Connect] != 3 {
		t.Errorf("got outcomes %v, want 3 connect", st.Outcomes)
	}
}
