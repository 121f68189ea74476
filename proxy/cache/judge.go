package cache

import (
	"bytes"
	"strings"

	"llm-auto-optimizer/proxy/provider"
)

// Grade says how far the answer to a request may be kept.
type Grade uint8

// The grades. What is Variable is kept only by routes that keep all answers.
const (
	Unreadable    Grade = iota // the body is no JSON object that every parser reads the same way
	Uncacheable                // the request changes something, builds on something the body does not hold, or asks for several answers
	Variable                   // the same request may well get another answer
	Deterministic              // temperature 0, or an embedding
)

// Verdict is a grade and why it is no better: a constant word, the member that decided where there is one; empty for Deterministic.
type Verdict struct {
	Grade  Grade
	Reason string
}

// Storable reports whether a route with these settings keeps the answer.
func (v Verdict) Storable(s *Settings) bool {
	return v.Grade == Deterministic || v.Grade == Variable && s.Store == StoreAll
}

// Judge reads a request body on its own and says whether its answer may be kept. It allocates; Reader.Read tells the same on the way.
func Judge(op provider.Operation, model, body []byte) Verdict {
	var t tape
	if !cacheable(op) {
		return Verdict{Uncacheable, "operation"}
	}
	if t.parse(body) != nil || t.nodes[0].kind != kindObject {
		return Verdict{Unreadable, "body"}
	}
	return judge(&t, op, model)
}

// rule is one line of the tables below: a member of the request, what of its value matters, and the grade that this means.
type rule struct {
	name  string
	when  func(t *tape, at int32) bool
	grade Grade  // not looked at for zero
	rules []rule // for members of the value instead
}

// zero is the one rule that makes an answer deterministic.
func zero(t *tape, at int32) bool {
	n := &t.nodes[at]
	return n.kind == kindNumber && isZero(t.src[n.from:n.to])
}

// rules are the tables, by operation. An operation without temperature is deterministic by nature.
//
// A Responses request without store is kept by the vendor, too: it can be built upon by its id as before. One that says "store": true wants each of
// its answers kept.
var rules = map[provider.Operation][]rule{
	provider.ChatCompletions: {
		{name: temperature, when: zero},
		{name: "n", when: several, grade: Uncacheable},
		{name: "store", when: isTrue, grade: Uncacheable},
		{name: "modalities", when: notText, grade: Variable},
		{name: "audio", when: given, grade: Variable},
		{name: "web_search_options", when: given, grade: Variable},
		{name: "search_parameters", when: given, grade: Variable}, // xAI
		{name: "plugins", when: given, grade: Variable},           // OpenRouter
		{name: "tools", when: openAIServerTools, grade: Variable},
	},
	provider.Completions: {
		{name: temperature, when: zero},
		{name: "n", when: several, grade: Uncacheable},
		{name: "best_of", when: several, grade: Uncacheable},
	},
	provider.Responses: {
		{name: temperature, when: zero},
		{name: "store", when: isTrue, grade: Uncacheable},
		{name: "background", when: isTrue, grade: Uncacheable},
		{name: "previous_response_id", when: given, grade: Uncacheable},
		{name: "conversation", when: given, grade: Uncacheable},
		{name: "input", when: refersToItems, grade: Uncacheable},
		{name: "prompt", when: given, grade: Variable}, // a template that its owner may change
		{name: "modalities", when: notText, grade: Variable},
		{name: "tools", when: openAIServerTools, grade: Variable},
	},
	provider.Messages: {
		{name: temperature, when: zero},
		{name: "container", when: given, grade: Uncacheable},
		{name: "mcp_servers", when: filled, grade: Variable},
		{name: "tools", when: anthropicServerTools, grade: Variable},
	},
	provider.GenerateContent: {
		{name: "generationConfig", rules: generationRules},
		{name: "generation_config", rules: generationRules},
		{name: "tools", when: geminiServerTools, grade: Variable},
	},
}

const temperature = "temperature"

