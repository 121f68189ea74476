package control

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/optimizer/control/controlpb"
)

const (
	defaultStatusSpan = 5 * time.Minute
	defaultSeriesSpan = time.Hour
	maxSpan           = 7 * 24 * time.Hour // the windows keep a week
)

// Windows is what the service reads of the recorded windows. *window.Recorder is one.
type Windows interface {
	Select(match func(window.Key) bool) []*window.Series
	Sum(span window.Span, series ...*window.Series) *window.Summary
	Steps(span window.Span, step time.Duration, series ...*window.Series) []*window.Summary
}

// admin answers the calls of controlpb.
type admin struct{ *Server }

var _ controlpb.AdminHandler = (*admin)(nil)

func (a *admin) GetVersion(context.Context, *controlpb.GetVersionRequest) (*controlpb.GetVersionResponse, error) {
	return &controlpb.GetVersionResponse{Version: a.options.Version.proto()}, nil
}

func (v Version) proto() *controlpb.Version {
	return &controlpb.Version{Version: v.Version, Commit: v.Commit, Date: v.Date, Go: v.Go}
}

func (a *admin) GetStatus(_ context.Context, req *controlpb.GetStatusRequest) (*controlpb.GetStatusResponse, error) {
	back, err := spanOf(req.GetSpan(), defaultStatusSpan)
	if err != nil {
		return nil, err
	}
	now := a.options.Now()
	res := &controlpb.GetStatusResponse{
		Version:       a.options.Version.proto(),
		Now:           timestamppb.New(now),
		Started:       timestamppb.New(a.started),
		ProxyUrl:      a.options.ProxyURL,
		AdminUrl:      a.options.AdminURL,
		Ready:         true,
		Mode:          modeProto(a.options.Mode()),
		PolicyVersion: a.options.Policy.Load().Version,
	}
	if err := a.options.Ready(); err != nil {
		res.Ready, res.NotReady = false, err.Error()
	}
	res.Notices = a.options.Notices()
	providers := a.options.Providers()
	for _, name := range slices.Sorted(maps.Keys(providers)) {
		p := providers[name]
		res.Providers = append(res.Providers, &controlpb.Provider{
			Name: name, Dialect: p.Dialect, BaseUrl: p.BaseURL, OwnKey: !p.APIKey.Empty(),
		})
	}
	if a.options.Routes != nil {
		res.Routes = a.options.Routes.List()
	}
	a.sumTargets(res, window.Last(now, back))
	return res, nil
}

// sumTargets fills in what the windows hold of the span: one summary for each target, and the total.
func (a *admin) sumTargets(res *controlpb.GetStatusResponse, span window.Span) {
	total := &window.Summary{}
	series := a.options.Windows.Select(nil) // ordered by key, so a target's series are neighbors
	for len(series) > 0 {
		first := series[0].Key()
		n := slices.IndexFunc(series, func(s *window.Series) bool { return s.Key().Target != first.Target || s.Key().Route != first.Route })
		if n < 0 {
			n = len(series)
		}
		sum := a.options.Windows.Sum(span, series[:n]...)
		if sum.Requests() > 0 {
			total.Merge(sum)
			res.Targets = append(res.Targets, &controlpb.TargetStatus{Target: nameOf(first), Summary: summary(sum)})
		}
		series = series[n:]
	}
	if total.Requests() == 0 {
		total.From, total.To = span.From(), span.To()
	}
	res.Span = durationpb.New(total.To.Sub(total.From))
	res.Total = summary(total)
}

// nameOf is what a target is called among those of all routes.
func nameOf(k window.Key) string {
	if k.Route == "" || k.Route == directRoute || k.Route == window.Other {
		return k.Target
	}
	return k.Route + "/" + k.Target
}

// directRoute is the route of requests that go where their path says.
const directRoute = "direct"

func (a *admin) GetSeries(_ context.Context, req *controlpb.GetSeriesRequest) (*controlpb.GetSeriesResponse, error) {
	back, err := spanOf(req.GetSpan(), defaultSeriesSpan)
	if err != nil {
		return nil, err
	}
	step := req.GetStep().AsDuration()
	if step < 0 || step > maxSpan {
		return nil, outOfRange("step", step)
	}
	span := window.Last(a.options.Now(), back)
	selected := a.options.Windows.Select(func(k window.Key) bool {
		return matches(req.GetTarget(), k.Target) && matches(req.GetRoute(), k.Route) &&
			matches(req.GetClass(), k.Class) && matches(req.GetArm(), k.Arm)
	})
	res := &controlpb.GetSeriesResponse{Step: durationpb.New(keptStep(max(step, span.Step())))}
	start := span.From() // s.From would not do: it is never before the first attempt
	for _, s := range a.options.Windows.Steps(span, step, selected...) {
		res.Points = append(res.Points, &controlpb.Point{
			Start: timestamppb.New(start), End: timestamppb.New(s.To), Summary: summary(s),
		})
		start = s.To
	}
	return res, nil
}

func matches(want, label string) bool { return want == "" || want == label }

// keptStep is the resolution at which the windows answer when asked for steps of d.
func keptStep(d time.Duration) time.Duration {
	for _, kept := range []time.Duration{10 * time.Second, time.Minute} {
		if d <= kept {
			return kept
		}
	}
	return time.Hour
}

func spanOf(d *durationpb.Duration, otherwise time.Duration) (time.Duration, error) {
	if d == nil {
		return otherwise, nil
	}
	span := d.AsDuration()
	if span <= 0 || span > maxSpan {
		return 0, outOfRange("span", span)
	}
	return span, nil
}

func outOfRange(field string, got time.Duration) error {
	return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("%s %s: want more than 0 and at most %s", field, got, maxSpan))
}
