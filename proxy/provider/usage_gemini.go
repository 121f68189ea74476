package provider

// geminiContent is member for generated content, its chunks, and embeddings.
func (p place) geminiContent(key []byte) place {
	switch p {
	case geminiChoice:
		switch string(key) {
		case "content":
			return generated
		case "finishReason":
			return finishString
		case "index":
			return indexValue
		case "groundingMetadata":
			return geminiSources
		}
		return nowhere
	case geminiFeedback:
		if string(key) == "blockReason" {
			return blockString
		}
		return nowhere
	case geminiSources:
		if string(key) == "webSearchQueries" {
			return search
		}
		return nowhere
	case geminiVector:
		if string(key) == "statistics" {
			return statisticsValue
		}
		return nowhere
	}
	switch string(key) {
	case "candidates":
		return geminiChoice
	case "usageMetadata":
		return usageValue
	case "modelVersion":
		return modelString
	case "promptFeedback":
		return geminiFeedback
	case "error":
		return errorValue
	case "embedding", "embeddings":
		return geminiVector
	}
	return nowhere
}

// geminiUsage is the usageMetadata object. In a stream every chunk may state it; what it states is cumulative.
type geminiUsage struct {
	prompt, cached, candidates, thoughts, tool int64

	promptBy, cachedBy, candidatesBy, toolBy modalities

	embedded int64 // tokens, by the statistics of the vectors
	tier     []byte
}

// modalities is the part of a count that is neither text nor priced like it. Video and documents are priced like text.
type modalities struct{ audio, image int64 }

// parse reads the usageMetadata object raw. tier aliases it.
func (u *geminiUsage) parse(raw []byte) {
	u.tier = nil
	for o := openObject(raw); o.next(); {
		switch string(o.key) {
		case "promptTokenCount":
			restate(&u.prompt, o.value())
		case "cachedContentTokenCount":
			restate(&u.cached, o.value())
		case "candidatesTokenCount":
			restate(&u.candidates, o.value())
		case "thoughtsTokenCount":
			restate(&u.thoughts, o.value())
		case "toolUsePromptTokenCount":
			restate(&u.tool, o.value())
		case "promptTokensDetails":
			u.promptBy.parse(o.value())
		case "cacheTokensDetails":
			u.cachedBy.parse(o.value())
		case "candidatesTokensDetails":
			u.candidatesBy.parse(o.value())
		case "toolUsePromptTokensDetails":
			u.toolBy.parse(o.value())
		case "serviceTier", "trafficType":
			if s, ok := stringOf(o.value()); ok && (u.tier == nil || string(o.key) == "serviceTier") {
				u.tier = s
			}
		}
	}
}

func (m *modalities) parse(raw []byte) {
	*m = modalities{}
	for a := openArray(raw); a.next(); {
		switch kind, _ := stringOf(member(a.value(), "modality")); string(kind) {
		case "AUDIO":
			set(&m.audio, member(a.value(), "tokenCount"))
		case "IMAGE":
			set(&m.image, member(a.value(), "tokenCount"))
		}
	}
}

// addStatistics adds the statistics object raw of one vector.
func (u *geminiUsage) addStatistics(raw []byte) {
	var n int64
	set(&n, member(raw, "tokenCount"))
	u.embedded = min(u.embedded+n, maxCount)
}

// canonical sorts the counts out. prompt includes what came from the cache; thoughts are not among the candidates, nor
// tool results in the prompt.
func (u *geminiUsage) canonical() Usage {
	prompt, candidates := u.prompt, u.candidates
	if prompt == 0 {
		prompt = u.embedded
	}
	var c Usage
	c.CacheRead = part(&prompt, u.cached)
	prompt += u.tool
	c.AudioInput = part(&prompt, max(u.promptBy.audio-u.cachedBy.audio, 0)+u.toolBy.audio)
	c.ImageInput = part(&prompt, max(u.promptBy.image-u.cachedBy.image, 0)+u.toolBy.image)
	c.Input = prompt
	c.AudioOutput = part(&candidates, u.candidatesBy.audio)
	c.ImageOutput = part(&candidates, u.candidatesBy.image)
	c.Output = candidates + u.thoughts
	c.Reasoning = u.thoughts
	return c
}
