package config

import (
	"fmt"
	"io"
)

// masked is what every way of printing shows of a Secret that is not empty.
const masked = "***"

// Secret is a string that must not be seen: keys, tokens and header values. Every formatting verb, JSON and text
// encoding shows "***" (nothing for the empty one); Reveal gives the value to the one place that sends it. The zero
// value is the empty secret. Secrets don't compare with ==: the value stands behind a pointer, because fmt prints the
// unexported fields of other structs without asking their methods, and then shows an address.
type Secret struct{ value *string }

// NewSecret wraps a value.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{&value}
}

// Reveal returns the value itself.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Empty reports whether nothing is set.
func (s Secret) Empty() bool { return s.value == nil }

// String returns "***", or "" for the empty secret.
func (s Secret) String() string {
	if s.Empty() {
		return ""
	}
	return masked
}

// Format writes String for every verb and flag.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText returns String, which also covers JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
