package load

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	azureSample = azureHeader + "\n" +
		"2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,3180,8\r\n2023-11-16 18:17:05,110,27"
	mooncakeSample = `{"timestamp": 1000, "input_length": 1030, "output_length": 500, "hash_ids": [7, 8, 9]}
{"timestamp": 1000.5, "input_length": 600, "output_length": 490, "hash_ids": [7]}

{"timestamp": 3000, "input_length": 5, "output_length": 1}
`
	servegenSample = servegenHeader + "\n" +
		"1,0,0,0,,0,0\n1,600,0.5,1,Gamma,1,2\n1,1200,2,3,Weibull,0.5,0.25\n3,0,1,1,Gamma,0.2,5\n3,1800,1,1,Weibull,1,1\n"
	lengthsSample = `{"600": {"input_tokens": "{10: 0.5, 20: 0.5}", "output_tokens": "{1: 1.0, 2: 0.0}"},
		"0": {"text_tokens": "{0: 1e-3, 7: 0.999}", "output_tokens": "{30: 0.25}", "reason_ratio": "{0.5: 1.0}"}}`
)

// file writes one.
func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "trace")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func packed(content string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(content)) // to memory
	_ = z.Close()
	return b.String()
}

// openTrace opens one that is fine.
func openTrace(t *testing.T, path, lengths string) *Trace {
	t.Helper()
	trace, err := OpenTrace(path, lengths, 1)
	if err != nil {
		t.Fatal(err)
	}
	return trace
}

func TestTrace_ReadsEveryFormat(t *testing.T) {
	t.Parallel()
	check := func(format, content string, want ...Arrival) {
		t.Helper()
		for _, content := range []string{content, packed(content)} {
			trace := openTrace(t, file(t, content), "")
			for range 2 { // it begins anew each time
				got := slices.Collect(trace.Arrivals(0, 1))
				if trace.Format != format || trace.Span != want[2].At || !reflect.DeepEqual(got, want) || trace.Err() != nil {
					t.Errorf("%s: got %+v, %v; want %s: %+v", trace.Format, got, trace.Err(), format, want)
				}
			}
		}
	}
	const ms = time.Millisecond
	check("azure", azureSample, Arrival{Input: 4808, Output: 10}, Arrival{At: 52 * ms, Input: 3180, Output: 8},
		Arrival{At: 1020*ms + 40*time.Microsecond, Input: 110, Output: 27})
	check("mooncake", mooncakeSample, Arrival{Input: 1030, Output: 500, Blocks: []uint64{7, 8, 9}},
		Arrival{At: ms / 2, Input: 600, Output: 490, Blocks: []uint64{7}}, Arrival{At: 2000 * ms, Input: 5, Output: 1})
}

func TestTrace_RefusesWithLineAndField(t *testing.T) {
	t.Parallel()
	check := func(content string, wants ...string) {
		t.Helper()
		path := file(t, content)
		_, err := OpenTrace(path, "", 0)
		for _, want := range append(wants, path) {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: got %v, want it to contain %q", content, err, want)
			}
		}
	}
	check("", "no requests")
	check("id,size\n1,2\n", "line 1", `"id,size"`, azureHeader, servegenHeader, "input_length")
	check(azureHeader+"\n", "no requests")
	check(azureSample+"\n2023-11-16 18:17:06,110\n", "line 5", "2 fields", "want 3")
	check(azureSample+"\nyesterday,110,1\n", "line 5", `TIMESTAMP is "yesterday"`)
	check(azureSample+"\n2023-11-16 18:17:06,-1,1\n", "line 5", `ContextTokens is "-1"`, "1 to 262144")
	check(azureSample+"\n2023-11-16 18:17:06,1,x\n", "line 5", `GeneratedTokens is "x"`)
	check(azureSample+"\n2023-11-16 18:17:04.5,1,1\n", "line 5", "timestamp", "the line before")
	check("{\n", "line 1", "not a JSON object")
	check(mooncakeSample+`{"input_length": 1, "output_length": 1}`, "line 5", "timestamp is missing")
	check(mooncakeSample+`{"timestamp": -5, "input_length": 1, "output_length": 1}`, "line 5", "timestamp is -5")
	check(mooncakeSample+`{"timestamp": 4000, "input_length": "1", "output_length": 1}`, "line 5", "input_length is a string")
	check(mooncakeSample+`{"timestamp": 4000, "input_length": 1, "output_length": 0}`, "line 5", "output_length is 0")
	check(mooncakeSample+`{"timestamp": 4000, "input_length": 1, "output_length": 1, "hash_ids": [1, 2]}`, "line 5", "hash_ids has 2 blocks")
	check(mooncakeSample+`{"timestamp": 4000, "input_length": 1, "output_length": 1, "hash_ids": [-1]}`, "line 5", "hash_ids is a number")
	check(mooncakeSample+strings.Repeat(" ", maxLine)+"\n", "line 5", "longer than")
	check(servegenHeader+"\n1,0,0,0,,0,0\n", "no requests")
	check(servegenSample+"5,0,1\n", "line 7", "3 fields", "want 7")
	check(servegenSample+"x,0,1,1,Gamma,1,1\n", "line 7", `client is "x"`)
	check(servegenSample+"1,2400,1,1,Gamma,1,1\n", "line 7", "client is 1 again")
	check(servegenSample+"3,1800,1,1,Gamma,1,1\n", "line 7", "seconds is 1800", "row before")
	check(servegenSample+"5,7,1,1,Gamma,1,1\n", "line 7", `seconds is "7"`, "multiple of 600")
	check(servegenSample+"5,0,NaN,1,Gamma,1,1\n", "line 7", `rate is "NaN"`)
	check(servegenSample+"5,0,1,1,Pareto,1,1\n", "line 7", `family is "Pareto"`)
	check(servegenSample+"5,0,1,1,Gamma,0,1\n", "line 7", `p1 is "0"`)
	check(packed(mooncakeSample)[:60], "line ", "unexpected EOF")
	if _, err := OpenTrace("/nowhere", "", 0); err == nil || !strings.Contains(err.Error(), "trace /nowhere: no such file") {
		t.Errorf("no file: got %v", err)
	}
}

