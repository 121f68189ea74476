package proxy

import (
	"bufio"
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"llm-auto-optimizer/proxy/upstream"
)

// The head of an answer goes to the client with the lines that the provider sent, as it sent them, and then ours.
//
// fasthttp writes headers from parsed pairs. Taking twenty lines apart and putting them together again costs more than all
// else that is done with a head, and loses their order and spelling. So all lines go as the value of one of them, the
// carrier, written over a blank value of the same length; upstream has made sure that they are proper lines.

// takeHead takes the provider's status and header lines over from the connection, whose buffer is about to be reused.
func (x *Exchange) takeHead(to *fasthttp.ResponseHeader) error {
	head := &x.conn.Head
	if x.attempts > 1 {
		x.clearHead(to, head.Status) // of an earlier attempt
	}
	to.SetStatusCode(head.Status)
	if len(head.Reason) > 0 && string(head.Reason) != fasthttp.StatusMessage(head.Status) {
		to.SetStatusMessage(head.Reason)
	}
	carrier := slices.IndexFunc(head.Fields(), carries)
	if carrier >= 0 {
		f := &head.Fields()[carrier]
		x.carrier = len(f.Name)
		x.lines = append(append(append(x.lines[:0], f.Name...), f.Value...), "\r\n"...)
		x.lines = head.AppendLines(x.lines, carrier)
		return nil
	}
	x.carrier = 0
	if head.Get("date") != nil {
		return x.startHead(to, head)
	}
	for _, f := range head.Fields() {
		to.AddBytesKV(f.Name, f.Value)
	}
	return nil
}

// carries tells whether fasthttp keeps a header as a plain pair, whose value it writes as it is.
func carries(f upstream.Field) bool {
	for _, own := range [...]string{"date", "server", "trailer", "set-cookie", "content-type", "content-encoding"} {
		if upstream.EqualFold(f.Name, own) {
			return false
		}
	}
	return true
}

// giveHead gives the lines that takeHead took to the client's answer, and ours.
func (x *Exchange) giveHead(to *fasthttp.ResponseHeader, now time.Time) {
	if x.carrier == 0 {
		if x.p.responseHeaders {
			x.setOwnHeaders(to, now)
		}
		return
	}
	if x.p.responseHeaders {
		x.lines = x.appendOwnLines(x.lines, now)
	}
	name, lines := x.lines[:x.carrier], x.lines[x.carrier:len(x.lines)-len("\r\n")]
	value := blank
	if len(value) < len(lines) {
		value = make([]byte, len(lines))
	}
	to.SetBytesKV(name, value[:len(lines)])
	if copy(to.PeekBytes(name), lines) != len(lines) {
		panic("BUG: fasthttp does not keep a header's value as it was given")
	}
}

// blank is a value that fasthttp has nothing against.
var blank = bytes.Repeat([]byte{'-'}, 8<<10)

// appendOwnLines says what the gateway knows by now.
func (x *Exchange) appendOwnLines(b []byte, now time.Time) []byte {
	b = appendLine(b, "x-llmopt-id", x.id[:])
	if x.target != nil {
		b = append(append(appendName(b, "x-llmopt-target"), x.target.name...), "\r\n"...)
	}
	b = appendLine(b, "x-llmopt-attempts", strconv.AppendInt(x.scratch[:0], int64(x.attempts), 10))
	b = appendLine(b, "x-llmopt-overhead-us", strconv.AppendInt(x.scratch[:0], x.overheadUntil(now).Microseconds(), 10))
	if !x.streamed && x.metered() && !x.unpriced {
		b = appendLine(b, "x-llmopt-cost-usd", appendUSD(x.scratch[:0], x.cost))
	}
	return b
}

func appendName(b []byte, name string) []byte { return append(append(b, name...), ": "...) }

func appendLine(b []byte, name string, value []byte) []byte {
	return append(append(appendName(b, name), value...), "\r\n"...)
}

// setOwnHeaders does the same for an answer that has no lines of a provider to join.
func (x *Exchange) setOwnHeaders(to *fasthttp.ResponseHeader, now time.Time) {
	x.lines = x.appendOwnLines(x.lines[:0], now)
	for rest := x.lines; len(rest) > 0; {
		var line []byte
		line, rest = nextLine(rest)
		name, value, _ := splitLine(line)
		to.SetBytesKV(name, value)
	}
}

// startHead has fasthttp parse a head, which is the only way in which it takes over a Date.
func (x *Exchange) startHead(to *fasthttp.ResponseHeader, head *upstream.Head) error {
	b := append(x.lines[:0], "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(head.Status), 10)
	b = append(b, ' ')
	if len(head.Reason) > 0 {
		b = append(b, head.Reason...)
	} else {
		b = append(b, http.StatusText(head.Status)...)
	}
	b = append(b, "\r\n"...)
	b = head.AppendLines(b, -1)
	x.lines = append(b, "\r\n"...)
	if err := to.Read(bufio.NewReaderSize(bytes.NewReader(x.lines), len(x.lines))); err != nil {
		return err
	}
	to.ResetConnectionClose() // a head without a length looked like one whose body ends the connection
	return nil
}

// clearHead forgets the head of an answer that is not going to be given. fasthttp's own Reset would also bring back its
// default headers.
func (x *Exchange) clearHead(to *fasthttp.ResponseHeader, status int) {
	if err := x.startHead(to, &upstream.Head{Status: status}); err != nil {
		panic("BUG: empty head: " + err.Error())
	}
}
