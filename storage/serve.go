package storage

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/yamux"
)

// spaceCheck is how often the engine looks at the disk while nobody writes: compactions do.
const spaceCheck = time.Second

// ServeEngine is the engine's process: it opens the database in dir and answers what comes over in, until that ends. The process
// that began it says when to stop, by closing in: signals to the group are for that one.
func ServeEngine(in, out *os.File, dir string, limits Limits) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	keepQuiet()
	return serveEngine(&pipes{pollable(in), pollable(out)}, dir, limits)
}

// pipes is a connection made of two pipes.
type pipes struct {
	io.Reader
	io.WriteCloser
}

func serveEngine(conn io.ReadWriteCloser, dir string, limits Limits) error {
	e, err := openEngine(dir, limits)
	if err != nil {
		_ = writeFrame(conn, frameError, append([]byte{errorNumber(err)}, err.Error()...))
		return err
	}
	if err := writeFrame(conn, frameHello, nil); err != nil {
		return errors.Join(err, e.close())
	}
	session, err := yamux.Server(conn, yamuxConfig())
	if err != nil {
		return errors.Join(err, e.close())
	}
	s := &server{engine: e}
	stop := make(chan struct{})
	var background sync.WaitGroup
	background.Go(func() { s.watchDisk(stop) })
	for {
		stream, err := session.AcceptStream()
		if err != nil { // the other process is done, or dead
			break
		}
		s.calls.Go(func() { s.answer(stream) })
	}
	// badger tries for ever to write out what it holds, also where there is no directory any more. It is in the log of writes as well.
	late := time.AfterFunc(closeTimeout, func() { os.Exit(exitLate) })
	defer late.Stop()
	s.calls.Wait()
	close(stop)
	background.Wait()
	return e.close()
}

// exitLate is the status of an engine's process that could not close its files in time.
const exitLate = 75

// streamWindow is how much of an answer may be under way: a restart reads tens of megabytes.
const streamWindow = 4 << 20

func yamuxConfig() *yamux.Config {
	c := yamux.DefaultConfig()
	c.LogOutput = io.Discard
	c.EnableKeepAlive = false // a pipe tells when its other end is gone
	c.ConnectionWriteTimeout = time.Minute
	c.MaxStreamWindowSize = streamWindow
	c.StreamOpenTimeout, c.StreamCloseTimeout = 0, 0
	return c
}

type server struct {
	engine *engine
	calls  sync.WaitGroup
}

// watchDisk ends the process when the disk is nearly full, before a compaction meets its end: what was written is safe, and
// the process that has begun this one begins another when there is space.
func (s *server) watchDisk(stop <-chan struct{}) {
	tick := time.NewTicker(spaceCheck)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			if free, known := freeSpace(s.engine.dir); known && free < s.engine.limits.MinFree/2 {
				fmt.Fprintf(os.Stderr, "%d MiB free: %v\n", free>>20, ErrFull)
				os.Exit(exitFull) //nolint:gocritic // nothing may be written any more, not even by an orderly end
			}
		}
	}
}

// exitFull is the status of an engine's process that has left a full disk alone.
const exitFull = 28

// answer takes one call.
func (s *server) answer(stream *yamux.Stream) {
	defer stream.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r := bufio.NewReader(stream)
	kind, content, err := readFrame(r)
	if err != nil || kind != frameCall || len(content) == 0 {
		return
	}
	call, content := content[0], content[1:]
	if call != callLoad { // nothing more is to come: an end means that nobody waits for the answer
		go func() {
			_, _ = r.ReadByte()
			cancel()
		}()
	}
	w := &answerWriter{w: stream}
	if err := s.call(ctx, call, content, r, w); err != nil {
		_ = writeFrame(stream, frameError, append([]byte{errorNumber(err)}, err.Error()...))
		return
	}
	if w.flush() == nil {
		_ = writeFrame(stream, frameEnd, nil)
	}
}

func (s *server) call(ctx context.Context, call byte, content []byte, r *bufio.Reader, w *answerWriter) error {
	switch call {
	case callApply:
		if len(content) == 0 {
			return errFrame
		}
		ops, err := parseOps(content[1:])
		if err != nil {
			return err
		}
		return s.engine.apply(ctx, ops, content[0] == 1)
	case callGet:
		value, err := s.engine.get(ctx, content)
		if err != nil {
			return err
		}
		_, err = w.Write(value)
		return err
	case callScan:
		q, err := parseQuery(content)
		if err != nil {
			return err
		}
		return s.engine.scan(ctx, q, w.pair)
	case callBackup:
		return s.engine.backup(ctx, w)
	case callLoad:
		return s.engine.load(ctx, &dataReader{r: r})
	case callCompact:
		return s.engine.compact(ctx)
	case callDrop:
		return s.engine.drop(ctx, content)
	case callStats:
		stats, err := s.engine.stats(ctx)
		if err != nil {
			return err
		}
		return json.NewEncoder(w).Encode(stats)
	default:
		return fmt.Errorf("%w: call %d", errFrame, call)
	}
}

// answerWriter gathers what is written into frames of a good size.
type answerWriter struct {
	w   io.Writer
	buf []byte
}

func (a *answerWriter) Write(p []byte) (int, error) {
	a.buf = append(a.buf, p...)
	return len(p), a.full()
}

// pair writes a key with its value. Pairs are never cut by the end of a frame.
func (a *answerWriter) pair(key, value []byte) error {
	a.buf = appendName(appendName(a.buf, key), value)
	return a.full()
}

func (a *answerWriter) full() error {
	if len(a.buf) < pieceSize {
		return nil
	}
	return a.flush()
}

func (a *answerWriter) flush() error {
	if len(a.buf) == 0 {
		return nil
	}
	err := writeFrame(a.w, frameData, a.buf)
	a.buf = a.buf[:0]
	return err
}

// dataReader reads data frames until their end.
type dataReader struct {
	r    *bufio.Reader
	left []byte
	done bool
}

func (d *dataReader) Read(p []byte) (int, error) {
	for len(d.left) == 0 {
		if d.done {
			return 0, io.EOF
		}
		kind, content, err := readFrame(d.r)
		switch {
		case err != nil:
			return 0, io.ErrUnexpectedEOF // a restore that was cut must not pass for a whole one
		case kind == frameEnd:
			d.done = true
		case kind == frameData:
			d.left = content
		default:
			return 0, errFrame
		}
	}
	n := copy(p, d.left)
	d.left = d.left[n:]
	return n, nil
}