func TestTrace_LengthsAreRefused(t *testing.T) {
	t.Parallel()
	trace := file(t, servegenSample)
	check := func(content, want string) {
		t.Helper()
		_, err := OpenTrace(trace, file(t, content), 0)
		if err == nil || !strings.Contains(err.Error(), "lengths ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want it to contain %q", content, err, want)
		}
	}
	check("", "JSON object")
	check("{}", "no distributions")
	check(`{"x": {}}`, `key "x"`)
	check(`{"0": {"output_tokens": "{1: 1}"}}`, "seconds 0: no input_tokens or text_tokens")
	check(`{"0": {"input_tokens": "[]", "output_tokens": "{1: 1}"}}`, `input_tokens: "[]"`)
	check(`{"0": {"input_tokens": "{x: 1}", "output_tokens": "{1: 1}"}}`, `length "x"`)
	check(`{"0": {"input_tokens": "{1: 2}", "output_tokens": "{1: 1}"}}`, `probability " 2" of length 1`)
	check(`{"0": {"input_tokens": "{1: 1}", "output_tokens": "{1: 0}"}}`, "sum is 0")
	if _, err := OpenTrace(file(t, azureSample), file(t, lengthsSample), 0); err == nil || !strings.Contains(err.Error(), "states lengths itself") {
		t.Errorf("with Azure's: got %v", err)
	}
}

