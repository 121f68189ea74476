package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"llm-auto-optimizer/bench/sim"
)

// collector takes OTLP as a real one does, by gRPC and by HTTP.
type collector struct {
	collectortrace.UnimplementedTraceServiceServer
	collectormetrics.UnimplementedMetricsServiceServer

	mu      sync.Mutex
	spans   []*tracepb.Span
	metrics map[string]*metricspb.Metric
	service string
	auth    string
}

func (c *collector) takeTraces(auth string, req *collectortrace.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.auth = auth
	for _, r := range req.GetResourceSpans() {
		c.service = attributesOf(r.GetResource().GetAttributes())["service.name"]
		for _, s := range r.GetScopeSpans() {
			c.spans = append(c.spans, s.GetSpans()...)
		}
	}
}

func (c *collector) takeMetrics(req *collectormetrics.ExportMetricsServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.metrics == nil {
		c.metrics = map[string]*metricspb.Metric{}
	}
	for _, r := range req.GetResourceMetrics() {
		for _, s := range r.GetScopeMetrics() {
			for _, m := range s.GetMetrics() {
				c.metrics[m.GetName()] = m
			}
		}
	}
}

// traceService and metricService have the same method's name.
type (
	traceService struct {
		collectortrace.UnimplementedTraceServiceServer
		*collector
	}
	metricService struct {
		collectormetrics.UnimplementedMetricsServiceServer
		*collector
	}
)

func (s traceService) Export(ctx context.Context, req *collectortrace.ExportTraceServiceRequest) (*collectortrace.ExportTraceServiceResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	s.takeTraces(strings.Join(md.Get("authorization"), ","), req)
	return &collectortrace.ExportTraceServiceResponse{}, nil
}

func (s metricService) Export(_ context.Context, req *collectormetrics.ExportMetricsServiceRequest) (*collectormetrics.ExportMetricsServiceResponse, error) {
	s.takeMetrics(req)
	return &collectormetrics.ExportMetricsServiceResponse{}, nil
}

// overGRPC serves until the test ends.
func (c *collector) overGRPC(t *testing.T) (endpoint string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	collectortrace.RegisterTraceServiceServer(s, traceService{collector: c})
	collectormetrics.RegisterMetricsServiceServer(s, metricService{collector: c})
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(s.Stop)
	return "http://" + ln.Addr().String()
}

// overHTTP serves until the test ends.
func (c *collector) overHTTP(t *testing.T) (endpoint string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			body, _ = gzip.NewReader(r.Body)
		}
		b, _ := io.ReadAll(body)
		switch r.URL.Path {
		case "/otlp/v1/traces":
			req := &collectortrace.ExportTraceServiceRequest{}
			if err := proto.Unmarshal(b, req); err != nil {
				t.Error(err)
			}
			c.takeTraces(r.Header.Get("Authorization"), req)
		case "/otlp/v1/metrics":
			req := &collectormetrics.ExportMetricsServiceRequest{}
			if err := proto.Unmarshal(b, req); err != nil {
				t.Error(err)
			}
			c.takeMetrics(req)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(s.Close)
	return s.URL + "/otlp"
}

func attributesOf(all []*commonpb.KeyValue) map[string]string {
	out := map[string]string{}
	for _, kv := range all {
		switch v := kv.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			out[kv.GetKey()] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			out[kv.GetKey()] = fmt.Sprint(v.IntValue)
		default:
			out[kv.GetKey()] = kv.GetValue().String()
		}
	}
	return out
}

