package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy"
)

const (
	// tracesWaiting is how many exchanges may wait to be made into spans.
	tracesWaiting = 2048
	// telemetryGrace is the time that the last spans and metrics get on shutdown.
	telemetryGrace = 3 * time.Second
	// instrumentation names this program as the source of spans and metrics.
	instrumentation = "llm-auto-optimizer"
)

// telemetry sends spans and metrics to an OpenTelemetry collector. It is nil where none is configured.
type telemetry struct {
	traces *proxy.Traces // nil: no spans
	tracer *sdktrace.TracerProvider
	ids    *givenIDs
	res    *resource.Resource
	meter  *sdkmetric.MeterProvider
	failed atomic.Uint64
	spans  atomic.Uint64
}

// newTelemetry connects to nothing yet.
func newTelemetry(c *config.Telemetry, log zerolog.Logger) (*telemetry, error) {
	if c.Endpoint == "" {
		return nil, nil
	}
	t := &telemetry{res: resource.NewSchemaless(
		attribute.String("service.name", c.Service), attribute.String("service.version", buildVersion().Version),
		attribute.String("service.instance.id", instanceID()))}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { // the library's only way to tell of failed exports
		if t.failed.Add(1) == 1 {
			log.Error().Err(err).Str("endpoint", c.Endpoint).Msg("telemetry can't be delivered; further failures are only counted")
		}
	}))
	if c.Traces {
		exporter, err := traceExporter(context.Background(), c)
		if err != nil {
			return nil, fmt.Errorf("%w: telemetry: %w", errUsage, err)
		}
		t.ids = &givenIDs{}
		t.traces = proxy.NewTraces(float64(c.Sample), tracesWaiting)
		t.tracer = sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(t.res), sdktrace.WithIDGenerator(t.ids),
			sdktrace.WithSampler(sdktrace.AlwaysSample())) // the proxy has sampled
	}
	return t, nil
}

// observe begins to deliver what the sets hold.
func (t *telemetry) observe(c *config.Telemetry, sets []*metrics.Set) error {
	if t == nil || !c.Metrics {
		return nil
	}
	exporter, err := metricExporter(context.Background(), c)
	if err != nil {
		return fmt.Errorf("%w: telemetry: %w", errUsage, err)
	}
	reader := sdkmetric.NewPeriodicReader(exporter, sdkmetric.WithInterval(c.Interval), sdkmetric.WithProducer(&metricBridge{sets: sets, started: time.Now()}))
	t.meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithResource(t.res))
	return nil
}

// endpointOf splits the setting: gRPC takes host and port, HTTP a URL, to which the signal's path is added.
func endpointOf(c *config.Telemetry, signal string) (host string, full string, secure bool) {
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		panic("BUG: telemetry.endpoint passed validation: " + err.Error())
	}
	return u.Host, u.JoinPath("v1", signal).String(), u.Scheme == "https"
}

func headersOf(c *config.Telemetry) map[string]string {
	if c.Authorization.Empty() {
		return nil
	}
	return map[string]string{"authorization": c.Authorization.Reveal()}
}

func traceExporter(ctx context.Context, c *config.Telemetry) (*otlptrace.Exporter, error) {
	host, full, secure := endpointOf(c, "traces")
	if c.Protocol == "http" {
		return otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(full), otlptracehttp.WithHeaders(headersOf(c)))
	}
	o := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(host), otlptracegrpc.WithHeaders(headersOf(c))}
	if !secure {
		o = append(o, otlptracegrpc.WithInsecure())
	}
	return otlptracegrpc.New(ctx, o...)
}

func metricExporter(ctx context.Context, c *config.Telemetry) (sdkmetric.Exporter, error) {
	host, full, secure := endpointOf(c, "metrics")
	if c.Protocol == "http" {
		return otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(full), otlpmetrichttp.WithHeaders(headersOf(c)))
	}
	o := []otlpmetricgrpc.Option{otlpmetricgrpc.WithEndpoint(host), otlpmetricgrpc.WithHeaders(headersOf(c))}
	if !secure {
		o = append(o, otlpmetricgrpc.WithInsecure())
	}
	return otlpmetricgrpc.New(ctx, o...)
}

// run makes spans of exchanges until ctx is done, and then delivers what is left.
func (t *telemetry) run(ctx context.Context) {
	if t.tracer != nil {
		t.write(ctx)
	}
	<-ctx.Done()
	t.close()
}

// close delivers what is left, and may be called again.
func (t *telemetry) close() {
	if t == nil {
		return
	}
	last, cancel := context.WithTimeout(context.Background(), telemetryGrace)
	defer cancel()
	var wg sync.WaitGroup
	if t.tracer != nil {
		wg.Go(func() { _ = t.tracer.Shutdown(last) }) // what fails is counted by the error handler
	}
	if t.meter != nil {
		wg.Go(func() { _ = t.meter.Shutdown(last) })
	}
	wg.Wait()
}

// write makes spans until ctx is done and none waits.
func (t *telemetry) write(ctx context.Context) {
	tracer := t.tracer.Tracer(instrumentation)
	for {
		select {
		case x := <-t.traces.C():
			t.spans.Add(uint64(1 + len(x.Attempts)))
			writeSpans(tracer, t.ids, x)
			continue
		default:
		}
		select {
		case x := <-t.traces.C():
			t.spans.Add(uint64(1 + len(x.Attempts)))
			writeSpans(tracer, t.ids, x)
		case <-ctx.Done():
			return
		}
	}
}

// sampled is what the proxy samples into; nil: nothing.
func (t *telemetry) sampled() *proxy.Traces {
	if t == nil {
		return nil
	}
	return t.traces
}

// metrics tells how telemetry is delivered.
func (t *telemetry) metrics() *metrics.Set {
	set := metrics.NewSet()
	set.RegisterMetricsWriter(func(w io.Writer) {
		metrics.WriteCounterUint64(w, "llmopt_telemetry_errors_total", t.failed.Load())
		if t.traces != nil {
			metrics.WriteCounterUint64(w, "llmopt_telemetry_spans_total", t.spans.Load())
			metrics.WriteCounterUint64(w, "llmopt_telemetry_dropped_traces_total", t.traces.Dropped())
		}
	})
	return set
}
