package control

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"llm-auto-optimizer/optimizer/control/controlpb"
)

// Cache keeps answers. The errors of its calls carry the codes that those who ask get; see connect.CodeOf.
type Cache interface {
	Stats() *controlpb.CacheStatsResponse
	Curves() *controlpb.CacheCurvesResponse
	LookUp(ctx context.Context, req *controlpb.LookUpCacheRequest) (*controlpb.LookUpCacheResponse, error)
	// Purge is carried out whether or not the one who asked for it still waits.
	Purge(ctx context.Context, req *controlpb.PurgeCacheRequest) (*controlpb.PurgeCacheResponse, error)
}

var errNoCache = errors.New("there is no cache")

// cached is the cache, or the error that there is none.
func (a *admin) cached() (Cache, error) {
	if a.options.Cache == nil {
		return nil, connect.NewError(connect.CodeFailedPrecondition, errNoCache)
	}
	return a.options.Cache, nil
}

func (a *admin) CacheStats(context.Context, *controlpb.CacheStatsRequest) (*controlpb.CacheStatsResponse, error) {
	c, err := a.cached()
	if err != nil {
		return nil, err
	}
	return c.Stats(), nil
}

func (a *admin) CacheCurves(context.Context, *controlpb.CacheCurvesRequest) (*controlpb.CacheCurvesResponse, error) {
	c, err := a.cached()
	if err != nil {
		return nil, err
	}
	return c.Curves(), nil
}

func (a *admin) LookUpCache(ctx context.Context, req *controlpb.LookUpCacheRequest) (*controlpb.LookUpCacheResponse, error) {
	c, err := a.cached()
	if err != nil {
		return nil, err
	}
	return c.LookUp(ctx, req)
}

func (a *admin) PurgeCache(ctx context.Context, req *controlpb.PurgeCacheRequest) (*controlpb.PurgeCacheResponse, error) {
	c, err := a.cached()
	if err != nil {
		return nil, err
	}
	return c.Purge(ctx, req)
}
