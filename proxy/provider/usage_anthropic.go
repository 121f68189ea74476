package provider

// anthropicMessages is member for messages and the events of their streams.
func (p place) anthropicMessages(key []byte) place {
	switch string(key) {
	case "usage":
		if p == messagesInner {
			return startUsageValue
		}
		return usageValue
	case "model":
		return modelString
	case "content":
		return generated
	}
	if p == messagesInner {
		return nowhere
	}
	switch string(key) {
	case "type":
		return typeString
	case "delta", "content_block":
		return generated
	case "message":
		return messagesInner
	case "error":
		return errorValue
	}
	return nowhere
}

// anthropicUsage is the usage object of Anthropic. In a stream message_start states the input and message_delta the
// rest; both are cumulative, and what one leaves out the other has said.
type anthropicUsage struct {
	input, output, thinking int64
	cacheRead, cacheWrite   int64
	write5m, write1h        int64 // how cacheWrite divides, where stated
	searches                int64

	apart Usage // iterations that the totals leave out
	tier  []byte
}

// parse reads the usage object raw. tier aliases it.
func (u *anthropicUsage) parse(raw []byte) {
	u.tier = nil
	fast := false
	for o := openObject(raw); o.next(); {
		switch string(o.key) {
		case "iterations":
			u.parseIterations(o.value())
		case "service_tier":
			if !fast {
				u.tier, _ = stringOf(o.value())
			}
		case "speed": // has prices of its own, like a tier
			if s, _ := stringOf(o.value()); string(s) == "fast" {
				u.tier, fast = s, true
			}
		default:
			u.count(o.key, o.value())
		}
	}
}

// count reads the member key of a usage object or of an iteration in one.
func (u *anthropicUsage) count(key, raw []byte) {
	switch string(key) {
	case "input_tokens":
		restate(&u.input, raw)
	case "output_tokens":
		restate(&u.output, raw)
	case "output_tokens_details":
		restate(&u.thinking, member(raw, "thinking_tokens"))
	case "cache_read_input_tokens":
		restate(&u.cacheRead, raw)
	case "cache_creation_input_tokens":
		restate(&u.cacheWrite, raw)
	case "cache_creation":
		restate(&u.write5m, member(raw, "ephemeral_5m_input_tokens"))
		restate(&u.write1h, member(raw, "ephemeral_1h_input_tokens"))
	case "server_tool_use":
		restate(&u.searches, member(raw, "web_search_requests"))
	}
}

// parseIterations adds up the iterations that the totals beside them leave out: compactions of the context, and
// advisors, whose model may be another one.
func (u *anthropicUsage) parseIterations(raw []byte) {
	u.apart = Usage{}
	for a := openArray(raw); a.next(); {
		var one anthropicUsage
		apart := false
		for o := openObject(a.value()); o.next(); {
			if string(o.key) == "type" {
				kind, _ := stringOf(o.value())
				apart = string(kind) == "compaction" || string(kind) == "advisor_message"
			}
			one.count(o.key, o.value())
		}
		if apart {
			c := one.canonical()
			u.apart.add(&c)
		}
	}
}

// restate is set for counts that are stated again in the course of a stream: they only grow, and servers that do not
// know a count yet, or no longer, say 0.
func restate(n *int64, raw []byte) {
	var v int64
	if set(&v, raw); v > 0 {
		*n = v
	}
}

// canonical sorts the counts out: the three kinds of input are apart already.
func (u *anthropicUsage) canonical() Usage {
	c := Usage{
		Input:       u.input,
		CacheRead:   u.cacheRead,
		Output:      u.output,
		Reasoning:   min(u.thinking, u.output),
		WebSearches: u.searches,
	}
	write := max(u.cacheWrite, u.write5m+u.write1h)
	c.CacheWrite1h = part(&write, u.write1h)
	c.CacheWrite5m = write
	c.add(&u.apart)
	return c
}
