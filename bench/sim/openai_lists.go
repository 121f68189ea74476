package sim

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/url"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// responseByID answers GET and DELETE …/responses/{id}, its input_items and cancel.
func (x *exchange) responseByID(a *answer) {
	_, id, _ := strings.Cut(string(x.req.path), "/responses/")
	id, rest, _ := strings.Cut(id, "/")
	stored := x.srv.objects.get("response", id)
	switch method := string(x.req.method); {
	case stored == nil:
		a.reset()
		a.openAIError(404, "Response with id '"+id+"' not found.", "invalid_request_error", "", "")
	case method == "DELETE":
		x.srv.objects.remove("response", id)
		a.json(200, []byte(`{"id":"`+id+`","object":"response","deleted":true}`))
	case rest == "input_items":
		a.json(200, []byte(`{"object":"list","data":[],"first_id":null,"last_id":null,"has_more":false}`))
	default:
		a.json(200, stored.json)
	}
}

const (
	defaultDimensions = 256 // of an embedding nobody ordered a length for
	maxDimensions     = 4096
)

// embeddings answers POST …/embeddings.
func (x *exchange) embeddings(a *answer) {
	if !x.openAIAdmits(a, "input", x.in.input) {
		return
	}
	x.seal(x.in.input.Raw)
	inputs := []gjson.Result{x.in.input}
	if list := x.in.input.Array(); x.in.input.IsArray() && len(list) > 0 && list[0].Type != gjson.Number {
		inputs = list // a list of numbers is one input, in tokens
	}
	dimensions := defaultDimensions
	if x.in.dimensions.Exists() {
		dimensions = int(x.in.dimensions.Int())
	}
	if dimensions < 1 || dimensions > maxDimensions {
		a.openAIError(400, "Invalid 'dimensions': want an integer from 1 to 4096.", "invalid_request_error", "dimensions", "integer_out_of_range")
		return
	}
	p := plan{choices: 1}
	x.account(&p, len(x.in.input.Raw), media{})
	x.settle(&p)
	a.ctype = "application/json"
	a.str("{\"object\":\"list\",\"data\":[")
	for i, input := range inputs {
		if i > 0 {
			a.str(",")
		}
		a.str(`{"object":"embedding","index":`)
		a.int(i)
		a.str(`,"embedding":`)
		v := vector(fold(x.srv.opt.Seed, []byte(input.Raw)), dimensions)
		if x.in.encoding.Str == "base64" {
			a.vectorBase64(v)
		} else {
			a.vector(v)
		}
		a.str(`}`)
	}
	a.str(`],"model":`)
	a.quote(x.in.model)
	a.str(`,"usage":{"prompt_tokens":`)
	a.int(p.input)
	a.str(`,"total_tokens":`)
	a.int(p.input)
	a.str("}}\n")
}

// vector is a unit vector that depends on the seed alone.
func vector(seed uint64, n int) []float32 {
	r, v, sum := random{seed}, make([]float32, n), 0.0
	for i := range v {
		f := r.float()*2 - 1
		v[i] = float32(f)
		sum += f * f
	}
	norm := float32(math.Sqrt(sum))
	for i := range v {
		v[i] /= norm
	}
	return v
}

func (a *answer) vector(v []float32) {
	a.str("[")
	for i, f := range v {
		if i > 0 {
			a.str(",")
		}
		a.body = strconv.AppendFloat(a.body, float64(f), 'g', -1, 32)
	}
	a.str("]")
}

// vectorBase64 writes little-endian floats, as the SDKs ask for.
func (a *answer) vectorBase64(v []float32) {
	b := make([]byte, 0, 4*len(v))
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	a.str(`"`)
	a.body = base64.StdEncoding.AppendEncode(a.body, b)
	a.str(`"`)
}

// openAIModelNames are the models that are listed; any other may be asked for, too.
var openAIModelNames = [...]string{"gpt-4o", "gpt-4o-mini", "gpt-5", "o3", "text-embedding-3-small", "whisper-1", "tts-1"}

// models answers GET …/models and …/models/{id}.
func (x *exchange) models(a *answer) {
	model := func(id string) {
		a.str(`{"id":`)
		a.quote(id)
		a.str(`,"object":"model","created":1715367049,"owned_by":"system"}`)
	}
	a.ctype, a.instant = "application/json", true
	if _, id, ok := strings.Cut(string(x.req.path), "/models/"); ok {
		id, err := url.PathUnescape(id)
		switch {
		case err != nil || strings.HasPrefix(id, "missing"):
			a.reset()
			a.openAIError(404, "The model '"+id+"' does not exist", "invalid_request_error", "model", "model_not_found")
		case string(x.req.method) == "DELETE":
			a.str(`{"id":`)
			a.quote(id)
			a.str(`,"object":"model","deleted":true}`)
		default:
			model(id)
		}
		return
	}
	a.str(`{"object":"list","data":[`)
	for i, id := range openAIModelNames {
		if i > 0 {
			a.str(",")
		}
		model(id)
	}
	a.str("]}")
}

// moderationCategories are what moderation scores.
var moderationCategories = [...]string{
	"harassment", "harassment/threatening", "sexual", "hate", "hate/threatening", "illicit", "illicit/violent",
	"self-harm/intent", "self-harm/instructions", "self-harm", "sexual/minors", "violence", "violence/graphic",
}

// moderations answers POST …/moderations: what holds the word "violence" is flagged.
func (x *exchange) moderations(a *answer) {
	if x.in.model == "" {
		x.in.model = "omni-moderation-latest"
	}
	if !x.openAIAdmits(a, "input", x.in.input) {
		return
	}
	x.seal(x.in.input.Raw)
	a.ctype = "application/json"
	a.str(`{"id":"`)
	a.str(x.id("modr-", 32, hexadeci))
	a.str(`","model":`)
	a.quote(x.in.model)
	a.str(`,"results":[`)
	inputs := []gjson.Result{x.in.input}
	if x.in.input.IsArray() {
		inputs = x.in.input.Array()
	}
	for i, input := range inputs {
		if i > 0 {
			a.str(",")
		}
		a.moderation(strings.Contains(input.Raw, "violence"))
	}
	a.str("]}")
}

func (a *answer) moderation(flagged bool) {
	a.str(`{"flagged":`)
	a.str(strconv.FormatBool(flagged))
	for _, member := range [...]string{"categories", "category_scores", "category_applied_input_types"} {
		a.str(`,"` + member + `":{`)
		for i, category := range moderationCategories {
			if i > 0 {
				a.str(",")
			}
			hit := flagged && category == "violence"
			a.quote(category)
			switch {
			case member == "categories":
				a.str(":" + strconv.FormatBool(hit))
			case member == "category_scores" && hit:
				a.str(":0.98")
			case member == "category_scores":
				a.str(":0.0001")
			case hit:
				a.str(`:["text"]`)
			default:
				a.str(":[]")
			}
		}
		a.str("}")
	}
	a.str("}")
}