var generationRules = []rule{
	{name: temperature, when: zero},
	{name: "candidateCount", when: several, grade: Uncacheable},
	{name: "candidate_count", when: several, grade: Uncacheable},
	{name: "responseModalities", when: notText, grade: Variable},
	{name: "response_modalities", when: notText, grade: Variable},
	{name: "speechConfig", when: given, grade: Variable},
	{name: "speech_config", when: given, grade: Variable},
}

// judge says whether the answer to the request in t, an object, may be kept.
func judge(t *tape, op provider.Operation, model []byte) Verdict {
	table, sampled := rules[op]
	v := Verdict{Grade: Deterministic}
	if sampled {
		v = Verdict{Variable, temperature}
	}
	t.apply(0, table, &v)
	if v.Grade == Deterministic && searches(model) {
		return Verdict{Variable, "model"}
	}
	return v
}

// apply lets the rules of a table decide over the object in the node at. The worst grade stays; a temperature of zero lifts only what was for want of
// it.
func (t *tape) apply(at int32, table []rule, v *Verdict) {
	for name := at + 1; name < t.nodes[at].next; name = t.nodes[name+1].next {
		for i := range table {
			r := &table[i]
			if string(t.name(name)) != r.name {
				continue
			}
			switch value := name + 1; {
			case r.rules != nil:
				if t.nodes[value].kind == kindObject {
					t.apply(value, r.rules, v)
				}
			case !r.when(t, value):
			case r.name == temperature:
				if v.Reason == temperature {
					*v = Verdict{Grade: Deterministic}
				}
			case r.grade < v.Grade || v.Reason == temperature && r.grade == v.Grade:
				*v = Verdict{r.grade, r.name}
			}
		}
	}
}

func given(t *tape, at int32) bool { return string(t.raw(at)) != "null" }

func filled(t *tape, at int32) bool { return given(t, at) && t.nodes[at].next > at+1 }

func isTrue(t *tape, at int32) bool { return string(t.raw(at)) == "true" }

func several(t *tape, at int32) bool { return given(t, at) && countOf(t.raw(at)) > 1 }

// notText tells whether modalities hold another than text.
func notText(t *tape, at int32) bool {
	return t.some(at, func(e int32) bool { return !bytes.EqualFold(t.str(e), []byte("text")) })
}

// refersToItems tells whether an input names items that the provider keeps.
func refersToItems(t *tape, at int32) bool {
	return t.some(at, func(e int32) bool { return string(t.str(t.member(e, "type"))) == "item_reference" })
}

// openAIServerTools tells whether there are tools but those that the client runs itself.
func openAIServerTools(t *tape, at int32) bool {
	return t.some(at, func(e int32) bool {
		switch string(t.str(t.member(e, "type"))) {
		case "function", "custom", "local_shell", "apply_patch", "computer_use_preview":
			return false
		}
		return true
	})
}

func anthropicServerTools(t *tape, at int32) bool {
	return t.some(at, func(e int32) bool {
		kind := t.member(e, "type")
		if kind == nowhere {
			return false
		}
		name := string(t.str(kind))
		for _, own := range [...]string{"custom", "bash_", "text_editor_", "computer_", "memory_"} {
			if strings.HasPrefix(name, own) {
				return false
			}
		}
		return true
	})
}

// geminiServerTools tells whether an element of tools holds more than functions of the client's.
func geminiServerTools(t *tape, at int32) bool {
	return t.some(at, func(e int32) bool {
		if t.nodes[e].kind != kindObject {
			return true
		}
		for name := e + 1; name < t.nodes[e].next; name = t.nodes[name+1].next {
			if s := t.name(name); string(s) != "functionDeclarations" && string(s) != "function_declarations" {
				return true
			}
		}
		return false
	})
}

// searches knows models that look things up before they answer.
func searches(model []byte) bool {
	return bytes.Contains(model, []byte("search")) || bytes.Contains(model, []byte("sonar")) || bytes.HasSuffix(model, []byte(":online"))
}
