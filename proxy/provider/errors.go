package provider

import (
	"bytes"
	"unicode/utf8"
)

// Failure is an error of ours, told to a client in the words of its dialect.
type Failure struct {
	Status  int    // HTTP status, 400 to 599
	Code    string // machine-readable, lower_snake_case; may be empty
	Message string // a sentence for people; nothing of the operator's side
}

// AppendError appends the JSON body of an error answer in the shape from which the dialect's official SDKs make their
// typed errors.
func AppendError(dst []byte, d Dialect, f Failure) []byte {
	return of(d).appendError(dst, f)
}

// AppendErrorEvent appends the event that ends a broken stream; the connection must be cut after it. d is the
// provider's dialect, which decides where op does not. array says that the stream is a JSON array (Gemini without
// alt=sse) instead of an event stream.
//
// The event begins by ending what was cut off. After half a line that makes a broken event, which no SDK takes for a
// good one; after a whole line it completes the event; between events the blank lines mean nothing. Likewise an array
// that was cut inside an element is no JSON any more, and one cut between elements gets the error as its last.
// Write the event in one piece: Google's JavaScript SDK looks for it in what a single read returns.
func AppendErrorEvent(dst []byte, d Dialect, op Operation, array bool, f Failure) []byte {
	if op < operationsEnd && operations[op].dialect != 0 {
		d = operations[op].dialect
	}
	return of(d).appendEvent(dst, op, array, f)
}

// appendString appends s as a JSON string. Invalid UTF-8 becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		i++
	}
	return append(dst, '"')
}

// Trouble is what an error answer says that changes where the request may go next.
type Trouble uint8

// The troubles.
const (
	NoTrouble Trouble = iota
	TooLong           // the prompt is longer than the model's context
	Policy            // refused by a content policy
	Unpaid            // the account has nothing left to spend
)

// TroubleOf tells from a status, the kind that [Meter.Failed] gives, and the answer's body (empty where it can't be read).
func TroubleOf(status int, kind string, body []byte) Trouble {
	switch kind {
	case "context_length_exceeded", "tokens_limit_exceeded":
		return TooLong
	case "content_filter", "content_policy_violation", "image_content_policy_violation", "bio_policy", "misalignment_policy_violation":
		return Policy
	case "insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "billing_error":
		return Unpaid
	}
	switch {
	case status == 402:
		return Unpaid
	case status == 403 && holds(body, "moderation", "flagged", "content policy"): // OpenRouter's; it says nothing of the key
		return Policy
	case status != 400 && status != 413:
		return NoTrouble
	case holds(body, "credit balance is too low"): // Anthropic's, with 400
		return Unpaid
	case holds(body, "prompt is too long", "maximum context length", "context window", "exceeds the maximum number of tokens", "context_length"):
		return TooLong
	case holds(body, "content filter", "content management policy", "content_filter", "safety system", "usage policies"):
		return Policy
	}
	return NoTrouble
}

// holds reports whether any of the phrases stands in the body, in lower case.
func holds(body []byte, phrases ...string) bool {
	for _, p := range phrases {
		if bytes.Contains(body, []byte(p)) {
			return true
		}
	}
	return false
}
