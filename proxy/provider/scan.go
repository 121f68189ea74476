package provider

import "bytes"

// Scan reads what the proxy needs to know of a request. path is raw, without its query: no
// dialect puts anything there that a Request holds.
//
// The body is passed once. Members are found by their key at the top level, however the key is spelled
// ("mod\u0065l"); of keys that repeat the last counts, as in the JSON parsers of the providers. A value of the wrong
// type counts as absent. Of a valid JSON object Scan reads what a full parser would, but it is no validator: what it
// has no use for is skipped, so that Valid may be true for a body that the provider refuses.
//
// Nothing is allocated unless a key, the model or the service tier is spelled with escapes.
func Scan(op Operation, path, body []byte) Request {
	if op >= operationsEnd {
		op = Opaque
	}
	if _, verb := splitVerb(path); op == CountTokens && verb != nil {
		op = GenerateContent // Google counts what it would generate from, and takes the same body
	}
	o := &operations[op]
	if o.field == nil {
		return Request{}
	}
	s := scanner{body: body}
	if o.usageOption {
		s.edits.usage = addOptions
	}
	if !s.document(o.field) {
		s.Request = Request{}
	}
	if o.fromPath != nil && len(s.Model) == 0 {
		s.Model, s.Stream = o.fromPath(path, s.Stream)
	}
	return s.Request
}

// ScanPrefix is Scan for a body of which only the begin is at hand: it reads the members that are whole. What comes behind may say otherwise of a key
// that repeats. Valid tells whether a model was found.
func ScanPrefix(op Operation, path, body []byte) Request {
	if op >= operationsEnd || operations[op].field == nil {
		return Request{}
	}
	o := &operations[op]
	s := scanner{body: body}
	s.at = skipSpace(s.body, 0)
	if s.at < len(s.body) && s.body[s.at] == '{' {
		s.at++
		for first := true; s.next(first, '}'); first = false {
			before, key := s.Request, s.key()
			if s.bad {
				break
			}
			if s.member(o.field(key)); s.bad {
				s.Request = before
			}
		}
	}
	s.Valid = len(s.Model) > 0
	if o.fromPath != nil && len(s.Model) == 0 {
		s.Model, s.Stream = o.fromPath(path, s.Stream)
	}
	return s.Request
}

// scanner is one pass over a body. Its methods move at forward, past what they read; on a body that is no JSON they
// set bad and stay within bounds.
type scanner struct {
	Request
	body []byte
	at   int
	bad  bool

	maxOutputOld int64
}

// document reads the body and reports whether it is an object and nothing else.
func (s *scanner) document(fieldOf func(key []byte) field) bool {
	s.at = skipSpace(s.body, 0)
	if s.at == len(s.body) || s.body[s.at] != '{' {
		return false
	}
	s.at++
	open, first := s.at, true
	for ; s.next(first, '}'); first = false {
		key := s.key()
		f := fieldOf(key)
		if f == fieldOther && bytes.IndexByte(key, '\\') >= 0 {
			f = fieldOf(unescape(key))
		}
		s.member(f)
	}
	if s.bad || skipSpace(s.body, s.at) != len(s.body) {
		return false
	}
	s.Valid = true
	if s.MaxOutput == 0 {
		s.MaxOutput = s.maxOutputOld
	}
	if s.edits.usage == addOptions {
		s.edits.usageAt, s.edits.alone = span{open, open}, first
	}
	return true
}

// member reads the value of a top-level member.
func (s *scanner) member(f field) {
	switch f {
	case fieldModel:
		start := s.at
		s.Model = text(s.value())
		s.edits.model = span{start, s.at}
	case fieldStream:
		s.Stream = string(s.value()) == "true"
	case fieldStreamOptions:
		s.streamOptions()
	case fieldServiceTier:
		s.ServiceTier = text(s.value())
	case fieldMaxOutput:
		s.MaxOutput = limit(s.value())
	case fieldMaxOutputOld:
		s.maxOutputOld = limit(s.value())
	case fieldGenerationConfig:
		s.generationConfig()
	case fieldMessages:
		s.FirstUser = s.firstUser("content", false)
	case fieldContents:
		s.FirstUser = s.firstUser("parts", true)
	case fieldInput:
		if s.peek() == '"' {
			s.FirstUser = s.value()
		} else {
			s.FirstUser = s.firstUser("content", false)
		}
	case fieldPrompt:
		c := s.peek()
		if s.FirstUser = s.value(); c != '"' && c != '[' {
			s.FirstUser = nil
		}
	default:
		s.value()
	}
}

