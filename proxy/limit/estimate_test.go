package limit

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
)

func TestEstimator_Input(t *testing.T) {
	t.Parallel()
	e := NewEstimator()
	check := func(what string, model ID, bytes, want int64) {
		t.Helper()
		if got := e.Input(model, bytes); got != want {
			t.Errorf("%s: %d bytes are %d tokens, want %d", what, bytes, got, want)
		}
	}
	check("nothing learned", 1, 400, 100)
	for range 10 {
		e.LearnInput(1, 300, 100)
	}
	check("learned", 1, 300, 100)
	check("another model, by those that are known", 2, 300, 100)
	e.LearnInput(1, 1<<30, 10) // a picture
	e.LearnInput(1, 10, 1000)
	e.LearnInput(1, 0, 10)
	check("what is no text teaches nothing", 1, 300, 100)
	check("nothing", 1, -5, 0)
	if b := e.Bias(); b < -.13 || b > -.11 { // the first five of ten were guessed at 75
		t.Errorf("bias %v", b)
	}
	for range 3000 {
		e.LearnInput(1, 600, 100)
	}
	check("the model has another tokenizer now", 1, 600, 101) // what was before has not quite gone
}

func TestEstimator_Output(t *testing.T) {
	t.Parallel()
	e := NewEstimator()
	if got, _ := e.Output(1, 0, 0); got != firstOutput {
		t.Errorf("nothing learned: %d", got)
	}
	if got, _ := e.Output(1, 0, 50); got != 50 {
		t.Errorf("capped by the request: %d", got)
	}
	draw := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		e.LearnOutput(1, 0, draw.Int64N(1000))
		e.LearnOutput(1, 1, 7)
	}
	if got, _ := e.Output(1, 0, 0); got < 860 || got > 940 {
		t.Errorf("nine of ten below 900: %d", got)
	}
	if got, _ := e.Output(1, 1, 0); got != 7 {
		t.Errorf("all are 7: %d", got)
	}
	e.LearnOutput(2, 0, math.MaxInt64)
	e.LearnOutput(2, 0, -1)
}

func TestEstimator_BoundedAndConcurrent(t *testing.T) {
	t.Parallel()
	e := NewEstimator()
	var wg sync.WaitGroup
	for g := range ID(4) {
		wg.Go(func() {
			for i := range ID(1500) {
				e.LearnInput(g*700+i, 400, 100)
				e.LearnOutput(g*700+i, 0, 5)
				if got := e.Input(i, 400); got < 99 || got > 101 {
					t.Errorf("%d", got)
				}
				e.Output(i, 0, 0)
			}
		})
	}
	wg.Wait()
	if n, m := len(*e.models.Load()), len(*e.outputs.Load()); n != maxLearned || m != maxLearned {
		t.Errorf("%d models, %d routes", n, m)
	}
}

