package storage

import (
	"context"
	"time"
)

// PutValue stores a value by name, for the time keep; 0: for ever.
func (s *Store) PutValue(ctx context.Context, namespace, name string, value []byte, keep time.Duration) error {
	if value == nil {
		value = []byte{}
	}
	return s.apply(ctx, []op{{key: valueKey(namespace, name), value: value, ttl: keep}}, false)
}

// Value returns a value by name, ErrNotFound when there is none.
func (s *Store) Value(ctx context.Context, namespace, name string) ([]byte, error) {
	return s.get(ctx, valueKey(namespace, name))
}

// DeleteValue deletes a value; it does not mind that there is none.
func (s *Store) DeleteValue(ctx context.Context, namespace, name string) error {
	return s.apply(ctx, []op{{key: valueKey(namespace, name)}}, false)
}

// Values gives all values of a namespace, by name. What yield gets is valid until it returns.
func (s *Store) Values(ctx context.Context, namespace string, yield func(name string, value []byte) error) error {
	prefix := valueKey(namespace, "")
	return s.scan(ctx, query{spans: []span{prefixSpan(prefix)}}, func(key, value []byte) error {
		return yield(string(key[len(prefix):]), value)
	})
}
