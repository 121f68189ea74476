package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// schemaVersion counts up when the layout of keys changes. It stands under keySchema.
const schemaVersion = 1

// Keyspaces: the first byte of a key. Numbers in keys are big-endian, so that keys sort as the numbers do.
const (
	spaceMeta     = 'm' // what the store notes about itself
	spaceNames    = 'i' // level, series                 the series that have slots
	spaceSeries   = 's' // level, series, slot
	spaceTotals   = 't' // hour, key
	spaceSnapshot = 'p' // version
	spaceJournal  = 'j' // sequence number
	spaceValues   = 'v' // namespace, name
	spaceCache    = 'c' // epoch, kind, key; in databases of their own
)

// spaceTitles name the keyspaces for people, in the order in which they are shown.
var spaceTitles = []struct {
	space byte
	title string
}{
	{spaceSeries, "windows"}, {spaceTotals, "totals"}, {spaceSnapshot, "snapshots"}, {spaceJournal, "journal"}, {spaceValues, "values"},
}

var (
	keySchema  = []byte{spaceMeta, 's'}
	keyFlush   = []byte{spaceMeta, 'f'} // sequence number of the last flush of totals
	keyCurrent = []byte{spaceMeta, 'c'} // version of the snapshot in force
	keyRun     = []byte{spaceMeta, 'r'} // of a cache: what process has it
	keyGood    = []byte{spaceMeta, 'g'} // version of the last snapshot known to be good
)

// appendName appends a string of any bytes so that none is the beginning of another.
func appendName(dst, name []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(name)))
	return append(dst, name...)
}

func cutName(key []byte) (name, rest []byte, err error) {
	n, size := binary.Uvarint(key)
	if size <= 0 || n > uint64(len(key)-size) {
		return nil, nil, fmt.Errorf("key %q: %w", key, ErrDamaged)
	}
	return key[size : size+int(n)], key[size+int(n):], nil
}

func cutNumber(key []byte) (uint64, error) {
	if len(key) != 8 {
		return 0, fmt.Errorf("key %q: %w", key, ErrDamaged)
	}
	return binary.BigEndian.Uint64(key), nil
}

func namesKey(level uint8, series []byte) []byte {
	return append([]byte{spaceNames, level}, series...)
}

func seriesKey(level uint8, series []byte, slot int64) []byte {
	return binary.BigEndian.AppendUint64(appendName([]byte{spaceSeries, level}, series), uint64(slot))
}

func totalsKey(hour int64, key []byte) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{spaceTotals}, uint64(hour)), key...)
}

func numberKey(space byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{space}, n)
}

func valueKey(namespace, name string) []byte {
	return append(appendName([]byte{spaceValues}, []byte(namespace)), name...)
}

// span is a range of keys: from is included, to is not; an empty to is the end.
type span struct{ from, to []byte }

// prefixSpan holds all keys that begin with prefix.
func prefixSpan(prefix []byte) span {
	to := slices.Clone(prefix)
	for i := len(to) - 1; i >= 0; i-- {
		if to[i]++; to[i] != 0 {
			return span{prefix, to[:i+1]}
		}
	}
	return span{prefix, nil}
}

func (s span) holds(key []byte) bool {
	return bytes.Compare(key, s.from) >= 0 && (len(s.to) == 0 || bytes.Compare(key, s.to) < 0)
}
