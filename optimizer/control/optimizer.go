package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/optimizer/control/controlpb"
	"llm-auto-optimizer/optimizer/runner"
)

// Optimizer is the optimizer of a server. *runner.Runner is one.
type Optimizer interface {
	Enabled() bool
	Inspect(ctx context.Context, look func(l *optimizer.Loop, now time.Time)) error
	Order(ctx context.Context, o optimizer.Order) (optimizer.Decision, error)
	Cycle(ctx context.Context) ([]optimizer.Decision, error)
	Watch() (decisions <-chan optimizer.Decision, end func())
}

var errNoOptimizer = errors.New("there is no optimizer")

// optimizerTimeout is how long a call waits for the optimizer, which does one thing after the other.
const optimizerTimeout = 30 * time.Second

func (a *admin) GetOptimizer(ctx context.Context, _ *controlpb.GetOptimizerRequest) (*controlpb.GetOptimizerResponse, error) {
	o := a.options.Optimizer
	if o == nil {
		return nil, connect.NewError(connect.CodeUnavailable, errNoOptimizer)
	}
	ctx, cancel := context.WithTimeout(ctx, optimizerTimeout)
	defer cancel()
	res := &controlpb.GetOptimizerResponse{Enabled: o.Enabled()}
	inForce := a.options.Policy.Load().Routes
	err := o.Inspect(ctx, func(l *optimizer.Loop, now time.Time) {
		trials := l.Trials()
		for _, name := range slices.Sorted(maps.Keys(inForce)) {
			in := inForce[name]
			r := &controlpb.OptimizedRoute{Name: name, Modes: map[string]controlpb.Mode{}, Holdback: in.Holdback}
			for tuner, m := range l.Modes(name) {
				r.Modes[tuner] = modeProto(m)
			}
			if in.Static != nil {
				r.Changes = changesProto(optimizer.Differences(in.Static, &in.Parameters))
				r.Tuned = len(r.Changes) > 0
			}
			if t, ok := trials[name]; ok {
				r.Trial = trialProto(&t)
			}
			res.Routes = append(res.Routes, r)
		}
		frozen, pins, modes, pending := l.Standing(now)
		res.Frozen, res.Pins, res.Modes = standingProto(frozen, false), standingProto(pins, false), standingProto(modes, true)
		for _, d := range pending {
			res.Pending = append(res.Pending, DecisionProto(d))
		}
		fences := l.Fences()
		for _, tuner := range slices.Sorted(maps.Keys(fences)) {
			f := fences[tuner]
			res.Fences = append(res.Fences, &controlpb.Fence{Tuner: tuner, Why: f.Why, Until: timeOf(f.Until)})
		}
	})
	if err != nil {
		return nil, connect.NewError(connect.CodeUnavailable, err)
	}
	return res, nil
}

func modeProto(m optimizer.Mode) controlpb.Mode {
	return controlpb.Mode(m) + controlpb.Mode_MODE_OBSERVE
}

func standingProto(list []optimizer.Standing, modes bool) (out []*controlpb.Standing) {
	for _, s := range list {
		p := &controlpb.Standing{Route: s.Route, Tuner: s.Tuner, Parameter: s.Parameter, Value: s.Value, By: s.By, Why: s.Why, Until: timeOf(s.Until)}
		if modes {
			p.Mode = modeProto(s.Mode)
		}
		out = append(out, p)
	}
	return out
}

func changesProto(list []optimizer.Change) (out []*controlpb.Change) {
	for _, c := range list {
		out = append(out, &controlpb.Change{Parameter: c.Name, From: c.From, To: c.To})
	}
	return out
}

func trialProto(t *optimizer.TrialReport) *controlpb.Trial {
	return &controlpb.Trial{
		Decision: t.Decision, Share: t.Share, ControlExchanges: t.Exchanges[0], Exchanges: t.Exchanges[1], ControlFailures: t.Failures[0], Failures: t.Failures[1],
		ControlViolations: t.Violations[0], Violations: t.Violations[1], CostRatio: t.Cost, CostRatioError: t.CostError,
	}
}

// DecisionProto puts a decision in the words of the API, without what it follows from.
func DecisionProto(d *optimizer.Decision) *controlpb.Decision {
	p := &controlpb.Decision{
		Id: d.ID, At: timeOf(d.At), Route: d.Route, Tuner: d.Tuner, Mode: modeProto(d.Mode), Verdict: string(d.Verdict), Reason: d.Reason, Why: d.Why, By: d.By,
		Expires: timeOf(d.Expires), Changes: changesProto(d.Changes), ExpectedCost: d.Expected.Cost, ExpectedRelative: d.Expected.Relative,
		ExpectedViolations: d.Expected.Violations, Sentence: d.String(),
	}
	if d.Trial != nil {
		p.Trial = trialProto(d.Trial)
	}
	return p
}

