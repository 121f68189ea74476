package sim

import (
	"bytes"
	"time"
)

// prepared holds the answers of the minimal mode, complete with heads and chunk framing.
type prepared struct {
	answers [operationsEnd]preparedAnswers
}

type preparedAnswers struct {
	plain, stream, streamUsage *preparedAnswer // nil: parsed and built like anything else
}

// preparedAnswer is what goes over the wire, in pieces that are written one by one.
type preparedAnswer struct {
	pieces [][]byte
	waits  []int // tokens before each piece
}

// preparedRequests are what the prepared answers answer.
var preparedRequests = map[operation]string{
	opChat:           `{"model":"sim","messages":[{"role":"user","content":"hello"}]}`,
	opCompletions:    `{"model":"sim","prompt":"hello"}`,
	opResponses:      `{"model":"sim","input":"hello"}`,
	opEmbeddings:     `{"model":"sim","input":"hello","encoding_format":"base64"}`,
	opMessages:       `{"model":"sim","max_tokens":4096,"messages":[{"role":"user","content":"hello"}]}`,
	opGenerate:       `{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}`,
	opStreamGenerate: `{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}`,
}

// prepare builds one answer per operation and kind by the ordinary builders.
func (s *Server) prepare() *prepared {
	p := &prepared{}
	for op, body := range preparedRequests {
		if builders[op] == nil {
			continue
		}
		if op == opStreamGenerate {
			sse := s.prepareOne(op, body, "", "?alt=sse")
			p.answers[op] = preparedAnswers{plain: s.prepareOne(op, body, "", ""), stream: sse, streamUsage: sse}
			continue
		}
		a := preparedAnswers{plain: s.prepareOne(op, body, "", "")}
		if op != opEmbeddings && op != opGenerate {
			a.stream = s.prepareOne(op, body, `,"stream":true`, "")
			a.streamUsage = s.prepareOne(op, body, `,"stream":true,"stream_options":{"include_usage":true}`, "")
		}
		p.answers[op] = a
	}
	return p
}

func (s *Server) prepareOne(op operation, body, members, query string) *preparedAnswer {
	x := &exchange{srv: s, c: &conn{srv: s}, op: op, dialect: preparedDialect(op), keep: true, d: s.opt.Directives}
	x.d.faults, x.d.status = 0, 0
	head := "POST /v1beta/models/sim:streamGenerateContent" + query + " HTTP/1.1\r\nHost: sim\r\nAuthorization: Bearer sim\r\n" +
		"anthropic-version: 2023-06-01\r\n\r\n"
	if err := x.req.parse([]byte(head)); err != nil {
		panic("BUG: prepared request: " + err.Error())
	}
	x.body = append([]byte(body[:len(body)-1]+members), '}')
	x.ans.reset()
	x.parsePayload()
	x.build(&x.ans)
	return x.record(&x.ans)
}

func preparedDialect(op operation) dialect {
	switch op {
	case opMessages:
		return dialectAnthropic
	case opGenerate, opStreamGenerate:
		return dialectGemini
	}
	return dialectOpenAI
}

// record puts an answer together as transmit would.
func (x *exchange) record(a *answer) *preparedAnswer {
	fr := x.framingOf(a)
	if !a.stream {
		a.frames = append(a.frames, frame{len(a.body), a.tokens})
	}
	p, start, c := &preparedAnswer{}, 0, x.c
	x.appendHead(a, fr)
	for i, f := range a.frames {
		c.appendChunk(a.body[start:f.end], fr)
		start = f.end
		if i == len(a.frames)-1 && fr == framedChunked {
			c.out = append(c.out, "0\r\n\r\n"...)
		}
		if i < len(a.frames)-1 && !x.d.perToken.set && (i+1)%x.batch() != 0 {
			continue
		}
		p.pieces, p.waits = append(p.pieces, c.out), append(p.waits, f.wait)
		c.out = nil
	}
	return p
}

func (p *prepared) knows(op operation) bool { return p.answers[op].plain != nil }

// runPrepared answers without looking at more than the request needs.
func (x *exchange) runPrepared(p *prepared) error {
	if err := x.readBody(); err != nil {
		return x.bodyFailed(err)
	}
	a := x.choosePrepared(&p.answers[x.op])
	pc, c := x.pace(), x.c
	if err := c.wait(pc.first); err != nil {
		return err
	}
	at := time.Now()
	for i, piece := range a.pieces {
		if a.waits[i] > 0 && pc.perToken > 0 {
			at = at.Add(pc.tokens(a.waits[i]))
			if err := c.waitUntil(at); err != nil {
				return err
			}
		}
		x.sent = true
		n, err := c.nc.Write(piece)
		x.srv.stats.bytesOut.Add(int64(n))
		if err != nil {
			return errGone
		}
	}
	return nil
}

// choosePrepared tells by the ends of the body what is asked for: the members in question stand before or behind the
// prompt.
func (x *exchange) choosePrepared(a *preparedAnswers) *preparedAnswer {
	if x.op == opStreamGenerate {
		if x.req.queryValue("alt") == "sse" {
			return a.stream
		}
		return a.plain
	}
	if a.stream == nil || !contains(x.body, `"stream":true`, `"stream": true`) {
		return a.plain
	}
	if contains(x.body, `"include_usage":true`, `"include_usage": true`) {
		return a.streamUsage
	}
	return a.stream
}

// searched is how many bytes at each end of a body are looked at.
const searched = 512

func contains(body []byte, compact, spaced string) bool {
	if len(body) > 2*searched {
		return contains(body[:searched], compact, spaced) || contains(body[len(body)-searched:], compact, spaced)
	}
	return bytes.Contains(body, []byte(compact)) || bytes.Contains(body, []byte(spaced))
}
