package provider

import "bytes"

// promptScanner is one pass over a request for messages that notes which blocks may be marked for the prompt cache.
type promptScanner struct {
	scanner

	tools, system breakpoint // the last that may be marked; zero: none
	last, earlier breakpoint // in the last user message, and in the one before the model's last turn
	answered      bool       // a turn of the model has gone before the last user message

	toolsAt, systemAt, messagesAt int // where the values stand
	toolsLen, systemLen           int
}

// prompt reads the body and reports whether it is built as the API demands, as far as it was looked at, and leaves cache_control to the proxy.
func (s *promptScanner) prompt() bool {
	s.at = skipSpace(s.body, 0)
	if s.peek() != '{' {
		return false
	}
	s.at++
	for first := true; s.next(first, '}'); first = false {
		key := s.key()
		start := s.at
		switch {
		case named(key, "cache_control"):
			return false
		case named(key, "tools"):
			s.once(&s.toolsAt, start)
			s.tools = s.toolList()
			s.toolsLen = s.at - start
		case named(key, "system"):
			s.once(&s.systemAt, start)
			s.system = s.content(systemBlocks)
			s.systemLen = s.at - start
		case named(key, "messages"):
			s.once(&s.messagesAt, start)
			s.messageList()
		default:
			s.value()
		}
	}
	return !s.bad && skipSpace(s.body, s.at) == len(s.body)
}

// once notes where a member stands that must not repeat: which of two counts is not ours to say.
func (s *promptScanner) once(at *int, start int) {
	if *at > 0 {
		s.bad = true
	}
	*at = start
}

// enter moves behind the opening bracket, which must come.
func (s *promptScanner) enter(bracket byte) bool {
	if s.bad || s.peek() != bracket {
		s.bad = true
		return false
	}
	s.at++
	return true
}

// toolList reads the tools.
func (s *promptScanner) toolList() (last breakpoint) {
	if !s.enter('[') {
		return last
	}
	for first := true; s.next(first, ']'); first = false {
		start := s.at
		if s.peek() != '{' {
			s.bad = true
			return breakpoint{}
		}
		s.value()
		if s.bad {
			return breakpoint{}
		}
		tool := s.body[start:s.at]
		s.own(tool)
		// What is loaded on demand is no part of the prompt's begin, and may not be marked; nor is there anything in an empty tool.
		if !bytes.Contains(tool, []byte(`"defer_loading"`)) && bytes.IndexByte(tool, ':') > 0 {
			last = beforeBrace(s.at)
		}
	}
	return last
}

// messageList reads the messages.
func (s *promptScanner) messageList() {
	if !s.enter('[') {
		return
	}
	model := false // the last turn was the model's
	for first := true; s.next(first, ']'); first = false {
		if !s.enter('{') {
			return
		}
		var role []byte
		var at breakpoint
		for first := true; s.next(first, '}'); first = false {
			switch key := s.key(); {
			case named(key, "role"):
				role = text(s.value())
			case named(key, "content"):
				at = s.content(messageBlocks)
			default:
				s.value()
			}
		}
		switch string(role) {
		case "assistant":
			model = true
		case "user":
			if model {
				s.answered, s.earlier, s.last, model = true, s.last, breakpoint{}, false
			}
			if at.found() {
				s.last = at
			}
		}
	}
}

// content reads a string, or a list of blocks, and returns the last that may be marked.
func (s *promptScanner) content(markable func(kind []byte) bool) (last breakpoint) {
	if s.peek() == '"' {
		start := s.at
		if raw := s.value(); len(raw) > len(`""`) {
			last = breakpoint{span{start, s.at}, true}
		}
		return last
	}
	if !s.enter('[') {
		return last
	}
	for first := true; s.next(first, ']'); first = false {
		if s.block(markable) {
			last = beforeBrace(s.at)
		}
	}
	return last
}

// block reads a block and tells whether it may be marked.
func (s *promptScanner) block(markable func(kind []byte) bool) bool {
	if !s.enter('{') {
		return false
	}
	var kind, words []byte
	for first := true; s.next(first, '}'); first = false {
		switch key := s.key(); {
		case named(key, "type"):
			kind = text(s.value())
		case named(key, "text"):
			words = s.value()
		case named(key, "cache_control"):
			s.bad = true
		default:
			s.own(s.value())
		}
	}
	if s.bad || !markable(kind) {
		return false
	}
	return string(kind) != "text" || len(words) > len(`""`) && words[0] == '"'
}

// own stops at a value that holds marks of the client's own, as the blocks in a tool's result may. In a text such a key can't stand: its quotes are escaped.
func (s *promptScanner) own(raw []byte) {
	if len(raw) > 0 && raw[0] != '"' && bytes.Contains(raw, []byte(`"cache_control"`)) {
		s.bad = true
	}
}

// beforeBrace is the place in an object that ends at end, behind all of its members.
func beforeBrace(end int) breakpoint { return breakpoint{span: span{end - 1, end - 1}} }

func systemBlocks(kind []byte) bool { return string(kind) == "text" }

func messageBlocks(kind []byte) bool {
	switch string(kind) {
	case "text", "image", "document", "search_result", "tool_result", "tool_use":
		return true
	}
	return false
}
