package proxy

import (
	"bytes"
	"time"

	"llm-auto-optimizer/proxy/provider"
)

// paced tells whether the answer is a kept stream that is given out event by event.
func (x *Exchange) paced() bool {
	return x.cache.body != nil && x.format == provider.EventStream && x.cache.of.pace > 0
}

// replay writes a kept stream at the pace of its route.
func (x *Exchange) replay(now time.Time) error {
	for rest := x.cache.body; len(rest) > 0; now = time.Now() {
		var event []byte
		event, rest = cutEvent(rest)
		x.out = append(x.out, event...) // the first goes along with the head
		if err := x.flush(now); err != nil {
			return err
		}
		x.delivered += int64(len(event))
		if len(rest) > 0 && x.client.tether.Sleep(x.cache.of.pace) {
			err := x.cutError()
			x.endWithError(err)
			return err
		}
	}
	return nil
}

// cutEvent cuts the first event off a stream, with the blank line that ends it.
func cutEvent(stream []byte) (event, rest []byte) {
	end := len(stream)
	for _, blank := range []string{"\n\n", "\r\n\r\n", "\r\r"} {
		if i := bytes.Index(stream[:end], []byte(blank)); i >= 0 {
			end = i + len(blank)
		}
	}
	return stream[:end], stream[end:]
}
