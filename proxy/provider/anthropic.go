package provider

import "bytes"

var anthropic = dialect{
	name: "anthropic",
	endpoints: []endpoint{
		{"/messages", Messages},
		{"/messages/count_tokens", CountTokens},
	},
	claims:      claimedByAnthropic,
	appendError: appendAnthropicError,
	appendEvent: appendAnthropicEvent,
}

// claimedByAnthropic knows /v1/messages and all below it.
func claimedByAnthropic(path []byte) bool {
	rest, ok := bytes.CutPrefix(path, []byte("/v1/messages"))
	return ok && (len(rest) == 0 || rest[0] == '/')
}

func messagesField(key []byte) field {
	switch string(key) {
	case "model":
		return fieldModel
	case "messages":
		return fieldMessages
	case "stream":
		return fieldStream
	case "max_tokens":
		return fieldMaxOutput
	case "service_tier":
		return fieldServiceTier
	}
	return fieldOther
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
	case 408, 504:
		return "timeout_error"
	case 413:
		return "request_too_large"
	case 429:
		return "rate_limit_error"
	case 503, 529:
		return "overloaded_error"
	}
	if status >= 400 && status < 500 {
		return "invalid_request_error"
	}
	return "api_error"
}

// appendAnthropicError writes {"type":"error","error":{"type","message"},"request_id"}. The code is a member of ours:
// the types are too coarse to tell an unreachable provider from a broken answer, and the SDKs keep unknown members.
func appendAnthropicError(dst []byte, f Failure) []byte {
	dst = appendString(append(dst, `{"type":"error","error":{"type":`...), anthropicErrorType(f.Status))
	dst = appendString(append(dst, `,"message":`...), f.Message)
	if f.Code != "" {
		dst = appendString(append(dst, `,"code":`...), f.Code)
	}
	return append(dst, `},"request_id":null}`...)
}

func appendAnthropicEvent(dst []byte, _ Operation, _ bool, f Failure) []byte {
	dst = append(dst, "\n\nevent: error\ndata: "...)
	return append(appendAnthropicError(dst, f), "\n\n"...)
}
