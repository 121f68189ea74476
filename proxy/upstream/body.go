package upstream

import (
	"errors"
	"io"
)

// errBadChunk says that the provider's chunk framing is broken: the answer can't be trusted to be whole.
var errBadChunk = errors.New("answer's chunk framing is malformed")

type bodyMode uint8

const (
	bodyNone bodyMode = iota
	bodyLength
	bodyChunked
	bodyUntilClose
)

type chunkState uint8

const (
	chunkSize      chunkState = iota // reading the hexadecimal size
	chunkExtension                   // passing over what follows the size
	chunkSizeLF                      // LF of the size line
	chunkData                        // left bytes of data to come
	chunkDataCR                      // CR behind the data
	chunkDataLF                      // LF behind the data
	trailerStart                     // first byte of a trailer line, or of the last empty line
	trailerLine                      // inside a trailer line, which is dropped
	trailerLF                        // LF of the last empty line
)

// maxTrailer bounds the trailer section, which is read and dropped.
const maxTrailer = 16 << 10

// body is the progress through the current answer's body.
type body struct {
	mode    bodyMode
	done    bool
	state   chunkState
	digits  uint8 // of the chunk size read so far
	left    int64 // bytes left of the body or of the chunk
	trailer int   // bytes of extension or trailer passed over
}

// Done tells whether the body has been handed out to its end.
func (c *Conn) Done() bool { return c.body.done }

// Next returns the next piece of the body, as much of it as one read brought, without chunk framing. The piece aliases the
// connection's buffer and is valid until the next call. At the body's end it returns io.EOF; any other error
// means that the answer is not whole.
func (c *Conn) Next() ([]byte, error) {
	for {
		if c.body.done {
			return nil, io.EOF
		}
		if c.r == c.w {
			if err := c.fill(readBuffer); err != nil {
				if !errors.Is(err, io.EOF) {
					return nil, err
				}
				if c.body.mode == bodyUntilClose {
					c.body.done = true
					return nil, io.EOF
				}
				return nil, io.ErrUnexpectedEOF
			}
		}
		piece, err := c.decode()
		if len(piece) > 0 || err != nil {
			return piece, err
		}
	}
}

// decode consumes the buffer as far as it belongs to the body and returns the data in it.
func (c *Conn) decode() ([]byte, error) {
	b := &c.body
	switch b.mode {
	case bodyLength:
		n := min(int64(c.w-c.r), b.left)
		piece := c.buf[c.r : c.r+int(n)]
		c.r += int(n)
		b.left -= n
		b.done = b.left == 0
		return piece, nil
	case bodyUntilClose:
		piece := c.buf[c.r:c.w]
		c.r = c.w
		return piece, nil
	default:
		return c.dechunk()
	}
}

// dechunk moves the data of all chunks in the buffer together, in place, and returns it as one piece.
func (c *Conn) dechunk() ([]byte, error) {
	b := &c.body
	start, end := -1, -1 // of the data gathered so far
	for c.r < c.w && !b.done {
		if b.state == chunkData {
			n := int(min(int64(c.w-c.r), b.left))
			if start < 0 {
				start, end = c.r, c.r+n
			} else {
				end += copy(c.buf[end:], c.buf[c.r:c.r+n])
			}
			c.r += n
			if b.left -= int64(n); b.left == 0 {
				b.state = chunkDataCR
			}
			continue
		}
		if !b.frame(c.buf[c.r]) {
			return nil, errBadChunk
		}
		c.r++
	}
	if start < 0 {
		return nil, nil
	}
	return c.buf[start:end], nil
}

// frame takes one byte of framing and tells whether it is well-formed.
func (b *body) frame(ch byte) bool {
	switch b.state {
	case chunkSize:
		d, isHex := hexDigit(ch)
		switch {
		case isHex && b.digits < 15:
			b.left, b.digits = b.left<<4|int64(d), b.digits+1
		case b.digits == 0 || isHex:
			return false
		case ch == '\r':
			b.state = chunkSizeLF
		case ch == ';' || ch == ' ' || ch == '\t':
			b.state = chunkExtension
		default:
			return false
		}
	case chunkExtension:
		if ch == '\r' {
			b.state = chunkSizeLF
		} else if b.trailer++; ch == '\n' || b.trailer > maxTrailer {
			return false
		}
	case chunkSizeLF:
		b.digits, b.trailer = 0, 0
		if b.state = chunkData; b.left == 0 {
			b.state = trailerStart
		}
		return ch == '\n'
	case chunkDataCR:
		b.state = chunkDataLF
		return ch == '\r'
	case chunkDataLF:
		b.state = chunkSize
		return ch == '\n'
	case trailerStart:
		if b.state = trailerLine; ch == '\r' {
			b.state = trailerLF
		}
	case trailerLine:
		if b.trailer++; b.trailer > maxTrailer {
			return false
		}
		if ch == '\n' {
			b.state = trailerStart
		}
	case trailerLF:
		b.done = true
		return ch == '\n'
	}
	return true
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// Tunnel hands the connection over after a 101 answer: what was read beyond the head, and the connection itself. It
// stays attached to the tether; end with Discard.
func (c *Conn) Tunnel() (early []byte, rw io.ReadWriter) {
	early = c.buf[c.r:c.w]
	c.r = c.w
	return early, c.nc
}
