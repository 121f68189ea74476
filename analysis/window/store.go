package window

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// What is kept outside of the process: sealed slots and the keys of their series, each with a version in front.
const (
	keyVersion = 1
	// slotVersion counts up when the sealed form changes, or the meaning of an outcome's number.
	slotVersion = 1
	slotHead    = 1 + crc32.Size
)

// ErrMalformed says that bytes are no slot or no key, or of a version that is not known.
var ErrMalformed = errors.New("malformed window data")

// Level is one resolution of the windows.
type Level uint8

// The levels, from the finest.
const (
	TenSeconds Level = iota
	Minutes
	Hours
	LevelsEnd
)

// Step returns the length of the level's slots.
func (l Level) Step() time.Duration { return time.Duration(levels[l].width) * slotLength }

// Number returns the number of the level's slot that t falls into. Slots are numbered from 1970.
func (l Level) Number(t time.Time) int64 { return slotOf(t) / levels[l].width }

// Start returns where a slot of the level begins.
func (l Level) Start(number int64) time.Time { return slotStart(number * levels[l].width) }

// String returns the level's step as in "10s".
func (l Level) String() string { return [...]string{"10s", "1m", "1h"}[l] }

// Complete returns the number of the first slot of a level that may still change, or is not over, at now: all before it are
// complete, provided that [Recorder.Advance] has been called with now.
func (l Level) Complete(now time.Time) int64 { return (slotOf(now) - 1) / levels[l].width }

// Oldest returns the number of the first slot that recorders still keep at this level at now.
func (l Level) Oldest(now time.Time) int64 { return max(0, l.Number(now)-levels[l].keep) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Slots gives what the series hold of a level's slots with numbers from from up to and without to, in the form to be stored, slots
// in which nothing was recorded left out. Where the recorder keeps a time at a coarser level only, all of that slot's content
// counts in the finer slot in which the coarser one begins. What yield gets is valid until it returns; Slots ends when it returns false.
func (r *Recorder) Slots(l Level, from, to int64, yield func(k Key, number int64, data []byte) bool) {
	if to <= from {
		return
	}
	width := levels[l].width
	tallies := make([]tally, to-from)
	var data []byte
	for _, s := range r.Select(nil) {
		s.read(func(at int64) *tally {
			if number := at / width; number >= from && number < to {
				return &tallies[number-from]
			}
			return nil
		})
		for i := range tallies {
			t := &tallies[i]
			if t.empty() {
				continue
			}
			data = appendTally(append(data[:0], slotVersion, 0, 0, 0, 0), t)
			binary.LittleEndian.PutUint32(data[1:], crc32.Checksum(data[slotHead:], castagnoli))
			t.reset()
			if !yield(s.key, from+int64(i), data) {
				return
			}
		}
	}
}

// sealedOf checks a stored slot. What passes was written by Slots.
func sealedOf(data []byte) ([]byte, error) {
	switch {
	case len(data) < slotHead:
		return nil, fmt.Errorf("%w: a slot of %d bytes", ErrMalformed, len(data))
	case data[0] != slotVersion:
		return nil, fmt.Errorf("%w: a slot of version %d, this program knows %d", ErrMalformed, data[0], slotVersion)
	case binary.LittleEndian.Uint32(data[1:]) != crc32.Checksum(data[slotHead:], castagnoli):
		return nil, fmt.Errorf("%w: a slot's checksum is wrong", ErrMalformed)
	}
	return data[slotHead:], nil
}

// AddStored adds a stored slot to s, whose From and To stay as they are.
func (s *Summary) AddStored(data []byte) error {
	sealed, err := sealedOf(data)
	if err != nil {
		return err
	}
	s.tally.addSealed(sealed)
	return nil
}

// AppendBinary implements encoding.BinaryAppender. It does not fail.
func (k Key) AppendBinary(dst []byte) ([]byte, error) {
	dst = append(dst, keyVersion)
	for _, s := range []string{k.Target, k.Route, k.Class, k.Arm} {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	return dst, nil
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (k *Key) UnmarshalBinary(b []byte) error {
	if len(b) == 0 || b[0] != keyVersion {
		return fmt.Errorf("%w: key %q", ErrMalformed, b)
	}
	left := b[1:]
	for _, s := range []*string{&k.Target, &k.Route, &k.Class, &k.Arm} {
		n, size := binary.Uvarint(left)
		if size <= 0 || n > uint64(len(left)-size) {
			return fmt.Errorf("%w: key %q", ErrMalformed, b)
		}
		*s, left = string(left[size:size+int(n)]), left[size+int(n):]
	}
	if len(left) > 0 {
		return fmt.Errorf("%w: key %q", ErrMalformed, b)
	}
	return nil
}
