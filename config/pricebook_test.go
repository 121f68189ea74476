package config

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestPriceBook_FollowsItsFile changes a price file in every way that files change, and looks after each interval.
func TestPriceBook_FollowsItsFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "prices.json")
	stamp := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	put := func(text string) { // as an editor does: write beside it, then rename
		t.Helper()
		stamp = stamp.Add(time.Second)
		write(t, file+"~", text)
		if err := os.Chtimes(file+"~", stamp, stamp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+"~", file); err != nil {
			t.Fatal(err)
		}
	}
	list := func(model string) string {
		return `{"` + model + `": {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}}`
	}
	base := parsed(t, list("base"))
	put(list("first"))
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		book, err := NewPriceBook(base, file, time.Minute, func(table *PriceTable, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				told = append(told, err.Error())
			} else {
				told = append(told, "new table")
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { book.Run(ctx); close(done) }()
		check := func(model string, reloads, failures uint64, tellings int, last string) {
			t.Helper()
			for range 3 { // looking again changes nothing
				time.Sleep(time.Minute)
				synctest.Wait()
			}
			for _, name := range []string{"base", model} {
				if _, ok := book.Table().Lookup("", []byte(name)); !ok {
					t.Errorf("%s: unpriced", name)
				}
			}
			if book.Table().Len() != 2 || book.Reloads() != reloads || book.Failures() != failures {
				t.Errorf("got %d models, %d reloads, %d failures", book.Table().Len(), book.Reloads(), book.Failures())
			}
			mu.Lock()
			defer mu.Unlock()
			if len(told) != tellings || tellings > 0 && !strings.Contains(told[tellings-1], last) {
				t.Errorf("told %q, want %d and last %q", told, tellings, last)
			}
		}
		check("first", 0, 0, 0, "")
		put(list("other")) // as long as before
		check("other", 1, 0, 1, "new table")
		put(`{"bad": {"input_cost_per_token": -1}}`)
		check("other", 1, 1, 2, `prices.json: model "bad": input_cost_per_token: negative`)
		put(list("third"))
		check("third", 2, 1, 3, "new table")
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		check("third", 2, 2, 4, "no such file")
		put(list("fourth"))
		check("fourth", 3, 2, 5, "new table")
		if err := book.Reload(); err != nil || book.Reloads() != 4 {
			t.Errorf("reload: got %v, %d reloads", err, book.Reloads())
		}
		cancel()
		<-done
	})
}

func TestNewPriceBook_RefusesABadFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "prices.json")
	base := parsed(t, `{}`)
	check := func(want string) {
		t.Helper()
		if _, err := NewPriceBook(base, file, time.Minute, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	check("no such file")
	write(t, file, `{"a": 1}`)
	check(`model "a"`)
	if err := os.Truncate(file, maxPriceFile+1); err != nil {
		t.Fatal(err)
	}
	check("larger than 32MiB")
}

func TestPriceBook_WithoutAFileOnlyWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := parsed(t, `{}`)
		book, err := NewPriceBook(base, "", time.Second, nil)
		if err != nil || book.Table() != base || book.Reload() != nil {
			t.Fatalf("got %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { book.Run(ctx); close(done) }()
		time.Sleep(time.Hour)
		cancel()
		<-done
		if book.Reloads() != 0 || book.Failures() != 0 {
			t.Error("something was read")
		}
	})
}
