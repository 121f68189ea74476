package provider

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

const (
	maxPacked   = 4 << 20   // compressed bytes kept: JSON shrinks to a tenth, so this is a long answer
	maxUnpacked = 256 << 20 // bytes any stage may unpack to: beyond, it is a bomb
	maxWindow   = 8 << 20   // of zstd, what RFC 8878 asks a receiver for
	maxPooled   = 1 << 20   // a buffer larger than this is not worth keeping
	maxCodings  = 4
)

// coding is a content coding of HTTP.
type coding uint8

const (
	codingGzip coding = iota + 1
	codingDeflate
	codingBrotli
	codingZstd
	codingUnknown
)

// encoding is the stack of codings of a body, and the body as far as it was kept to be decoded.
type encoding struct {
	codings [maxCodings]coding // in the order in which they were applied
	n       int
	packed  *[]byte // from packedPool
	unread  bool    // the body cannot be read, or not to its end
}

// SetEncoding tells the content-encoding of the body, a list like "gzip, br". Call it before the first Write.
func (m *Meter) SetEncoding(list []byte) {
	e := &m.enc
	e.n = 0
	for len(list) > 0 {
		var name []byte
		name, list, _ = bytes.Cut(list, []byte{','})
		c := codingOf(bytes.TrimSpace(name))
		if c == 0 {
			continue
		}
		if c == codingUnknown || e.n == maxCodings {
			e.n, e.unread = 1, true
			return
		}
		e.codings[e.n] = c
		e.n++
	}
}

// codingOf is the coding with this name; 0 for one that changes nothing.
func codingOf(name []byte) coding {
	switch {
	case len(name) == 0 || equalFold(name, "identity"):
		return 0
	case equalFold(name, "gzip") || equalFold(name, "x-gzip"):
		return codingGzip
	case equalFold(name, "br"):
		return codingBrotli
	case equalFold(name, "zstd"):
		return codingZstd
	case equalFold(name, "deflate"):
		return codingDeflate
	}
	return codingUnknown
}

func (e *encoding) encoded() bool { return e.n > 0 }

// packedPool holds the buffers compressed bodies are kept in.
var packedPool = sync.Pool{New: func() any { return new([]byte) }}

// keep keeps p, which continues the compressed body.
func (e *encoding) keep(p []byte) {
	if e.unread {
		return
	}
	if e.packed == nil {
		e.packed = packedPool.Get().(*[]byte)
	}
	if len(*e.packed)+len(p) > maxPacked {
		e.unread = true
		e.reset()
		return
	}
	*e.packed = append(*e.packed, p...)
}

// reset gives the buffer back.
func (e *encoding) reset() {
	if e.packed == nil {
		return
	}
	if *e.packed = (*e.packed)[:0]; cap(*e.packed) <= maxPooled {
		packedPool.Put(e.packed)
	}
	e.packed = nil
}

// decode gives the body that was kept to read piece by piece, decoded.
func (e *encoding) decode(read func([]byte)) {
	if e.packed == nil {
		return
	}
	if err := unpack(*e.packed, e.codings[:e.n], read); err != nil {
		e.unread = true
	}
	e.reset()
}

// maxText is how much of an error's text is looked at.
const maxText = 64 << 10

// Decoded is the beginning of a body of this answer, 64 KiB at most, without its content encodings; empty where it can't be read. It is for errors: it
// allocates.
func (m *Meter) Decoded(body []byte) []byte {
	if !m.enc.encoded() {
		return body
	}
	var text []byte
	_ = unpack(body, m.enc.codings[:m.enc.n], func(p []byte) { // what came before an error counts
		text = append(text, p[:min(len(p), maxText-len(text))]...)
	})
	return text
}

var errTooLarge = errors.New("unpacks to too many bytes")

// piecePool holds the buffers decoders write to.
var piecePool = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// unpack undoes the codings of packed and gives what comes out to read in pieces of constant size.
func unpack(packed []byte, codings []coding, read func([]byte)) error {
	src := bytes.NewReader(packed)
	var open [maxCodings]decoder
	defer func() {
		for _, d := range open {
			d.close()
		}
		src.Reset(nil) // pooled decoders hold on to what they read from
	}()
	var r io.Reader = src
	for i := len(codings) - 1; i >= 0; i-- {
		d, err := openDecoder(codings[i], r)
		if err != nil {
			return err
		}
		open[i] = d
		r = &limited{r: d, left: maxUnpacked}
	}
	piece := piecePool.Get().(*[32 << 10]byte)
	defer piecePool.Put(piece)
	for {
		n, err := r.Read(piece[:])
		read(piece[:n])
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// limited reads from r and fails after left bytes.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// decoder is a pooled decoder of one coding.
type decoder struct {
	io.Reader
	pool *sync.Pool
}

// close gives the decoder back to its pool, if it is one.
func (d decoder) close() {
	if d.pool == nil {
		return
	}
	if z, ok := d.Reader.(*zstd.Decoder); ok {
		_ = z.Reset(nil) // lets go of the input; a decoder without input cannot fail
	}
	d.pool.Put(d.Reader)
}

var gzipPool, zlibPool, flatePool, brotliPool, zstdPool sync.Pool

// openDecoder takes a decoder from its pool and has it read r.
func openDecoder(c coding, r io.Reader) (decoder, error) {
	switch c {
	case codingGzip:
		return reuse(&gzipPool, r, (*gzip.Reader).Reset, gzip.NewReader)
	case codingBrotli:
		return reuse(&brotliPool, r, (*brotli.Reader).Reset, newBrotli)
	case codingZstd:
		return reuse(&zstdPool, r, (*zstd.Decoder).Reset, newZstd)
	}
	// The standard says zlib, some servers send bare deflate: the first two bytes tell, RFC 1950 section 2.2.
	var head [2]byte
	n, err := io.ReadFull(r, head[:])
	r = io.MultiReader(bytes.NewReader(head[:n]), r)
	if err == nil && head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
		return reuse(&zlibPool, r, resetZlib, zlib.NewReader)
	}
	return reuse(&flatePool, r, resetFlate, newFlate)
}

// reuse resets a decoder from the pool, or makes the pool's first.
func reuse[D io.Reader](pool *sync.Pool, r io.Reader, reset func(D, io.Reader) error, open func(io.Reader) (D, error)) (decoder, error) {
	if d, ok := pool.Get().(D); ok {
		if err := reset(d, r); err != nil {
			pool.Put(d)
			return decoder{}, err
		}
		return decoder{d, pool}, nil
	}
	d, err := open(r)
	if err != nil {
		return decoder{}, err
	}
	return decoder{d, pool}, nil
}

func newBrotli(r io.Reader) (*brotli.Reader, error) { return brotli.NewReader(r), nil }

func newZstd(r io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
}

func newFlate(r io.Reader) (io.ReadCloser, error) { return flate.NewReader(r), nil }

func resetFlate(d io.ReadCloser, r io.Reader) error { return d.(flate.Resetter).Reset(r, nil) }

func resetZlib(d io.ReadCloser, r io.Reader) error { return d.(zlib.Resetter).Reset(r, nil) }
