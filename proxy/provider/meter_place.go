package provider

// place is where in an answer a value stands, as far as that matters to the Meter. A place is found member by member:
// the place of an object and a key give the place of the key's value. The elements of an array stand in its place.
type place uint8

const (
	nowhere place = iota // and everything below: nothing to find

	// Containers whose members matter.
	chatRoot       // OpenAI chat completion, completion, embeddings, or a chunk of one
	chatChoice     // element of choices
	chatGroq       // x_groq
	responsesRoot  // OpenAI response, or an event of its stream
	responsesInner // response, in an event
	messagesRoot   // Anthropic message, or an event of its stream
	messagesInner  // message, in message_start
	geminiRoot     // Gemini response, or a chunk of one
	geminiChoice   // element of candidates
	geminiFeedback // promptFeedback
	geminiSources  // groundingMetadata
	geminiVector   // embedding, or an element of embeddings

	// Strings that are counted where they stand, however deep.
	generated // text the model generated
	thought   // its reasoning
	thoughtAs // the same under its other name: servers that changed the name send both
	blob      // content that is no text: audio, images, signatures
	search    // each is a query that was searched for

	// Strings that are reported.
	tierString
	modelString
	typeString   // of an event or an answer
	finishString // why a choice ended
	blockString  // why a prompt was refused

	// Values that are reported raw, whatever they are.
	usageValue
	startUsageValue // usage that counts no output yet
	toolUsageValue
	statisticsValue
	errorValue
	codeValue // error code beside the type "error"
	indexValue
)

const firstString, firstValue = tierString, usageValue

// roots is the place of the document, or of each document of a stream.
var roots = [operationsEnd]place{
	ChatCompletions: chatRoot,
	Completions:     chatRoot,
	Embeddings:      chatRoot,
	Responses:       responsesRoot,
	Messages:        messagesRoot,
	CountTokens:     messagesRoot, // no usage in any dialect, and errors stand in the same place
	GenerateContent: geminiRoot,
	EmbedContent:    geminiRoot,
}

// member is the place of the value of key in an object at p.
func (p place) member(key []byte) place {
	switch p {
	case chatRoot, chatChoice, chatGroq:
		return p.openAIChat(key)
	case responsesRoot, responsesInner:
		return p.openAIResponses(key)
	case messagesRoot, messagesInner:
		return p.anthropicMessages(key)
	case geminiRoot, geminiChoice, geminiFeedback, geminiSources, geminiVector:
		return p.geminiContent(key)
	case generated, thought, thoughtAs:
		return p.content(key)
	case blob:
		return blob
	}
	return nowhere
}

// content is member inside what a model generated. Its shapes are many and grow, so all strings count but the ones
// known to be no text: names of kinds, identifiers, sources, and binary data.
func (p place) content(key []byte) place {
	switch string(key) {
	case "id", "type", "role", "index", "object", "status", "format", "mimeType", "mime_type", "call_id",
		"stop_reason", "stop_sequence", "container", "caller",
		"logprobs", "annotations", "citation", "citations":
		return nowhere
	case "data", "b64_json", "result", "signature", "thoughtSignature", "encrypted_content", "reasoning_details":
		return blob
	case "reasoning":
		return thought
	case "reasoning_content":
		return thoughtAs
	}
	return p
}

// isChoice reports whether objects at p are alternatives that end one by one.
func (p place) isChoice() bool { return p == chatChoice || p == geminiChoice }
