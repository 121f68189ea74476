package sim

import (
	"bytes"
	"strings"

	"github.com/tidwall/gjson"
)

// maxFileKept is the largest file whose content is kept; larger ones come back as noise of their length.
const maxFileKept = 1 << 20

// files answers POST and GET …/files, GET and DELETE …/files/{id} and GET …/files/{id}/content.
func (x *exchange) files(a *answer) {
	_, id, single := strings.Cut(string(x.req.path), "/files/")
	switch {
	case single:
		id, content, _ := strings.Cut(id, "/")
		x.file(a, id, content == "content")
	case string(x.req.method) == "POST":
		x.upload(a)
	default:
		x.list(a, "file")
	}
}

func (x *exchange) upload(a *answer) {
	parts, ok := x.form()
	if !ok {
		a.openAIError(400, "Could not parse multipart form", "invalid_request_error", "", "")
		return
	}
	var file part
	for _, p := range parts {
		if p.file != "" {
			file = p
		}
	}
	if file.name != "file" {
		a.openAIError(400, "'file' is a required property", "invalid_request_error", "", "")
		return
	}
	// The boundary differs from call to call: what the id depends on is the content.
	x.seal(file.file, string(file.data))
	obj := &object{kind: "file", id: x.id("file-", 22, alphabet), size: len(file.data)}
	if obj.size <= maxFileKept {
		obj.content = bytes.Clone(file.data)
	}
	a.ctype, a.instant = "application/json", true
	a.str("{\n  \"object\": \"file\",\n  \"id\": \"" + obj.id + "\",\n  \"purpose\": ")
	a.quote(field(parts, "purpose"))
	a.str(",\n  \"filename\": ")
	a.quote(file.file)
	a.str(",\n  \"bytes\": ")
	a.int(obj.size)
	a.str(",\n  \"created_at\": ")
	a.int(int(x.now().Unix()))
	a.str(",\n  \"expires_at\": null,\n  \"status\": \"processed\",\n  \"status_details\": null\n}\n")
	obj.json = bytes.Clone(a.body)
	x.srv.objects.put(obj)
}

// file answers for one file. A directive size=N turns the content of any file into N bytes of noise.
func (x *exchange) file(a *answer, id string, content bool) {
	obj := x.srv.objects.get("file", id)
	if obj == nil && content && x.d.size.set {
		obj = &object{id: id}
	}
	switch {
	case obj == nil:
		a.reset()
		a.openAIError(404, "No such File object: "+id, "invalid_request_error", "id", "")
	case content:
		a.ctype, a.instant = "application/octet-stream", true
		a.header("Content-Disposition", `attachment; filename="`+id+`"`)
		if x.d.size.set || obj.content == nil {
			a.body = appendNoise(a.body, fold(0, []byte(id)), x.d.size.or(obj.size))
			return
		}
		a.body = append(a.body, obj.content...)
	case string(x.req.method) == "DELETE":
		x.srv.objects.remove("file", id)
		a.json(200, []byte(`{"id":"`+id+`","object":"file","deleted":true}`))
	default:
		a.json(200, obj.json)
	}
}

// list answers with all stored objects of a kind, the newest first.
func (x *exchange) list(a *answer, kind string) {
	a.ctype, a.instant = "application/json", true
	all := x.srv.objects.all(kind)
	a.str(`{"object":"list","data":[`)
	for i := len(all) - 1; i >= 0; i-- {
		a.str(strings.TrimSpace(string(all[i].json)))
		if i > 0 {
			a.str(",")
		}
	}
	first, last := "", ""
	if n := len(all); n > 0 {
		first, last = all[n-1].id, all[0].id
	}
	a.str(`],"first_id":`)
	a.quoteOrNull(first)
	a.str(`,"last_id":`)
	a.quoteOrNull(last)
	a.str(`,"has_more":false}`)
}

// batches answers POST and GET …/batches, GET …/batches/{id} and POST …/batches/{id}/cancel.
func (x *exchange) batches(a *answer) {
	_, id, single := strings.Cut(string(x.req.path), "/batches/")
	switch {
	case single:
		id, action, _ := strings.Cut(id, "/")
		obj := x.srv.objects.get("batch", id)
		if obj == nil {
			a.reset()
			a.openAIError(404, "No batch found with id '"+id+"'.", "invalid_request_error", "", "")
			return
		}
		body := obj.json
		if action == "cancel" {
			body = bytes.Replace(body, []byte(`"validating"`), []byte(`"cancelling"`), 1)
			x.srv.objects.put(&object{kind: "batch", id: id, json: body})
		}
		a.json(200, body)
	case string(x.req.method) == "POST":
		x.createBatch(a)
	default:
		x.list(a, "batch")
	}
}

func (x *exchange) createBatch(a *answer) {
	in := gjson.ParseBytes(x.body)
	for _, name := range [...]string{"input_file_id", "endpoint", "completion_window"} {
		if !in.Get(name).Exists() {
			a.openAIError(400, "Missing required parameter: '"+name+"'.", "invalid_request_error", name, "missing_required_parameter")
			return
		}
	}
	id, now := x.id("batch_", 32, hexadeci), int(x.now().Unix())
	a.ctype, a.instant = "application/json", true
	a.str(`{"id":"` + id + `","object":"batch","endpoint":` + in.Get("endpoint").Raw + `,"errors":null,"input_file_id":` +
		in.Get("input_file_id").Raw + `,"completion_window":` + in.Get("completion_window").Raw + `,"status":"validating",` +
		`"output_file_id":null,"error_file_id":null,"created_at":` + itoa(now) + `,"in_progress_at":null,"expires_at":` +
		itoa(now+24*3600) + `,"finalizing_at":null,"completed_at":null,"failed_at":null,"expired_at":null,` +
		`"cancelling_at":null,"cancelled_at":null,"request_counts":{"total":0,"completed":0,"failed":0},"metadata":`)
	a.rawOr(in.Get("metadata"), "null")
	a.str("}")
	x.srv.objects.put(&object{kind: "batch", id: id, json: bytes.Clone(a.body)})
}
