package proxy

import (
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/valyala/fasthttp"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/pick"
	"llm-auto-optimizer/proxy/policy"
	"llm-auto-optimizer/proxy/provider"
)

// holdFrames is how much of a stream is held back while it has no content yet and another attempt is possible.
const holdFrames = 64 << 10

// enter begins the exchange's way over the targets of a route.
func (p *Proxy) enter(x *Exchange, r *routeState) error {
	x.join(r)
	x.origin = x.provider
	x.clientPath = x.path
	q, err := x.queryFor(r)
	if err != nil {
		return err
	}
	x.walk = r.pick.Start(x.policy, q)
	return nil
}

// join makes the exchange one of the route's.
func (x *Exchange) join(r *routeState) {
	x.route = r
	x.subject.Route = r.name
	x.classify(r)
}

// classify finds out, once, which class of the route's and which arm the exchange belongs to. The cache has to know before the exchange is the route's.
func (x *Exchange) classify(r *routeState) {
	if x.classified {
		return
	}
	x.classified = true
	x.class = r.classOf(int64(x.bodyLen)/defaultBytesPerToken, x.request.MaxOutput)
	tuned := x.policy.Routes[r.name]
	x.arm = x.armOf(tuned)
	x.limited.tuned = tuned.Of(x.arm).Limits
}

// queryFor is what the choice of a target depends on.
func (x *Exchange) queryFor(r *routeState) (pick.Query, error) {
	input := int64(x.bodyLen) / defaultBytesPerToken
	q := pick.Query{Class: int(x.class), Arm: x.arm, Stream: x.request.Stream, Input: input, Dialect: uint8(x.provider.dialect)}
	affinity := r.config.Affinity
	x.attemptsLeft = r.config.Attempts
	if x.ownHeaders {
		if err := x.readOverrides(r, &q, &affinity); err != nil {
			return q, err
		}
	}
	if affinity {
		q.Prefix = x.affinity()
	}
	return q, nil
}

// armOf is the arm that the exchange's session belongs to.
func (x *Exchange) armOf(r policy.Route) policy.Arm {
	session := binary.LittleEndian.Uint64(x.session[:])
	if x.session == (hashID{}) {
		session = pick.Draw()
	}
	return r.Arm(session)
}

// paramsOf are what the exchange obeys of a route.
func (x *Exchange) paramsOf(route string) *policy.Parameters {
	r := x.policy.Routes[route]
	return r.Of(x.arm)
}

// walkTargets makes attempts until one serves the exchange, or none is left: then what the last one brought is the answer.
func (p *Proxy) walkTargets(ctx *fasthttp.RequestCtx, x *Exchange) error {
	choice, refusal := x.walk.First(time.Now(), pick.Draw())
	if refusal != pick.NoRefusal {
		return x.refusedBy(refusal)
	}
	for {
		err := x.findRoom(choice)
		if x.tale.first == "" {
			x.tale.choseFirst(&x.choice)
		}
		if err != nil {
			return err
		}
		err = p.tryHedged(ctx, x)
		f, failed := x.failureOf(err)
		if !failed {
			if err == nil {
				x.walk.Answered()
				x.lease.Answered()
			}
			return err
		}
		next, wait, ok := x.walk.Next(time.Now(), pick.Draw(), f)
		if !ok {
			return err // what a provider said itself goes through
		}
		x.abandon(err)
		if wait > 0 && x.client.tether.Sleep(wait) {
			return x.cutError()
		}
		x.waited += wait
		choice = next
	}
}

// aim makes the chosen target the one of the next attempt, which begins with claim.
func (x *Exchange) aim(c pick.Choice) {
	r := x.settings.routes.of[c.Target.Route()]
	if r == nil { // of an older configuration, which the walk began with
		r = x.route
	}
	t := r.targets[c.Target.Index()]
	x.choice, x.routeTarget = c, t
	x.provider = t.own
	if t.stripped != nil && t.own.name != x.origin.name {
		x.provider = t.stripped // the client's credential was sent for another provider
	}
	x.path = x.clientPath
	x.newModel = ""
	if t.model != "" && t.model != string(x.request.Model) {
		x.newModel = t.model
		if path, ok := provider.RewritePath(x.aimedPath[:0], x.operation, x.clientPath, t.model); ok {
			x.aimedPath, x.path = path, path
		}
	}
	x.limits = x.limitsOf(x.provider.name)
	q, params := x.walk.Query(), x.paramsOf(r.name)
	x.limits.Pacing.Share = orElse(params.Targets[c.Target.Name()].Pace, x.limits.Pacing.Share)
	x.limits.Pacing.MaxWait = secondsOr(x.limited.tuned.PaceWait, x.limits.Pacing.MaxWait)
	if learned := c.Target.FirstByte(q, params.FirstByteFactor); learned > 0 {
		x.boundFirstByte(learned)
	}
	x.boundFirstByte(x.firstByte)
	x.aimAt(x.p.targets.find(t.owner, x.upstreamModel()), &t.prices)
}

