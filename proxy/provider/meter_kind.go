package provider

// OtherKind is the kind of a failure whose code or type is not among the known ones.
const OtherKind = "other"

// kinds are the error codes, types and statuses that Failed reports by name. The list is closed, so that kinds can be
// labels of metrics whatever a server sends.
var kinds = kindSet(
	// OpenAI, and servers of its dialect.
	"invalid_request_error", "authentication_error", "permission_error", "not_found_error", "rate_limit_error",
	"rate_limit_exceeded", "insufficient_quota", "billing_hard_limit_reached", "billing_not_active",
	"context_length_exceeded", "content_filter", "content_policy_violation", "invalid_api_key", "invalid_prompt",
	"model_not_found", "server_error", "internal_server_error", "internal_error", "service_unavailable",
	"service_unavailable_error", "engine_overloaded", "server_overloaded", "tokens_limit_exceeded", "timeout",
	"vector_store_timeout", "data_residency_mismatch", "bio_policy", "misalignment_policy_violation",
	"invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url", "image_too_large",
	"image_too_small", "image_parse_error", "image_content_policy_violation", "invalid_image_mode",
	"image_file_too_large", "unsupported_image_media_type", "empty_image_file", "failed_to_download_image",
	"image_file_not_found", "BadRequestError", "NotFoundError", "InternalServerError",
	// Anthropic.
	"billing_error", "request_too_large", "timeout_error", "api_error", "overloaded_error",
	// Gemini: google.rpc.Code.
	"INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND",
	"ABORTED", "ALREADY_EXISTS", "RESOURCE_EXHAUSTED", "CANCELLED", "DATA_LOSS", "UNKNOWN", "INTERNAL",
	"UNIMPLEMENTED", "UNAVAILABLE", "DEADLINE_EXCEEDED",
	// Status codes, where nothing better is said.
	"400", "401", "402", "403", "404", "408", "409", "413", "422", "429", "499", "500", "502", "503", "504", "524", "529",
)

func kindSet(names ...string) map[string]string {
	set := make(map[string]string, len(names))
	for _, name := range names {
		set[name] = name
	}
	return set
}

// kindOf finds the kind in the raw value of an error member: by the name its code, type or status is, in this order,
// else by the number its code is. It is empty when none is known.
func kindOf(raw []byte) string {
	var byType, byStatus, byNumber string
	for o := openObject(raw); o.next(); {
		switch string(o.key) {
		case "code":
			if _, number := countOf(o.value()); number {
				byNumber = kindOfCode(o.value())
			} else if kind := kindOfCode(o.value()); kind != "" {
				return kind
			}
		case "type":
			byType = kindOfCode(o.value())
		case "status":
			byStatus = kindOfCode(o.value())
		}
	}
	switch {
	case byType != "":
		return byType
	case byStatus != "":
		return byStatus
	}
	return byNumber
}

// kindOfCode is the kind that the raw value, a string or a number, names.
func kindOfCode(raw []byte) string {
	if s, ok := stringOf(raw); ok {
		raw = s
	}
	return kinds[string(raw)]
}
