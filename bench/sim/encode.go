package sim

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// flusher is what the encoders have in common.
type flusher interface {
	io.WriteCloser
	Flush() error
}

// codings are the content codings in the order of preference, each with its fault.
var codings = []struct {
	fault fault
	name  string
	open  func(io.Writer) flusher
}{
	{faultBrotli, "br", func(w io.Writer) flusher { return brotli.NewWriterLevel(w, 4) }},
	{faultZstd, "zstd", func(w io.Writer) flusher {
		e, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil {
			panic("BUG: zstd: " + err.Error())
		}
		return e
	}},
	{faultGzip, "gzip", func(w io.Writer) flusher { return gzip.NewWriter(w) }},
	{faultDeflate, "deflate", func(w io.Writer) flusher { return zlib.NewWriter(w) }},
}

// encode compresses the answer in the first coding that is asked for and accepted. Streams are flushed frame by frame.
func (x *exchange) encode(a *answer) {
	for _, coding := range codings {
		if !x.d.faults.has(coding.fault) || !x.accepts(coding.name) || len(a.body) == 0 {
			continue
		}
		x.took(coding.fault)
		a.header("Content-Encoding", coding.name)
		a.header("Vary", "Accept-Encoding")
		compress(a, coding.open)
		return
	}
}

func compress(a *answer, open func(io.Writer) flusher) {
	var buf bytes.Buffer
	w := open(&buf)
	must := func(_ int, err error) {
		if err != nil {
			panic("BUG: compressing to memory: " + err.Error())
		}
	}
	start := 0
	for i := range a.frames {
		must(w.Write(a.body[start:a.frames[i].end]))
		start = a.frames[i].end
		if i == len(a.frames)-1 {
			must(0, w.Close())
		} else {
			must(0, w.Flush())
		}
		a.frames[i].end = buf.Len()
	}
	if !a.stream {
		must(w.Write(a.body))
		must(0, w.Close())
	}
	a.body = append(a.body[:0], buf.Bytes()...)
}

// accepts tells whether the client takes a content coding.
func (x *exchange) accepts(coding string) bool {
	for _, h := range x.req.headers {
		if !equalFold(h.name, "accept-encoding") {
			continue
		}
		for item := range strings.SplitSeq(string(h.value), ",") {
			name, q, _ := strings.Cut(strings.TrimSpace(item), ";")
			if strings.EqualFold(strings.TrimSpace(name), coding) {
				return strings.TrimSpace(q) != "q=0"
			}
		}
	}
	return false
}
