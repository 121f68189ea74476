package main

import (
	"bytes"
	"strings"
	"testing"

	"llm-auto-optimizer/optimizer/control/controlpb"
)

func TestPurgeFilter(t *testing.T) {
	t.Parallel()
	key := strings.Repeat("0aF", 21) + "9"
	good := func(req *controlpb.PurgeCacheRequest, route, model, caller string, keyed bool) {
		t.Helper()
		f, err := purgeFilter(req)
		if err != nil || f.Route != route || f.Model != model || f.Caller != caller || (f.Key != nil) != keyed {
			t.Errorf("%v: got %+v, %v", req, f, err)
		}
	}
	good(&controlpb.PurgeCacheRequest{Key: key, By: "ann"}, "", "", "", true)
	good(&controlpb.PurgeCacheRequest{All: true, By: "ann"}, "", "", "", false)
	good(&controlpb.PurgeCacheRequest{All: true, DryRun: true}, "", "", "", false)
	good(&controlpb.PurgeCacheRequest{Route: "r", Model: "m", Caller: "0123456789ABCDEF", DryRun: true}, "r", "m", "0123456789abcdef", false)
	good(&controlpb.PurgeCacheRequest{Key: key, Caller: "-", By: "ann"}, "", "", "-", true)

	bad := func(req *controlpb.PurgeCacheRequest, says string) {
		t.Helper()
		if f, err := purgeFilter(req); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: got %+v, %v, want %q", req, f, err, says)
		}
	}
	bad(&controlpb.PurgeCacheRequest{By: "ann"}, "nothing is picked: want key, route, model or caller, or all")
	bad(&controlpb.PurgeCacheRequest{DryRun: true}, "nothing is picked")
	bad(&controlpb.PurgeCacheRequest{All: true, Key: key, Model: "m", By: "ann"}, `all with key "`+key+`", model "m": want one of the two`)
	bad(&controlpb.PurgeCacheRequest{Key: key[1:], By: "ann"}, `key "`+key[1:]+`": want 64 hexadecimal digits`)
	bad(&controlpb.PurgeCacheRequest{Key: key[1:] + "g", By: "ann"}, "want 64 hexadecimal digits")
	bad(&controlpb.PurgeCacheRequest{Caller: "0123456789abcde", By: "ann"}, `caller "0123456789abcde": want 16 hexadecimal digits`)
	bad(&controlpb.PurgeCacheRequest{Caller: "sk-0123456789abc", By: "ann"}, "want 16 hexadecimal digits, the caller of the access log, or -")
	bad(&controlpb.PurgeCacheRequest{Route: "r", By: " "}, `by " ": want the name of who purges`)
}

func TestCacheTables(t *testing.T) {
	t.Parallel()
	check := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	tier := &controlpb.CacheTier{Entries: 3, Bytes: 4096, LimitBytes: 256 << 20, Hits: 7, Misses: 5, Stored: 4, Evicted: 1, Rejected: 2}
	var out bytes.Buffer
	appendCacheStats(&out, &controlpb.CacheStatsResponse{
		Enabled: true, Memory: tier,
		Disk: &controlpb.CacheDisk{Tier: tier, NotUp: "a test", QueuedBytes: 2048, Purging: 1, Failures: 9},
		Routes: []*controlpb.RouteCache{{
			Route: "chat\x1b", Requests: map[string]uint64{"hit": 2, "updating": 1, "coalesced": 4, "miss": 1, "bypass": 2, "refresh": 5}, Stored: 1, Refused: map[string]uint64{"cut": 1, "usage": 12, "size": 1},
			SavedNanousd: 1_234_500_000, SavedSeconds: 75, Damaged: 2,
		}},
	})
	check(out.String(), `tier    answers     size    limit  found  not found  written  evicted  rejected
memory        3  4.0 KiB  256 MiB      7          5        4        1         2
disk          3  4.0 KiB  256 MiB      7          5        4        1         2
The disk is not up: a test.
disk: 2.0 KiB wait to be written, 1 purges to be followed, 9 reads failed

route  hits  shared  misses  stale  bypassed  hit rate  stored    saved  time saved  remarks
chat?     3       4       1      0         2     87.5%       1  $1.2345       1m15s  not kept: usage 12, cut 1, size 1; damaged 2; fetched anew 5
`)
	check(refusedText(&controlpb.RouteCache{Damaged: 1}), "damaged 1")
	check(stateText(&controlpb.LookUpCacheResponse{State: "stale"}), "stale: it stands in where no target can serve")
	check(stateText(&controlpb.LookUpCacheResponse{State: "updating"}), "stale: the next who asks gets it, and a new one is fetched")
	check(stateText(&controlpb.LookUpCacheResponse{State: "expired"}), "expired: nobody gets it")
	check(stateText(&controlpb.LookUpCacheResponse{State: "unused"}), "unused: its route keeps no answers now")
	check(purgedText(&controlpb.PurgeCacheResponse{MemoryEntries: 1, MemoryBytes: 2048, DiskPending: "x"}), "1 in memory (2.0 KiB), 0 on disk (0 B), where more may follow")
}