func TestTrace_TellsThatTheFileBecameAnother(t *testing.T) {
	t.Parallel()
	path := file(t, azureSample)
	trace := openTrace(t, path, "")
	if err := os.WriteFile(path, []byte(azureSample+"\nx"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := len(slices.Collect(trace.Arrivals(0, 1))); n != 3 || trace.Err() == nil || !strings.Contains(trace.Err().Error(), "line 5") {
		t.Errorf("got %d arrivals and %v, want 3 and an error in line 5", n, trace.Err())
	}
}

func TestTrace_ClientsKeepTheirRatesAndLengths(t *testing.T) {
	t.Parallel()
	// 40 clients, to have numbers: each 300 requests in the second step, 1,200 in the third, 600 in the first and the fourth.
	var b strings.Builder
	b.WriteString(servegenHeader + "\n")
	for i := range 40 {
		fmt.Fprintf(&b, "%d,600,0.5,1,Gamma,1,2\n%d,1200,2,3,Weibull,0.5,0.25\n%d,0,1,1,Gamma,0.2,5\n%d,1800,1,1,Weibull,1,1\n",
			2*i, 2*i, 2*i+1, 2*i+1)
	}
	path := file(t, b.String())
	trace := openTrace(t, path, file(t, lengthsSample))
	if trace.Span != 4*servegenStep {
		t.Errorf("got a span of %v, want 40m", trace.Span)
	}
	got := slices.Collect(trace.Arrivals(0, 1))
	if again := slices.Collect(openTrace(t, path, file(t, lengthsSample)).Arrivals(0, 1)); !reflect.DeepEqual(got, again) {
		t.Error("the same seed gave other arrivals")
	}
	var counts [4]float64
	var input, output [2]float64
	last := time.Duration(0)
	for _, a := range got {
		if a.At < last {
			t.Fatalf("arrival at %v after one at %v", a.At, last)
		}
		last = a.At
		counts[a.At/servegenStep]++
		period := min(a.At/servegenStep, 1)
		input[period] += float64(a.Input)
		output[period] += float64(a.Output)
	}
	near := func(what string, got, want, by float64) {
		t.Helper()
		if math.Abs(got/want-1) > by {
			t.Errorf("%s: got %.2f, want %.2f within %.0f %%", what, got, want, 100*by)
		}
	}
	var late float64
	for range trace.Arrivals(2*servegenStep+servegenStep/2, 60) {
		late++
	}
	near("requests from the middle of step 2", late, 40*(600+600), .06)
	near("requests of step 0", counts[0], 40*600, .06)
	near("requests of step 1", counts[1], 40*300, .06)
	near("requests of step 2", counts[2], 40*1200, .06)
	near("requests of step 3", counts[3], 40*600, .06)
	later := counts[1] + counts[2] + counts[3]
	near("prompt at first", input[0]/counts[0], .999*7+.001, .01)
	near("prompt later", input[1]/later, 15, .01)
	near("answer at first", output[0]/counts[0], 30, 0)
	near("answer later", output[1]/later, 1, 0)
}

func TestTraceStep_GapsHaveMeanOneAndTheShape(t *testing.T) {
	t.Parallel()
	check := func(s traceStep, cv float64) {
		t.Helper()
		rng, n := rand.New(rand.NewPCG(3, 4)), 200_000
		var sum, squares float64
		for range n {
			g := s.gap(rng, true)
			sum += g
			squares += (g - 1) * (g - 1)
		}
		mean, sd := sum/float64(n), math.Sqrt(squares/float64(n))
		if math.Abs(mean-1) > .02 || math.Abs(sd/cv-1) > .05 {
			t.Errorf("%+v: got mean %.3f and deviation %.3f, want 1 and %.3f", s, mean, sd, cv)
		}
		sum = 0
		for range n {
			sum += s.gap(rng, false)
		}
		if first, want := sum/float64(n), (1+cv*cv)/2; math.Abs(first/want-1) > .05 {
			t.Errorf("%+v: got %.3f in the mean to the first request, want %.3f", s, first, want)
		}
	}
	check(traceStep{shape: 1}, 1)
	check(traceStep{shape: 4}, .5)
	check(traceStep{shape: .25}, 2) // 1/√shape
	check(traceStep{shape: 1, weibull: true}, 1)
	check(traceStep{shape: .5, weibull: true}, math.Sqrt(5)) // √(Γ(1+2/k)/Γ(1+1/k)² - 1)
}

// The public traces, where they are.
func TestTrace_PublicOnesAreRead(t *testing.T) {
	t.Parallel()
	data := os.Getenv("OPTIMIZER_DATA")
	if data == "" {
		t.Skip("OPTIMIZER_DATA is not set: it names the directory that holds traces/azure-llm-2023, traces/mooncake and traces/servegen")
	}
	check := func(path, lengths string, n int, span time.Duration) {
		t.Helper()
		if lengths != "" {
			lengths = filepath.Join(data, "traces", "servegen", "lengths", lengths)
		}
		trace, err := OpenTrace(filepath.Join(data, "traces", path), lengths, 1)
		if err != nil {
			t.Error(err)
			return
		}
		got, last := 0, time.Duration(0)
		for a := range Until(trace.Arrivals(0, 1), span) {
			if got++; a.At < last || (lengths != "" || trace.Format != "servegen") && (a.Input < 1 || a.Output < 1) {
				t.Fatalf("%s: request %d is %+v after one at %v", path, got, a, last)
			}
			last = a.At
		}
		if within := n / 20; trace.Format != "servegen" && got != n || got < n-within || got > n+within || trace.Err() != nil {
			t.Errorf("%s: got %d requests, %v; want %d", path, got, trace.Err(), n)
		}
	}
	const hour = time.Hour
	check("azure-llm-2023/code_first_half.csv.gz", "", 5353, hour)
	check("azure-llm-2023/conv_first_half.csv.gz", "", 9739, hour)
	check("mooncake/conversation_first_half.jsonl.gz", "", 5606, hour)
	check("mooncake/synthetic_first_half.jsonl.gz", "", 1925, hour)
	check("servegen/reason-deepseek-r1-rates-odd-clients.csv.gz", "reason-deepseek-r1-client-35.json.gz", 47_201, hour)
	check("servegen/multimodal-mm-image-rates-odd-clients.csv.gz", "multimodal-mm-image-client-5.json.gz", 7_824, hour)
	check("servegen/language-m-large-rates-odd-clients.csv.gz", "language-m-large-client-61.json.gz", 601_937, hour)
	check("servegen/language-m-mid-rates-odd-clients.csv.gz", "language-m-mid-client-101.json.gz", 1_879_491, hour)
	check("servegen/language-m-small-rates-odd-clients.csv.gz", "language-m-small-client-17.json.gz", 1_640_406, hour)
}
