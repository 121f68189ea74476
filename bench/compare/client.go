package compare

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// client sends one prepared request again and again on a connection of its own, and checks each answer. It is as cheap as
// it can be: its CPU time is not that of the contender, but takes the cores away from it.
type client struct {
	conn    net.Conn
	in      *bufio.Reader
	request []byte
	want    int // length of the answer's body; 0: any
}

// readBuffer holds a usual answer whole.
const readBuffer = 32 << 10

func dial(addr string, request []byte, want int) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	return &client{conn, bufio.NewReaderSize(conn, readBuffer), request, want}, nil
}

func (c *client) close() { _ = c.conn.Close() }

// answer is what was seen of one.
type answer struct {
	length int           // of the body, without chunk framing
	events int           // server-sent events
	first  time.Duration // from the sending to the first byte of the body
}

var errCut = errors.New("answer ended early")

// exchange sends the request and reads the answer to its end. seen, if not nil, is told of events as they come.
func (c *client) exchange(seen func(events int)) (answer, error) {
	a, err := c.try(seen)
	switch {
	case errors.Is(err, io.EOF):
		return a, errCut
	case err == nil && c.want > 0 && a.length != c.want:
		return a, fmt.Errorf("answer of %d bytes, want %d", a.length, c.want)
	}
	return a, err
}

func (c *client) try(seen func(events int)) (a answer, err error) {
	start := time.Now()
	if _, err := c.conn.Write(c.request); err != nil {
		return a, err
	}
	length, err := c.head()
	if err != nil {
		return a, err
	}
	if a.length = length; length < 0 {
		a.length = 0
		err = c.chunks(&a, start, seen)
		return a, err
	}
	if length > 0 {
		if _, err = c.in.Peek(1); err != nil {
			return a, err
		}
		a.first = time.Since(start)
	}
	_, err = c.in.Discard(length)
	return a, err
}

// head reads status line and headers. The length is -1 when the body comes in chunks.
func (c *client) head() (length int, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
		return 0, fmt.Errorf("answer %q", bytes.TrimSpace(line))
	}
	length = -2
	for {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return 0, err
		}
		name, value, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		switch {
		case len(name) == 0:
			if length == -2 {
				return 0, errors.New("answer without a length")
			}
			return length, nil
		case len(name) == len("content-length") && bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil || length < 0 {
				return 0, fmt.Errorf("content length %q", value)
			}
		case len(name) == len("transfer-encoding") && bytes.EqualFold(name, []byte("transfer-encoding")):
			length = -1
		}
	}
}

// chunks reads a body in chunks, and counts the events in it: each ends with an empty line, of which one line feed is the
// line's before.
func (c *client) chunks(a *answer, start time.Time, seen func(events int)) error {
	last := byte(0)
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(string(bytes.TrimRight(line, "\r\n")), 16, 31)
		if err != nil {
			return fmt.Errorf("chunk size %q", line)
		}
		if a.first == 0 {
			a.first = time.Since(start)
		}
		a.length += int(n)
		for left := int(n); left > 0; {
			piece, err := c.in.Peek(min(left, c.in.Size()))
			if err != nil && len(piece) == 0 {
				return err
			}
			events := bytes.Count(piece, []byte("\n\n"))
			if last == '\n' && piece[0] == '\n' {
				events++
			}
			last = piece[len(piece)-1]
			if a.events += events; seen != nil && events > 0 {
				seen(events)
			}
			left -= len(piece)
			_, _ = c.in.Discard(len(piece))
		}
		if end, err := c.in.ReadSlice('\n'); err != nil || len(bytes.TrimRight(end, "\r\n")) > 0 {
			return cmpErr(err, "chunk without its end")
		}
		if n == 0 {
			return nil
		}
	}
}

func cmpErr(err error, otherwise string) error {
	if err != nil {
		return err
	}
	return errors.New(otherwise)
}
