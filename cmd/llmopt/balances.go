package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/cespare/xxhash/v2"
	"github.com/rs/zerolog"

	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/storage"
)

// balances keep what was spent under limits in dollars, so that a restart opens no budget. A process that is killed loses the last of it.
// forget and the metrics are safe for concurrent use, the rest is for one goroutine at a time.
type balances struct {
	store   balanceStore
	collect func(now time.Time) []limit.Balance
	restore func(now time.Time, all []limit.Balance) int
	log     zerolog.Logger

	known    bool                   // what was stored is restored: before that nothing is written over it
	stored   [balanceBuckets]uint64 // sums of the values as they are stored, or one of those below
	damaged  []damagedBalances      // to set aside before anything is written
	began    uint64                 // engines of the store, and databases that it has set aside
	aside    uint64
	failing  bool   // it was said that nothing can be stored, or read
	text     []byte // of encode
	forgot   atomic.Bool
	written  atomic.Uint64
	failures atomic.Uint64
}

// Sums that stand for no value.
const (
	sumNone    = 0 // there is none
	sumUnknown = 1 // it is not known
)

// balanceStore is what balances need of a storage.Store.
type balanceStore interface {
	Values(ctx context.Context, namespace string, yield func(name string, value []byte) error) error
	PutValue(ctx context.Context, namespace, name string, value []byte, keep time.Duration) error
	DeleteValue(ctx context.Context, namespace, name string) error
	Restarts() (restarts, aside uint64)
}

// damagedBalances are a value that can't be read as what it should be.
type damagedBalances struct {
	name  string
	value []byte
	err   error
	at    time.Time
}

const (
	balancesNamespace = "limit_balances"
	damagedNamespace  = "limit_balances_damaged"
	// damagedKeep is how long values are kept that could not be read.
	damagedKeep = 30 * 24 * time.Hour
	// balancesEvery is how often balances are stored, and tried to be read.
	balancesEvery = time.Second
	// balancesTimeout is for all calls of a round together.
	balancesTimeout = 5 * time.Second
	// balancesRest is how many times as long as collecting them has taken they are left alone: 5 % of a core, however many there are.
	balancesRest = 20
)

// restoreBalances restores what was stored before the first request, where the storage is ready in time; else run does, as soon as it can.
func (g *gateway) restoreBalances() {
	if g.durable == nil {
		return
	}
	g.spent = &balances{store: g.durable.store, collect: g.proxy.Balances, restore: g.proxy.RestoreBalances, log: g.log}
	ctx, cancel := context.WithTimeout(g.stopping, restoreWait)
	defer cancel()
	g.spent.read(ctx)
}

// run stores what has changed, every now and then until drained is done, and then once more. What could not be restored yet is, as soon as it can be read.
func (b *balances) run(drained context.Context) {
	for wait := balancesEvery; ; {
		select {
		case <-time.After(wait):
			wait = max(balancesEvery, balancesRest*b.round(drained))
		case <-drained.Done():
			b.round(context.WithoutCancel(drained))
			return
		}
	}
}

// round reads what was stored, where that is not known yet, and then stores what has changed. It returns how long it took to collect that.
func (b *balances) round(ctx context.Context) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, balancesTimeout)
	defer cancel()
	if !b.known && !b.read(ctx) {
		return 0
	}
	start := time.Now()
	values := b.encode(b.collect(start))
	took := time.Since(start)
	switch err := b.write(ctx, values); {
	case errors.Is(err, context.Canceled): // the server ends: there is another round
	case err != nil:
		b.failed(err, "what was spent under limits is not stored: it would be lost with the process")
	case b.failing:
		b.failing = false
		b.log.Info().Msg("what was spent under limits is stored again")
	}
	return took
}

// failed says once that something has failed, until it works again.
func (b *balances) failed(err error, what string) {
	b.failures.Add(1)
	if !b.failing {
		b.failing = true
		b.log.Warn().Err(err).Msg(what)
	}
}

