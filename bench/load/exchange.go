package load

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"time"

	"llm-auto-optimizer/analysis/window"
)

// result is what became of one exchange.
type result struct {
	outcome     window.Outcome
	latency     time.Duration // from the intended sending
	ttft        time.Duration // likewise, to the first content of a stream
	hasContent  bool
	overhead    time.Duration
	hasOverhead bool
	status      int    // of the answer; 0: none came
	cut         bool   // the client left because all had to
	detail      string // what a failure says
	usage       usage
}

// exchange sends one request and takes its answer, or leaves it as planned, or when all leave.
func (d *Driver) exchange(r *request, intended time.Time) {
	ctx, leave := context.WithCancel(d.exchanges)
	defer leave()
	if r.leaveWait > 0 {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			WroteRequest: func(httptrace.WroteRequestInfo) { time.AfterFunc(r.leaveWait, leave) },
		})
	}
	d.begin(time.Since(intended))
	var res result
	res.outcome = d.try(ctx, leave, r, intended, &res)
	res.latency = time.Since(intended)
	res.cut = res.outcome == window.Canceled && d.exchanges.Err() != nil
	d.end(&res)
}

// try makes the exchange and tells its outcome.
func (d *Driver) try(ctx context.Context, leave func(), r *request, intended time.Time, res *result) window.Outcome {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.urls[r.kind], bytes.NewReader(r.body))
	if err != nil {
		panic("BUG: kind was checked: " + err.Error())
	}
	req.Header = d.headers[r.kind]
	resp, err := d.transport.RoundTrip(req)
	if err != nil {
		res.detail = err.Error()
		return outcomeOf(ctx, err)
	}
	defer resp.Body.Close()
	res.status = resp.StatusCode
	if us, err := strconv.ParseInt(resp.Header.Get("x-llmopt-overhead-us"), 10, 64); err == nil {
		res.overhead, res.hasOverhead = time.Duration(us)*time.Microsecond, true
	}
	k := &d.kinds[r.kind]
	if !k.Stream || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		answer, err := res.usage.readPlain(k.API, resp.Body)
		switch {
		case err != nil:
			res.detail = err.Error()
			return outcomeOf(ctx, err)
		case k.Stream && resp.StatusCode < 300:
			res.detail = "no stream but " + resp.Header.Get("Content-Type")
			return window.StreamError
		case resp.StatusCode >= 400:
			res.detail = beginning(answer)
		}
		return outcomeOfStatus(resp.StatusCode)
	}
	s, last := stream{api: k.API, usage: &res.usage}, time.Time{}
	err = s.read(resp.Body, func(pieces int) bool {
		if pieces > 0 {
			now := time.Now()
			d.content(pieces, !res.hasContent, now.Sub(last))
			if last = now; !res.hasContent {
				res.hasContent, res.ttft = true, now.Sub(intended)
			}
		}
		if s.ended || r.leaveContent == 0 || s.content < r.leaveContent {
			return true
		}
		leave()
		return false
	})
	switch {
	case s.failed: // goes first: after such an event the connection may be cut
		res.detail = s.failure
		return window.StreamError
	case ctx.Err() != nil && !s.ended:
		return window.Canceled
	case err != nil:
		res.detail = err.Error()
		return outcomeOf(ctx, err)
	default:
		return outcomeOfStatus(resp.StatusCode)
	}
}

// beginning is as much of an answer as a person needs to know what is wrong.
func beginning(answer []byte) string {
	const enough = 300
	return string(answer[:min(enough, len(answer))])
}

// outcomeOf tells what an error of the transport means.
func outcomeOf(ctx context.Context, err error) window.Outcome {
	var op *net.OpError
	switch {
	case ctx.Err() != nil:
		return window.Canceled
	case errors.As(err, &op) && op.Op == "dial":
		return window.Connect
	default:
		return window.Broken
	}
}

func outcomeOfStatus(status int) window.Outcome {
	switch {
	case status == http.StatusTooManyRequests:
		return window.RateLimited
	case status >= 500:
		return window.UpstreamError
	case status >= 400:
		return window.ClientError
	default:
		return window.OK
	}
}
