package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/types/known/timestamppb"

	"llm-auto-optimizer/optimizer/control/controlpb"
	"llm-auto-optimizer/optimizer/state"
	"llm-auto-optimizer/proxy/cache"
	"llm-auto-optimizer/proxy/provider"
	"llm-auto-optimizer/storage"
)

// purgeTimeout is how long a purge waits for the disk: below what the admin service gives an answer. What is left then is done later.
const purgeTimeout = time.Minute

var (
	errCacheOff = errors.New("no answers are kept: cache.enabled is false, and no route has it true; what an earlier run has left on disk stays there")
	errNoAnswer = errors.New("no answer is kept under this key, or not any more")
	errDamaged  = errors.New("the answer is not what had been stored, or is another version's: it is a miss")
)

// cacheAPI shows the cache to the admin service.
type cacheAPI struct{ g *gateway }

// Stats implements control.Cache.
func (a cacheAPI) Stats() *controlpb.CacheStatsResponse {
	s := a.g.cache.Stats()
	m := &s.Memory
	res := &controlpb.CacheStatsResponse{
		Enabled: caches(a.g.reload.current.Load()),
		Memory: &controlpb.CacheTier{
			Entries: m.Entries, Bytes: m.Bytes, LimitBytes: m.Limit, Hits: m.Hits, Misses: m.Misses, Stored: m.Stored, Evicted: m.Evicted, Rejected: m.Rejected,
		},
	}
	if d := s.Disk; d != nil {
		trouble := diskTrouble(d)
		res.Disk = &controlpb.CacheDisk{
			Tier: &controlpb.CacheTier{
				Entries: d.Entries, Bytes: d.Bytes, LimitBytes: d.Limit, Hits: d.Hits, Misses: d.Misses, Stored: d.Stored, Evicted: d.Evicted,
				Rejected: d.Rejected + d.Overflowed + d.Unwritten,
			},
			Up: trouble == "", NotUp: trouble, QueuedBytes: d.Queued, Purging: int32(d.Purging), //nolint:gosec // a few
			Failures: d.Failures + d.Timeouts + d.Corrupt,
		}
	}
	for _, u := range a.g.proxy.CacheUse() {
		r := &controlpb.RouteCache{
			Route: u.Route, Requests: u.Results, Stored: u.Stored, Refused: u.Refused, SavedNanousd: int64(u.Saved), SavedSeconds: u.Sooner.Seconds(), Damaged: u.Damaged,
			SpentNanousd: int64(u.Spent), ServedBytes: uint64(u.Served), //nolint:gosec // not negative
		}
		for _, k := range u.Classes {
			r.Classes = append(r.Classes, &controlpb.ClassCache{
				Class: k.Class, Requests: k.Results, SavedNanousd: int64(k.Saved), SavedSeconds: k.Sooner.Seconds(), SpentNanousd: int64(k.Spent),
				ServedBytes: uint64(k.Served), //nolint:gosec // not negative
			})
		}
		res.Routes = append(res.Routes, r)
	}
	return res
}

// diskTrouble says why the disk is not asked for answers, or not for all; empty: it is.
func diskTrouble(d *storage.DiskStats) string {
	switch {
	case !d.Up:
		return "its database is not there: the log says why"
	case !d.Ready:
		return "what an earlier run has left is still looked through"
	case d.Open:
		return "it did not answer in time, and is left alone for a moment"
	}
	return ""
}

// on reports an error where there can be no answers: none are kept, nor is there a disk with those that were.
func (a cacheAPI) on() error {
	if caches(a.g.reload.current.Load()) || a.g.cache.Stats().Disk != nil {
		return nil
	}
	return connect.NewError(connect.CodeFailedPrecondition, errCacheOff)
}

// answerKey reads the key of an answer.
func answerKey(text string) (cache.Key, error) {
	key, ok := cache.ParseKey(text)
	if !ok {
		return key, fmt.Errorf("key %q: want 64 hexadecimal digits, the cache_key of the access log", text)
	}
	return key, nil
}

