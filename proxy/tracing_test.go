package proxy

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"llm-auto-optimizer/analysis/window"
)

func TestTraceparent(t *testing.T) {
	t.Parallel()
	const id, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	check := func(header, want string) {
		t.Helper()
		trace, parent, sampled, known := parseTraceparent([]byte(header))
		got := "unknown"
		if known {
			got = fmt.Sprintf("%x %x %v", trace, parent, sampled)
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", header, got, want)
		}
	}
	check("00-"+id+"-"+span+"-01", id+" "+span+" true")
	check("00-"+id+"-"+span+"-00", id+" "+span+" false")
	check("00-"+id+"-"+span+"-03", id+" "+span+" true")
	check("cc-"+id+"-"+span+"-01-what-comes-later", id+" "+span+" true")
	for _, bad := range []string{
		"", "00", "00-" + id + "-" + span, "00-" + id + "-" + span + "-1", "00-" + id + "-" + span + "-01-x", "ff-" + id + "-" + span + "-01",
		"00-" + strings.ToUpper(id) + "-" + span + "-01", "00-" + strings.Repeat("0", 32) + "-" + span + "-01",
		"00-" + id + "-0000000000000000-01", "00-" + id[:31] + "g-" + span + "-01", "cc-" + id + "-" + span + "-01x",
	} {
		check(bad, "unknown")
	}
}

func FuzzTraceparent(f *testing.F) {
	f.Add([]byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		trace, parent, _, known := parseTraceparent(b)
		if known && (string(b[3:35]) != hex.EncodeToString(trace[:]) || string(b[36:52]) != hex.EncodeToString(parent[:])) {
			t.Errorf("%q: read as %x, %x", b, trace, parent)
		}
	})
}

// What a client's traceparent says is obeyed and handed on; what is not sampled goes through untouched.
func TestTraces_OverTheWire(t *testing.T) {
	t.Parallel()
	const id, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	ask := func(percent float64, headers ...string) (seen string, trace *Trace) {
		t.Helper()
		url, got := mirror(t)
		g := start(t, testConfig(url))
		g.p.traces = NewTraces(percent, 1)
		g.send(post("/v1/chat/completions", `{"model":"gpt-4o-mini"}`, headers...))
		m := <-got
		for _, h := range m.headers {
			if strings.HasPrefix(strings.ToLower(h), "traceparent") {
				seen += h + ";"
			}
		}
		g.lines(1)
		select {
		case trace = <-g.p.traces.C():
		default:
		}
		return seen, trace
	}
	mine := "TraceParent: 00-" + id + "-" + span + "-0"
	if seen, trace := ask(100, mine+"0"); seen != mine+"0;" || trace != nil {
		t.Errorf("not sampled by the client: provider saw %q, %+v", seen, trace)
	}
	if seen, trace := ask(0); seen != "" || trace != nil {
		t.Errorf("not sampled: provider saw %q, %+v", seen, trace)
	}
	seen, trace := ask(0, mine+"1", "Tracestate: a=b")
	if trace == nil || hex.EncodeToString(trace.TraceID[:]) != id || hex.EncodeToString(trace.Parent[:]) != span || len(trace.Attempts) != 1 ||
		seen != fmt.Sprintf("traceparent: 00-%s-%x-01;", id, trace.Attempts[0].SpanID) {
		t.Fatalf("sampled by the client: provider saw %q, %+v", seen, trace)
	}
	seen, trace = ask(100)
	if trace == nil || trace.TraceID == [16]byte{} || trace.Parent != [8]byte{} || trace.SpanID == [8]byte{} ||
		seen != fmt.Sprintf("traceparent: 00-%x-%x-01;", trace.TraceID, trace.Attempts[0].SpanID) {
		t.Fatalf("sampled by chance: provider saw %q, %+v", seen, trace)
	}
	if trace.Operation != "chat" || trace.Model != "gpt-4o-mini" || trace.Method != "POST" || trace.Path != "/v1/chat/completions" || trace.Dialect != "openai" ||
		len(trace.ID) != idLen || trace.End.Before(trace.Start) {
		t.Errorf("got %+v", trace)
	}
}

func TestTraces_AttemptsAndLimits(t *testing.T) {
	t.Parallel()
	g := start(t, testConfig(fixed(t, chatAnswer("gpt-4o-mini-2024"))))
	g.p.traces = NewTraces(100, 1)
	for range 2 {
		g.send(post("/v1/chat/completions", `{"model":"gpt-4o-mini"}`))
	}
	g.lines(2)
	trace := <-g.p.traces.C()
	a := trace.Attempts[0]
	if trace.Status != 200 || trace.Outcome != window.OK || trace.Cost == 0 || a.Status != 200 || a.Input != 10 || a.Output != 5 || a.Model != "gpt-4o-mini-2024" ||
		a.Cost != trace.Cost || a.Target != "openai/gpt-4o-mini" || a.Start.Before(trace.Start) || a.End.After(trace.End) {
		t.Errorf("got %+v", trace)
	}
	if n := g.p.traces.Dropped(); n != 1 {
		t.Errorf("%d dropped", n)
	}
	g.send(post("/nowhere", "{}"))
	g.lines(3)
	if refused := <-g.p.traces.C(); refused.Status != 404 || refused.Error != "unknown_path" || len(refused.Attempts) != 0 || refused.Path != "/nowhere" {
		t.Errorf("got %+v", refused)
	}
}
