package provider

import "bytes"

// OperationOf tells what a request to a provider of dialect d asks for. path is raw and without query. Only its end
// counts, so any base goes before it: /v1/chat/completions, /openai/deployments/{name}/chat/completions,
// /v1/projects/…/publishers/google/models/{model}:streamGenerateContent. Everything but POST is Opaque, and so is what
// stands below an operation (/v1/responses/{id}/cancel).
//
// A dialect's own operations come first, then OpenAI's: the other vendors offer those too, for its SDKs.
func OperationOf(d Dialect, method, path []byte) Operation {
	if string(method) != "POST" {
		return Opaque
	}
	path = bytes.TrimRight(path, "/")
	own := of(d)
	if op := match(own.endpoints, path); op != Opaque {
		return op
	}
	if own != &dialects[OpenAI] {
		return match(dialects[OpenAI].endpoints, path)
	}
	return Opaque
}

func match(endpoints []endpoint, path []byte) Operation {
	_, verb := splitVerb(path)
	for i := range endpoints {
		e := &endpoints[i]
		if e.suffix[0] == ':' {
			if string(verb) == e.suffix[1:] {
				return e.op
			}
			continue
		}
		if n := len(path) - len(e.suffix); n >= 0 && string(path[n:]) == e.suffix {
			return e.op
		}
	}
	return Opaque
}

// splitVerb splits a raw path at the last colon of its last segment, plain or percent-encoded: Google's custom verbs
// stand behind it. Without a colon verb is nil and head is the path.
func splitVerb(path []byte) (head, verb []byte) {
	for i := len(path) - 1; i >= 0 && path[i] != '/'; i-- {
		if path[i] == ':' {
			return path[:i], path[i+1:]
		}
		if path[i] == '%' && i+2 < len(path) && path[i+1] == '3' && path[i+2]|0x20 == 'a' {
			return path[:i], path[i+3:]
		}
	}
	return path, nil
}