// LookUp implements control.Cache.
func (a cacheAPI) LookUp(ctx context.Context, req *controlpb.LookUpCacheRequest) (*controlpb.LookUpCacheResponse, error) {
	key, err := answerKey(req.GetKey())
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	if err := a.on(); err != nil {
		return nil, err
	}
	now := time.Now()
	info, err := a.g.cache.Peek(ctx, now, key)
	var e cache.Entry
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, connect.NewError(connect.CodeNotFound, errNoAnswer)
	case errors.Is(err, storage.ErrDamaged), err == nil && cache.Decode(&e, &key, info.Value) != nil:
		return nil, connect.NewError(connect.CodeDataLoss, errDamaged)
	case err != nil:
		return nil, connect.NewError(connect.CodeUnavailable, fmt.Errorf("the answer is not in memory, and the disk can't be asked now: %w", err))
	}
	res := answerProto(&e, &info, now)
	res.State = "unused"
	if rules, keeps := a.g.proxy.CacheRules(res.GetRoute()); keeps {
		res.State = stateWords[e.State(now, &rules, &cache.Directives{})]
	}
	if req.GetAnswer() {
		res.Answer = e.Answer
	}
	return res, nil
}

var (
	stateWords  = map[cache.State]string{cache.Fresh: "fresh", cache.Stale: "updating", cache.OnError: "stale", cache.Expired: "expired"}
	formatWords = map[provider.Format]string{provider.Plain: "body", provider.EventStream: "stream", provider.JSONArray: "array"}
)

func answerProto(e *cache.Entry, info *storage.CacheInfo, now time.Time) *controlpb.LookUpCacheResponse {
	moment := func(t time.Time) *timestamppb.Timestamp {
		if t.IsZero() {
			return nil
		}
		return timestamppb.New(t)
	}
	u := &e.Usage
	return &controlpb.LookUpCacheResponse{
		Key: e.Key.String(), Memory: info.Memory, Disk: info.Disk, Created: moment(e.Created), Expires: moment(e.Expires), KeptUntil: moment(info.Expires),
		LastHit: moment(info.LastHit), AgeSeconds: e.Age(now).Seconds(), Route: string(e.Route), Model: string(e.Model), Caller: string(e.Caller),
		Dialect: e.Dialect.String(), Operation: e.Operation.String(), Format: formatWords[e.Format], Status: int32(e.Status), //nolint:gosec // three digits
		ContentType: string(e.Type), AnswerBytes: int64(len(e.Answer)), Bytes: int64(len(info.Value)),
		TokensInput: u.Input + u.AudioInput + u.ImageInput, TokensCacheRead: u.CacheRead, TokensCacheWrite: u.CacheWrite5m + u.CacheWrite1h,
		TokensOutput: u.OutputTotal(), TokensReasoning: u.Reasoning, CostNanousd: int64(e.Cost), Unpriced: e.Unpriced,
		LatencySeconds: e.Latency.Seconds(), FirstByteSeconds: e.FirstByte.Seconds(),
	}
}

// purgeFilter reads what is to be purged. It refuses what picks nothing, or more than was meant.
func purgeFilter(req *controlpb.PurgeCacheRequest) (*storage.CacheFilter, error) {
	f := &storage.CacheFilter{Route: req.GetRoute(), Model: req.GetModel(), Caller: strings.ToLower(req.GetCaller())}
	named := req.GetKey() != "" || f.Route != "" || f.Model != "" || f.Caller != ""
	switch {
	case req.GetAll() && named:
		return nil, fmt.Errorf("all with %s: want one of the two", pickedText(req))
	case !req.GetAll() && !named:
		return nil, errors.New("nothing is picked: want key, route, model or caller, or all for every answer")
	}
	if req.GetKey() != "" {
		key, err := answerKey(req.GetKey())
		if err != nil {
			return nil, err
		}
		f.Key = (*storage.CacheKey)(&key)
	}
	if f.Caller != "" && !isCaller(f.Caller) {
		return nil, fmt.Errorf("caller %q: want 16 hexadecimal digits, the caller of the access log, or -", req.GetCaller())
	}
	if !req.GetDryRun() && strings.TrimSpace(req.GetBy()) == "" {
		return nil, fmt.Errorf("by %q: want the name of who purges", req.GetBy())
	}
	return f, nil
}

