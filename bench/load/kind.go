package load

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// API is what a request is made to.
type API uint8

// The APIs: OpenAI's chat completions, responses and embeddings, Anthropic's messages, Gemini's generateContent.
const (
	Chat API = iota
	Responses
	Embeddings
	Messages
	Generate
	apisEnd
)

var apiNames = [apisEnd]string{"chat", "responses", "embeddings", "messages", "generate"}

// APIs are the names of all.
func APIs() []string { return apiNames[:] }

// ParseAPI returns the API of a name.
func ParseAPI(name string) (API, error) {
	i := slices.Index(apiNames[:], name)
	if i < 0 {
		return 0, fmt.Errorf("%q: want one of %s", name, strings.Join(apiNames[:], ", "))
	}
	return API(i), nil
}

// String returns the API's name.
func (a API) String() string { return apiNames[a] }

// Kind is one sort of request in a mixture.
type Kind struct {
	API     API
	BaseURL string  // as the vendor's SDK takes it, such as http://127.0.0.1:8080/openai/v1
	Key     string  // sent as the vendor's SDK does; empty: none
	Model   string  // letters, digits and "-_.:/@"
	Weight  float64 // share of the mixture, relative to the other kinds' weights
	Stream  bool
	Steady  bool        // asks for temperature 0: the same prompt is to get the same answer. Not for Embeddings
	Usage   bool        // streams of Chat are asked for their usage; those of the others tell it anyway
	Header  http.Header // sent too, and instead of what the SDK would send; keys in canonical form

	Prompt       Size // of the user's text
	Prefixes     int  // number of system prompts, one of which each request begins with; 0: none. Not for Embeddings
	PrefixTokens int  // length of each
	MaxTokens    int  // limit of the answer's tokens; 0: none, which Messages does not allow

	Leave float64 // share of the clients that leave before the answer is complete, from 0 to 1
}

// Size is a random number of tokens, taken to be of 4 bytes: lognormal with the given median and the standard deviation
// Sigma of the logarithm; a constant where Sigma is 0.
type Size struct {
	Median int
	Sigma  float64
}

// maxPrompt bounds a draw, in tokens: a lognormal has no upper end.
const maxPrompt = 1 << 18

func (s Size) draw(rng *rand.Rand) int {
	n := float64(s.Median) * math.Exp(s.Sigma*rng.NormFloat64())
	return int(min(max(n, 1), maxPrompt))
}

// FieldError tells what is wrong with a field of a kind.
type FieldError struct {
	Field   string // its name, of nested ones with dots
	Value   any
	Allowed string
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("%s is %v: want %s", e.Field, e.Value, e.Allowed)
}

// Check tells what is wrong with a kind, by a [FieldError].
func (k *Kind) Check() error {
	bad := func(field string, value any, allowed string) error { return &FieldError{field, value, allowed} }
	if k.API >= apisEnd {
		return bad("API", uint8(k.API), "one of the constants")
	}
	if u, err := url.Parse(k.BaseURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.HasSuffix(k.BaseURL, "/") {
		return bad("BaseURL", k.BaseURL, "http:// or https:// with a host, and no slash at its end")
	}
	if k.Model == "" || strings.ContainsFunc(k.Model, notInModels) {
		return bad("Model", k.Model, "letters, digits and -_.:/@")
	}
	switch finite := !math.IsNaN(k.Weight) && !math.IsInf(k.Weight, 0); {
	case !finite || k.Weight <= 0:
		return bad("Weight", k.Weight, "more than 0")
	case k.Stream && k.API == Embeddings:
		return bad("Stream", k.Stream, "false: embeddings are not streamed")
	case k.Steady && k.API == Embeddings:
		return bad("Steady", k.Steady, "false: embeddings have no temperature")
	case k.Prompt.Median < 1 || k.Prompt.Median > maxPrompt:
		return bad("Prompt.Median", k.Prompt.Median, fmt.Sprintf("1 to %d", maxPrompt))
	case !(k.Prompt.Sigma >= 0 && k.Prompt.Sigma <= maxSigma):
		return bad("Prompt.Sigma", k.Prompt.Sigma, fmt.Sprintf("0 to %d", maxSigma))
	case k.Prefixes < 0 || k.Prefixes > maxPrefixes || k.Prefixes > 0 && k.API == Embeddings:
		return bad("Prefixes", k.Prefixes, fmt.Sprintf("0 to %d, and 0 for embeddings", maxPrefixes))
	case k.Prefixes > 0 && (k.PrefixTokens < 1 || k.PrefixTokens > maxPrompt):
		return bad("PrefixTokens", k.PrefixTokens, fmt.Sprintf("1 to %d", maxPrompt))
	case k.MaxTokens < 0 || k.MaxTokens == 0 && k.API == Messages:
		return bad("MaxTokens", k.MaxTokens, "0 or more, and more than 0 for messages")
	case k.Usage && !(k.Stream && k.API == Chat):
		return bad("Usage", k.Usage, "false where it is no stream of chat")
	case !(k.Leave >= 0 && k.Leave <= 1):
		return bad("Leave", k.Leave, "0 to 1")
	}
	return nil
}

const (
	maxSigma    = 4       // beyond it one draw in a hundred is 10,000 times the median
	maxPrefixes = 1 << 10 // they are kept in memory
)

func notInModels(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return !strings.ContainsRune("-_.:/@", r)
}
