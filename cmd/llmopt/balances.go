package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/storage"
)

// balances keep what was spent under limits in dollars, so that a restart opens no budget. A process that is killed loses the last of it.
type balances struct {
	g    *gateway
	last []byte // as stored
}

const (
	balancesNamespace = "limits"
	balancesName      = "balances"
	// balancesEvery is how often they are stored.
	balancesEvery = 2 * time.Second
)

// run restores what was stored as soon as that can be read, then stores what there is every now and then, and once more at the end.
func (b *balances) run() {
	select {
	case <-b.g.durable.keeper.Ready():
	case <-b.g.stopping.Done():
		return
	}
	if err := b.read(); err != nil {
		b.g.log.Warn().Err(err).Msg("what was spent under limits before is not known: budgets begin anew")
	}
	tick := time.NewTicker(balancesEvery)
	defer tick.Stop()
	for done := false; !done; {
		select {
		case <-tick.C:
		case <-b.g.drained.Done():
			done = true
		}
		if err := b.write(); err != nil && !errors.Is(err, context.Canceled) {
			b.g.log.Debug().Err(err).Msg("what was spent under limits is not stored")
		}
	}
}

func (b *balances) read() error {
	ctx, cancel := context.WithTimeout(b.g.stopping, marksTimeout)
	defer cancel()
	data, err := b.g.durable.store.Value(ctx, balancesNamespace, balancesName)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var all []limit.Balance
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	b.g.proxy.RestoreBalances(time.Now(), all)
	return nil
}

func (b *balances) write() error {
	data, err := json.Marshal(b.g.proxy.Balances(time.Now()))
	if err != nil || bytes.Equal(data, b.last) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), marksTimeout)
	defer cancel()
	if err := b.g.durable.store.PutValue(ctx, balancesNamespace, balancesName, data, 0); err != nil {
		return err
	}
	b.last = data
	return nil
}