// isCaller knows what the access log has of callers.
func isCaller(s string) bool {
	return s == "-" || len(s) == 16 && strings.Trim(s, "0123456789abcdef") == ""
}

// pickedText is what a request picks, in words.
func pickedText(req *controlpb.PurgeCacheRequest) string {
	var parts []string
	for _, p := range [][2]string{{"key", req.GetKey()}, {"route", req.GetRoute()}, {"model", req.GetModel()}, {"caller", req.GetCaller()}} {
		if p[1] != "" {
			parts = append(parts, fmt.Sprintf("%s %q", p[0], p[1]))
		}
	}
	return strings.Join(parts, ", ")
}

// Purge implements control.Cache.
func (a cacheAPI) Purge(ctx context.Context, req *controlpb.PurgeCacheRequest) (*controlpb.PurgeCacheResponse, error) {
	filter, err := purgeFilter(req)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	if err := a.on(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), purgeTimeout)
	defer cancel()
	now := time.Now()
	if !req.GetDryRun() {
		a.g.proxy.CachePurged() // first: what comes of requests that are under way is not kept
	}
	n, err := a.g.cache.Purge(ctx, now, filter, req.GetDryRun())
	res := &controlpb.PurgeCacheResponse{
		MemoryEntries: n.Memory.Entries, MemoryBytes: n.Memory.Bytes, DiskEntries: n.Disk.Entries, DiskBytes: n.Disk.Bytes,
	}
	if err != nil {
		res.DiskPending = err.Error()
	}
	if !req.GetDryRun() {
		a.note(now, req, res)
	}
	return res, nil
}

// note has the log and the journal tell of a purge.
func (a cacheAPI) note(at time.Time, req *controlpb.PurgeCacheRequest, res *controlpb.PurgeCacheResponse) {
	picked := pickedText(req)
	if req.GetAll() {
		picked = "everything"
	}
	by, why := strings.TrimSpace(req.GetBy()), strings.TrimSpace(req.GetWhy())
	level := zerolog.WarnLevel
	if res.GetDiskPending() != "" {
		level = zerolog.ErrorLevel
	}
	log := a.g.log.WithLevel(level).Str("by", by).Str("why", why).Str("picked", picked).Int64("memory_entries", res.GetMemoryEntries()).
		Int64("memory_bytes", res.GetMemoryBytes()).Int64("disk_entries", res.GetDiskEntries()).Int64("disk_bytes", res.GetDiskBytes())
	if res.GetDiskPending() != "" {
		log = log.Str("disk_pending", res.GetDiskPending())
	}
	log.Msg("an operator has purged kept answers")
	if a.g.durable == nil {
		return
	}
	reason := fmt.Sprintf("%s purged %s: %s", by, picked, purgedText(res))
	if why != "" {
		reason += ": " + why
	}
	policy := a.g.policy.Load()
	if !a.g.durable.keeper.TryJournal(state.Entry{At: at, Kind: state.KindCache, Reason: reason, From: policy.Version, To: policy.Version}, policy) {
		a.g.log.Error().Str("picked", picked).Msg("a purge is not in the journal: too much waits to be stored")
	}
}

// purgedText is what a purge took, in words.
func purgedText(res *controlpb.PurgeCacheResponse) string {
	text := fmt.Sprintf("%d in memory (%s), %d on disk (%s)", res.GetMemoryEntries(), sizeText(res.GetMemoryBytes()), res.GetDiskEntries(), sizeText(res.GetDiskBytes()))
	if res.GetDiskPending() != "" {
		text += ", where more may follow"
	}
	return text
}
