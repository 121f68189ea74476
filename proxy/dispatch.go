package proxy

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/provider"
	"llm-auto-optimizer/proxy/upstream"
)

// dispatch sends the request to the target and reads the head of the answer. When it returns nil, x.conn stands at the
// answer's body.
func (p *Proxy) dispatch(ctx *fasthttp.RequestCtx, x *Exchange) error {
	if x.route != nil {
		return p.walkTargets(ctx, x)
	}
	if err := x.roomHere(); err != nil {
		return err
	}
	return p.ask(ctx, x)
}

// ask makes one attempt at the target. When it returns nil, x.conn stands at the answer's body, or all of that is held.
func (p *Proxy) ask(ctx *fasthttp.RequestCtx, x *Exchange) error {
	x.prepare()
	if err := p.attempt(ctx, x); err != nil {
		return err
	}
	// Where the provider does not know what was added to the request, it says so before doing any work, so the request goes again as the client
	// wrote it.
	switch {
	case x.usageRefused():
		x.target.refusesUsage.Store(true)
	case x.refusesMarks():
		x.giveUpMarks()
	default:
		return nil
	}
	x.endAttempt()
	x.askedUsage, x.edited, x.held = false, x.edited[:0], x.held[:0]
	if err := x.roomHere(); err != nil {
		return err
	}
	x.prepare()
	if x.route != nil {
		x.lease = x.choice.Target.Begin(time.Now(), x.walk.Query())
	}
	return p.attempt(ctx, x)
}

// attempt sends the request once and takes the head of the answer, and its body too where that is held.
func (p *Proxy) attempt(ctx *fasthttp.RequestCtx, x *Exchange) error {
	x.buildHead(&ctx.Request.Header)
	if err := x.try(); err != nil {
		return err
	}
	err := x.receive()
	x.limitsRefused()
	return err
}

// endAttempt settles an attempt that another one may follow, which may yet come to nothing: before it is sent there is none.
func (x *Exchange) endAttempt() {
	x.p.settle(x, time.Now())
	x.waitedForAnswer()
	x.attempt = attempt{}
}

// usageRefused tells whether the provider has refused the request for the one field that was added to it.
func (x *Exchange) usageRefused() bool {
	return x.askedUsage && !x.streamed && x.status == http.StatusBadRequest &&
		(bytes.Contains(x.errorText(), []byte("stream_options")) || bytes.Contains(x.errorText(), []byte("include_usage")))
}

// prepare decides what to change in the request's body.
func (x *Exchange) prepare() {
	op := x.operation
	edits := provider.Edits{Model: x.newModel}
	if (op == provider.ChatCompletions || op == provider.Completions) && x.request.Valid && x.request.Stream &&
		!x.request.IncludeUsage && x.limits.RequestUsage && x.rest == nil && !x.target.refusesUsage.Load() &&
		x.on(config.FlagRequestUsage) {
		edits.IncludeUsage, x.askedUsage = true, true
	}
	edits.Breakpoints = x.markPrompt()
	if edits != (provider.Edits{}) && x.request.Valid {
		x.edited = provider.Rewrite(x.edited[:0], x.body, &x.request, edits)
	}
}

// try makes one attempt. If it falls on a kept-alive connection that the provider had closed meanwhile, it is
// repeated on a new one, provided that the request is safe to repeat or certainly was not processed.
func (x *Exchange) try() error {
	x.keepPasses(time.Now())
	x.attempts++
	x.settled, x.accounted = false, false
	x.meter.Reset(x.operation, provider.Ignored) // until the answer's head tells its format, there is none
	x.attempt = attempt{start: time.Now()}
	for x.rest == nil && !x.upgrade { // what can't be sent twice starts on a connection that can't be stale
		conn, err := x.provider.origin.Get(&x.client.tether)
		if err != nil {
			return x.cutError()
		}
		if conn == nil {
			break
		}
		x.conn = conn
		if err = x.roundTrip(); err == nil {
			return nil
		}
		repeat := conn.MayRepeat(err, safeMethod(x.method))
		x.attempt.stale = conn.MayRepeat(err, true)
		x.dropConn()
		if errors.Is(err, upstream.ErrStale) {
			continue
		}
		if !repeat {
			return x.attemptError(err)
		}
		x.waitedForAnswer()
		x.p.metrics.staleRetries.Inc()
		break
	}
	if err := x.dial(); err != nil {
		return err
	}
	if err := x.roundTrip(); err != nil {
		x.dropConn()
		return x.attemptError(err)
	}
	return nil
}

func (x *Exchange) dial() (err error) {
	start := time.Now()
	x.conn, err = x.provider.origin.Dial(&x.client.tether, x.deadline(start, x.limits.Timeouts.Connect))
	x.waited += time.Since(start)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, upstream.ErrCut):
		return x.cutError()
	case upstream.Timeout(err):
		return fail(&connectTimeout, err)
	default:
		return fail(&connectFailed, err)
	}
}

// roundTrip writes the request and reads the head of the answer.
func (x *Exchange) roundTrip() error {
	if err := x.startUpload(); err != nil {
		return err
	}
	err := x.conn.ReadHead(x.isHead)
	if err == nil {
		x.attempt.answered = time.Now()
	}
	if x.upload != nil {
		x.upload.headRead()
	}
	return err
}

// deadline is the earlier of a phase that starts now and the end of the whole attempt. Zero means none.
func (x *Exchange) deadline(now time.Time, phase time.Duration) (d time.Time) {
	if phase > 0 {
		d = now.Add(phase)
	}
	if total := x.limits.Timeouts.Total; total > 0 {
		if end := x.attempt.start.Add(total); d.IsZero() || end.Before(d) {
			d = end
		}
	}
	return d
}

// attemptError says what an error before the answer's head means.
func (x *Exchange) attemptError(err error) error {
	switch {
	case errors.Is(err, upstream.ErrCut) || x.client.tether.IsCut():
		return x.cutError()
	case x.attempt.uploadErr != nil:
		return x.bodyError(x.attempt.uploadErr)
	case upstream.Timeout(err):
		if x.totalPassed() {
			return fail(&totalTooLong, err)
		}
		return fail(&firstByteLate, err)
	case errors.Is(err, io.EOF):
		return fail(&brokenAnswer, io.ErrUnexpectedEOF)
	default:
		return fail(&brokenAnswer, err)
	}
}

func (x *Exchange) totalPassed() bool {
	total := x.limits.Timeouts.Total
	return total > 0 && time.Since(x.attempt.start) >= total
}

// cutError tells a client that left from a server that shuts down.
func (x *Exchange) cutError() error {
	if x.p.stopping.Load() {
		return fail(&shuttingDown, nil)
	}
	return fail(&clientLeft, nil)
}

func (x *Exchange) dropConn() {
	x.endUpload()
	x.conn.Discard()
	x.conn = nil
}

// safeMethod tells whether a request may be repeated without harm even if it was processed (RFC 9110, section 9.2.2).
func safeMethod(m []byte) bool {
	switch string(m) {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete, http.MethodTrace:
		return true
	}
	return false
}
