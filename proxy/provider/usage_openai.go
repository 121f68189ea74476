package provider

// openAIChat is member for chat completions, completions, embeddings and their chunks.
func (p place) openAIChat(key []byte) place {
	switch p {
	case chatChoice:
		switch string(key) {
		case "delta", "message", "text":
			return generated
		case "index":
			return indexValue
		case "finish_reason":
			return finishString
		case "usage": // Moonshot
			return usageValue
		case "error": // OpenRouter
			return errorValue
		}
		return nowhere
	case chatGroq:
		if string(key) == "usage" {
			return usageValue
		}
		return nowhere
	}
	switch string(key) {
	case "choices":
		return chatChoice
	case "usage":
		return usageValue
	case "model":
		return modelString
	case "service_tier":
		return tierString
	case "error":
		return errorValue
	case "object": // "error" of older vLLM, which puts type and code beside it
		return typeString
	case "code":
		return codeValue
	case "x_groq":
		return chatGroq
	}
	return nowhere
}

// openAIResponses is member for responses and the events of their streams.
func (p place) openAIResponses(key []byte) place {
	switch string(key) {
	case "usage":
		return usageValue
	case "tool_usage":
		return toolUsageValue
	case "model":
		return modelString
	case "service_tier":
		return tierString
	case "error":
		return errorValue
	}
	if p == responsesInner { // its output repeats what the deltas said
		return nowhere
	}
	switch string(key) {
	case "type":
		return typeString
	case "delta", "output":
		return generated
	case "partial_image_b64":
		return blob
	case "response":
		return responsesInner
	case "code":
		return codeValue
	}
	return nowhere
}

// openAIUsage is the usage object of OpenAI and of the many servers that speak its dialect. Later objects of a stream
// replace earlier ones: where there is more than one they are cumulative (xAI, vLLM).
type openAIUsage struct {
	prompt, completion, total      int64
	cacheRead, cacheWrite, write12 int64 // write12: the part of cacheWrite that is kept for 12 h, not 30 min
	audioInput, imageInput         int64
	audioOutput, imageOutput       int64
	reasoning, searches, citations int64

	tool Usage // what hosted tools used, reported apart from the model's usage
}

// parse reads the usage object raw.
func (u *openAIUsage) parse(raw []byte) {
	*u = openAIUsage{tool: u.tool}
	for o := openObject(raw); o.next(); {
		switch string(o.key) {
		case "prompt_tokens", "input_tokens":
			set(&u.prompt, o.value())
		case "completion_tokens", "output_tokens":
			set(&u.completion, o.value())
		case "total_tokens":
			set(&u.total, o.value())
		case "prompt_tokens_details", "input_tokens_details":
			u.parseInput(o.value())
		case "completion_tokens_details", "output_tokens_details":
			u.parseOutput(o.value())
		case "prompt_cache_hit_tokens", // DeepSeek
			"cached_tokens", "num_cached_tokens", // Moonshot, Together; Mistral
			"cache_read_input_tokens": // servers in front of Anthropic's models
			raise(&u.cacheRead, o.value())
		case "cache_creation_input_tokens":
			raise(&u.cacheWrite, o.value())
		case "reasoning_tokens": // Perplexity
			raise(&u.reasoning, o.value())
		case "citation_tokens": // Perplexity: read, charged as input, outside of prompt_tokens
			set(&u.citations, o.value())
		case "num_search_queries": // Perplexity
			set(&u.searches, o.value())
		case "server_tool_use": // OpenRouter
			set(&u.searches, member(o.value(), "web_search_requests"))
		}
	}
}

func (u *openAIUsage) parseInput(raw []byte) {
	for o := openObject(raw); o.next(); {
		switch string(o.key) {
		case "cached_tokens":
			raise(&u.cacheRead, o.value())
		case "cache_write_tokens", // OpenAI, OpenRouter
			"cache_creation_tokens", "cache_creation_input_tokens": // LiteLLM; Qwen
			raise(&u.cacheWrite, o.value())
		case "cache_write_tokens_details":
			set(&u.write12, member(o.value(), "ttl_12h_tokens"))
		case "audio_tokens":
			set(&u.audioInput, o.value())
		case "image_tokens":
			set(&u.imageInput, o.value())
		}
	}
}

