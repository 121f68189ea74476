package proxy

import (
	"io"
	"math"
	"net/http"
	"testing"
	"time"
)

// Also times to live of seconds are followed, and not guessed from longer ones: what is asked for once in three seconds is a hit for one who keeps it for five, and
// none for one who does for one.
func TestGhosts_TellSecondsApart(t *testing.T) {
	t.Parallel()
	const memory = 64 << 20
	g := &ghosts{memory: memory}
	now := time.Now()
	for range 300 {
		g.access(light, 1<<40, 2000, 1000, time.Second, now)
		now = now.Add(3 * time.Second)
	}
	c := curve(&g.classes[light], now)
	check := func(ttl time.Duration, want float64) {
		t.Helper()
		if p, known := c.At(memory, ttl); !known || math.Abs(p.HitRatio-want) > .05 {
			t.Errorf("kept for %v: %+v, %v, want %v of them hits", ttl, p, known, want)
		}
	}
	check(time.Second, 0)
	check(5*time.Second, .5)
	check(30*time.Second, .9)
	check(10*time.Minute, .995)
}

// The access log has the age of a kept answer that was given out, and none of others.
func TestAccessLog_HasTheAgeOfWhatWasKept(t *testing.T) {
	t.Parallel()
	up, _ := counted(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, plainAnswer)
	})
	c := tunedConfig(up)
	kept, log := &mapCache{}, &syncBuffer{}
	g := startCached(t, c, kept, nil, log)
	g.t, g.log = t, log
	s := &stand{gateway: g, t: t, kept: kept}
	if got := s.ask("q"); got != "miss" {
		t.Fatal(got)
	}
	kept.age(t, 30*time.Minute)
	if got := s.ask("q"); got != "hit" {
		t.Fatal(got)
	}
	lines := g.lines(2)
	if age, told := lines[0]["cache_age_s"]; told {
		t.Errorf("a miss is %v old", age)
	}
	if age, told := lines[1]["cache_age_s"].(float64); !told || age < 1800 || age > 1860 {
		t.Errorf("the hit: %v", lines[1])
	}
}
