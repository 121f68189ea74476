package provider

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// field is what a top-level member of a request body means to the scanner.
type field uint8

const (
	fieldOther            field = iota
	fieldModel                  // string
	fieldStream                 // bool
	fieldStreamOptions          // object with include_usage
	fieldServiceTier            // string
	fieldMaxOutput              // number
	fieldMaxOutputOld           // number, counts where fieldMaxOutput is absent
	fieldGenerationConfig       // object with maxOutputTokens
	fieldMessages               // array of {role, content}
	fieldInput                  // string, or array of {role, content}
	fieldPrompt                 // string or array, all of it the user's
	fieldContents               // array of {role, parts}; one without a role is the user's
)

// named reports whether raw, the inside of a JSON string, spells name.
func named(raw []byte, name string) bool {
	return string(raw) == name || bytes.IndexByte(raw, '\\') >= 0 && string(unescape(raw)) == name
}

// text is the meaning of a raw string value, a part of raw unless it holds escapes; nil for any other value.
func text(raw []byte) []byte {
	s, ok := stringOf(raw)
	if ok && bytes.IndexByte(s, '\\') >= 0 {
		return unescape(s)
	}
	return s
}

// unescape decodes the inside of a JSON string into a new slice. Escapes that JSON does not know are left as they are.
func unescape(raw []byte) []byte {
	plain := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c != '\\' || i+1 == len(raw) {
			plain = append(plain, c)
			continue
		}
		i++
		switch c = raw[i]; c {
		case '"', '\\', '/':
			plain = append(plain, c)
		case 'b':
			plain = append(plain, '\b')
		case 'f':
			plain = append(plain, '\f')
		case 'n':
			plain = append(plain, '\n')
		case 'r':
			plain = append(plain, '\r')
		case 't':
			plain = append(plain, '\t')
		case 'u':
			r := unhex4(raw[i+1:])
			if r < 0 {
				plain = append(plain, '\\', c)
				continue
			}
			i += 4
			if utf16.IsSurrogate(r) {
				var low rune = -1
				if i+2 < len(raw) && raw[i+1] == '\\' && raw[i+2] == 'u' {
					low = unhex4(raw[i+3:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					i += 6
				}
			}
			plain = utf8.AppendRune(plain, r)
		default:
			plain = append(plain, '\\', c)
		}
	}
	return plain
}

// unhex4 is the value of the four hexadecimal digits that b begins with, -1 if it does not.
func unhex4(b []byte) rune {
	if len(b) < 4 {
		return -1
	}
	var r rune
	for _, c := range b[:4] {
		d := unhex(c)
		if d < 0 {
			return -1
		}
		r = r<<4 | rune(d)
	}
	return r
}

// limit reads a raw value as a bound on a count of tokens, however it is spelled (1000, 1e3, 1000.0); 0, which is none,
// for anything but a positive number.
func limit(raw []byte) int64 {
	if n, ok := countOf(raw); ok {
		return n
	}
	switch f, err := strconv.ParseFloat(string(raw), 64); {
	case f >= math.MaxInt64: // also +Inf, which comes with an error
		return math.MaxInt64
	case err == nil && f >= 1: // false for NaN
		return int64(f)
	}
	return 0
}
