package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/bench/sim"
	"llm-auto-optimizer/storage"
)

// sampleSlots returns stored slots of a level as a series has them that ends an attempt a second: lognormal times and costs.
func sampleSlots(l window.Level, n int) (out [][]byte) {
	rng := rand.New(rand.NewPCG(1, uint64(l)))
	lognormal := func(median, sigma float64) float64 { return median * math.Exp(sigma*rng.NormFloat64()) }
	for range n {
		r := window.NewRecorder(1)
		at := l.Start(l.Number(time.Unix(1_800_000_000, 0)))
		s := r.Series(window.Key{Target: "a"})
		for now := at; now.Before(at.Add(l.Step())); now = now.Add(time.Second) {
			r.Advance(now)
			s.Record(now, &window.Observation{
				Duration: time.Duration(lognormal(4, .6) * float64(time.Second)), TTFT: time.Duration(lognormal(.5, .5) * float64(time.Second)),
				TokensInput: int64(lognormal(800, 1)), TokensOutput: int64(lognormal(250, .7)), CostNanoUSD: int64(lognormal(400_000, .8)),
			})
		}
		end := at.Add(l.Step() + 30*time.Second)
		r.Advance(end)
		r.Slots(l, l.Number(at), l.Number(at)+1, func(_ window.Key, _ int64, data []byte) bool {
			out = append(out, bytes.Clone(data))
			return true
		})
	}
	return out
}

// fillState stores what a server keeps that has run for days with so many series, up to now. It also stores and lets expire half a
// day of the finest slots, as a running server does all the time.
func fillState(tb testing.TB, dir string, series int, days int) {
	tb.Helper()
	s, err := storage.OpenDir(dir, storage.Limits{})
	if err != nil {
		tb.Fatal(err)
	}
	now := time.Now()
	names := make([][]byte, series)
	for i := range names {
		names[i], _ = window.Key{
			Target: fmt.Sprintf("openai/gpt-model-%d", i/6), Route: "chat", Class: []string{"light", "medium", "heavy"}[i%3], Arm: []string{"treated", "hold-back"}[i/3%2],
		}.AppendBinary(nil)
	}
	keep := [...]time.Duration{2 * time.Hour, 48 * time.Hour, time.Duration(days) * 24 * time.Hour}
	for l := range window.LevelsEnd {
		samples := sampleSlots(l, 50)
		end := l.Complete(now)
		first := end - int64(keep[l]/l.Step())
		from := first
		if l == window.TenSeconds {
			from -= int64(12 * time.Hour / l.Step())
		}
		batch := make([]storage.Slot, 0, series)
		for number := from; number < end; number++ {
			batch = batch[:0]
			for i, name := range names {
				batch = append(batch, storage.Slot{Series: name, Number: number, Data: samples[(int(number)+i)%len(samples)]})
			}
			ttl := keep[l] - l.Step()*time.Duration(end-number)
			if number < first {
				ttl = time.Second // gone by the time that anybody looks
			}
			if err := s.PutSlots(tb.Context(), uint8(l), batch, max(ttl, time.Second)); err != nil {
				tb.Fatal(err)
			}
		}
	}
	mark := fmt.Appendf(nil, "[%d,%d,%d]", window.TenSeconds.Complete(now), window.Minutes.Complete(now), window.Hours.Complete(now))
	if err := s.PutValue(tb.Context(), "keeper", "rolled_up", mark, 0); err != nil {
		tb.Fatal(err)
	}
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkState_Size reports what 30 days of 300 series take on the disk.
func BenchmarkState_Size(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		const series, days = 300, 30
		fillState(b, dir, series, days)
		s, err := storage.OpenDir(dir, storage.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		raw := float64(s.Size())
		b.ReportMetric(raw/1e6, "MB")
		b.ReportMetric(raw/series/days, "B/series-day")
		if err := s.Compact(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(s.Size())/1e6, "MB-compacted")
		_ = s.Close()
		for l := range window.LevelsEnd {
			var total int
			samples := sampleSlots(l, 50)
			for _, data := range samples {
				total += len(data)
			}
			b.ReportMetric(float64(total)/float64(len(samples)), "B/slot-"+l.String())
		}
	}
}

// BenchmarkState_Start reports how long a server with 14 days of 300 series takes from its start to its first answer from /readyz.
func BenchmarkState_Start(b *testing.B) {
	path, err := binary()
	if err != nil {
		b.Fatal(err)
	}
	dir := filepath.Join(b.TempDir(), "state")
	fillState(b, dir, 300, 14)
	s := simulate(b, sim.Options{})
	for b.Loop() {
		c := runChild(b, exec.Command(path, "serve"), s.url, "OPTIMIZER_STORAGE__DIR="+dir)
		resp, err := http.Get(c.admin + "/readyz")
		if err != nil {
			b.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(text) != "ready\n" {
			b.Fatalf("readyz: %q; %s", text, c.stderr)
		}
		b.StopTimer()
		b.Log(c.stderr)
		_ = c.cmd.Process.Kill()
		<-c.exited
		offline(b, dir).Close()
		b.StartTimer()
	}
}
