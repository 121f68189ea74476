package proxy

import (
	"context"
	"errors"
	"io"
	"time"

	"llm-auto-optimizer/proxy/upstream"
)

// appendTypes appends the lines of a head that tell what the body is, and when to come again where there is none.
func appendTypes(lines []byte, head *upstream.Head) []byte {
	if len(head.ContentType) > 0 {
		lines = appendLine(lines, "Content-Type", head.ContentType)
	}
	if len(head.ContentEncoding) > 0 {
		lines = appendLine(lines, "Content-Encoding", head.ContentEncoding)
	}
	if after := head.Get("retry-after"); head.Status >= 400 && len(after) > 0 {
		lines = appendLine(lines, "Retry-After", after)
	}
	return lines
}

// tellFollowers tells those who follow the exchange what is at hand before its own client gets it.
func (x *Exchange) tellFollowers() {
	switch {
	case x.cache.flight == nil:
	case x.isRelayed():
		head := x.headForOthers()
		x.cache.flight.Announce(&head)
	default:
		x.endShared()
	}
}

// endShared tells those who follow that the answer is whole. It is theirs, whatever becomes of the exchange's own client.
func (x *Exchange) endShared() {
	x.endFlight(nil)
	x.cache.left = x.cache.flight.Orphaned()
}

// outlive goes on without the exchange's own client, which has left, where others want the answer.
func (x *Exchange) outlive(f *answerFlight, err error) error {
	if x.p.stopping.Load() || !f.Abandon() {
		return err
	}
	x.kind, x.failure = nil, nil
	return x.relayShared(f, true)
}

// relayShared is relay where others follow: reading goes on beside the writing, so that nobody waits for the slowest. left says that the exchange's own client
// has gone.
func (x *Exchange) relayShared(f *answerFlight, left bool) error {
	tail := f.Tail()
	var kind *kindOfFailure
	var cause error
	pumped := make(chan struct{})
	defer func() { // should there be a bug: the exchange must not go while it is read for
		select {
		case <-pumped:
		default:
			x.client.tether.Cut()
			<-pumped
		}
	}()
	go func() {
		defer close(pumped)
		defer x.p.contain(x, func(err error) {
			kind, cause = &internal, err
			f.End(true, x.endForOthers(kind, cause))
		})
		kind, cause = x.pumpFlight(f)
		end := x.endForOthers(kind, cause)
		f.End(end.failed(), end)
	}()
	var err error
	if !left {
		_, left, err = x.passOn(context.Background(), tail)
	}
	if left && !f.Abandon() {
		x.client.tether.Cut()
	}
	<-pumped
	switch {
	case left && kind == nil: // the others have it all
		x.cache.left = true
		return errors.Join(errLeft, err)
	case left: // what the target has failed of is worth more than that the client has left
		x.endWith(kind, cause)
		return errors.Join(errLeft, err)
	case kind != nil:
		return x.broken(kind, cause)
	}
	x.cache.left = f.Orphaned()
	return x.endBody(time.Now())
}

var (
	errLeft   = errors.New("the client has left")
	errBehind = errors.New("the client takes the answer too slowly")
)

// pumpFlight reads the answer for all who follow.
func (x *Exchange) pumpFlight(f *answerFlight) (*kindOfFailure, error) {
	for {
		piece, err := x.next()
		if err == nil && x.conn.Done() {
			err = io.EOF
		}
		if len(piece) > 0 {
			f.Publish(x.scrubbed(piece))
			x.observe(piece)
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			x.meter.Close()
			if x.scrub {
				x.held = x.scrubber.Close(x.held[:0])
				f.Publish(x.held)
			}
			if x.truncated() {
				return &answerIncomplete, errNoTerminalMark
			}
			return nil, nil
		default:
			return x.bodyFailure(err), err
		}
	}
}

// relayFlight gives the client what the flight brings that it follows.
func (x *Exchange) relayFlight() error {
	ctx, release := x.client.tether.Attend(x.followUntil())
	defer release()
	end, left, err := x.passOn(ctx, x.cache.reader)
	switch {
	case errors.Is(err, errBehind):
		return x.broken(&clientSlow, err)
	case left:
		x.endWith(&clientLeft, err)
		return err
	case end == nil && x.client.tether.IsCut():
		return x.broken(kindOfError(x.cutError()), err)
	case end == nil:
		return x.broken(&totalTooLong, err)
	case end.kind != nil:
		return x.broken(end.kind, end.cause)
	}
	x.takeEnd(end)
	return x.endBody(time.Now())
}

// passOn writes what a flight brings to the client, until it has ended or ctx is done. left says that the client takes no more.
func (x *Exchange) passOn(ctx context.Context, r *answerReader) (end *answerEnd, left bool, err error) {
	for {
		news := r.Next()
		switch {
		case len(news.Bytes) > 0:
			x.add(news.Bytes)
		case news.End != nil:
			return news.End, false, nil
		case news.Behind:
			return nil, true, errBehind
		case len(x.out) == 0:
			select {
			case <-news.Wait:
			case <-ctx.Done():
				return nil, false, ctx.Err()
			}
		}
		if len(x.out) > 0 {
			if err := x.send(time.Now()); err != nil {
				return nil, true, err
			}
		}
	}
}
