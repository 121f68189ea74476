package load

import (
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Streams of random numbers that do not depend on each other, by the second word of a PCG's seed; those of requests
// count up from zero.
const (
	streamArrivals = 1<<64 - 1 - iota
	streamPrefixes
	streamBlocks
	streamClients
	streamLengths
)

// When clients leave. Most do when they have seen the beginning of a stream, some before there is any answer.
const (
	leaveWaiting    = 0.25 // share of those that leave a stream that don't wait for its beginning
	leaveMaxContent = 8    // pieces of content after which the rest have left
	leaveMinWait    = 20 * time.Millisecond
	leaveMaxWait    = 200 * time.Millisecond
)

// request is everything about one request.
type request struct {
	at   time.Duration // intended send time, from the start of the load
	kind int           // index into the driver's kinds
	body []byte

	leaveContent int           // leave when that many pieces of content have come; 0: don't
	leaveWait    time.Duration // leave that long after the request has been written; 0: don't
}

// request makes the n-th request, of the size that its arrival states.
func (d *Driver) request(n uint64, a *Arrival) request {
	rng := rand.New(rand.NewPCG(d.seed, n))
	i, u := 0, rng.Float64()*d.shares[len(d.shares)-1]
	for i < len(d.shares)-1 && u >= d.shares[i] {
		i++
	}
	k := &d.kinds[i]
	r := request{at: a.At, kind: i}
	var prefix []byte
	if k.Prefixes > 0 {
		prefix = d.prefixes[i][rng.IntN(k.Prefixes)]
	}
	tokens, limit := a.Input, k.MaxTokens
	if tokens == 0 {
		tokens = k.Prompt.draw(rng)
	}
	if a.Output > 0 {
		limit = a.Output
	}
	prompt := make([]byte, 0, wordSize*tokens)
	for _, block := range a.Blocks {
		text := rand.New(rand.NewPCG(d.seed+block, streamBlocks))
		prompt = appendWords(prompt, text, min(blockTokens, tokens-wordsIn(prompt)))
	}
	prompt = appendWords(prompt, rng, tokens-wordsIn(prompt))
	const frame = 256 // bytes of a body around its texts, about
	r.body = k.appendBody(make([]byte, 0, frame+len(prefix)+len(prompt)), prefix, prompt, limit)
	if k.Leave > rng.Float64() {
		if k.Stream && rng.Float64() >= leaveWaiting {
			r.leaveContent = 1 + rng.IntN(leaveMaxContent)
		} else {
			r.leaveWait = leaveMinWait + time.Duration(rng.Int64N(int64(leaveMaxWait-leaveMinWait)))
		}
	}
	return r
}

// prefixes makes the system prompts of a kind.
func (k *Kind) prefixes(seed uint64) [][]byte {
	rng := rand.New(rand.NewPCG(seed, streamPrefixes))
	all := make([][]byte, k.Prefixes)
	for i := range all {
		all[i] = appendWords(nil, rng, k.PrefixTokens)
	}
	return all
}

// vocabulary has words of three letters: with the blank one token each.
const (
	vocabulary = "any ask bay big bud cat day dew dog due elm end far fig fit fly fog fox hay hen ice ink ivy jar joy key " +
		"law map may new now oak oat old one our owl own pea pen pie red rye sea see set sky sun tea the two was way yes"
	wordSize  = 4
	wordCount = (len(vocabulary) + 1) / wordSize
)

// appendWords appends n tokens to text. They need no escaping in JSON.
func appendWords(dst []byte, rng *rand.Rand, n int) []byte {
	for range n {
		if len(dst) > 0 {
			dst = append(dst, ' ')
		}
		at := wordSize * rng.IntN(wordCount)
		dst = append(dst, vocabulary[at:at+wordSize-1]...)
	}
	return dst
}

// wordsIn is the number of tokens in a text of appendWords.
func wordsIn(text []byte) int { return (len(text) + 1) / wordSize }

// appendBody appends the JSON of a request as the vendor's SDK would write it. Prefix and prompt need no escaping; a
// maxTokens of 0 is no limit.
func (k *Kind) appendBody(b, prefix, prompt []byte, maxTokens int) []byte {
	str := func(parts ...string) {
		for _, s := range parts {
			b = append(b, s...)
		}
	}
	limit := func(name string) {
		if maxTokens > 0 {
			str(`,"`, name, `":`, strconv.Itoa(maxTokens))
		}
	}
	if k.API == Generate {
		str(`{`)
		if len(prefix) > 0 {
			str(`"systemInstruction":{"parts":[{"text":"`, string(prefix), `"}]},`)
		}
		str(`"contents":[{"role":"user","parts":[{"text":"`, string(prompt), `"}]}]`)
		switch tokens := strconv.Itoa(maxTokens); {
		case maxTokens > 0 && k.Steady:
			str(`,"generationConfig":{"maxOutputTokens":`, tokens, `,"temperature":0}`)
		case maxTokens > 0:
			str(`,"generationConfig":{"maxOutputTokens":`, tokens, `}`)
		case k.Steady:
			str(`,"generationConfig":{"temperature":0}`)
		}
		str(`}`)
		return b
	}
	str(`{"model":"`, k.Model, `"`)
	if k.Steady {
		str(`,"temperature":0`)
	}
	switch k.API {
	case Chat:
		limit("max_completion_tokens")
		str(`,"messages":[`)
		if len(prefix) > 0 {
			str(`{"role":"system","content":"`, string(prefix), `"},`)
		}
		str(`{"role":"user","content":"`, string(prompt), `"}]`)
	case Responses:
		limit("max_output_tokens")
		if len(prefix) > 0 {
			str(`,"instructions":"`, string(prefix), `"`)
		}
		str(`,"input":"`, string(prompt), `"`)
	case Embeddings:
		str(`,"input":"`, string(prompt), `"`)
	case Messages:
		limit("max_tokens")
		if len(prefix) > 0 {
			str(`,"system":[{"type":"text","text":"`, string(prefix), `","cache_control":{"type":"ephemeral"}}]`)
		}
		str(`,"messages":[{"role":"user","content":"`, string(prompt), `"}]`)
	}
	if k.Stream {
		str(`,"stream":true`)
		if k.Usage && k.API == Chat {
			str(`,"stream_options":{"include_usage":true}`)
		}
	}
	str(`}`)
	return b
}

// url is where requests of a kind go. Where the base URL ends with the segment that the path begins with, that stands once.
func (k *Kind) url() string {
	var path string
	switch k.API {
	case Chat:
		path = "/chat/completions"
	case Responses:
		path = "/responses"
	case Embeddings:
		path = "/embeddings"
	case Messages:
		path = "/v1/messages"
	default:
		path = "/v1beta/models/" + k.Model + ":generateContent"
		if k.Stream {
			path = "/v1beta/models/" + k.Model + ":streamGenerateContent?alt=sse"
		}
	}
	if first, rest, _ := strings.Cut(path[1:], "/"); rest != "" && strings.HasSuffix(k.BaseURL, "/"+first) {
		return k.BaseURL + "/" + rest
	}
	return k.BaseURL + path
}

// header is what requests of a kind carry.
func (k *Kind) header() http.Header {
	h := http.Header{"Content-Type": {"application/json"}, "User-Agent": {"llmopt-load"}}
	if k.API == Messages {
		h.Set("Anthropic-Version", "2023-06-01")
	}
	switch {
	case k.Key == "":
	case k.API == Messages:
		h.Set("X-Api-Key", k.Key)
	case k.API == Generate:
		h.Set("X-Goog-Api-Key", k.Key)
	default:
		h.Set("Authorization", "Bearer "+k.Key)
	}
	maps.Copy(h, k.Header)
	return h
}
