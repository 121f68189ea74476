package proxy

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"net/url"

	"llm-auto-optimizer/proxy/upstream"
)

// The ways in which the dialects carry a key. With a configured key all of them are taken out of the client's request, so
// that its own key cannot reach the provider beside ours.
var (
	credentialHeaders = []string{"authorization", "x-api-key", "api-key", "x-goog-api-key"}

	// Gemini takes key, Google's servers take access_token, Azure OpenAI takes api-key for WebSockets.
	credentialParameters = []string{"key", "access_token", "api-key"}
)

const (
	// webSocketProtocols is the header in which a browser, which can set no other, gives OpenAI its key as one of the
	// protocols that it offers.
	webSocketProtocols = "sec-websocket-protocol"
	protocolKeyPrefix  = "openai-insecure-api-key."
)

func isCredential(name []byte) bool {
	for _, c := range credentialHeaders {
		if upstream.EqualFold(name, c) {
			return true
		}
	}
	return false
}

// protocolKey is the key among the offered protocols, or nil.
func protocolKey(offered []byte) []byte {
	for len(offered) > 0 {
		var p []byte
		p, offered, _ = bytes.Cut(offered, []byte(","))
		if key, ok := bytes.CutPrefix(upstream.Trim(p), []byte(protocolKeyPrefix)); ok {
			return key
		}
	}
	return nil
}

// appendProtocols appends the header line of the offered protocols without a key among them; nothing if no other is left.
func appendProtocols(dst, name, offered []byte) []byte {
	start := len(dst)
	sep := ": "
	dst = append(dst, name...)
	for len(offered) > 0 {
		var p []byte
		p, offered, _ = bytes.Cut(offered, []byte(","))
		if p = upstream.Trim(p); len(p) == 0 || bytes.HasPrefix(p, []byte(protocolKeyPrefix)) {
			continue
		}
		dst = append(append(dst, sep...), p...)
		sep = ", "
	}
	if sep == ": " {
		return dst[:start]
	}
	return append(dst, "\r\n"...)
}

// callersDomain keeps the hashes of all credentials together apart from other hashes.
const callersDomain = 'a'

// allCredentials is a keyed hash of all credentials that the request carries, wherever they stand: providers differ in which of several counts. It is zero
// where there is none. A connection mostly brings the same ones again.
func (x *Exchange) allCredentials() (sum [32]byte) {
	b := append(append(x.head[:0], x.p.hasher.key[:]...), callersDomain)
	begin := len(b)
	for _, name := range credentialHeaders {
		if value := x.peek(name); value != nil {
			b = appendPart(b, name, value)
		}
	}
	for query := x.query; len(query) > 0; {
		var pair []byte
		pair, query = nextParameter(query)
		if name, value, _ := bytes.Cut(bytes.TrimRight(pair, "&;"), []byte("=")); isCredentialParameter(name) {
			b = appendPart(append(b, '?'), name, value)
		}
	}
	if x.head = b; len(b) == begin {
		return sum
	}
	if c := x.client; !bytes.Equal(b[begin:], c.credentials) {
		c.credentials, c.credentialsSum = append(c.credentials[:0], b[begin:]...), sha256.Sum256(b)
	}
	return x.client.credentialsSum
}

// appendPart appends a part with its name, so that no two lists of parts are the same bytes.
func appendPart[T ~string | ~[]byte](dst []byte, name T, value []byte) []byte {
	dst = append(dst, name...)
	dst = binary.AppendUvarint(append(dst, 0), uint64(len(value)))
	return append(dst, value...)
}

// withoutScheme is a credential without the scheme of the Authorization header before it.
func withoutScheme(value []byte) []byte {
	const scheme = "bearer"
	if len(value) > len(scheme) && value[len(scheme)] == ' ' && upstream.EqualFold(value[:len(scheme)], scheme) {
		return upstream.Trim(value[len(scheme):])
	}
	return value
}

// credentials yields all that the request carries, as they are meant, wherever they stand.
func (x *Exchange) credentials(yield func(credential []byte) bool) {
	for _, name := range credentialHeaders {
		if value := x.peek(name); value != nil && !yield(withoutScheme(value)) {
			return
		}
	}
	if key := protocolKey(x.peek(webSocketProtocols)); key != nil && !yield(key) {
		return
	}
	for query := x.query; len(query) > 0; {
		var pair []byte
		pair, query = nextParameter(query)
		if name, value, _ := bytes.Cut(bytes.TrimRight(pair, "&;"), []byte("=")); isCredentialParameter(name) {
			if plain, err := url.QueryUnescape(string(value)); err == nil && !yield([]byte(plain)) {
				return
			}
		}
	}
}

// queryKey is the value of the query's first parameter that carries a key, or nil.
func queryKey(query []byte) []byte {
	for len(query) > 0 {
		var pair []byte
		pair, query = nextParameter(query)
		if name, value, _ := bytes.Cut(bytes.TrimRight(pair, "&;"), []byte("=")); isCredentialParameter(name) {
			return value
		}
	}
	return nil
}

// appendWithoutKey appends the query without the parameters that carry a key.
func appendWithoutKey(dst, query []byte) []byte {
	start := len(dst)
	for len(query) > 0 {
		var pair []byte
		pair, query = nextParameter(query)
		if name, _, _ := bytes.Cut(bytes.TrimRight(pair, "&;"), []byte("=")); !isCredentialParameter(name) {
			dst = append(dst, pair...)
		} else if len(query) == 0 && len(dst) > start {
			dst = dst[:len(dst)-1] // the separator before it
		}
	}
	return dst
}

// nextParameter cuts the first parameter off, with the separator behind it. A semicolon separates too for some servers.
func nextParameter(query []byte) (pair, rest []byte) {
	if i := bytes.IndexAny(query, "&;"); i >= 0 {
		return query[:i+1], query[i+1:]
	}
	return query, nil
}

// isCredentialParameter compares the name as the provider will read it: percent escapes undone, in any case.
func isCredentialParameter(name []byte) bool {
	var decoded [16]byte
	n := 0
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c == '%' && i+2 < len(name) {
			hi, okHi := unhex(name[i+1])
			lo, okLo := unhex(name[i+2])
			if okHi && okLo {
				c = hi<<4 | lo
				i += 2
			}
		}
		if n == len(decoded) {
			return false // longer than any of them
		}
		decoded[n] = c
		n++
	}
	for _, p := range credentialParameters {
		if upstream.EqualFold(decoded[:n], p) {
			return true
		}
	}
	return false
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