func TestEstimator_AllocatesNothing(t *testing.T) {
	e := NewEstimator()
	if n := testing.AllocsPerRun(1000, func() {
		e.LearnInput(1, 400, 100)
		e.LearnOutput(1, 2, 100)
		e.Input(1, 400)
		e.Output(1, 2, 100)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// score is how good guesses were that were made before the truth was known.
type score struct {
	n                  int
	guessed, truth     float64
	percent            float64 // sum of the absolute errors in percent
	covered, withinTen int
}

func (s *score) add(guess, truth int64) {
	if truth <= 0 {
		return
	}
	s.n++
	s.guessed, s.truth = s.guessed+float64(guess), s.truth+float64(truth)
	off := math.Abs(float64(guess-truth)) / float64(truth) * 100
	s.percent += off
	if guess >= truth {
		s.covered++
	}
	if off <= 10 {
		s.withinTen++
	}
}

func (s *score) bias() float64 { return 100 * (s.guessed/s.truth - 1) }

func (s *score) share(n int) float64 { return 100 * float64(n) / float64(s.n) }

// dataDir is where public data is; without it tests that need it are skipped.
func dataDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("OPTIMIZER_DATA")
	if dir == "" {
		t.Skip("OPTIMIZER_DATA is not set")
	}
	return dir
}

func unzip(t *testing.T, path string) io.Reader {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return bufio.NewReader(z)
}

// Prompts of a public benchmark with the tokens that two vendors counted: each is guessed before it is learned from, in a random order as traffic is.
func TestEstimator_InputOfRouterArena(t *testing.T) {
	t.Parallel()
	lines := json.NewDecoder(unzip(t, filepath.Join(dataDir(t), "routing/routerarena/two-models.jsonl.gz")))
	type tokens struct {
		In int64 `json:"tokens_in"`
	}
	type row struct {
		Prompt string
		Claude tokens `json:"claude-3-haiku-20240307"`
		Gemini tokens `json:"gemini-2.0-flash-001"`
	}
	var rows []row
	for {
		var r row
		if err := lines.Decode(&r); err != nil {
			break
		}
		rows = append(rows, r)
	}
	total := [2]score{}
	for seed := range uint64(10) {
		rand.New(rand.NewPCG(seed, 3)).Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		e := NewEstimator()
		for _, r := range rows {
			for i, truth := range []int64{r.Claude.In, r.Gemini.In} {
				model, bytes := ID(i+1), int64(len(r.Prompt))
				total[i].add(e.Input(model, bytes), truth)
				e.LearnInput(model, bytes, truth)
			}
		}
	}
	for i, name := range []string{"claude-3-haiku", "gemini-2.0-flash"} {
		s := &total[i]
		t.Logf("%s: %d prompts, bias %+.1f %%, MAPE %.1f %%, within 10 %%: %.0f %%", name, s.n, s.bias(), s.percent/float64(s.n), s.share(s.withinTen))
		if math.Abs(s.bias()) > 5 {
			t.Errorf("%s: bias %.1f %%", name, s.bias())
		}
	}
}

// Answers of public traces: nine of ten stay within what is reserved for them. Classes are by the size of the prompt.
func TestEstimator_OutputOfTraces(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	type request struct{ in, out int64 }
	traces := map[string][]request{}
	for _, name := range []string{"code", "conv"} {
		rows, err := csv.NewReader(unzip(t, filepath.Join(dir, "traces/azure-llm-2023", name+"_first_half.csv.gz"))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows[1:] {
			in, _ := strconv.ParseInt(r[1], 10, 64)
			out, _ := strconv.ParseInt(r[2], 10, 64)
			traces["azure "+name] = append(traces["azure "+name], request{in, out})
		}
	}
	for _, name := range []string{"conversation", "synthetic"} {
		lines := json.NewDecoder(unzip(t, filepath.Join(dir, "traces/mooncake", name+"_first_half.jsonl.gz")))
		for {
			var r struct {
				In  int64 `json:"input_length"`
				Out int64 `json:"output_length"`
			}
			if err := lines.Decode(&r); err != nil {
				break
			}
			traces["mooncake "+name] = append(traces["mooncake "+name], request{r.In, r.Out})
		}
	}
	for name, requests := range traces {
		sizes := make([]int64, 0, len(requests))
		for _, r := range requests {
			sizes = append(sizes, r.in)
		}
		slices.Sort(sizes)
		light, medium := sizes[len(sizes)/2], sizes[len(sizes)*9/10]
		e, s := NewEstimator(), score{}
		for _, r := range requests {
			class := 0
			if r.in > medium {
				class = 2
			} else if r.in > light {
				class = 1
			}
			n, _ := e.Output(1, class, 0)
			s.add(n, r.out)
			e.LearnOutput(1, class, r.out)
		}
		t.Logf("%s: %d answers, %.1f %% within what was reserved, which was %.2f times what they took, MAPE %.0f %%",
			name, s.n, s.share(s.covered), s.guessed/s.truth, s.percent/float64(s.n))
		if c := s.share(s.covered); c < 87 || c > 93 {
			t.Errorf("%s: %.1f %% within what was reserved", name, c)
		}
	}
}

func BenchmarkEstimator(b *testing.B) {
	e := NewEstimator()
	for i := range int64(1000) {
		e.LearnInput(1, 400+i, 100)
		e.LearnOutput(1, 2, 100+i)
	}
	b.Run("do=estimate", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.Input(1, 4000)
			e.Output(1, 2, 4096)
		}
	})
	b.Run("do=learn", func(b *testing.B) {
		b.ReportAllocs()
		for i := int64(0); b.Loop(); i++ {
			e.LearnInput(1, 4000, 1000)
			e.LearnOutput(1, 2, i&1023)
		}
	})
}

// A route's class is known by itself once enough of its own answers were counted.
func TestEstimator_OutputIsKnown(t *testing.T) {
	t.Parallel()
	e := NewEstimator()
	knows := func(route ID, class int) bool {
		_, known := e.Output(route, class, 0)
		return known
	}
	for i := range minLengths {
		if knows(1, 0) {
			t.Fatalf("known after %d", i)
		}
		e.LearnOutput(1, 0, 100)
	}
	if !knows(1, 0) || knows(1, 1) || knows(2, 0) {
		t.Error("known are others than were learned of")
	}
}