func (a *admin) OrderOptimizer(ctx context.Context, req *controlpb.OrderOptimizerRequest) (*controlpb.OrderOptimizerResponse, error) {
	if a.options.Optimizer == nil {
		return nil, connect.NewError(connect.CodeUnavailable, errNoOptimizer)
	}
	o := optimizer.Order{
		Action: optimizer.Action(req.GetAction()), Route: req.GetRoute(), Tuner: req.GetTuner(), Decision: req.GetDecision(), Parameter: req.GetParameter(),
		Value: req.GetValue(), By: strings.TrimSpace(req.GetBy()), Why: strings.TrimSpace(req.GetWhy()),
	}
	if o.By == "" {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("by: empty: want the name of whoever gives the order"))
	}
	if o.Action == optimizer.SetMode {
		if req.GetMode() <= controlpb.Mode_MODE_UNSPECIFIED || int(req.GetMode()) > len(optimizer.ModeNames) {
			return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("mode %v: want one of MODE_OBSERVE to MODE_AUTO", req.GetMode()))
		}
		o.Mode = optimizer.Mode(req.GetMode() - controlpb.Mode_MODE_OBSERVE) //nolint:gosec // one of four
	}
	if f := req.GetFor(); f != nil {
		const longest = 365 * 24 * time.Hour
		if o.For = f.AsDuration(); o.For <= 0 || o.For > longest {
			return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("for %v: want more than 0 and at most %v", o.For, longest))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, optimizerTimeout)
	defer cancel()
	d, err := a.options.Optimizer.Order(ctx, o)
	switch {
	case errors.Is(err, optimizer.ErrOrder):
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	case err != nil:
		return nil, connect.NewError(connect.CodeUnavailable, err)
	}
	return &controlpb.OrderOptimizerResponse{Decision: DecisionProto(&d)}, nil
}

func (a *admin) GetSavings(ctx context.Context, req *controlpb.GetSavingsRequest) (*controlpb.GetSavingsResponse, error) {
	if a.options.Optimizer == nil {
		return nil, connect.NewError(connect.CodeUnavailable, errNoOptimizer)
	}
	ctx, cancel := context.WithTimeout(ctx, optimizerTimeout)
	defer cancel()
	var s *optimizer.Savings
	since := time.Time{}
	err := a.options.Optimizer.Inspect(ctx, func(l *optimizer.Loop, now time.Time) {
		if span := req.GetSpan(); span != nil {
			since = now.Add(-span.AsDuration())
		}
		s = l.Proof.Savings(now, since)
	})
	if err != nil {
		return nil, connect.NewError(connect.CodeUnavailable, err)
	}
	res := &controlpb.GetSavingsResponse{Text: s.Text()}
	if res.Savings, err = structOf(s); err != nil {
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	if a.options.Saved == nil {
		return res, nil
	}
	besides := a.options.Saved(ctx, since)
	fields, err := structOf(besides)
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	maps.Copy(res.GetSavings().GetFields(), fields.GetFields())
	res.Text += besides.Text()
	return res, nil
}

func structOf(v any) (*structpb.Struct, error) {
	s := &structpb.Struct{}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return s, protojson.Unmarshal(raw, s)
}

func (a *admin) RunCycle(ctx context.Context, _ *controlpb.RunCycleRequest, to *connect.ServerStream[controlpb.RunCycleResponse]) error {
	if a.options.Optimizer == nil {
		return connect.NewError(connect.CodeUnavailable, errNoOptimizer)
	}
	ctx, cancel := context.WithTimeout(ctx, optimizerTimeout)
	defer cancel()
	decisions, err := a.options.Optimizer.Cycle(ctx)
	switch {
	case errors.Is(err, runner.ErrOff):
		return connect.NewError(connect.CodeFailedPrecondition, err)
	case err != nil:
		return connect.NewError(connect.CodeUnavailable, err)
	}
	for i := range decisions {
		if err := to.Send(&controlpb.RunCycleResponse{Decision: DecisionProto(&decisions[i])}); err != nil {
			return err
		}
	}
	return nil
}

func (a *admin) WatchDecisions(ctx context.Context, req *controlpb.WatchDecisionsRequest, to *connect.ServerStream[controlpb.WatchDecisionsResponse]) error {
	if a.options.Optimizer == nil {
		return connect.NewError(connect.CodeUnavailable, errNoOptimizer)
	}
	decisions, end := a.options.Optimizer.Watch()
	defer end()
	if err := to.Send(nil); err != nil { // the client learns that it watches
		return err
	}
	for {
		select {
		case d := <-decisions:
			if d.Verdict == optimizer.Held && !req.GetHolds() {
				continue
			}
			if err := to.Send(&controlpb.WatchDecisionsResponse{Decision: DecisionProto(&d)}); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil //nolint:nilerr // the client has left
		case <-a.ending:
			return nil
		}
	}
}

const (
	defaultWatch = time.Second
	shortWatch   = 100 * time.Millisecond
	longWatch    = time.Hour
)

func (a *admin) WatchStatus(ctx context.Context, req *controlpb.WatchStatusRequest, to *connect.ServerStream[controlpb.WatchStatusResponse]) error {
	every := defaultWatch
	if e := req.GetEvery(); e != nil {
		if every = e.AsDuration(); every < shortWatch || every > longWatch {
			return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("every %v: want %v to %v", every, shortWatch, longWatch))
		}
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		status, err := a.GetStatus(ctx, &controlpb.GetStatusRequest{Span: req.GetSpan()})
		if err != nil {
			return err
		}
		if err := to.Send(&controlpb.WatchStatusResponse{Status: status}); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil //nolint:nilerr // the client has left
		case <-a.ending:
			return nil
		}
	}
}
