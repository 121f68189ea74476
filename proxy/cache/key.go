package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"

	"llm-auto-optimizer/proxy/provider"
)

// Key names an answer: SHA-256 over all that decides which answer a request gets, and who may have it.
type Key [sha256.Size]byte

// String is the key in hexadecimal.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// ParseKey is the inverse of Key.String.
func ParseKey(s string) (k Key, ok bool) {
	if len(s) != hex.EncodedLen(len(k)) {
		return k, false
	}
	_, err := hex.Decode(k[:], []byte(s))
	return k, err == nil
}

// Question is a request as far as its answer depends on it. All slices stay the caller's; Peek is called before Read returns.
type Question struct {
	Route     string // with a prefix of the caller's choice where the exchange has none, so that no provider is taken for a route
	Dialect   provider.Dialect
	Operation provider.Operation
	Caller    []byte // keyed hash of the credential
	Shared    bool   // the route gives answers to any caller: Caller is left out of the key
	Model     []byte // as the client names it
	Own       []byte // the client's x-llmopt-cache-key; empty: none
	Path      []byte // raw, behind the provider's prefix
	Query     []byte // raw, without '?'
	Body      []byte // all of it
	Peek      func(name string) []byte
}

// Reader reads questions. It is meant to be pooled: once its buffers have grown, Read allocates nothing. The zero value is ready to use; a Reader is
// not safe for concurrent use.
type Reader struct {
	tape   tape
	canon  canon
	digest hash.Hash
	sum    []byte
}

// Release lets go of the question that was read and of memory that has grown too large. Call it before the Reader goes back to a pool.
func (r *Reader) Release() {
	r.tape.reset()
	r.canon.buf = r.canon.buf[:0]
	if cap(r.canon.buf) > 4*block {
		r.canon.buf = nil
	}
}

// keyVersion changes with everything that changes the key of a request or the meaning of an answer.
const keyVersion = "llmopt answer 1"

// Read is the key of a question and whether its answer may be kept. With a verdict of Unreadable or Uncacheable there is no key.
func (r *Reader) Read(q *Question) (key Key, v Verdict) {
	if !cacheable(q.Operation) {
		return key, Verdict{Uncacheable, "operation"}
	}
	if _, ok := streamFormat(q.Operation, q.Query); !ok {
		return key, Verdict{Uncacheable, "alt"}
	}
	if !q.Shared && len(q.Caller) == 0 {
		return key, Verdict{Uncacheable, "caller"}
	}
	r.tape.loose = true
	if r.tape.parse(q.Body) != nil || r.tape.nodes[0].kind != kindObject {
		return key, Verdict{Unreadable, "body"}
	}
	if v = judge(&r.tape, q.Operation, q.Model); v.Grade == Uncacheable {
		return key, v
	}
	r.start()
	r.name(q.Route)
	r.name(q.Dialect.String())
	r.name(q.Operation.String())
	if q.Shared {
		r.part(nil)
	} else {
		r.part(q.Caller)
	}
	r.part(q.Model)
	r.part(q.Own)
	r.path(q.Operation, q.Path)
	r.query(q.Query)
	for _, name := range keyHeaders {
		r.part(q.Peek(name))
	}
	r.canon.skip = silent[q.Operation]
	r.canon.value(0)
	if r.canon.repeat {
		return key, Verdict{Unreadable, "body"}
	}
	r.canon.flush()
	r.sum = r.digest.Sum(r.sum[:0])
	return Key(r.sum), v
}

// start begins a key.
func (r *Reader) start() {
	if r.digest == nil {
		r.digest = sha256.New()
	}
	r.digest.Reset()
	r.canon = canon{tape: &r.tape, digest: r.digest, buf: r.canon.buf[:0]}
	r.name(keyVersion)
}

// name writes a short part.
func (r *Reader) name(s string) {
	r.canon.buf = append(binary.LittleEndian.AppendUint64(r.canon.buf, uint64(len(s))), s...)
}

// part writes a part behind its length, so that no two lists of parts are the same bytes.
func (r *Reader) part(b []byte) {
	r.canon.buf = binary.LittleEndian.AppendUint64(r.canon.buf, uint64(len(b)))
	r.canon.put(b)
}

// path writes the path, in which Gemini says whether the answer is a stream.
func (r *Reader) path(op provider.Operation, path []byte) {
	const stream, plain = "streamGenerateContent", "generateContent"
	if head, ok := bytes.CutSuffix(bytes.TrimRight(path, "/"), []byte(stream)); ok && op == provider.GenerateContent {
		r.canon.buf = binary.LittleEndian.AppendUint64(r.canon.buf, uint64(len(head)+len(plain)))
		r.canon.put(head)
		r.canon.put([]byte(plain))
		return
	}
	r.part(path)
}

// query writes the parameters, but for those that say who asks and in which form the answer is to come.
func (r *Reader) query(query []byte) {
	for len(query) > 0 {
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte{'&'})
		if name, _, _ := bytes.Cut(pair, []byte{'='}); len(pair) > 0 && !formParameter(name) {
			r.part(pair)
		}
	}
	r.canon.buf = binary.LittleEndian.AppendUint64(r.canon.buf, ^uint64(0)) // no part is as long: the list ends
}

// formParameter knows the parameters that only say who asks (key, access_token) and in which form the answer is to come (alt).
func formParameter(name []byte) bool {
	switch string(name) {
	case "alt", "$alt", "%24alt", "key", "access_token":
		return true
	}
	return false
}
