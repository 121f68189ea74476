package sim

import (
	"strconv"
	"time"
)

// failure makes a an error in the shape of the exchange's dialect, of the kind that goes with the status.
func (a *answer) failure(x *exchange, status int, message string) {
	a.reset()
	switch x.dialect {
	case dialectAnthropic:
		a.anthropicError(x, status, anthropicErrorType(status), message)
	case dialectGemini:
		retry := time.Duration(0)
		if status == 429 {
			retry = x.retryAfter()
		}
		a.geminiError(status, geminiStatus(status), message, retry)
	default:
		kind, code := openAIErrorType(status)
		a.openAIError(status, message, kind, "", code)
	}
}

// fail makes a what the provider answers with that status when it fails by itself.
func (x *exchange) fail(a *answer, status int) {
	a.failure(x, status, failureText[status])
	if status == 429 || (status == 503 || status == 529) && x.d.retryAfter > 0 {
		d := x.retryAfter()
		a.headerInt("retry-after", int((d+time.Second-1)/time.Second)) // whole seconds
		a.headerInt("retry-after-ms", int(d/time.Millisecond))
	}
	if x.dialect == dialectAnthropic && (status == 429 || status >= 500) {
		a.header("x-should-retry", "true")
	}
}

// retryAfter is how long a refused client is told to wait.
func (x *exchange) retryAfter() time.Duration {
	if x.d.retryAfter > 0 {
		return x.d.retryAfter
	}
	return time.Second
}

var failureText = map[int]string{
	400: "Invalid request",
	401: "Invalid authentication",
	403: "Your account is not allowed to do this",
	404: "Not found",
	408: "Request timed out",
	409: "Conflict",
	413: "Request exceeds the maximum size",
	422: "Unprocessable request",
	429: "Rate limit reached: too many requests, please slow down",
	500: "The server had an error while processing your request",
	502: "Bad gateway",
	503: "The engine is currently overloaded, please try again later",
	504: "The upstream did not answer in time",
	529: "Overloaded",
}

// openAIError is {"error":{…}} as OpenAI writes it; an empty param or code is null.
func (a *answer) openAIError(status int, message, kind, param, code string) {
	a.status, a.ctype, a.instant = status, "application/json", true
	a.str("{\n  \"error\": {\n    \"message\": ")
	a.quote(message)
	a.str(",\n    \"type\": ")
	a.quote(kind)
	a.str(",\n    \"param\": ")
	a.quoteOrNull(param)
	a.str(",\n    \"code\": ")
	a.quoteOrNull(code)
	a.str("\n  }\n}\n")
}

func (a *answer) quoteOrNull(s string) {
	if s == "" {
		a.str("null")
		return
	}
	a.quote(s)
}

func openAIErrorType(status int) (kind, code string) {
	switch {
	case status == 401:
		return "invalid_request_error", "invalid_api_key"
	case status == 404:
		return "invalid_request_error", "not_found"
	case status == 429:
		return "requests", "rate_limit_exceeded"
	case status == 503:
		return "service_unavailable_error", "server_overloaded"
	case status >= 500:
		return "server_error", "server_error"
	default:
		return "invalid_request_error", ""
	}
}

// anthropicError is {"type":"error",…} with the request's id, which the header repeats.
func (a *answer) anthropicError(x *exchange, status int, kind, message string) {
	a.status, a.ctype, a.instant = status, "application/json", true
	a.str(`{"type":"error","error":{"type":`)
	a.quote(kind)
	a.str(`,"message":`)
	a.quote(message)
	a.str(`},"request_id":`)
	a.quote(x.requestID())
	a.str("}")
}

func anthropicErrorType(status int) string {
	switch status {
	case 401:
		return "authentication_error"
	case 402:
		return "billing_error"
	case 403:
		return "permission_error"
	case 404:
		return "not_found_error"
	case 413:
		return "request_too_large"
	case 429:
		return "rate_limit_error"
	case 504:
		return "timeout_error"
	case 529:
		return "overloaded_error"
	}
	if status >= 500 {
		return "api_error"
	}
	return "invalid_request_error"
}

// geminiError is google.rpc.Status as JSON, with the time to wait before another try if there is one.
func (a *answer) geminiError(status int, word, message string, retry time.Duration) {
	a.status, a.ctype, a.instant = status, "application/json; charset=UTF-8", true
	a.str("{\n  \"error\": {\n    \"code\": ")
	a.int(status)
	a.str(",\n    \"message\": ")
	a.quote(message)
	a.str(",\n    \"status\": ")
	a.quote(word)
	if retry > 0 {
		a.str(",\n    \"details\": [\n      {\n        \"@type\": \"type.googleapis.com/google.rpc.RetryInfo\",\n        \"retryDelay\": \"")
		a.str(strconv.FormatFloat(retry.Seconds(), 'f', -1, 64))
		a.str("s\"\n      }\n    ]")
	}
	a.str("\n  }\n}\n")
}

func geminiStatus(status int) string {
	switch status {
	case 401:
		return "UNAUTHENTICATED"
	case 403:
		return "PERMISSION_DENIED"
	case 404:
		return "NOT_FOUND"
	case 409:
		return "ABORTED"
	case 429:
		return "RESOURCE_EXHAUSTED"
	case 503, 529:
		return "UNAVAILABLE"
	case 504:
		return "DEADLINE_EXCEEDED"
	}
	if status >= 500 {
		return "INTERNAL"
	}
	return "INVALID_ARGUMENT"
}

// appendErrorEvent appends what a provider sends when a stream fails on the way.
func (x *exchange) appendErrorEvent(a *answer) {
	const message = "The server had an error while processing your request"
	switch x.op {
	case opMessages:
		a.str("event: error\ndata: {\"type\":\"error\",\"error\":{\"details\":null,\"type\":\"overloaded_error\",\"message\":\"Overloaded\"},\"request_id\":")
		a.quote(x.requestID())
		a.str("}\n\n")
	case opResponses:
		a.str("event: error\ndata: {\"type\":\"error\",\"sequence_number\":")
		a.int(len(a.frames))
		a.str(",\"error\":{\"type\":\"server_error\",\"code\":\"server_error\",\"message\":\"" + message + "\",\"param\":null}}\n\n")
	case opStreamGenerate:
		const object = `{"error": {"code": 503,"message": "The model is overloaded. Please try again later.","status": "UNAVAILABLE"}}`
		if x.in.sse {
			a.str("data: " + object + "\r\n\r\n")
			return
		}
		if len(a.frames) == 0 {
			a.str("[")
		} else {
			a.str(",\r\n")
		}
		a.str(object + "\n]\n")
	default:
		a.str("data: {\"error\":{\"message\":\"" + message + "\",\"type\":\"server_error\",\"param\":null,\"code\":\"server_error\"}}\n\n")
	}
}
