package storage

import "context"

// turn is a mutex for which nobody has to wait longer than they like. It is made by newTurn.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) Lock() { t <- struct{}{} }

func (t turn) Unlock() { <-t }

// LockWithin is Lock until ctx is done; it holds nothing when it returns an error, which is that of ctx.
func (t turn) LockWithin(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
