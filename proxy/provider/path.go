package provider

import (
	"bytes"
	"strings"
)

// AppendPath appends the path of an upstream request: base, the path of the provider's base URL, and rest, what is left
// of the client's raw path. Where base ends with the version that rest begins with (v1, v1beta), it stands once. One
// slash stands between the two, whichever of them brought it. Everything else stays raw: nothing is decoded, and
// neither ".." nor empty segments are cleaned away. The result is never empty.
func AppendPath(dst []byte, base string, rest []byte) []byte {
	stem := strings.TrimSuffix(base, "/")
	if version := firstVersion(rest); version != nil && endsWithSegment(stem, version) {
		return append(append(dst, stem...), rest[1+len(version):]...)
	}
	if len(rest) == 0 {
		if base == "" {
			base = "/"
		}
		return append(dst, base...)
	}
	dst = append(dst, stem...)
	if rest[0] != '/' {
		dst = append(dst, '/')
	}
	return append(dst, rest...)
}

// firstVersion is the first segment of "/v1/…" if it is a version, else nil.
func firstVersion(path []byte) []byte {
	if len(path) == 0 || path[0] != '/' {
		return nil
	}
	segment := path[1:]
	if i := bytes.IndexByte(segment, '/'); i >= 0 {
		segment = segment[:i]
	}
	if !isVersion(segment) {
		return nil
	}
	return segment
}

func endsWithSegment(path string, segment []byte) bool {
	n := len(path) - len(segment)
	return n > 0 && path[n-1] == '/' && path[n:] == string(segment)
}

// isVersion reports whether a path segment looks like an API's version: v1, v1beta, v1beta1, v2.1.
func isVersion(segment []byte) bool {
	if len(segment) < 2 || segment[0] != 'v' || segment[1] < '0' || segment[1] > '9' {
		return false
	}
	for _, c := range segment[2:] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != '.' {
			return false
		}
	}
	return true
}

// nextSegment splits "/a/b" into "a" and "/b". Slashes before the segment are skipped.
func nextSegment(path []byte) (segment, rest []byte) {
	path = bytes.TrimLeft(path, "/")
	if i := bytes.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, nil
}

// unescapePath decodes the percent escapes of a segment, invalid ones left as they are. A segment without escapes is
// returned itself.
func unescapePath(segment []byte) []byte {
	if bytes.IndexByte(segment, '%') < 0 {
		return segment
	}
	plain := make([]byte, 0, len(segment))
	for i := 0; i < len(segment); i++ {
		if segment[i] == '%' && i+2 < len(segment) {
			if hi, lo := unhex(segment[i+1]), unhex(segment[i+2]); hi >= 0 && lo >= 0 {
				plain = append(plain, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		plain = append(plain, segment[i])
	}
	return plain
}

// unhex is the value of a hexadecimal digit, -1 for any other byte.
func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// RewritePath appends a raw path with the model that stands in it (Gemini's …/models/{model}:verb, Azure's …/deployments/{deployment}/…) replaced; false
// where the path names none, so that the body must.
func RewritePath(dst []byte, op Operation, path []byte, model string) ([]byte, bool) {
	start, end := 0, 0
	switch op {
	case GenerateContent, EmbedContent:
		head, _ := splitVerb(path)
		start, end = bytes.LastIndexByte(head, '/')+1, len(head)
		if i := bytes.LastIndex(bytes.ToUpper(head[start:]), []byte("%2F")); i >= 0 {
			start += i + len("%2F")
		}
	case ChatCompletions, Completions, Responses, Embeddings:
		const mark = "/deployments/"
		i := bytes.Index(path, []byte(mark))
		if i < 0 {
			return dst, false
		}
		start = i + len(mark)
		if end = len(path); bytes.IndexByte(path[start:], '/') >= 0 {
			end = start + bytes.IndexByte(path[start:], '/')
		}
	}
	if start == 0 || start == end {
		return dst, false
	}
	dst = append(dst, path[:start]...)
	dst = appendSegment(dst, model)
	return append(dst, path[end:]...), true
}

// appendSegment appends s as a segment of a path.
func appendSegment(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', bytes.IndexByte([]byte("-._~@:"), c) >= 0:
			dst = append(dst, c)
		default:
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}
