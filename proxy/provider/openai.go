package provider

var openAI = dialect{
	name: "openai",
	endpoints: []endpoint{
		{"/chat/completions", ChatCompletions},
		{"/completions", Completions},
		{"/responses", Responses},
		{"/embeddings", Embeddings},
		// Many servers of this dialect offer Anthropic's operations too. The version before them tells these from
		// the Assistants' /v1/threads/{id}/messages.
		{"/v1/messages", Messages},
		{"/v1/messages/count_tokens", CountTokens},
	},
	appendError: appendOpenAIError,
	appendEvent: appendOpenAIEvent,
}

func chatField(key []byte) field {
	switch string(key) {
	case "model":
		return fieldModel
	case "messages":
		return fieldMessages
	case "stream":
		return fieldStream
	case "stream_options":
		return fieldStreamOptions
	case "max_completion_tokens":
		return fieldMaxOutput
	case "max_tokens":
		return fieldMaxOutputOld
	case "service_tier":
		return fieldServiceTier
	}
	return fieldOther
}

func completionsField(key []byte) field {
	switch string(key) {
	case "model":
		return fieldModel
	case "prompt":
		return fieldPrompt
	case "stream":
		return fieldStream
	case "stream_options":
		return fieldStreamOptions
	case "max_tokens":
		return fieldMaxOutput
	case "service_tier":
		return fieldServiceTier
	}
	return fieldOther
}

func responsesField(key []byte) field {
	switch string(key) {
	case "model":
		return fieldModel
	case "input":
		return fieldInput
	case "stream":
		return fieldStream
	case "max_output_tokens":
		return fieldMaxOutput
	case "service_tier":
		return fieldServiceTier
	}
	return fieldOther
}

func embeddingsField(key []byte) field {
	if string(key) == "model" {
		return fieldModel
	}
	return fieldOther
}

// fromAzurePath takes the deployment's name for the model: …/deployments/{deployment}/chat/completions.
func fromAzurePath(path []byte, stream bool) ([]byte, bool) {
	for len(path) > 0 {
		var segment []byte
		if segment, path = nextSegment(path); string(segment) == "deployments" {
			segment, _ = nextSegment(path)
			return unescapePath(segment), stream
		}
	}
	return nil, stream
}

func openAIErrorType(status int) string {
	switch {
	case status == 401:
		return "authentication_error"
	case status == 403:
		return "permission_error"
	case status == 429:
		return "rate_limit_error"
	case status >= 400 && status < 500:
		return "invalid_request_error"
	}
	return "server_error"
}

// appendOpenAIError writes what every OpenAI SDK unpacks: {"error":{"message","type","param","code"}}.
func appendOpenAIError(dst []byte, f Failure) []byte {
	return append(appendOpenAIErrorObject(append(dst, `{"error":`...), f), '}')
}

func appendOpenAIErrorObject(dst []byte, f Failure) []byte {
	dst = appendString(append(dst, `{"message":`...), f.Message)
	dst = appendString(append(dst, `,"type":`...), openAIErrorType(f.Status))
	dst = append(dst, `,"param":null,"code":`...)
	return append(appendCode(dst, f), '}')
}

// appendOpenAIEvent writes a bare data line for chat and text completions: their streams have no event names, and the
// SDKs raise on any chunk with an error member.
//
// The reference describes the error event of the other streams as flat; the real server nests it under "error", which
// is what makes the SDKs raise. Both are written, so that either kind of reader sees the failure. The sequence number
// is a required field, but only the provider knows the next one.
func appendOpenAIEvent(dst []byte, op Operation, _ bool, f Failure) []byte {
	if op == ChatCompletions || op == Completions {
		dst = append(dst, "\n\ndata: "...)
		return append(appendOpenAIError(dst, f), "\n\n"...)
	}
	dst = append(dst, "\n\nevent: error\ndata: {\"type\":\"error\",\"sequence_number\":0,\"code\":"...)
	dst = appendCode(dst, f)
	dst = appendString(append(dst, `,"message":`...), f.Message)
	dst = append(dst, `,"param":null,"error":`...)
	return append(appendOpenAIErrorObject(dst, f), "}\n\n"...)
}

// appendCode writes the failure's code, null when it has none.
func appendCode(dst []byte, f Failure) []byte {
	if f.Code == "" {
		return append(dst, "null"...)
	}
	return appendString(dst, f.Code)
}
