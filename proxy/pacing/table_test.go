package pacing

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"llm-auto-optimizer/proxy/limit"
)

// Keys are spread over the shards, whatever they differ in.
func TestTable_Spreads(t *testing.T) {
	t.Parallel()
	check := func(what string, key func(i int) (uint64, [8]byte, string)) {
		t.Helper()
		table := NewTable(time.Now(), DefaultSize)
		used := map[*shard]int{}
		for i := range 100 * shards {
			provider, caller, model := key(i)
			used[table.shard(provider, caller, []byte(model))]++
		}
		for _, n := range used {
			if n > 200 {
				t.Errorf("%s: %d of %d in one shard", what, n, 100*shards)
			}
		}
	}
	check("models of one length", func(i int) (uint64, [8]byte, string) { return 7, [8]byte{}, fmt.Sprintf("model-%05d", i) })
	check("the ends of callers", func(i int) (uint64, [8]byte, string) {
		caller := [8]byte{}
		binary.BigEndian.PutUint64(caller[:], uint64(i))
		return 7, caller, "m"
	})
	check("providers", func(i int) (uint64, [8]byte, string) { return uint64(i) * 0x9e37, [8]byte{}, "m" })
}

// What a provider has said of when it wants to be asked again is forgotten last.
func TestTable_KeepsThePaused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		table := NewTable(time.Now(), 8*shards)
		find := func(i int) *Pace {
			time.Sleep(2 * time.Second)
			return table.Find(time.Now(), 7, [8]byte{}, fmt.Append(nil, "model-", i))
		}
		pause := func(p *Pace) {
			turn, _ := p.Try(time.Now(), &terms, limit.Need{})
			p.Answered(time.Now(), &turn, limit.Limited, nil, time.Hour, 0)
			p.End(time.Now(), &turn, true, limit.NoMatter, 0, 0)
		}
		paused := map[*shard][]*Pace{}
		for i := 0; len(paused) == 0 || len(paused[table.shard(7, [8]byte{}, []byte("model-0"))]) < 6; i++ { // more than are looked at as the oldest
			p := find(i)
			s := table.shard(7, [8]byte{}, []byte(p.key.Model))
			if len(paused[s]) < 6 {
				pause(p)
				paused[s] = append(paused[s], p)
			}
		}
		for i := range 500 {
			find(10_000 + i)
		}
		for _, all := range paused {
			for _, p := range all {
				if p.Gone() {
					t.Fatalf("the pause of %s is forgotten while others could go", p.key.Model)
				}
			}
		}
		for i := range 300 {
			if p := find(20_000 + i); p == nil {
				t.Fatal("no room")
			} else if p.pacer.State(time.Now()).Paused == 0 {
				pause(p)
			}
		}
		n := 0
		table.Each(func(*Pace) { n++ })
		if n > 8*shards {
			t.Errorf("%d paces", n)
		}
	})
}

// A crowd whose clients are cut at once, as when the gateway stops, leaves nothing running.
func TestPace_AllAreCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // which fails where a goroutine is left
		p := slowTo(t, 2)
		ctx, cut := context.WithCancel(t.Context())
		long := terms
		long.MaxWait = time.Hour
		for caller := range limit.ID(100) {
			go func() {
				turn, _, _ := p.Wait(ctx, time.Now(), &Ask{Terms: long, Need: limit.Need{Caller: caller, Input: 1}, MaxWait: long.MaxWait})
				p.End(time.Now(), &turn, true, limit.NoMatter, 0, 0)
			}()
		}
		time.Sleep(time.Second)
		if n := p.State(time.Now()).Waiting; n < 90 {
			t.Fatalf("%d wait", n)
		}
		cut()
		nothingLeft(t, p)
	})
}

func BenchmarkTable(b *testing.B) {
	table, now := NewTable(time.Now(), DefaultSize), time.Now()
	models := make([][]byte, 1000)
	for i := range models {
		models[i] = fmt.Appendf(nil, "vendor/some-model-%d", i)
	}
	b.Run("of=known", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			table.Find(now, 7, [8]byte{1, 2, 3}, models[i%len(models)])
		}
	})
	b.Run("of=new", func(b *testing.B) { // one has to go each time
		var model [8]byte
		for i := uint64(0); b.Loop(); i++ {
			binary.LittleEndian.PutUint64(model[:], i)
			table.Find(now, 7, [8]byte{1, 2, 3}, model[:])
		}
	})
}
