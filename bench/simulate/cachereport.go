package simulate

import (
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"llm-auto-optimizer/config"
)

// The expectations of the caching tuner.
const (
	wantedNet   = .95 // of what the best times to live would save
	wantedStale = .01 // part of the hits
)

// CacheReport is what the caching tuner does on many routes.
type CacheReport struct {
	Noisy bool           `json:"noisy"` // models do not answer the same each time
	Net   float64        `json:"net"`   // in the mean of the routes, as a part of what the best times to live would save
	Half  float64        `json:"half"`  // of the 95 % interval of that
	Least float64        `json:"least"` // on the worst route
	Fixed float64        `json:"fixed"` // with the operator's own time, an hour, in the middle of the routes
	Stale float64        `json:"stale"` // part of the hits
	Most  float64        `json:"most"`  // on the worst route
	Runs  []*CacheResult `json:"runs"`
}

// OK tells whether it does as well as it should. Of noisy answers it takes longer to know how often they change; of those only few may be stale.
func (r *CacheReport) OK() bool { return (r.Noisy || r.Net >= wantedNet) && r.Stale <= wantedStale }

// JudgeCaching plays generated routes with these seeds, two at a time. It panics without any.
func JudgeCaching(seeds []uint64, noisy bool, progress func(done int)) *CacheReport {
	if len(seeds) == 0 {
		panic("BUG: no seeds")
	}
	r := &CacheReport{Noisy: noisy, Runs: make([]*CacheResult, len(seeds))}
	var group sync.WaitGroup
	var mu sync.Mutex
	done := 0
	free := make(chan struct{}, 2)
	for i, seed := range seeds {
		free <- struct{}{}
		group.Go(func() {
			defer func() { <-free }()
			one := NewCacheRun(seed, noisy).Play()
			mu.Lock()
			defer mu.Unlock()
			r.Runs[i] = one
			done++
			progress(done)
		})
	}
	group.Wait()
	r.sum()
	return r
}

func (r *CacheReport) sum() {
	n := float64(len(r.Runs))
	r.Least = math.Inf(1)
	var fixed []float64
	for _, one := range r.Runs {
		r.Net += one.Net / n
		r.Stale += one.Stale / n
		r.Least, r.Most = min(r.Least, one.Net), max(r.Most, one.Stale)
		fixed = append(fixed, one.Fixed)
	}
	slices.Sort(fixed)
	r.Fixed = fixed[len(fixed)/2]
	squares := 0.
	for _, one := range r.Runs {
		squares += (one.Net - r.Net) * (one.Net - r.Net)
	}
	if n > 1 {
		r.Half = 1.96 * math.Sqrt(squares/(n-1)/n)
	}
}

// Print writes the report as text.
func (r *CacheReport) Print(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SEED\tCLASS\tQUESTIONS\tRATE\tCHANGE EVERY\tNOISE\tTIME TO LIVE\tBEST\tHITS\tSTALE\tNET SAVING")
	span := func(s float64) string {
		return config.FormatDuration(seconds(s).Round(max(time.Second, seconds(s/100).Truncate(time.Second))))
	}
	for _, one := range r.Runs {
		for class := range one.Classes {
			c := &one.Classes[class]
			fmt.Fprintf(w, "%d\t%s\t%d\t%.2f/s\t%s\t%.0f %%\t%s\t%s\t%.1f %%\t%.2f %%\t%.1f %%\n", one.Seed, [...]string{"light", "medium", "heavy"}[class], c.Questions, c.Rate, span(1/c.Change), 100*c.Noise, config.FormatDuration(seconds(c.TTL)), span(c.Best),
				100*c.Hits, 100*c.Stale, 100*c.Net)
		}
		fmt.Fprintf(w, "%d\tall\t\t\t\t\t\t\t\t%.2f %%\t%.1f %%\n", one.Seed, 100*one.Stale, 100*one.Net)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	verdict := map[bool]string{true: "met", false: "NOT MET"}
	if r.Noisy {
		_, err := fmt.Fprintf(to, "\nnet saving where models do not answer the same each time: %.1f ± %.1f %% (worst route %.1f %%)\nstale hits: %.2f %%, at most %.0f %%: %s (worst route %.2f %%)\n",
			100*r.Net, 100*r.Half, 100*r.Least, 100*r.Stale, 100*wantedStale, verdict[r.Stale <= wantedStale], 100*r.Most)
		return err
	}
	_, err := fmt.Fprintf(to, `
net saving, as a part of the best times to live: %.1f ± %.1f %%, at least %.0f %%: %s (worst route %.1f %%; an hour for all: %.1f %% in the middle of the routes)
stale hits: %.2f %%, at most %.0f %%: %s (worst route %.2f %%)
`, 100*r.Net, 100*r.Half, 100*wantedNet, verdict[r.Net >= wantedNet], 100*r.Least, 100*r.Fixed, 100*r.Stale, 100*wantedStale, verdict[r.Stale <= wantedStale], 100*r.Most)
	return err
}
