package provider

// Detect tells the dialect, and so the provider, of a request that names no provider. path is the raw path without
// query; the flags say whether the headers anthropic-version and x-goog-api-key are present.
//
// A vendor's header is stronger than the path: only that vendor's clients send it, and what Detect answers decides who
// gets the caller's credential. An Anthropic client that strays to /v1beta/… gets Anthropic's 404, and Google never
// sees its key. With both headers or none the path decides, and where the path is everybody's (/v1/models) the
// credential: x-goog-api-key is Google's, anything else is OpenAI's.
func Detect(path []byte, anthropicVersion, googAPIKey bool) Dialect {
	if anthropicVersion != googAPIKey {
		if anthropicVersion {
			return Anthropic
		}
		return Gemini
	}
	for d := OpenAI; int(d) < len(dialects); d++ {
		if claims := dialects[d].claims; claims != nil && claims(path) {
			return d
		}
	}
	if googAPIKey {
		return Gemini
	}
	return OpenAI
}