// Spans and metrics of real requests reach a collector by both protocols: one span an exchange, one an attempt, hanging on the client's.
func TestTelemetry_ReachesACollector(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"grpc", "http"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			c := &collector{}
			var endpoint string
			if protocol == "grpc" {
				endpoint = c.overGRPC(t)
			} else {
				endpoint = c.overHTTP(t)
			}
			s := simulate(t, sim.Options{})
			g := serve(t, s.url, "OPTIMIZER_TELEMETRY__ENDPOINT="+endpoint, "OPTIMIZER_TELEMETRY__PROTOCOL="+protocol, "OPTIMIZER_TELEMETRY__SAMPLE=0",
				"OPTIMIZER_TELEMETRY__INTERVAL=1s", "OPTIMIZER_TELEMETRY__AUTHORIZATION=Bearer s3cret")
			const id, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
			for _, header := range []string{"", "00-" + id + "-" + parent + "-01"} {
				req, _ := http.NewRequest(http.MethodPost, g.url+"/v1/chat/completions", strings.NewReader(plainBody))
				req.Header.Set("Authorization", "Bearer key")
				if header != "" {
					req.Header.Set("traceparent", header)
				}
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			g.eventually("metrics arrive", func() bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				h := c.metrics["gen_ai.client.operation.duration"].GetHistogram().GetDataPoints()
				return len(h) == 1 && h[0].GetCount() == 2
			})
			g.stop() // delivers what waits

			c.mu.Lock()
			defer c.mu.Unlock()
			if len(c.spans) != 2 || c.service != "llmopt" || c.auth != "Bearer s3cret" {
				t.Fatalf("%d spans of %q with %q", len(c.spans), c.service, c.auth)
			}
			exchange, attempt := c.spans[0], c.spans[1]
			if exchange.GetKind() != tracepb.Span_SPAN_KIND_SERVER {
				exchange, attempt = attempt, exchange
			}
			if hex.EncodeToString(exchange.GetTraceId()) != id || hex.EncodeToString(exchange.GetParentSpanId()) != parent ||
				hex.EncodeToString(attempt.GetTraceId()) != id || !bytes.Equal(attempt.GetParentSpanId(), exchange.GetSpanId()) ||
				attempt.GetKind() != tracepb.Span_SPAN_KIND_CLIENT || exchange.GetName() != "chat gpt-4o-mini" {
				t.Errorf("exchange %v, attempt %v", exchange, attempt)
			}
			a := attributesOf(attempt.GetAttributes())
			for key, want := range map[string]string{
				"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-mini", "llmopt.outcome": "ok",
				"http.response.status_code": "200", "server.address": "127.0.0.1", "llmopt.target": "openai/gpt-4o-mini",
			} {
				if a[key] != want {
					t.Errorf("attempt's %s: %q, want %q", key, a[key], want)
				}
			}
			if a["gen_ai.usage.input_tokens"] == "" || a["gen_ai.usage.input_tokens"] == "0" {
				t.Errorf("attempt: %v", a)
			}
			if m := c.metrics["llmopt.cost_usd"]; m.GetUnit() != "{USD}" || !m.GetSum().GetIsMonotonic() || m.GetSum().GetDataPoints()[0].GetAsDouble() <= 0 {
				t.Errorf("cost: %v", m)
			}
			if m := c.metrics["llmopt.client_connections"]; m.GetGauge() == nil {
				t.Errorf("gauge: %v", m)
			}
			if text := g.stderr.String() + g.stdout.String(); strings.Contains(text, "s3cret") {
				t.Error("the collector's secret is shown")
			}
		})
	}
}

// A collector that is not there costs no request, and is told.
func TestTelemetry_NoCollector(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{})
	c := startChild(t, s.url, "OPTIMIZER_TELEMETRY__ENDPOINT=http://"+freePort(t), "OPTIMIZER_TELEMETRY__PROTOCOL=http", "OPTIMIZER_TELEMETRY__SAMPLE=100",
		"OPTIMIZER_TELEMETRY__INTERVAL=1s", "OPTIMIZER_STORAGE__DIR="+filepath.Join(t.TempDir(), "state"))
	for range 50 {
		began := time.Now()
		if err := chat(http.DefaultClient, c.proxy, false); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("a request took %v", took)
		}
	}
	eventually(t, "failures are counted and told", 20*time.Second, func() bool {
		return c.metric("llmopt_telemetry_errors_total") > 0 && strings.Contains(c.stderr.String(), "telemetry can't be delivered")
	})
}

func TestBridgeMetrics(t *testing.T) {
	t.Parallel()
	text := strings.Join([]string{
		`# a comment`, `a_total{x="1",y="q\"{,}="} 3`, `a_total{x="2"} 4`, `b_bytes 12.5`,
		`h_seconds_bucket{m="1",le="0.1"} 2`, `h_seconds_bucket{m="1",le="1"} 5`, `h_seconds_bucket{m="1",le="+Inf"} 6`, `h_seconds_sum{m="1"} 7.5`, `h_seconds_count{m="1"} 6`,
		`broken{`, `broken{a="b`, `broken x`, ``,
	}, "\n")
	got := bridgeMetrics(text, time.Unix(1, 0), time.Unix(2, 0))
	if len(got) != 3 || got[0].Name != "a" || got[1].Name != "b.bytes" || got[1].Unit != "By" || got[2].Name != "h.seconds" || got[2].Unit != "s" {
		t.Fatalf("got %+v", got)
	}
	if text := fmt.Sprintf("%+v", got[2].Data); !strings.Contains(text, "Count:6 Bounds:[0.1 1] BucketCounts:[2 3 1]") || !strings.Contains(text, "Sum:7.5") {
		t.Errorf("histogram: %s", text)
	}
	if text := fmt.Sprintf("%+v", got[0].Data); strings.Count(text, "Value:") != 2+3 && !strings.Contains(text, "IsMonotonic:true") {
		t.Errorf("counter: %s", text)
	}
}

func FuzzParseSample(f *testing.F) {
	f.Add(`a{b="c",le="1"} 2`)
	f.Add(`a{b="\"`)
	f.Fuzz(func(t *testing.T, line string) {
		if s, known := parseSample(line); known && (s.name == "" || !strings.HasPrefix(line, s.name)) {
			t.Errorf("%q: %+v", line, s)
		}
	})
}