func (u *openAIUsage) parseOutput(raw []byte) {
	for o := openObject(raw); o.next(); {
		switch string(o.key) {
		case "reasoning_tokens":
			raise(&u.reasoning, o.value())
		case "audio_tokens":
			set(&u.audioOutput, o.value())
		case "image_tokens":
			set(&u.imageOutput, o.value())
		}
	}
}

// parseTools reads the tool_usage object raw. Images are made by another model: their tokens are counted in the right
// kinds, if not at that model's prices.
func (u *openAIUsage) parseTools(raw []byte) {
	u.tool = Usage{}
	set(&u.tool.WebSearches, member(member(raw, "web_search"), "num_requests"))
	image := member(raw, "image_gen")
	var input, output, text int64
	set(&input, member(image, "input_tokens"))
	set(&output, member(image, "output_tokens"))
	set(&u.tool.ImageInput, member(member(image, "input_tokens_details"), "image_tokens"))
	set(&text, member(member(image, "output_tokens_details"), "text_tokens"))
	u.tool.ImageInput = min(u.tool.ImageInput, input)
	u.tool.Input = input - u.tool.ImageInput
	u.tool.Output = min(text, output)
	u.tool.ImageOutput = output - u.tool.Output
}

// canonical sorts the counts out. prompt includes what was read from and written to the cache, audio and images;
// completion includes reasoning, audio and images. Servers that leave something out of the sums betray it by their
// total: xAI counts reasoning beside completion, Gemini's compatible endpoint leaves thoughts out of everything but the
// total, some embedding servers state nothing else. Perplexity counts it nowhere: it can exceed completion.
func (u *openAIUsage) canonical() Usage {
	prompt, completion, reasoning := u.prompt, u.completion, u.reasoning
	hidden := u.total - prompt - completion
	switch {
	case hidden > 0 && prompt+completion == 0:
		prompt = hidden
	case hidden > 0 && reasoning == 0:
		reasoning = hidden
		completion += hidden
	case hidden > 0 && hidden == reasoning, reasoning > completion:
		completion += reasoning
	}
	c := Usage{WebSearches: u.searches}
	c.CacheRead = part(&prompt, u.cacheRead)
	c.CacheWrite5m = part(&prompt, u.cacheWrite)
	c.CacheWrite1h = part(&c.CacheWrite5m, u.write12)
	c.AudioInput = part(&prompt, u.audioInput)
	c.ImageInput = part(&prompt, u.imageInput)
	c.Input = prompt + u.citations
	c.AudioOutput = part(&completion, u.audioOutput)
	c.ImageOutput = part(&completion, u.imageOutput)
	c.Output = completion
	c.Reasoning = min(reasoning, c.Output)
	c.add(&u.tool)
	return c
}

// part takes n, as far as it is there, out of the sum that includes it.
func part(sum *int64, n int64) int64 {
	n = min(n, *sum)
	*sum -= n
	return n
}

// set stores the count that raw is; anything else leaves n as it was.
func set(n *int64, raw []byte) {
	if v, ok := countOf(raw); ok {
		*n = min(v, maxCount)
	}
}

// raise is set for a count that several members may state.
func raise(n *int64, raw []byte) {
	if v, ok := countOf(raw); ok {
		*n = max(*n, min(v, maxCount))
	}
}

// maxCount bounds every count, so that no sum of a few overflows: a server that states more is out of its mind.
const maxCount = 1 << 48

// add adds the counts of v.
func (u *Usage) add(v *Usage) {
	u.Input += v.Input
	u.CacheRead += v.CacheRead
	u.CacheWrite5m += v.CacheWrite5m
	u.CacheWrite1h += v.CacheWrite1h
	u.Output += v.Output
	u.Reasoning += v.Reasoning
	u.AudioInput += v.AudioInput
	u.AudioOutput += v.AudioOutput
	u.ImageInput += v.ImageInput
	u.ImageOutput += v.ImageOutput
	u.WebSearches += v.WebSearches
}
