package trend

import (
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

// 80 % intervals cover 75 to 85 % of the hours and of the days held out, on two weeks of request rates of real clients (ServeGen),
// day after day, from a week of history on.
func TestForecast_IntervalsCoverHeldOutDays(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("OPTIMIZER_DATA")
	if dir == "" {
		t.Skip("OPTIMIZER_DATA is not set")
	}
	start := time.Unix(0, 0).Add(4 * 24 * time.Hour) // a Monday
	var hours, days, hoursIn, daysIn float64
	for _, file := range []string{"large", "mid", "small"} {
		for name, series := range hourlyGroups(t, filepath.Join(dir, "traces", "servegen", "language-m-"+file+"-rates-odd-clients.csv.gz")) {
			for d := 7; d < len(series)/day; d++ {
				f, ok := NewForecast(start, series[:d*day])
				if !ok {
					t.Logf("%s %s: no forecast on day %d", file, name, d)
					continue
				}
				paths := f.Paths(day, 500, 1)
				sums := make([]float64, len(paths))
				for h, actual := range series[d*day : (d+1)*day] {
					at := make([]float64, len(paths))
					for p := range paths {
						at[p] = paths[p][h]
						sums[p] += paths[p][h]
					}
					hours++
					hoursIn += within(at, actual)
				}
				total := 0.
				for _, v := range series[d*day : (d+1)*day] {
					total += v
				}
				days++
				daysIn += within(sums, total)
			}
		}
	}
	t.Logf("80 %% intervals cover %.1f %% of %v hours and %.1f %% of %v days", 100*hoursIn/hours, hours, 100*daysIn/days, days)
	if share := hoursIn / hours; share < .75 || share > .85 {
		t.Errorf("of hours: %.3f", share)
	}
	if share := daysIn / days; share < .75 || share > .85 {
		t.Errorf("of days: %.3f", share)
	}
}

func within(draws []float64, v float64) float64 {
	slices.Sort(draws)
	if n := len(draws); draws[n/10] <= v && v <= draws[n*9/10] {
		return 1
	}
	return 0
}

// hourlyGroups returns the requests per hour of groups of clients, by the client's number.
func hourlyGroups(t *testing.T, name string) map[string][]float64 {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	rows := csv.NewReader(z)
	rows.ReuseRecord = true
	groups := map[string][]float64{}
	for {
		row, err := rows.Read()
		if err == io.EOF {
			return groups
		}
		if err != nil {
			t.Fatal(err)
		}
		client, err1 := strconv.Atoi(row[0])
		seconds, err2 := strconv.Atoi(row[1])
		rate, err3 := strconv.ParseFloat(row[2], 64)
		if err1 != nil || err2 != nil || err3 != nil {
			continue // the header
		}
		group := fmt.Sprint("group ", client/2%6)
		for len(groups[group]) <= seconds/3600 {
			groups[group] = append(groups[group], 0)
		}
		groups[group][seconds/3600] += math.Max(rate, 0) * 600
	}
}