// streamOptions finds include_usage and how Rewrite would ask for it.
func (s *scanner) streamOptions() {
	s.IncludeUsage = false
	s.edits.usage = keepUsage
	start := s.at
	if s.peek() != '{' {
		if string(s.value()) == "null" {
			s.edits.usage, s.edits.usageAt = setOptions, span{start, s.at}
		}
		return
	}
	s.at++
	s.edits.usage, s.edits.usageAt, s.edits.alone = addMember, span{s.at, s.at}, true
	for first := true; s.next(first, '}'); first = false {
		if s.edits.usage == addMember {
			s.edits.alone = false
		}
		if !named(s.key(), "include_usage") {
			s.value()
			continue
		}
		at := s.at
		v := string(s.value()) // compared only, so the compiler makes no copy
		s.IncludeUsage = v == "true"
		s.edits.usage = keepUsage
		if v == "false" || v == "null" {
			s.edits.usage, s.edits.usageAt = setMember, span{at, s.at}
		}
	}
}

func (s *scanner) generationConfig() {
	s.MaxOutput = 0
	if s.peek() != '{' {
		s.value()
		return
	}
	s.at++
	for first := true; s.next(first, '}'); first = false {
		key := s.key()
		if v := s.value(); named(key, "maxOutputTokens") || named(key, "max_output_tokens") {
			s.MaxOutput = limit(v)
		}
	}
}

// firstUser reads an array of messages and returns the raw content of the first one whose role is user, which stands
// under the key content. implicit says that a message without a role is the user's.
func (s *scanner) firstUser(content string, implicit bool) []byte {
	if s.peek() != '[' {
		s.value()
		return nil
	}
	s.at++
	for first := true; s.next(first, ']'); first = false {
		if s.peek() != '{' {
			s.value()
			continue
		}
		s.at++
		user, found := implicit, []byte(nil)
		for first := true; s.next(first, '}'); first = false {
			key := s.key()
			v := s.value()
			if named(key, "role") {
				user = len(v) > 2 && v[0] == '"' && named(v[1:len(v)-1], "user")
			} else if named(key, content) {
				found = v
			}
		}
		if user {
			for s.next(false, ']') {
				s.value()
			}
			return found
		}
	}
	return nil
}

// next moves to the next member or element of a container that ends with the bracket end, or past that bracket, and
// reports whether there is one. first says that none was read yet.
func (s *scanner) next(first bool, end byte) bool {
	if s.bad {
		return false
	}
	i := skipSpace(s.body, s.at)
	if i < len(s.body) && s.body[i] == end {
		s.at = i + 1
		return false
	}
	if !first {
		if i == len(s.body) || s.body[i] != ',' {
			s.bad = true
			return false
		}
		i = skipSpace(s.body, i+1)
	}
	s.at = i
	return true
}

// key reads a member's key up to its value and returns what stands between the quotes.
func (s *scanner) key() []byte {
	start := s.at
	if s.peek() != '"' || !s.skipTo(skipString(s.body, s.at)) {
		s.bad = true
		return nil
	}
	key := s.body[start+1 : s.at-1]
	i := skipSpace(s.body, s.at)
	if i == len(s.body) || s.body[i] != ':' {
		s.bad = true
		return nil
	}
	s.at = skipSpace(s.body, i+1)
	return key
}

// value reads a value and returns it raw.
func (s *scanner) value() []byte {
	start := s.at
	if s.bad || !s.skipTo(skipValue(s.body, start)) {
		return nil
	}
	return s.body[start:s.at]
}

// peek is the byte at which s stands; 0 at the end of the body.
func (s *scanner) peek() byte {
	if s.at < len(s.body) {
		return s.body[s.at]
	}
	return 0
}

// skipTo moves to end, which is negative when the body ended too early.
func (s *scanner) skipTo(end int) bool {
	if end < 0 {
		s.bad = true
		return false
	}
	s.at = end
	return true
}
