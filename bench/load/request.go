package load

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// Streams of random numbers that do not depend on each other, by the second word of a PCG's seed; those of requests
// count up from zero.
const (
	streamArrivals = 1<<64 - 1 - iota
	streamPrefixes
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
	kind int // index into the driver's kinds
	body []byte

	leaveContent int           // leave when that many pieces of content have come; 0: don't
	leaveWait    time.Duration // leave that long after the request has been written; 0: don't
}

// request makes the n-th request.
func (d *Driver) request(n uint64) request {
	rng := rand.New(rand.NewPCG(d.seed, n))
	i, u := 0, rng.Float64()*d.shares[len(d.shares)-1]
	for i < len(d.shares)-1 && u >= d.shares[i] {
		i++
	}
	k := &d.kinds[i]
	r := request{kind: i}
	var prefix []byte
	if k.Prefixes > 0 {
		prefix = d.prefixes[i][rng.IntN(k.Prefixes)]
	}
	r.body = k.appendBody(nil, prefix, appendWords(nil, rng, k.Prompt.draw(rng)))
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
const vocabulary = "any ask bay big bud cat day dew dog due elm end far fig fit fly fog fox hay hen ice ink ivy jar joy key " +
	"law map may new now oak oat old one our owl own pea pen pie red rye sea see set sky sun tea the two was way yes"

// appendWords appends n tokens of text that needs no escaping in JSON.
func appendWords(dst []byte, rng *rand.Rand, n int) []byte {
	const size, count = 4, (len(vocabulary) + 1) / 4
	for i := range n {
		if i > 0 {
			dst = append(dst, ' ')
		}
		at := size * rng.IntN(count)
		dst = append(dst, vocabulary[at:at+size-1]...)
	}
	return dst
}

// appendBody appends the JSON of a request as the vendor's SDK would write it. Prefix and prompt need no escaping.
func (k *Kind) appendBody(b, prefix, prompt []byte) []byte {
	str := func(parts ...string) {
		for _, s := range parts {
			b = append(b, s...)
		}
	}
	limit := func(name string) {
		if k.MaxTokens > 0 {
			str(`,"`, name, `":`, strconv.Itoa(k.MaxTokens))
		}
	}
	if k.API == Generate {
		str(`{`)
		if len(prefix) > 0 {
			str(`"systemInstruction":{"parts":[{"text":"`, string(prefix), `"}]},`)
		}
		str(`"contents":[{"role":"user","parts":[{"text":"`, string(prompt), `"}]}]`)
		if k.MaxTokens > 0 {
			str(`,"generationConfig":{"maxOutputTokens":`, strconv.Itoa(k.MaxTokens), `}`)
		}
		str(`}`)
		return b
	}
	str(`{"model":"`, k.Model, `"`)
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
	}
	str(`}`)
	return b
}

// url is where requests of a kind go.
func (k *Kind) url() string {
	switch k.API {
	case Chat:
		return k.BaseURL + "/chat/completions"
	case Responses:
		return k.BaseURL + "/responses"
	case Embeddings:
		return k.BaseURL + "/embeddings"
	case Messages:
		return k.BaseURL + "/v1/messages"
	default:
		if k.Stream {
			return k.BaseURL + "/v1beta/models/" + k.Model + ":streamGenerateContent?alt=sse"
		}
		return k.BaseURL + "/v1beta/models/" + k.Model + ":generateContent"
	}
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
	return h
}
