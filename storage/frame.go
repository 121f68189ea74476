package storage

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Between the two processes goes, for each call, one stream of a multiplexed pipe: a request, for a restore its data, and the
// answer: any number of pieces and an end. Everything is in frames: a kind, a length, the content.

// The kinds of frames.
const (
	frameCall  = 'c' // the request
	frameData  = 'd' // a piece of an answer, or of what a restore reads
	frameEnd   = 'e' // the end of either
	frameError = 'x' // the end of an answer: error number and text
	frameHello = 'h' // the engine is open
)

const (
	maxFrame = 16 << 20
	// pieceSize is the size at which pieces of an answer go out.
	pieceSize = 64 << 10
)

// The calls.
const (
	callApply = byte(iota + 1)
	callGet
	callScan
	callBackup
	callLoad
	callCompact
	callStats
	callDrop
)

var errFrame = errors.New("malformed frame")

func writeFrame(w io.Writer, kind byte, content []byte) error {
	head := binary.AppendUvarint([]byte{kind}, uint64(len(content)))
	if _, err := w.Write(append(head, content...)); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

func readFrame(r *bufio.Reader) (kind byte, content []byte, err error) {
	if kind, err = r.ReadByte(); err != nil {
		return 0, nil, err
	}
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return 0, nil, err
	}
	if size > maxFrame {
		return 0, nil, fmt.Errorf("%w: %d bytes, at most %d", errFrame, size, maxFrame)
	}
	content = make([]byte, size)
	_, err = io.ReadFull(r, content)
	return kind, content, err
}

// fields reads the parts of a frame's content in order. After the first that is wrong all are empty and failed is set.
type fields struct {
	b      []byte
	failed bool
}

func (f *fields) number() uint64 {
	v, n := binary.Uvarint(f.b)
	if n <= 0 {
		f.b, f.failed = nil, true
		return 0
	}
	f.b = f.b[n:]
	return v
}

func (f *fields) bytes() []byte {
	n := f.number()
	if n > uint64(len(f.b)) {
		f.b, f.failed = nil, true
		return nil
	}
	v := f.b[:n:n]
	f.b = f.b[n:]
	return v
}

func (f *fields) err() error {
	if f.failed || len(f.b) > 0 {
		return errFrame
	}
	return nil
}

const (
	opDelete = 1 << iota
	opSpare
)

func appendOps(dst []byte, ops []op) []byte {
	for i := range ops {
		o := &ops[i]
		var flags uint64
		if o.value == nil {
			flags |= opDelete
		}
		if o.spare {
			flags |= opSpare
		}
		dst = appendName(binary.AppendUvarint(dst, flags), o.key)
		dst = appendName(binary.AppendUvarint(dst, uint64(o.ttl/time.Second)), o.value)
	}
	return dst
}

func parseOps(b []byte) (ops []op, err error) {
	f := fields{b: b}
	for len(f.b) > 0 {
		flags := f.number()
		o := op{key: f.bytes(), ttl: time.Duration(f.number()) * time.Second, spare: flags&opSpare > 0}
		if v := f.bytes(); flags&opDelete == 0 && v != nil {
			o.value = v
		}
		ops = append(ops, o)
	}
	return ops, f.err()
}

func appendQuery(dst []byte, q *query) []byte {
	var flags uint64
	if q.backward {
		flags |= 1
	}
	if q.keysOnly {
		flags |= 2
	}
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, flags), uint64(q.limit))
	for _, s := range q.spans {
		dst = appendName(appendName(dst, s.from), s.to)
	}
	return dst
}

func parseQuery(b []byte) (q query, err error) {
	f := fields{b: b}
	flags := f.number()
	q.backward, q.keysOnly = flags&1 > 0, flags&2 > 0
	q.limit = int(f.number())
	for len(f.b) > 0 {
		q.spans = append(q.spans, span{f.bytes(), f.bytes()})
	}
	return q, f.err()
}
