package ledger

import (
	"encoding/binary"
	"errors"
)

// The first byte of what is encoded here. It counts up when the meaning of what follows changes.
const (
	keyVersion  = 1
	sumsVersion = 2
)

// sumsFormerly is the version that knew nothing of what is saved: the first sumsFormerlyEnd sums alone. It is still read.
const (
	sumsFormerly    = 1
	sumsFormerlyEnd = 10
)

// ErrMalformed says that bytes are no key or no sums, or of a version that is not known.
var ErrMalformed = errors.New("malformed ledger entry")

// AppendBinary implements encoding.BinaryAppender. It does not fail.
func (k Key) AppendBinary(dst []byte) ([]byte, error) {
	dst = append(dst, keyVersion)
	for _, s := range []string{k.Provider, k.Model, k.Route, k.Caller} {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	return dst, nil
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (k *Key) UnmarshalBinary(b []byte) error {
	if len(b) == 0 || b[0] != keyVersion {
		return ErrMalformed
	}
	b = b[1:]
	for _, s := range []*string{&k.Provider, &k.Model, &k.Route, &k.Caller} {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return ErrMalformed
		}
		*s, b = string(b[size:size+int(n)]), b[size+int(n):]
	}
	if len(b) > 0 {
		return ErrMalformed
	}
	return nil
}

// AppendBinary implements encoding.BinaryAppender. It does not fail.
func (s *Sums) AppendBinary(dst []byte) ([]byte, error) {
	dst = append(dst, sumsVersion)
	for _, v := range s.fields() {
		dst = binary.AppendVarint(dst, *v)
	}
	return dst, nil
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (s *Sums) UnmarshalBinary(b []byte) error {
	if len(b) == 0 || b[0] != sumsVersion && b[0] != sumsFormerly {
		return ErrMalformed
	}
	var read Sums
	known := read.fields()
	stored := known[:]
	if b[0] == sumsFormerly {
		stored = known[:sumsFormerlyEnd]
	}
	b = b[1:]
	for _, to := range stored {
		v, n := binary.Varint(b)
		if n <= 0 {
			return ErrMalformed
		}
		*to, b = v, b[n:]
	}
	if len(b) > 0 {
		return ErrMalformed
	}
	*s = read
	return nil
}
