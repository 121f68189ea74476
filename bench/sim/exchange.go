package sim

import (
	"errors"
	"time"
)

// exchange is one request and its answer. It is part of its connection and used again for the next request.
type exchange struct {
	srv *Server
	c   *conn

	req     request
	body    []byte
	trailer [][2]string

	op      operation
	dialect dialect
	seq     uint64 // number of the request in the server's life
	d       Directives
	in      payload
	hash    uint64 // of what the answer depends on: see [exchange.seal]
	ids     random // where the answer's ids come from

	use quotaUse

	ans  answer
	keep bool // the connection may serve another request
	sent bool // a byte of the answer has been written
}

// shrink gives up buffers that a huge request or answer has left behind.
func (x *exchange) shrink() {
	if cap(x.body) > maxKept {
		x.body = nil
	}
	if cap(x.ans.body) > maxKept {
		x.ans.body = nil
	}
	if cap(x.ans.frames) > maxKept/64 {
		x.ans.frames = nil
	}
}

// serve answers the request that has been parsed and tells whether the connection may serve another.
func (x *exchange) serve() bool {
	x.body, x.trailer, x.sent = x.body[:0], nil, false
	x.keep = !x.req.close
	x.d = x.srv.opt.Directives
	x.ans.reset()
	x.op, x.dialect = route(&x.req)
	if x.op == opControl {
		if x.readBody() == nil {
			x.control(&x.ans)
			return x.transmit(&x.ans) == nil && x.keep
		}
		return false
	}

	x.seq = x.srv.seq.Add(1)
	st := &x.srv.stats
	st.calls[x.op].Add(1)
	st.inflight.Add(1)
	err := x.run()
	x.leave()
	switch {
	case err == nil:
		st.completed.Add(1)
	case errors.Is(err, errBroken):
		st.broken.Add(1)
	default:
		st.canceled.Add(1)
		if !x.sent {
			st.canceledWaiting.Add(1)
		}
	}
	st.inflight.Add(-1)
	if err != nil {
		return false
	}
	if x.d.faults.has(faultIdleClose) {
		x.took(faultIdleClose)
		if x.d.idle > 0 {
			_ = x.srv.sleep(x.d.idle) // unread: a request that comes now meets the reset of our close
		}
		return false
	}
	return x.keep
}

// run takes the request from its head to the last byte of its answer.
func (x *exchange) run() error {
	limited := x.srv.quota.on.Load()
	if p := x.srv.prepared; p != nil && !limited && p.knows(x.op) {
		return x.runPrepared(p)
	}
	if err := x.steer(); err != nil {
		return x.unsteerable(err)
	}
	if x.d.faults.has(faultsEarly) {
		return x.runEarly()
	}
	if err := x.readBody(); err != nil {
		return x.bodyFailed(err)
	}
	x.parsePayload()
	if err := x.steerByModel(); err != nil {
		return x.unsteerable(err)
	}
	a := &x.ans
	if limited && !x.admit(a) {
		return x.transmit(a)
	}
	x.build(a)
	x.used(0, 0, 0) // what was refused for another reason
	if a.takeOver != nil {
		x.keep = false
		return a.takeOver()
	}
	x.distort(a)
	return x.transmit(a)
}

// steer collects what options, script, rates and headers say, the later before the earlier.
func (x *exchange) steer() error {
	if d := x.srv.script.Load().next(x.op); d != nil {
		x.d.overlay(d)
	}
	if !x.d.faulted && len(x.srv.opt.Rates.upTo) > 0 {
		r := random{x.srv.opt.Seed + scramble(^x.seq)}
		x.d.faults, x.d.status = x.srv.opt.Rates.draw(r.float())
	}
	var own Directives
	if err := own.headerDirectives(&x.req); err != nil {
		return err
	}
	x.d.overlay(&own)
	return nil
}

// steerByModel obeys directives in the model's name. A header goes before them.
func (x *exchange) steerByModel() error {
	model, directives := splitModel(x.in.model)
	x.in.model = model
	if directives == "" {
		return nil
	}
	var own Directives
	if err := own.parse(directives); err != nil {
		return err
	}
	if own.faults.has(faultsEarly) {
		return errors.New("faults before the body is read cannot be asked for in the body")
	}
	x.d.overlay(&own)
	own = Directives{}
	if err := own.headerDirectives(&x.req); err != nil {
		return err
	}
	x.d.overlay(&own)
	return nil
}

// unsteerable answers a request whose directives are wrong, so that a typo in a test is not taken for a pass.
func (x *exchange) unsteerable(err error) error {
	x.keep = false // the body may not have been read
	x.ans.failure(x, 400, "simulator: "+err.Error())
	err = x.transmit(&x.ans)
	x.c.linger()
	return err
}

// bodyFailed ends an exchange whose request body could not be read.
func (x *exchange) bodyFailed(err error) error {
	x.keep = false
	switch {
	case errors.Is(err, errTooLarge):
		x.ans.failure(x, 413, "Request exceeds the maximum size")
	case errors.Is(err, errMalformed):
		x.srv.stats.malformed.Add(1)
		x.ans.failure(x, 400, "Malformed request body")
	default:
		return errGone
	}
	err = x.transmit(&x.ans)
	x.c.linger()
	return err
}

// runEarly answers before the request's body has been read.
func (x *exchange) runEarly() error {
	a := &x.ans
	if !x.d.faults.has(faultEarlyStream) {
		f := x.d.faults & (faultEarly413 | faultEarly413Close)
		x.took(f)
		x.keep = false
		a.failure(x, 413, "Request exceeds the maximum size")
		err := x.transmit(a)
		if f.has(faultEarly413) {
			x.c.linger()
		}
		return err
	}
	x.took(faultEarlyStream)
	x.in.stream = true
	x.buildStreamUnread(a)
	if !a.stream {
		x.keep = false // refused: the body stays unread
		err := x.transmit(a)
		x.c.linger()
		return err
	}
	a.readBodyAt = (len(a.frames) + 1) / 2
	return x.transmit(a)
}

// took counts faults that took effect.
func (x *exchange) took(f fault) {
	for i := range faultNames {
		if f.has(1 << i) {
			x.srv.stats.faults[i].Add(1)
		}
	}
}

// now is the time that is stated in answers.
func (x *exchange) now() time.Time { return x.srv.opt.Now() }
