package control

import (
	"context"
	"fmt"

	"connectrpc.com/connect"

	"llm-auto-optimizer/optimizer/control/controlpb"
)

const (
	// standingsShown is how many of a limit are listed unless more are asked for, and standingsMost at most.
	standingsShown = 20
	standingsMost  = 10_000
)

var errMost = fmt.Errorf("most: want 1 to %d", standingsMost)

func (a *admin) ListLimits(_ context.Context, req *controlpb.ListLimitsRequest) (*controlpb.ListLimitsResponse, error) {
	most := int(req.GetMost())
	switch {
	case most == 0:
		most = standingsShown
	case most < 0 || most > standingsMost:
		return nil, connect.NewError(connect.CodeInvalidArgument, errMost)
	}
	if a.options.Limits == nil {
		return &controlpb.ListLimitsResponse{}, nil
	}
	return a.options.Limits(most), nil
}
