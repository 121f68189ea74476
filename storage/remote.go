package storage

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/yamux"
)

// callTimeout bounds calls that read or write little, where the caller sets no bound: an engine that does not answer any more is
// as good as dead.
const callTimeout = 30 * time.Second

// remote is an engine in another process. It is safe for concurrent use.
type remote struct {
	session *yamux.Session
	// stuck is told that a call has not been answered in time.
	stuck func()
}

func (r *remote) apply(ctx context.Context, ops []op, sync bool) error {
	content := []byte{callApply, 0}
	if sync {
		content[1] = 1
	}
	return r.quick(ctx, appendOps(content, ops), nil)
}

func (r *remote) get(ctx context.Context, key []byte) (value []byte, err error) {
	value = []byte{}
	err = r.quick(ctx, append([]byte{callGet}, key...), func(piece []byte) error {
		value = append(value, piece...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return value, nil
}

func (r *remote) scan(ctx context.Context, q query, yield func(key, value []byte) error) error {
	return r.call(ctx, appendQuery([]byte{callScan}, &q), nil, func(piece []byte) error {
		for f := (fields{b: piece}); len(f.b) > 0; {
			key, value := f.bytes(), f.bytes()
			if f.failed {
				return errFrame
			}
			if err := yield(key, value); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *remote) backup(ctx context.Context, w io.Writer) error {
	return r.call(ctx, []byte{callBackup}, nil, func(piece []byte) error {
		_, err := w.Write(piece)
		return err
	})
}

func (r *remote) load(ctx context.Context, from io.Reader) error {
	return r.call(ctx, []byte{callLoad}, from, nil)
}

func (r *remote) compact(ctx context.Context) error {
	return r.call(ctx, []byte{callCompact}, nil, nil)
}

func (r *remote) drop(ctx context.Context, prefix []byte) error {
	return r.quick(ctx, append([]byte{callDrop}, prefix...), nil)
}

func (r *remote) stats(ctx context.Context) (*Stats, error) {
	var text bytes.Buffer
	err := r.call(ctx, []byte{callStats}, nil, func(piece []byte) error {
		text.Write(piece)
		return nil
	})
	if err != nil {
		return nil, err
	}
	s := &Stats{}
	return s, json.Unmarshal(text.Bytes(), s)
}

// quick is a call that an engine in good health answers at once.
func (r *remote) quick(ctx context.Context, content []byte, piece func([]byte) error) error {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := r.call(bounded, content, nil, piece)
	if bounded.Err() != nil && ctx.Err() == nil {
		r.stuck()
		return fmt.Errorf("no answer within %v: %w", callTimeout, ErrUnavailable)
	}
	return err
}

// call makes a call: it sends the request and what data holds, and gives each piece of the answer to piece.
func (r *remote) call(ctx context.Context, request []byte, data io.Reader, piece func([]byte) error) error {
	stream, err := r.session.OpenStream()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer stream.Close()
	stop := context.AfterFunc(ctx, func() { _ = stream.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := writeFrame(stream, frameCall, request); err != nil {
		return brokenCall(ctx, err)
	}
	if data != nil {
		if err := sendData(stream, data); err != nil {
			return brokenCall(ctx, err)
		}
	}
	for reader := bufio.NewReader(stream); ; { // small: what is in a frame goes past it
		kind, content, err := readFrame(reader)
		switch {
		case err != nil:
			return brokenCall(ctx, err)
		case kind == frameEnd:
			return nil
		case kind == frameError && len(content) > 0:
			return errorOf(content[0], string(content[1:]))
		case kind != frameData || piece == nil:
			return errFrame
		}
		if err := piece(content); err != nil {
			return err
		}
	}
}

// sendData sends what a restore reads. A source that fails ends the stream without its end.
func sendData(w io.Writer, from io.Reader) error {
	buf := make([]byte, pieceSize)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if err := writeFrame(w, frameData, buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return writeFrame(w, frameEnd, nil)
		case err != nil:
			return &sourceError{err}
		}
	}
}

// sourceError is an error of what a caller gave to read.
type sourceError struct{ error }

func (e *sourceError) Unwrap() error { return e.error }

func brokenCall(ctx context.Context, err error) error {
	if source := new(sourceError); errors.As(err, &source) {
		return source.error
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
