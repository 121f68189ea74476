package main

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/ghost"
	"llm-auto-optimizer/optimizer/control/controlpb"
	"llm-auto-optimizer/proxy"
)

func TestCacheCurves_Text(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	appendCacheCurves(&out, &controlpb.CacheCurvesResponse{})
	want(t, "nothing", out.String(), `^No route keeps answers`)
	v := proxy.CacheView{Route: "faq\x1b", Memory: 64 << 20, Entry: 2048, TTL: time.Hour}
	v.Sizes.Accesses, v.Sizes.Points = 1, []ghost.Point{{Size: 32 << 20, TTL: time.Hour, HitRatio: .25, NanoUSD: 1e6, Millis: 10}, {Size: 64 << 20, TTL: time.Hour, HitRatio: .5, NanoUSD: 2e6, Millis: 20}}
	v.Classes[0].TTL = time.Hour
	v.Classes[0].Curve.Points = []ghost.Point{{Size: 64 << 20, HitRatio: .75, NanoUSD: 3e6, Millis: 30}}
	for i := range 40 {
		v.Classes[0].Hazard.Add(time.Hour, i%10 == 0)
	}
	out.Reset()
	appendCacheCurves(&out, &controlpb.CacheCurvesResponse{Routes: []*controlpb.RouteCurves{routeCurves(&v), routeCurves(&proxy.CacheView{Route: "new"})}})
	want(t, "curves", out.String(), `^route faq\?: room for 64 MiB of answers, 2\.0 KiB each
what if +hit rate +saved a day +time saved a day
room for 32 MiB +25\.0% +\$86\.4\d* +14m24s
room for 64 MiB +50\.0% +\$172\.8\d* +28m48s
light for ever +75\.0% +\$259\.2\d* +43m12s
light: kept for 1h; 4 of 40 answers had changed when they were fetched anew: 2\.\d+ times a day, surely less than [34]\.?\d*
medium: kept for ever; how often answers change is not known yet
heavy: kept for ever; how often answers change is not known yet

route new: room for 0 B of answers
too few requests have come to tell what other caches would do
`)
}

// What other caches would do is known after some requests.
func TestE2E_CacheCurves(t *testing.T) {
	t.Parallel()
	g, _, _ := cachedSim(t, cacheOn+cacheRoute, "ttft=1ms,tokens=20")
	want(t, "at first", g.cli(0, "cache", "curves"), `(?m)^route support: room for \S+ MiB of answers\ntoo few requests have come`)
	for i := range 300 {
		body := fmt.Sprintf(`{"model":"gpt-4o-mini","temperature":0,"messages":[{"role":"user","content":"question %d"}]}`, i%50)
		if r := askAs(t, g, "ann", body); r.status != http.StatusOK {
			t.Fatalf("status %d", r.status)
		}
	}
	eventually(t, "curves", 10*time.Second, func() bool { return bytes.Contains([]byte(g.cli(0, "cache", "curves")), []byte("room for 16 MiB ")) })
	want(t, "curves", g.cli(0, "cache", "curves"), `(?m)^light for 1h +8\d\.\d% `)
	want(t, "as JSON", g.cli(0, "cache", "curves", "--json"), `(?s)"route": "support".*"class": "light".*"hitRatio": 0\.8`)
}
