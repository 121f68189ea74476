package control

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"llm-auto-optimizer/optimizer/control/controlpb"
)

// Routes are the routes in force.
type Routes interface {
	List() []*controlpb.Route
	// Set does what an operator asks for, and gives the target as it is then; nil where there is none of that name.
	Set(route, target string, action controlpb.SetTargetRequest_Action, reason string) *controlpb.RouteTarget
	// Explain says where a request would go. Its error says why the request would be refused.
	Explain(req *controlpb.ExplainRequest) (*controlpb.ExplainResponse, error)
}

var errNoRoutes = errors.New("there are no routes")

func (a *admin) ListRoutes(context.Context, *controlpb.ListRoutesRequest) (*controlpb.ListRoutesResponse, error) {
	res := &controlpb.ListRoutesResponse{}
	if a.options.Routes != nil {
		res.Routes = a.options.Routes.List()
	}
	return res, nil
}

func (a *admin) SetTarget(_ context.Context, req *controlpb.SetTargetRequest) (*controlpb.SetTargetResponse, error) {
	switch req.GetAction() {
	case controlpb.SetTargetRequest_ACTION_DRAIN, controlpb.SetTargetRequest_ACTION_EJECT, controlpb.SetTargetRequest_ACTION_RESTORE:
	default:
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("action %v: want ACTION_DRAIN, ACTION_EJECT or ACTION_RESTORE", req.GetAction()))
	}
	if a.options.Routes == nil {
		return nil, connect.NewError(connect.CodeNotFound, errNoRoutes)
	}
	t := a.options.Routes.Set(req.GetRoute(), req.GetTarget(), req.GetAction(), req.GetReason())
	if t == nil {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("no target %q of a route %q", req.GetTarget(), req.GetRoute()))
	}
	return &controlpb.SetTargetResponse{Target: t}, nil
}

func (a *admin) Explain(_ context.Context, req *controlpb.ExplainRequest) (*controlpb.ExplainResponse, error) {
	if a.options.Routes == nil {
		return nil, connect.NewError(connect.CodeUnimplemented, errNoRoutes)
	}
	res, err := a.options.Routes.Explain(req)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	return res, nil
}
