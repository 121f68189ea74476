package sim

import (
	"encoding/binary"
	"math"
	"math/bits"
	"time"
)

// vocabulary is what simulated models say, one word a token. Some words are there to trip careless readers of
// streams: quotes, escapes, line ends, bytes beyond ASCII, names of fields.
var vocabulary = [...]string{
	" the", " of", " and", " to", " model", " answer", " question", " token", " stream", " window", " cost", " cache",
	" route", " time", " request", " small", " large", " first", " next", " then", " because", " however", " therefore",
	" measured", ".", ",", ":", ";", "\n", "\n\n", " \"quoted\"", " \\", " café", " naïve", " 東京", " 🚀", " Ünïcödé",
	" \"usage\":", " data:", " [DONE]", " }", " {", " <b>", " &", "\t", " zwölf", " Привет", " 👩‍💻",
}

// word is the i-th token of the text that seed tells.
func word(seed uint64, i int) string {
	return vocabulary[scramble(seed+uint64(i)*0x9e3779b97f4a7c15)%uint64(len(vocabulary))]
}

// appendWords appends tokens from to until of a text, escaped for JSON.
func appendWords(dst []byte, seed uint64, from, until int) []byte {
	for i := from; i < until; i++ {
		dst = appendEscaped(dst, word(seed, i))
	}
	return dst
}

// fold mixes p into the hash h. It is fast and even, not secret.
func fold(h uint64, p []byte) uint64 {
	h ^= uint64(len(p)) * 0x9e3779b97f4a7c15
	for len(p) >= 8 {
		h = mix(h^binary.LittleEndian.Uint64(p), 0xa0761d6478bd642f)
		p = p[8:]
	}
	if len(p) > 0 {
		var tail [8]byte
		copy(tail[:], p)
		h = mix(h^binary.LittleEndian.Uint64(tail[:]), 0xe7037ed1a0b428db)
	}
	return h
}

// mix is the folded multiplication of wyhash (Wang Yi).
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// seal fixes what the answer depends on: the seed, the time where answers change, and the parts of the request that are the prompt. What a proxy may
// change on the way, the model's name, stream_options and cache_control, does not count.
func (x *exchange) seal(parts ...string) {
	op := x.op
	if op == opStreamGenerate {
		op = opGenerate // a stream says the same
	}
	h := scramble(x.srv.opt.Seed ^ uint64(x.d.seed.or(0))<<32 ^ uint64(op))
	if x.d.change > 0 {
		size := 0
		for _, p := range parts {
			size += len(p)
		}
		h = scramble(h ^ uint64(Version(x.now(), x.d.change, countTokens(size)))) //nolint:gosec // any bits will do
	}
	for _, p := range parts {
		h = fold(h, []byte(p))
	}
	x.hash = scramble(h)
	x.ids = random{x.hash}
	if x.d.ids != 's' {
		x.ids = random{x.hash ^ scramble(x.seq)}
	}
}

// Version counts up each time that an answer changes which stays for so long, by the directive change. Prompts of other lengths in tokens have other moments for it,
// spread evenly.
func Version(now time.Time, stays time.Duration, tokens int) int64 {
	_, part := math.Modf(float64(tokens) * math.Phi)
	return (now.UnixNano() + int64(part*float64(stays))) / int64(stays)
}

const (
	alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	hexadeci = "0123456789abcdef"
)

// id makes the next id of the answer: a prefix and n characters of an alphabet.
func (x *exchange) id(prefix string, n int, letters string) string {
	b := make([]byte, 0, 64)
	b = append(b, prefix...)
	for range n {
		b = append(b, letters[x.ids.next()%uint64(len(letters))])
	}
	return string(b)
}

// requestID is the id of the request in headers and errors.
func (x *exchange) requestID() string {
	saved := x.ids
	defer func() { x.ids = saved }()
	x.ids.state ^= 0x5851f42d4c957f2d
	if x.dialect == dialectAnthropic {
		return x.id("req_011C", 20, alphabet)
	}
	return x.id("req_", 32, hexadeci)
}
