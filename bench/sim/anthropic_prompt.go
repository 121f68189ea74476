package sim

import (
	"strconv"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// maxMarks is how many blocks of a prompt may carry cache_control.
const maxMarks = 4

// promptBlock is a piece of a prompt of Anthropic that a cached prefix may end at: a tool, a block of the system prompt, a block of a message.
type promptBlock struct {
	raw  string // its JSON without the mark; of plain text the string alone: a string and a list of one text block are the same prompt
	role string // of its message; empty for tools and the system prompt
	kind string
	ttl  time.Duration // that its mark asks for; 0: it has none
}

// prompt cuts a request into its blocks, in the order in which the provider reads them: tools, system, messages. refusal is what the provider says
// of marks that may not be where they are; empty: nothing.
func (x *exchange) prompt() (list []promptBlock, refusal string) {
	var (
		marks = 0
		hour  = true // nothing with a shorter life has come yet
	)
	refuse := func(text string) {
		if refusal == "" {
			refusal = text
		}
	}
	add := func(place, role string, block gjson.Result) {
		b := promptBlock{role: role, kind: block.Get("type").Str, raw: block.Raw}
		if mark := block.Get("cache_control"); mark.Exists() {
			marks++
			var why string
			if b.ttl, why = readMark(block, mark); why != "" {
				refuse(place + why)
			}
			if b.ttl == time.Hour && !hour {
				refuse(place + ".cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block.")
			}
			hour = b.ttl == time.Hour
			b.raw = withoutMark(block.Raw)
		}
		block.Get("content").ForEach(func(_, inner gjson.Result) bool { // of a tool's result: such marks count too
			if inner.IsObject() && inner.Get("cache_control").Exists() {
				marks++
			}
			return true
		})
		if b.kind == "text" && len(gjson.Parse(b.raw).Map()) == 2 {
			b.raw = block.Get("text").Raw
		}
		list = append(list, b)
	}
	addAll := func(place, role string, v gjson.Result) {
		if v.IsArray() {
			i := 0
			v.ForEach(func(_, block gjson.Result) bool {
				add(place+"."+strconv.Itoa(i), role, block)
				i++
				return true
			})
		} else if v.Exists() {
			list = append(list, promptBlock{role: role, kind: "text", raw: v.Raw})
		}
	}
	addAll("tools", "", x.in.tools)
	addAll("system", "", x.in.system)
	for i, message := range x.in.messages.Array() {
		addAll("messages."+strconv.Itoa(i)+".content", message.Get("role").Str, message.Get("content"))
	}
	if marks > maxMarks {
		refusal = "A maximum of 4 blocks with cache_control may be provided. Found " + strconv.Itoa(marks) + "."
	}
	return list, refusal
}

// readMark tells how long a marked block is to be cached, or why the provider does not take the mark.
func readMark(block, mark gjson.Result) (ttl time.Duration, refusal string) {
	kind := block.Get("type").Str
	switch {
	case kind == "thinking" || kind == "redacted_thinking":
		return 0, "." + kind + ".cache_control: Extra inputs are not permitted"
	case kind == "text" && block.Get("text").Str == "":
		return 0, ".text: cache_control cannot be set for empty text blocks"
	case block.Get("defer_loading").Bool():
		return 0, ".cache_control: cannot be set together with defer_loading"
	case mark.Get("type").Str != "ephemeral":
		return 0, ".cache_control.type: Input should be 'ephemeral'"
	}
	switch mark.Get("ttl").Str {
	case "", "5m":
		return 5 * time.Minute, ""
	case "1h":
		return time.Hour, ""
	}
	return 0, ".cache_control.ttl: Input should be '5m' or '1h'"
}

// withoutMark is the JSON of a block without cache_control: the mark moves on from turn to turn while the prefix stays the same.
func withoutMark(raw string) string {
	raw, err := sjson.Delete(raw, "cache_control")
	if err != nil {
		panic("BUG: cache_control of valid JSON: " + err.Error())
	}
	return raw
}

// sealPrompt is seal for a prompt in blocks: how it is marked for the cache does not change the answer.
func (x *exchange) sealPrompt(prompt []promptBlock) {
	parts := make([]string, 0, 2*len(prompt))
	for i := range prompt {
		parts = append(parts, prompt[i].role, prompt[i].raw)
	}
	x.seal(parts...)
}

// sections are the prefixes of a prompt that the provider may cache: one behind every block.
func (x *exchange) sections(prompt []promptBlock) []section {
	var (
		list  = make([]section, 0, len(prompt))
		bytes int
		m     media
		h     = fold(uint64(x.dialect), x.credential())
	)
	for i := range prompt {
		b := &prompt[i]
		bytes += len(b.raw)
		m.count(gjson.Parse("["+b.raw+"]"), 0)
		h = fold(fold(h, []byte(b.role)), []byte(b.raw))
		run := i > 0 && b.kind == prompt[i-1].kind && (b.kind == "tool_use" || b.kind == "tool_result")
		list = append(list, section{h, countTokens(max(0, bytes-m.bytes)) + m.image + m.audio, b.ttl, run})
	}
	return list
}