// read restores what was stored; false where it can't be read, which is tried again.
func (b *balances) read(ctx context.Context) bool {
	var all []limit.Balance
	var damaged []damagedBalances
	var stored [balanceBuckets]uint64
	err := b.store.Values(ctx, balancesNamespace, func(name string, value []byte) error {
		bucket, err := bucketNumber(name)
		var found []limit.Balance
		if err == nil {
			found, err = parseBucket(bucket, value)
		}
		if err != nil {
			damaged = append(damaged, damagedBalances{name, bytes.Clone(value), err, time.Now()})
			return nil
		}
		stored[bucket], all = valueSum(value), append(all, found...)
		return nil
	})
	if errors.Is(err, context.Canceled) {
		return false
	}
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		b.failed(err, "what was spent under limits before can't be read yet: budgets count without it until then")
		return false
	}
	b.known, b.stored, b.damaged, b.failing = true, stored, damaged, false
	b.began, b.aside = b.store.Restarts()
	for i := range damaged {
		d := &damaged[i]
		b.log.Warn().Err(d.err).Str("bucket", d.name).Msg("some of what was spent under limits can't be read: it is set aside, and those budgets begin anew")
	}
	if used := b.restore(time.Now(), all); used > 0 {
		b.log.Info().Int("budgets", used).Msg("what was spent under limits before is restored")
	}
	return true
}

// encode returns the values of the buckets. They are valid until the next call.
func (b *balances) encode(all []limit.Balance) *[balanceBuckets][]byte {
	b.text = b.text[:0]
	var ends [balanceBuckets]int
	for i, bucket := range bucketsOf(all) {
		b.text = appendBucket(b.text, bucket)
		ends[i] = len(b.text)
	}
	values, from := new([balanceBuckets][]byte), 0
	for i, to := range ends {
		values[i], from = b.text[from:to], to
	}
	return values
}

// write stores the values that have changed. One that is too large keeps none of the others from it.
func (b *balances) write(ctx context.Context, values *[balanceBuckets][]byte) error {
	if err := b.setAside(ctx); err != nil {
		return err
	}
	if began, aside := b.store.Restarts(); b.forgot.Swap(false) || began != b.began || aside != b.aside { // the files may be other ones
		b.began, b.aside = began, aside
		for i := range b.stored {
			b.stored[i] = sumUnknown
		}
	}
	var large error
	for i, value := range values {
		sum := valueSum(value)
		if sum == b.stored[i] {
			continue
		}
		b.stored[i] = sumUnknown // a call that fails may have done it
		err := b.put(ctx, bucketName(i), value)
		switch {
		case errors.Is(err, storage.ErrTooLarge):
			large = err
		case err != nil:
			return err
		default:
			b.stored[i] = sum
			b.written.Add(1)
		}
	}
	return large
}

func (b *balances) put(ctx context.Context, name string, value []byte) error {
	if len(value) == 0 {
		return b.store.DeleteValue(ctx, balancesNamespace, name)
	}
	return b.store.PutValue(ctx, balancesNamespace, name, bytes.Clone(value), 0)
}

// setAside stores what could not be read under another name, for people, before its place is taken.
func (b *balances) setAside(ctx context.Context) error {
	for len(b.damaged) > 0 {
		d := &b.damaged[0]
		name := fmt.Sprintf("%s-%d", d.name, d.at.Unix())
		if err := b.store.PutValue(ctx, damagedNamespace, name, d.value, damagedKeep); err != nil {
			return err
		}
		if err := b.store.DeleteValue(ctx, balancesNamespace, d.name); err != nil {
			return err
		}
		b.damaged = b.damaged[1:]
	}
	return nil
}

// forget has all be written anew: something else has written to the store.
func (b *balances) forget() { b.forgot.Store(true) }

func valueSum(value []byte) uint64 {
	if len(value) == 0 {
		return sumNone
	}
	return max(xxhash.Sum64(value), sumUnknown+1)
}

// metrics tells how balances are stored.
func (b *balances) metrics() *metrics.Set {
	set := metrics.NewSet()
	set.RegisterMetricsWriter(func(w io.Writer) {
		metrics.WriteCounterUint64(w, "llmopt_limit_balances_stored_total", b.written.Load())
		metrics.WriteCounterUint64(w, "llmopt_limit_balances_errors_total", b.failures.Load())
	})
	return set
}
