package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"llm-auto-optimizer/proxy/limit"
)

// spentBy makes balances of n callers under a budget a month, and of a route under a rolling hour.
func spentBy(n int) (all []limit.Balance) {
	month := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for i := range n {
		all = append(all, limit.Balance{
			Rule: "each", Caller: limit.Name(fmt.Sprint("caller ", i)), Per: limit.Month, Begin: month, End: month.AddDate(0, 1, 0), Spent: int64(1+i) * 1_234_567,
		})
	}
	for i := range 60 {
		begin := month.Add(-time.Duration(i) * time.Minute)
		all = append(all, limit.Balance{Rule: "hour", Route: limit.Name("chat"), Target: limit.Name("a"), Per: limit.Hour, Rolling: true, Begin: begin, End: begin.Add(time.Minute), Spent: int64(i + 1)})
	}
	return append(all, limit.Balance{Rule: "each", Shared: true, Per: limit.Month, Begin: month, End: month.AddDate(0, 1, 0), Spent: -1})
}

func sortBalances(all []limit.Balance) {
	slices.SortFunc(all, func(a, b limit.Balance) int {
		if c := compareSpenders(&a, &b); c != 0 {
			return c
		}
		return a.Begin.Compare(b.Begin)
	})
	for i := range all {
		all[i].Begin, all[i].End = all[i].Begin.UTC(), all[i].End.UTC()
	}
}

// What is stored is what was spent, whole and in whatever order it came; the same is stored by the same bytes.
func TestBalances_BucketsKeepAll(t *testing.T) {
	t.Parallel()
	all := spentBy(1000)
	var b, again balances
	values := b.encode(all)
	var back []limit.Balance
	for i, value := range values {
		if len(value) == 0 {
			continue
		}
		found, err := parseBucket(i, value)
		if err != nil {
			t.Fatalf("bucket %d: %v", i, err)
		}
		back = append(back, found...)
	}
	shuffled := slices.Clone(all[:1000])
	rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for i, value := range again.encode(append(shuffled, all[1000:]...)) {
		if !bytes.Equal(value, values[i]) {
			t.Fatalf("bucket %d differs after a shuffle", i)
		}
	}
	sortBalances(all)
	sortBalances(back)
	if !reflect.DeepEqual(all, back) {
		t.Errorf("%d balances came back as %d others", len(all), len(back))
	}
	if size := len(b.text); size > 1000*40+60*15+2000 {
		t.Errorf("%d bytes", size)
	}
}

// A balance's fields are all stored: one that is new to it needs a new version of the format.
func TestBalances_NoFieldIsForgotten(t *testing.T) {
	t.Parallel()
	b := limit.Balance{Rule: "r"}
	number := 0
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		for i := range v.NumField() {
			number++
			switch f := v.Field(i); {
			case f.Type() == reflect.TypeFor[time.Time]():
				f.Set(reflect.ValueOf(time.UnixMilli(int64(number))))
			case f.Kind() == reflect.Struct:
				fill(f)
			case f.Kind() == reflect.Bool:
				f.SetBool(true)
			case f.CanInt():
				f.SetInt(int64(number))
			case f.CanUint():
				f.SetUint(uint64(number)) //nolint:gosec // a count
			}
		}
	}
	fill(reflect.ValueOf(&b).Elem())
	var s balances
	at := bucketOf(&b)
	back, err := parseBucket(at, s.encode([]limit.Balance{b})[at])
	if err != nil || len(back) != 1 || back[0] != b {
		t.Errorf("got %+v, %v; want %+v", back, err, b)
	}
}

// A value that is torn, of another bucket or of another version is refused, and each bit of it counts.
func TestBalances_DamageIsNoticed(t *testing.T) {
	t.Parallel()
	all := spentBy(0)[:3]
	var s balances
	at := bucketOf(&all[0])
	good := bytes.Clone(s.encode(all)[at])
	if _, err := parseBucket(at, good); err != nil {
		t.Fatal(err)
	}
	refused := func(what string, bucket int, value []byte) {
		t.Helper()
		if found, err := parseBucket(bucket, value); !errors.Is(err, errBalances) || found != nil {
			t.Errorf("%s: %v, %v", what, found, err)
		}
	}
	refused("another bucket", at^1, good)
	for i := range good {
		refused("shorter", at, good[:i])
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			refused("another bit", at, bad)
		}
	}
}

// FuzzParseBucket: whatever is accepted is what is stored of it again.
func FuzzParseBucket(f *testing.F) {
	var s balances
	for i, value := range s.encode(spentBy(3)) {
		if len(value) > 0 {
			f.Add(uint8(i), value[:len(value)-4])
		}
	}
	f.Fuzz(func(t *testing.T, bucket uint8, body []byte) {
		value := sealBucket(bytes.Clone(body), 0) // else nothing would be accepted
		all, err := parseBucket(int(bucket), value)
		if err != nil {
			if !errors.Is(err, errBalances) || all != nil {
				t.Fatalf("%d balances, %v", len(all), err)
			}
			return
		}
		if len(all) > len(value) {
			t.Fatalf("%d balances of %d bytes", len(all), len(value))
		}
		again, err := parseBucket(int(bucket), appendBucket(nil, bucketsOf(all)[bucket]))
		if len(all) == 0 {
			return
		}
		if err != nil || len(again) != len(all) {
			t.Fatalf("%d balances, then %d, %v", len(all), len(again), err)
		}
	})
}
