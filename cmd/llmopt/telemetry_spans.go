package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy"
)

// instanceID tells this process from its replicas.
func instanceID() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// givenIDs has spans take the ids that the proxy has given them: providers know those already. One goroutine makes spans.
type givenIDs struct {
	trace trace.TraceID
	span  trace.SpanID
}

// NewIDs implements sdktrace.IDGenerator.
func (g *givenIDs) NewIDs(context.Context) (trace.TraceID, trace.SpanID) { return g.trace, g.span }

// NewSpanID implements sdktrace.IDGenerator.
func (g *givenIDs) NewSpanID(context.Context, trace.TraceID) trace.SpanID { return g.span }

// writeSpans makes the spans of an exchange: one for it, and one for each attempt. Names and attributes are those of OpenTelemetry's
// conventions for generative AI and HTTP, where those have any.
func writeSpans(tracer trace.Tracer, ids *givenIDs, x *proxy.Trace) {
	ctx := context.Background()
	if x.Parent != [8]byte{} {
		ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: x.TraceID, SpanID: x.Parent, TraceFlags: trace.FlagsSampled, Remote: true,
		}))
	}
	name := x.Method + " " + x.Path
	operation := []attribute.KeyValue{}
	if x.Operation != "" {
		name = x.Operation
		if x.Model != "" {
			name += " " + x.Model
		}
		operation = append(operation, attribute.String("gen_ai.operation.name", x.Operation), attribute.String("gen_ai.request.model", x.Model))
	}
	ids.trace, ids.span = x.TraceID, x.SpanID
	ctx, span := tracer.Start(ctx, name, trace.WithTimestamp(x.Start), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(operation...),
		trace.WithAttributes(
			attribute.String("http.request.method", x.Method), attribute.String("url.path", x.Path),
			attribute.Int("http.response.status_code", x.Status), attribute.String("llmopt.id", x.ID), attribute.String("llmopt.route", x.Route),
			attribute.String("llmopt.class", x.Class), attribute.String("llmopt.caller", x.Caller), attribute.String("llmopt.outcome", x.Outcome.String()),
			attribute.Int("llmopt.attempts", len(x.Attempts)), attribute.Int64("llmopt.cost_nanousd", int64(x.Cost)), attribute.Bool("llmopt.stream", x.Stream)))
	for i := range x.Attempts {
		writeAttempt(ctx, tracer, ids, name, operation, x.Dialect, &x.Attempts[i])
	}
	failed(span, x.Outcome, x.Error, x.Status)
	span.End(trace.WithTimestamp(x.End))
}

func writeAttempt(ctx context.Context, tracer trace.Tracer, ids *givenIDs, name string, operation []attribute.KeyValue, dialect string, a *proxy.TraceAttempt) {
	if a.Start.IsZero() {
		return // it never began: the client's body could not be read, say
	}
	ids.span = a.SpanID
	host, port, err := net.SplitHostPort(a.Host)
	if err != nil {
		host = a.Host
	}
	attributes := append([]attribute.KeyValue{
		attribute.String("gen_ai.provider.name", providerNames[dialect]), attribute.String("llmopt.provider", a.Provider),
		attribute.String("llmopt.target", a.Target), attribute.String("server.address", host), attribute.String("llmopt.outcome", a.Outcome.String()),
		attribute.Int64("llmopt.cost_nanousd", int64(a.Cost)), attribute.Bool("llmopt.estimated", a.Estimated), attribute.Bool("llmopt.unpriced", a.Unpriced),
	}, operation...)
	if n, err := strconv.Atoi(port); err == nil {
		attributes = append(attributes, attribute.Int("server.port", n))
	}
	if a.Why != "" {
		attributes = append(attributes, attribute.String("llmopt.why", a.Why))
	}
	if a.Status > 0 {
		attributes = append(attributes, attribute.Int("http.response.status_code", a.Status))
	}
	if a.Model != "" {
		attributes = append(attributes, attribute.String("gen_ai.response.model", a.Model))
	}
	if a.TTFT > 0 {
		attributes = append(attributes, attribute.Float64("llmopt.time_to_first_token", a.TTFT.Seconds()))
	}
	if a.Input > 0 || a.Output > 0 {
		attributes = append(attributes, attribute.Int64("gen_ai.usage.input_tokens", a.Input), attribute.Int64("gen_ai.usage.output_tokens", a.Output),
			attribute.Int64("gen_ai.usage.cache_read.input_tokens", a.CacheRead), attribute.Int64("gen_ai.usage.cache_creation.input_tokens", a.CacheWrite),
			attribute.Int64("gen_ai.usage.reasoning.output_tokens", a.Reasoning))
	}
	_, span := tracer.Start(ctx, name, trace.WithTimestamp(a.Start), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
	failed(span, a.Outcome, "", a.Status)
	span.End(trace.WithTimestamp(a.End))
}

// providerNames are the values of gen_ai.provider.name, by dialect: what the wire format is, not who serves it.
var providerNames = map[string]string{"openai": "openai", "anthropic": "anthropic", "gemini": "gcp.gemini"}

// failed marks a span whose outcome is an error.
func failed(span trace.Span, o window.Outcome, code string, status int) {
	if o == window.OK || o == window.Canceled {
		return
	}
	kind := code
	if kind == "" && status >= 400 {
		kind = strconv.Itoa(status)
	}
	if kind == "" {
		kind = o.String()
	}
	span.SetAttributes(attribute.String("error.type", kind))
	span.SetStatus(codes.Error, o.String())
}
