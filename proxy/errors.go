package proxy

import (
	"errors"
	"fmt"

	"github.com/valyala/fasthttp"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/provider"
)

// kindOfFailure is what a client is told: a status, a code and a fixed sentence. Nothing of the operator's side shows.
type kindOfFailure struct {
	status  int
	code    string
	message string
	outcome window.Outcome
}

var (
	badRequest        = kindOfFailure{400, "bad_request", "The request is malformed.", window.Refused}
	badBody           = kindOfFailure{400, "bad_request_body", "The request body could not be read: its framing is broken or it ended early.", window.Refused}
	unknownRoute      = kindOfFailure{404, "unknown_path", "No provider serves this path. Use /{provider}/… or a path of a provider's API such as /v1/….", window.Refused}
	requestTimeout    = kindOfFailure{408, "request_timeout", "The request did not arrive in time.", window.Refused}
	tooLarge          = kindOfFailure{413, "request_too_large", "The request body is larger than this gateway allows.", window.Refused}
	headersTooLarge   = kindOfFailure{431, "headers_too_large", "The request's headers are larger than this gateway allows.", window.Refused}
	internal          = kindOfFailure{500, "internal_error", "The gateway met an internal error.", window.Refused}
	badVersion        = kindOfFailure{505, "http_version_not_supported", "The request is neither HTTP/1.1 nor HTTP/1.0.", window.Refused}
	connectFailed     = kindOfFailure{502, "upstream_unreachable", "The provider could not be reached.", window.Connect}
	brokenAnswer      = kindOfFailure{502, "upstream_broken", "The provider closed the connection or sent an answer that is not valid HTTP.", window.Broken}
	connectTimeout    = kindOfFailure{504, "upstream_connect_timeout", "The provider did not accept a connection in time.", window.Connect}
	firstByteLate     = kindOfFailure{504, "upstream_timeout", "The provider did not answer in time.", window.TimeoutFirstByte}
	idleTooLong       = kindOfFailure{504, "upstream_stalled", "The provider's answer stalled.", window.TimeoutIdle}
	totalTooLong      = kindOfFailure{504, "upstream_total_timeout", "The provider's answer took longer than this gateway allows.", window.TimeoutTotal}
	clientLeft        = kindOfFailure{499, "client_closed", "The client closed the connection.", window.Canceled}
	clientSlow        = kindOfFailure{499, "client_too_slow", "The client takes the answer too slowly.", window.Canceled}
	overloaded        = kindOfFailure{503, "gateway_overloaded", "The gateway has no memory left for another request. Try again in a moment.", window.Refused}
	shuttingDown      = kindOfFailure{503, "shutting_down", "The gateway is shutting down.", window.Canceled}
	unknownTarget     = kindOfFailure{400, "unknown_target", "The header x-llmopt-target names no target of this route.", window.Refused}
	badOption         = kindOfFailure{400, "bad_route_option", "The header x-llmopt-route-options is malformed: attempts=1..20, timeout=2s, affinity=on|off, hedge=on|off, with commas between.", window.Refused}
	overrideForbidden = kindOfFailure{403, "override_forbidden", "This route does not let requests set that for themselves.", window.Refused}
	routeSaturated    = kindOfFailure{503, "route_saturated", "All targets of this route are busy. Try again in a moment.", window.Refused}
	routeUnavailable  = kindOfFailure{503, "route_unavailable", "No target of this route can serve requests now. Try again later.", window.Refused}
	routeKeyless      = kindOfFailure{503, "route_keys_refused", "The providers of this route have refused the gateway's keys.", window.Refused}
	providerLimited   = kindOfFailure{429, "provider_rate_limited", "The provider's rate limit is used up. Try again in a moment.", window.RateLimited}
	notCached         = kindOfFailure{504, "not_cached", "There is no stored answer to this request, and it asks for no other (cache-control: only-if-cached).", window.Refused}
	unknownCaller     = kindOfFailure{401, "unknown_caller", "This gateway does not know the request's credential.", window.Refused}
	overLimit         = kindOfFailure{429, "rate_limit_exceeded", "A limit of this gateway is used up.", window.Refused}
	overBudget        = kindOfFailure{429, "budget_exceeded", "A budget of this gateway is used up.", window.Refused}
	answerIncomplete  = kindOfFailure{502, "upstream_incomplete", "The provider ended the answer before it was complete.", window.Broken}
)

// exchangeError is why an exchange could not be served: what the client is told and what the operator reads.
type exchangeError struct {
	kind  *kindOfFailure
	cause error // nil where kind says it all
}

func (e *exchangeError) Error() string {
	if e.cause == nil {
		return e.kind.code
	}
	return fmt.Sprintf("%s: %v", e.kind.code, e.cause)
}

func (e *exchangeError) Unwrap() error { return e.cause }

func fail(kind *kindOfFailure, cause error) error { return &exchangeError{kind, cause} }

// kindOfError is the kind of any error that a stage returned.
func kindOfError(err error) *kindOfFailure {
	var e *exchangeError
	if errors.As(err, &e) {
		return e.kind
	}
	return &internal
}

// writeError answers with an error of ours by way of fasthttp, where there is no exchange.
func writeError(ctx *fasthttp.RequestCtx, d provider.Dialect, k *kindOfFailure) {
	ctx.Response.ResetBody()
	ctx.SetStatusCode(k.status)
	ctx.Response.Header.SetContentType("application/json")
	ctx.Response.SetBodyRaw(provider.AppendError(nil, d, k.failure()))
}

func (k *kindOfFailure) failure() provider.Failure {
	return provider.Failure{Status: k.status, Code: k.code, Message: k.message}
}
