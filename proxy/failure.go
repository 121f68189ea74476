package proxy

import (
	"errors"
	"net/http"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/pick"
	"llm-auto-optimizer/proxy/provider"
)

// empty tells whether the answer is a success that says nothing.
func (x *Exchange) empty() bool {
	return !x.streamed && x.status == http.StatusOK && x.metered() && x.hasBody() && len(x.held) == 0
}

var errEmpty = errors.New("answer has no body")

// failureOf tells whether the attempt has failed so that another one might do better, and why.
func (x *Exchange) failureOf(err error) (f pick.Failure, failed bool) {
	f.Repeatable, f.Held = x.mayRepeat(), x.lease.Held()
	if err != nil {
		switch kind := kindOfError(err); kind {
		case &connectFailed, &connectTimeout, &brokenAnswer, &firstByteLate, &idleTooLong, &answerIncomplete:
			return f, true
		default: // the client's fault, or it has left, or ours
			return f, false
		}
	}
	kind, said := x.meter.Failed()
	if x.status >= 400 || said {
		switch provider.TroubleOf(x.status, kind, x.errorText()) {
		case provider.TooLong:
			f.Cause = pick.Context
			return f, true
		case provider.Policy:
			f.Cause = pick.Content
			return f, true
		case provider.Unpaid:
			f.Cause = pick.Budget
			return f, x.routeTarget.keyed
		}
	}
	switch {
	case x.status == http.StatusTooManyRequests:
		f.Cause, f.RetryAfter = pick.RateLimited, x.retryAfter
		return f, x.retryOn()
	case x.status == http.StatusUnauthorized, x.status == http.StatusForbidden:
		return f, x.routeTarget.keyed
	case x.status == http.StatusNotFound:
		return f, x.routeTarget.model != ""
	case x.status >= 400:
		f.RetryAfter = x.retryAfter
		return f, x.retryOn()
	case x.streamed:
		return f, said && x.attempt.content.IsZero() && x.metered()
	case !x.metered() || !x.hasBody():
		return f, false
	default:
		return f, said
	}
}

func (x *Exchange) retryOn() bool {
	return x.status < len(x.route.retryOn) && x.route.retryOn[x.status]
}

// resultOf is what an attempt says of its target.
func (x *Exchange) resultOf(now time.Time, o *window.Observation) pick.Result {
	r := pick.Result{Outcome: pick.Neutral, Input: o.TokensInput, RetryAfter: x.retryAfter, Paced: x.pace.of != nil}
	if o.Estimated || o.Unpriced {
		r.Input = 0
	}
	switch o.Outcome {
	case window.OK:
		r.Outcome = pick.Good
		if r.Took = o.TTFT; !x.isStream() {
			if r.Took = now.Sub(x.attempt.start); x.streamed { // the time that the client took for it is in there
				r.Took = 0
			}
		}
	case window.RateLimited:
		if r.Outcome = pick.Limited; x.attempt.alone {
			r.Outcome = pick.Neutral
		}
		if provider.TroubleOf(x.status, x.meterKind(), nil) == provider.Unpaid && x.routeTarget.keyed {
			r.Outcome = pick.Refused
		}
	case window.ClientError:
		s := x.attempt.status
		switch trouble := provider.TroubleOf(s, x.meterKind(), x.errorText()); {
		case trouble == provider.Policy:
		case trouble == provider.Unpaid && x.routeTarget.keyed:
			r.Outcome = pick.Refused
		case (s == http.StatusUnauthorized || s == http.StatusPaymentRequired) && x.routeTarget.keyed:
			r.Outcome = pick.Refused
		case s == http.StatusForbidden && x.routeTarget.keyed:
			r.Outcome = pick.Forbidden
		case s == http.StatusNotFound && x.routeTarget.model != "", s == http.StatusRequestTimeout && x.retryOn():
			r.Outcome = pick.Bad
		}
	case window.Broken:
		if !x.attempt.stale {
			r.Outcome = pick.Bad
		}
	case window.UpstreamError, window.Connect, window.TimeoutFirstByte, window.TimeoutIdle, window.TimeoutTotal, window.StreamError:
		r.Outcome = pick.Bad
	}
	return r
}

// errorText is what an error's body says, where it is held.
func (x *Exchange) errorText() []byte {
	if x.streamed && !x.isStream() {
		return nil
	}
	return x.meter.Decoded(x.held)
}

func (x *Exchange) meterKind() string {
	kind, _ := x.meter.Failed()
	return kind
}