// claim begins the attempt at the target that the exchange is aimed at, as far as the route is concerned.
func (x *Exchange) claim(now time.Time) {
	x.routeTarget.picks[x.choice.Why].Add(1)
	x.tried.add(x.target)
	x.lease = x.choice.Target.Begin(now, x.walk.Query())
}

func (x *Exchange) boundFirstByte(d time.Duration) {
	if t := &x.limits.Timeouts; d > 0 && (t.FirstByte == 0 || d < t.FirstByte) {
		t.FirstByte = d
	}
}

// upstreamModel is the model as the provider is to know it.
func (x *Exchange) upstreamModel() []byte {
	if x.newModel != "" {
		return x.routeTarget.modelBytes
	}
	return x.request.Model
}

// mayRepeat tells whether another attempt is possible as far as the request goes: all of it is at hand, nothing of an answer has gone out, and doing
// the work twice does no harm. The operations that routes serve generate text; what they do twice costs twice and changes nothing else.
func (x *Exchange) mayRepeat() bool {
	return x.rest == nil && !x.begun && x.attempts < x.attemptsLeft && !x.client.tether.IsCut()
}

// holdUntilContent keeps back what opens a stream until it has content: until then another target may answer. The error is what the attempt failed of.
func (x *Exchange) holdUntilContent() error {
	if !x.streamed || !x.isStream() || x.status >= 300 || !x.mayRepeat() {
		return nil
	}
	for !x.meter.Content() && !x.meter.Complete() && len(x.held) <= holdFrames {
		if _, failed := x.meter.Failed(); failed {
			return nil
		}
		piece, err := x.next()
		if errors.Is(err, io.EOF) {
			x.meter.Close()
			if x.truncated() {
				return fail(&answerIncomplete, errNoTerminalMark)
			}
			return nil
		}
		if err != nil {
			return fail(x.bodyFailure(err), err)
		}
		x.observe(piece)
		if x.scrub {
			x.held = x.scrubber.Append(x.held, piece)
		} else {
			x.held = append(x.held, piece...)
		}
	}
	return nil
}

// abandon ends an attempt whose answer nobody will see, and makes ready for another one.
func (x *Exchange) abandon(err error) {
	if err != nil {
		x.kind = kindOfError(err)
	}
	if x.kind != &hedgeLost {
		x.tale.repeats++
		x.tale.late = x.tale.late || x.kind == &firstByteLate
	}
	if x.conn != nil {
		x.dropConn()
	}
	x.endAttempt()
	x.kind, x.failure = nil, nil
	x.askedUsage, x.scrub, x.streamed = false, false, false
	x.edited, x.held, x.out = x.edited[:0], x.held[:0], x.out[:0]
	x.forgetAnswer()
	x.status, x.length, x.retryAfter, x.delivered, x.overhead = 0, 0, 0, 0, 0
}

// settleLease gives the target its lease back with what the attempt says of it.
func (x *Exchange) settleLease(now time.Time, o *window.Observation) {
	if !x.lease.Held() {
		return
	}
	r := x.resultOf(now, o)
	if c := x.lease.Settle(now, &r); c != pick.NoChange {
		x.p.targetChanged(x.choice.Target, c)
	}
	if o.Outcome == window.OK && o.TokensOutput > 0 && !o.Estimated {
		x.route.outputs[cut(o.TokensInput+o.TokensCacheRead, x.route.config.Classes.LightInput, x.route.config.Classes.MediumInput)].add(o.TokensOutput)
	}
}

// targetChanged tells the operator that the reflexes have moved a target.
func (p *Proxy) targetChanged(t *pick.Target, c pick.Change) {
	s := t.Status(time.Now())
	event := p.oplog.Warn()
	message := "target ejected"
	switch c {
	case pick.Restored:
		event, message = p.oplog.Info(), "target is back, its share grows"
	case pick.Retired:
		message = "target is out until its key is changed"
	}
	if p.changed != nil {
		p.changed()
	}
	event.Str("route", s.Route).Str("target", s.Target).Str("reason", s.Reason).Dur("for", s.For).Msg(message)
}

// refusedBy is what a client is told when no target can be chosen.
func (x *Exchange) refusedBy(r pick.Refusal) error {
	x.retryAfter = x.route.pick.RetryIn(time.Now())
	switch r {
	case pick.Saturated:
		return fail(&routeSaturated, nil)
	case pick.NoKey:
		return fail(&routeKeyless, nil)
	default:
		return fail(&routeUnavailable, nil)
	}
}

// triedTargets are the targets of an exchange's attempts, in order.
type triedTargets struct {
	list [8]*target
	n    int
}

func (t *triedTargets) add(one *target) {
	if t.n < len(t.list) {
		t.list[t.n] = one
		t.n++
	}
}

// routeName is the name of the exchange's route.
func (x *Exchange) routeName() string {
	if x.route == nil {
		return directRoute
	}
	return x.route.name
}
