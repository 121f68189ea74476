package storage

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"testing"
	"time"
)

// demandTrace is who is asked for one after the other, and what each occupies and saves.
type demandTrace struct {
	name  string
	keys  []int32
	size  []int64 // of values
	worth []int64
}

// zipfTrace draws from a Zipf law over answers whose lengths have a heavy tail, of models whose prices differ up to 25 times.
func zipfTrace(exponent float64, answers, accesses int) *demandTrace {
	r := rand.New(rand.NewPCG(1, uint64(exponent*100)))
	w := &demandTrace{name: fmt.Sprintf("Zipf %.1f", exponent)}
	var below []float64
	sum := 0.
	for i := range answers {
		sum += math.Pow(float64(i+1), -exponent)
		below = append(below, sum)
		tokens := math.Exp(5.3 + .9*r.NormFloat64())
		w.size = append(w.size, int64(600+5*tokens*math.Exp(.4*r.NormFloat64())))
		w.worth = append(w.worth, int64(1000*(tokens*[]float64{.6, 4, 10, 15}[r.IntN(4)]+200*math.Exp(r.NormFloat64()))))
	}
	who := r.Perm(answers)
	for range accesses {
		w.keys = append(w.keys, int32(who[sort.SearchFloat64s(below, sum*r.Float64())])) //nolint:gosec // few
	}
	return w
}

// mooncakeTrace is the blocks of prompts of one of Mooncake's traces, all worth the same, of sizes that are drawn; nil: it is not there.
func mooncakeTrace(t *testing.T, name string) *demandTrace {
	t.Helper()
	f, err := os.Open(filepath.Join(os.Getenv("OPTIMIZER_DATA"), "traces", "mooncake", name+"_first_half.jsonl.gz"))
	if err != nil {
		return nil
	}
	defer f.Close()
	plain, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	w, known, r := &demandTrace{name: "Mooncake " + name}, map[int64]int32{}, rand.New(rand.NewPCG(5, 5))
	lines := bufio.NewScanner(plain)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var line struct {
			Blocks []int64 `json:"hash_ids"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		for _, block := range line.Blocks {
			k, seen := known[block]
			if !seen {
				k = int32(len(known)) //nolint:gosec // few
				known[block] = k
				w.size, w.worth = append(w.size, int64(600+2000*math.Exp(.5*r.NormFloat64()))), append(w.worth, 1_000_000)
			}
			w.keys = append(w.keys, k)
		}
	}
	return w
}

func (w *demandTrace) cost(k int32) int64 { return w.size[k] + memoryOverhead }

// memory is which part of what the second half of the trace is worth a cache in memory saves.
func (w *demandTrace) memory(limit int64) float64 {
	m := NewMemory(limit)
	defer m.Close()
	now, halved := time.Now(), 0
	var saved, all float64
	for i, k := range w.keys {
		now = now.Add(time.Millisecond)
		if i-halved > demandWindow*int(max(m.count.Load(), 256)) { // which the sweep does otherwise
			m.demand.Load().halve()
			halved = i
		}
		key := fastKey(uint64(k)) //nolint:gosec // not negative
		_, found := m.Get(now, key)
		if !found {
			m.Put(now, key, &CacheItem{Value: make([]byte, w.size[k]), Worth: w.worth[k]})
			m.cache.Wait()
		}
		if i >= len(w.keys)/2 {
			all += float64(w.worth[k])
			if found {
				saved += float64(w.worth[k])
			}
		}
	}
	return saved / all
}

// fixed is the part that the best set of entries saves, which is chosen with knowledge of the second half and never changes. It has none to fetch first.
func (w *demandTrace) fixed(limit int64) float64 {
	late := w.keys[len(w.keys)/2:]
	asked, order, all, saved := make([]float64, len(w.size)), make([]int32, len(w.size)), 0., 0.
	for _, k := range late {
		asked[k]++
		all += float64(w.worth[k])
	}
	for i := range order {
		order[i] = int32(i) //nolint:gosec // few
	}
	density := func(k int32) float64 { return asked[k] * float64(w.worth[k]) / float64(w.cost(k)) }
	slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(density(b), density(a)) })
	for _, k := range order {
		if c := w.cost(k); c <= limit {
			limit -= c
			saved += asked[k] * float64(w.worth[k])
		}
	}
	return saved / all
}

// clairvoyant is the part that a cache saves which starts empty and knows the future: of some that it looks at, it gives up what is worth least for its size and the
// time until it is asked for again, be it the newcomer.
func (w *demandTrace) clairvoyant(limit int64) float64 {
	next, at := make([]int, len(w.keys)), make([]int, len(w.size)) // when each access's key is asked for again; and each key
	for k := range at {
		at[k] = math.MaxInt
	}
	for i := len(w.keys) - 1; i >= 0; i-- {
		next[i], at[w.keys[i]] = at[w.keys[i]], i
	}
	r, used := rand.New(rand.NewPCG(9, 9)), int64(0)
	var held []int32
	place := make([]int, len(w.size)) // in held, from 1
	var saved, all float64
	for i, k := range w.keys {
		at[k] = next[i]
		if i >= len(w.keys)/2 {
			all += float64(w.worth[k])
			if place[k] > 0 {
				saved += float64(w.worth[k])
			}
		}
		for place[k] == 0 {
			if used+w.cost(k) <= limit {
				held, used = append(held, k), used+w.cost(k)
				place[k] = len(held)
				break
			}
			density := func(k int32) float64 { return float64(w.worth[k]) / float64(w.cost(k)) / float64(at[k]-i) }
			goes := k
			for range 64 {
				if one := held[r.IntN(len(held))]; density(one) < density(goes) {
					goes = one
				}
			}
			if goes == k {
				break
			}
			last := held[len(held)-1]
			held[place[goes]-1], place[last] = last, place[goes]
			held, used = held[:len(held)-1], used-w.cost(goes)
			place[goes] = 0
		}
	}
	return saved / all
}

// What is saved comes near to what the best choice of entries would save that knows what is going to be asked for. CACHE_RATIO=1 has all traces and sizes, in some
// minutes, those of Mooncake where there is OPTIMIZER_DATA.
func TestMemory_SavesWhatItCan(t *testing.T) {
	t.Parallel()
	full := os.Getenv("CACHE_RATIO") != ""
	if raceEnabled && !full {
		t.Skip("nothing but computation")
	}
	traces, parts, most := []*demandTrace{zipfTrace(.9, 4000, 100_000)}, []float64{.1}, .05
	if full {
		traces, parts = nil, []float64{.01, .03, .1, .3}
		for _, exponent := range []float64{.7, .9, 1.1} {
			traces = append(traces, zipfTrace(exponent, 20_000, 600_000))
		}
		traces = append(traces, mooncakeTrace(t, "conversation"), mooncakeTrace(t, "synthetic"))
	}
	for _, w := range traces {
		if w == nil {
			continue
		}
		total := int64(0)
		for k := range w.size {
			total += w.cost(int32(k)) //nolint:gosec // few
		}
		for _, part := range parts {
			limit := int64(part * float64(total))
			got, best := w.memory(limit), w.fixed(limit)
			t.Logf("%s, memory for %2.0f %% of it (%.1f MB): %.1f %% saved; the best fixed choice in hindsight saves %.1f %%, who knows the future %.1f %%", w.name, 100*part, float64(limit)/1e6,
				100*got, 100*best, 100*w.clairvoyant(limit))
			if !full && got < best-most {
				t.Errorf("%s: %.3f, want no less than %.3f", w.name, got, best-most)
			}
		}
	}
}
