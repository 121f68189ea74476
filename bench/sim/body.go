package sim

import "bytes"

// readBody reads the request's body into x.body, at most the configured size.
func (x *exchange) readBody() (err error) {
	c, limit := x.c, x.srv.opt.MaxBody
	if x.req.expect && (x.req.chunked || x.req.length > 0) {
		c.out = append(c.out, "HTTP/1.1 100 Continue\r\n\r\n"...)
		if err := c.flush(); err != nil {
			return err
		}
	}
	switch {
	case x.req.chunked:
		return x.readChunked(limit)
	case x.req.length > limit:
		return errTooLarge
	case x.req.length > 0:
		x.body, err = c.readFull(x.body, x.req.length)
	}
	return err
}

// readChunked undoes the chunked coding and keeps the trailer's lines.
func (x *exchange) readChunked(limit int64) error {
	for {
		line, err := x.c.readLine()
		if err != nil {
			return err
		}
		n, ok := parseChunkSize(line)
		if !ok {
			return errMalformed
		}
		if n == 0 {
			return x.readTrailer()
		}
		if int64(len(x.body))+n > limit {
			return errTooLarge
		}
		if x.body, err = x.c.readFull(x.body, n); err != nil {
			return err
		}
		if line, err = x.c.readLine(); err != nil {
			return err
		}
		if len(line) != 0 {
			return errMalformed
		}
	}
}

func (x *exchange) readTrailer() error {
	for {
		line, err := x.c.readLine()
		if err != nil || len(line) == 0 {
			return err
		}
		name, value, ok := bytes.Cut(line, colon)
		if !ok || !isToken(name) {
			return errMalformed
		}
		x.trailer = append(x.trailer, [2]string{string(name), string(bytes.Trim(value, " \t"))})
	}
}

// parseChunkSize reads the hexadecimal size in front of a chunk; an extension behind ';' is skipped.
func parseChunkSize(line []byte) (int64, bool) {
	digits, _, _ := bytes.Cut(line, []byte{';'})
	digits = bytes.TrimRight(digits, " \t")
	if len(digits) == 0 || len(digits) > 15 {
		return 0, false
	}
	var n int64
	for _, c := range digits {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		n = n<<4 | int64(c)
	}
	return n, true
}
