package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"llm-auto-optimizer/optimizer/control/controlpb"
)

// cacheCmd shows the kept answers of a running server, and purges them.
type cacheCmd struct {
	Stats  cacheStatsCmd  `cmd:"" default:"withargs" help:"Show how full the cache is, and what it did for each route."`
	Curves cacheCurvesCmd `cmd:"" help:"Show what caches of other sizes and times to live would have done, and how often answers change."`
	Show   cacheShowCmd   `cmd:"" help:"Show one kept answer."`
	Purge  cachePurgeCmd  `cmd:"" help:"Give up kept answers: those for which all that is named holds."`
}

type cacheStatsCmd struct {
	adminFlags
	JSON bool `name:"json" help:"Print JSON, the API's CacheStatsResponse."`
}

// Run prints how the cache does.
func (c *cacheStatsCmd) Run(env *environment) error {
	return printAnswer(env, c.adminFlags, c.JSON, controlpb.AdminClient.CacheStats, appendCacheStats)
}

// appendCacheStats renders the answer for a person.
func appendCacheStats(out *bytes.Buffer, res *controlpb.CacheStatsResponse) {
	if !res.GetEnabled() {
		out.WriteString("No answers are kept: cache.enabled is false, and no route has it true. See docs/cache.md.\n")
		if res.GetDisk() == nil && len(res.GetRoutes()) == 0 {
			return
		}
	}
	rows := [][]string{{"tier", "answers", "size", "limit", "found", "not found", "written", "evicted", "rejected"}}
	tier := func(name string, t *controlpb.CacheTier) {
		rows = append(rows, []string{
			name, fmt.Sprint(t.GetEntries()), sizeText(t.GetBytes()), sizeText(t.GetLimitBytes()), fmt.Sprint(t.GetHits()), fmt.Sprint(t.GetMisses()), fmt.Sprint(t.GetStored()),
			fmt.Sprint(t.GetEvicted()), fmt.Sprint(t.GetRejected()),
		})
	}
	tier("memory", res.GetMemory())
	if d := res.GetDisk(); d != nil {
		tier("disk", d.GetTier())
	}
	appendTable(out, []bool{true, false, false, false, false, false, false, false, false}, rows)
	if d := res.GetDisk(); d != nil {
		if !d.GetUp() {
			fmt.Fprintf(out, "The disk is not up: %s.\n", printable(d.GetNotUp()))
		}
		fmt.Fprintf(out, "disk: %s wait to be written, %d purges to be followed, %d reads failed\n", sizeText(d.GetQueuedBytes()), d.GetPurging(), d.GetFailures())
	}
	if len(res.GetRoutes()) == 0 {
		return
	}
	out.WriteByte('\n')
	rows = [][]string{{"route", "hits", "shared", "misses", "stale", "bypassed", "hit rate", "stored", "saved", "time saved", "remarks"}}
	for _, r := range res.GetRoutes() {
		n := r.GetRequests()
		hits := n["hit"] + n["updating"]
		asked := hits + n["coalesced"] + n["miss"] + n["stale"]
		rows = append(rows, []string{
			clip(printable(r.GetRoute())), fmt.Sprint(hits), fmt.Sprint(n["coalesced"]), fmt.Sprint(n["miss"]), fmt.Sprint(n["stale"]), fmt.Sprint(n["bypass"]),
			percent(int64(hits+n["coalesced"]), int64(asked)), fmt.Sprint(r.GetStored()), dollars(r.GetSavedNanousd()), shortDuration(r.GetSavedSeconds()), refusedText(r), //nolint:gosec // counts
		})
	}
	appendTable(out, []bool{true, false, false, false, false, false, false, false, false, false, true}, rows)
}

// refusedText lists why answers were not kept, most frequent first, and what was damaged.
func refusedText(r *controlpb.RouteCache) string {
	refused := r.GetRefused()
	names := slices.Sorted(maps.Keys(refused))
	slices.SortStableFunc(names, func(a, b string) int { return int(min(max(int64(refused[b])-int64(refused[a]), -1), 1)) }) //nolint:gosec // counts
	var parts []string
	for _, why := range names {
		parts = append(parts, fmt.Sprintf("%s %d", printable(why), refused[why]))
	}
	text := ""
	if len(parts) > 0 {
		text = "not kept: " + strings.Join(parts, ", ")
	}
	if n := r.GetDamaged(); n > 0 {
		text = strings.TrimPrefix(fmt.Sprintf("%s; damaged %d", text, n), "; ")
	}
	if n := r.GetRequests()["refresh"]; n > 0 {
		text = strings.TrimPrefix(fmt.Sprintf("%s; fetched anew %d", text, n), "; ")
		if r.GetSpentNanousd() > 0 {
			text += " for " + dollars(r.GetSpentNanousd())
		}
	}
	return text
}

type cacheShowCmd struct {
	adminFlags
	Entry  string `arg:"" help:"Key of the answer: the cache_key of the access log."`
	Answer bool   `help:"Print the answer itself, byte for byte, and nothing else; with --json: in base64, with the rest."`
	JSON   bool   `name:"json" help:"Print JSON, the API's LookUpCacheResponse."`
}

