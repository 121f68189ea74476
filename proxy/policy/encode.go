package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// format counts up when what is stored changes its meaning.
const format = 1

// ErrFormat says that bytes are no snapshot that this program knows.
var ErrFormat = errors.New("not a policy snapshot of a known format")

// stored is a snapshot as it stands in storage.
type stored struct {
	Format    int                 `json:"format"`
	Version   uint64              `json:"version"`
	Providers map[string]Provider `json:"providers"`
	Routes    map[string]Route    `json:"routes,omitempty"`
}

// MarshalBinary implements encoding.BinaryMarshaler. Equal snapshots give equal bytes.
func (s *Snapshot) MarshalBinary() ([]byte, error) {
	b, err := json.Marshal(stored{format, s.Version, s.Providers, s.Routes})
	if err != nil {
		return nil, fmt.Errorf("encode policy snapshot: %w", err)
	}
	return b, nil
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (s *Snapshot) UnmarshalBinary(b []byte) error {
	var from stored
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&from); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if from.Format != format || from.Version == 0 {
		return fmt.Errorf("%w: format %d, version %d", ErrFormat, from.Format, from.Version)
	}
	*s = Snapshot{from.Version, from.Providers, from.Routes}
	return nil
}

// Same tells whether two snapshots say the same, whatever their versions.
func (s *Snapshot) Same(o *Snapshot) bool {
	a, b := Snapshot{1, s.Providers, s.Routes}, Snapshot{1, o.Providers, o.Routes}
	x, errX := a.MarshalBinary()
	y, errY := b.MarshalBinary()
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
