package config

import (
	"bytes"
	"strings"
)

// namespaceOf returns the provider that an entry of the list belongs to. The list names some providers by what they
// serve; those are one here. An entry that names none belongs to the provider before the slash of its key, or to any.
func namespaceOf(provider, key string) string {
	switch {
	case provider == "":
		namespace, _, ok := strings.Cut(key, "/")
		if !ok {
			return ""
		}
		return namespace
	case provider == "bedrock_converse":
		return "bedrock"
	case provider == "azure_text":
		return "azure"
	case provider == "cohere_chat":
		return "cohere"
	case strings.HasPrefix(provider, "vertex_ai-"):
		return "vertex_ai"
	case strings.HasPrefix(provider, "text-completion-"):
		return strings.TrimPrefix(provider, "text-completion-")
	case strings.HasPrefix(provider, "fireworks_ai-"):
		return "fireworks_ai"
	}
	return provider
}

// modelOf returns the model of an entry as the provider itself calls it, and whether the key names the provider.
func modelOf(key, namespace string) (model string, prefixed bool) {
	if model, ok := strings.CutPrefix(key, namespace+"/"); ok && namespace != "" {
		return model, true
	}
	return key, false
}

// isVendor reports whether a provider's own models have names that nobody else may give to other models, so that the
// name alone says what a request costs at the vendor. Weights of other vendors are open: anyone may serve them, at any
// price.
func isVendor(namespace string) bool {
	switch namespace {
	case "openai", "anthropic", "gemini", "vertex_ai":
		return true
	}
	return false
}

// ownPrices are providers that charge nothing per token, or not by the model's vendor's list: programs that serve
// models themselves, and subscriptions. A vendor's price never stands in for theirs.
var ownPrices = map[string]bool{
	"ollama": true, "vllm": true, "hosted_vllm": true, "sglang": true, "tgi": true, "lmstudio": true, "lm_studio": true,
	"llamacpp": true, "llama_cpp": true, "llamafile": true, "localai": true, "lemonade": true, "xinference": true,
	"mlx": true, "koboldcpp": true, "oobabooga": true, "triton": true, "local": true, "localhost": true,
	"github_copilot": true, "chatgpt": true,
}

// modelPrefixes stand before the names of models in the paths of Google's APIs.
var modelPrefixes = [][]byte{[]byte("models/"), []byte("publishers/google/models/")}

// trimModel returns the model without such a prefix.
func trimModel(model []byte) []byte {
	for _, prefix := range modelPrefixes {
		if rest, ok := bytes.CutPrefix(model, prefix); ok {
			return rest
		}
	}
	return model
}

// cutVersion returns the model without the version at its end: a full date (-2024-08-06, -20250929, @20250929),
// -latest, @latest, @default, or the -001 … -099 of Gemini models. Shorter numbers are left alone: -0613 or -4 may be
// what tells two models apart.
func cutVersion[T string | []byte](name T) (stem T, ok bool) {
	s := name
	n := len(s)
	for _, suffix := range [...]string{"-latest", "@latest", "@default"} {
		if n > len(suffix) && string(s[n-len(suffix):]) == suffix {
			return s[:n-len(suffix)], true
		}
	}
	switch {
	case n > 11 && s[n-11] == '-' && s[n-6] == '-' && s[n-3] == '-' &&
		isDate(s[n-10], s[n-9], s[n-8], s[n-7], s[n-5], s[n-4], s[n-2], s[n-1]):
		return s[:n-11], true
	case n > 9 && (s[n-9] == '-' || s[n-9] == '@') &&
		isDate(s[n-8], s[n-7], s[n-6], s[n-5], s[n-4], s[n-3], s[n-2], s[n-1]):
		return s[:n-9], true
	case n > 4 && (s[n-4] == '-' || s[n-4] == '@') && s[n-3] == '0' && isDigit(s[n-2]) && isDigit(s[n-1]) &&
		n > 7+4 && string(s[:7]) == "gemini-":
		return s[:n-4], true
	}
	return name, false
}

// isDate reports whether eight digits are a date of this century: 20YYMMDD.
func isDate(d ...byte) bool {
	for _, c := range d {
		if !isDigit(c) {
			return false
		}
	}
	month, date := (d[4]-'0')*10+d[5]-'0', (d[6]-'0')*10+d[7]-'0'
	return d[0] == '2' && d[1] == '0' && 1 <= month && month <= 12 && 1 <= date && date <= 31
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