// Run prints what is known of an answer.
func (c *cacheShowCmd) Run(env *environment) error {
	if _, err := answerKey(c.Entry); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	conn, err := c.dial(env)
	if err != nil {
		return err
	}
	res, err := conn.api.LookUpCache(env.ctx, &controlpb.LookUpCacheRequest{Key: c.Entry, Answer: c.Answer})
	switch {
	case err != nil:
		return conn.explain(err)
	case c.JSON:
		return printMessage(env.stdout, res)
	case c.Answer:
		_, err = env.stdout.Write(res.GetAnswer())
		return err
	}
	var out bytes.Buffer
	if err := appendAnswer(&out, res); err != nil {
		return err
	}
	_, err = env.stdout.Write(out.Bytes())
	return err
}

// appendAnswer describes an answer for a person.
func appendAnswer(out *bytes.Buffer, r *controlpb.LookUpCacheResponse) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	var tiers []string
	if r.GetMemory() {
		tiers = append(tiers, "memory")
	}
	if r.GetDisk() {
		tiers = append(tiers, "disk")
	}
	price := dollars(r.GetCostNanousd())
	if r.GetUnpriced() {
		price = "unpriced"
	}
	latency := shortDuration(r.GetLatencySeconds())
	if r.GetFirstByteSeconds() > 0 {
		latency += ", of which " + shortDuration(r.GetFirstByteSeconds()) + " to the first content"
	}
	kept := "there is no room"
	if r.GetKeptUntil() != nil {
		kept = moment(r.GetKeptUntil())
	}
	row("key", "%s", r.GetKey())
	row("where", "%s", strings.Join(tiers, ", "))
	row("state", "%s", stateText(r))
	row("created", "%s, %s ago", moment(r.GetCreated()), shortDuration(r.GetAgeSeconds()))
	row("expires", "%s", moment(r.GetExpires()))
	row("kept until", "%s", kept)
	row("last hit", "%s", moment(r.GetLastHit()))
	row("route", "%s", r.GetRoute())
	row("model", "%s", orDash(r.GetModel()))
	row("caller", "%s", r.GetCaller())
	row("request", "%s, %s", r.GetDialect(), r.GetOperation())
	row("answer", "%d, %s, %s of %s, %s with what is stored beside it", r.GetStatus(), r.GetContentType(), r.GetFormat(), sizeText(r.GetAnswerBytes()), sizeText(r.GetBytes()))
	row("tokens", "%d input, %d cache read, %d cache write, %d output (%d reasoning)", r.GetTokensInput(), r.GetTokensCacheRead(), r.GetTokensCacheWrite(),
		r.GetTokensOutput(), r.GetTokensReasoning())
	row("cost", "%s", price)
	row("latency", "%s", latency)
	return t.Flush()
}

// stateText is a state with what it means.
func stateText(r *controlpb.LookUpCacheResponse) string {
	switch r.GetState() {
	case "fresh":
		left := r.GetExpires().AsTime().Sub(r.GetCreated().AsTime()).Seconds() - r.GetAgeSeconds()
		return "fresh, for " + shortDuration(max(left, 0)) + " at most"
	case "stale":
		return "stale: it stands in where no target can serve"
	case "updating":
		return "stale: the next who asks gets it, and a new one is fetched"
	case "expired":
		return "expired: nobody gets it"
	case "unused":
		return "unused: its route keeps no answers now"
	}
	return r.GetState()
}

type cachePurgeCmd struct {
	adminFlags
	Entry  string `help:"Only the answer with this key, the cache_key of the access log." placeholder:"KEY"`
	Route  string `help:"Only answers of this route; direct: those outside of routes." placeholder:"NAME"`
	Model  string `help:"Only answers of this model, as clients name it." placeholder:"NAME"`
	Caller string `help:"Only answers that this caller's requests have brought, by the caller of the access log." placeholder:"HASH"`
	All    bool   `help:"Every answer."`
	DryRun bool   `help:"Only count them."`
	By     string `help:"Who purges. Default: from USER." placeholder:"NAME"`
	Why    string `help:"The reason, for log and journal." placeholder:"TEXT"`
	JSON   bool   `name:"json" help:"Print JSON, the API's PurgeCacheResponse."`
}

var errDiskPending = errors.New("the disk could not be looked through")

// Run purges.
func (c *cachePurgeCmd) Run(env *environment) error {
	req := &controlpb.PurgeCacheRequest{
		Key: c.Entry, Route: c.Route, Model: c.Model, Caller: c.Caller, All: c.All, DryRun: c.DryRun, By: env.operator(c.By), Why: c.Why,
	}
	if _, err := purgeFilter(req); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	conn, err := c.dial(env)
	if err != nil {
		return err
	}
	conn.http.Timeout = purgeTimeout + 15*time.Second // a large disk takes some seconds
	res, err := conn.api.PurgeCache(env.ctx, req)
	if err != nil {
		return conn.explain(err)
	}
	what, rest := "Purged", "what is there is given out no more, and deleted as soon as it can be; a server that starts before that may find it again"
	if c.DryRun {
		what, rest = "Would be purged", "what is there is not counted"
	}
	if c.JSON {
		err = printMessage(env.stdout, res)
	} else {
		_, err = fmt.Fprintf(env.stdout, "%s: %s\n", what, purgedText(res))
	}
	if err == nil && res.GetDiskPending() != "" {
		err = fmt.Errorf("%w: %s: %s", errDiskPending, res.GetDiskPending(), rest)
	}
	return err
}
