package storage

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// What a cache has on disk under a key: a head, of which a second copy stands in a range of its own, so that looking through all heads
// does not read the values; and the value. The checksum is over the key, the head and the value: a value that is torn, or that
// has come under another key, is none.

// recordHead is what is known of an entry beside its value.
type recordHead struct {
	expires int64  // Unix nanoseconds; 0: never
	idle    int64  // nanoseconds; 0: any
	stamp   int64  // counts up with each write, over restarts; near the Unix time in nanoseconds
	tags    tags   // of route, model, caller
	size    uint32 // of the value
	worth   int64  // NanoUSD that a hit saves; 0: not known
}

const (
	recordVersion = 1 // of a head without a worth
	recordValued  = 2 // with one, behind all else
	recordPlain   = 1 + 3*8 + 3*8 + 4
	recordSize    = recordPlain + 8 // of a head, at most
	recordSum     = 4
	// largestCached is the largest value that goes to disk.
	largestCached = largestValue - recordSize - recordSum
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (h *recordHead) append(dst []byte) []byte {
	version := byte(recordVersion)
	if h.worth > 0 {
		version = recordValued
	}
	dst = append(dst, version)
	for _, v := range []int64{h.expires, h.idle, h.stamp} {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(v)) //nolint:gosec // the other way in parseHead
	}
	for _, v := range h.tags {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	dst = binary.LittleEndian.AppendUint32(dst, h.size)
	if h.worth > 0 {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(h.worth))
	}
	return dst
}

// length is what the head takes.
func (h *recordHead) length() int {
	if h.worth > 0 {
		return recordSize
	}
	return recordPlain
}

// parseHead reads a head at the beginning of b.
func parseHead(b []byte) (h recordHead, valid bool) {
	if len(b) < recordPlain {
		return h, false
	}
	number := func(i int) uint64 { return binary.LittleEndian.Uint64(b[1+8*i:]) }
	h.expires, h.idle, h.stamp = int64(number(0)), int64(number(1)), int64(number(2)) //nolint:gosec // as they were written
	h.tags = tags{number(3), number(4), number(5)}
	h.size = binary.LittleEndian.Uint32(b[recordPlain-4:])
	switch b[0] {
	case recordVersion:
		return h, true
	case recordValued:
		if len(b) < recordSize {
			return h, false
		}
		h.worth = int64(binary.LittleEndian.Uint64(b[recordPlain:])) //nolint:gosec // as it was written
		return h, h.worth > 0
	default:
		return h, false
	}
}

func recordChecksum(key *CacheKey, head, value []byte) uint32 {
	sum := crc32.Update(0, castagnoli, key[:])
	return crc32.Update(crc32.Update(sum, castagnoli, head), castagnoli, value)
}

// newRecord is a head and its value, as they stand on disk.
func newRecord(key *CacheKey, h *recordHead, value []byte) []byte {
	b := h.append(make([]byte, 0, recordSize+recordSum+len(value)))
	b = binary.LittleEndian.AppendUint32(b, recordChecksum(key, b, value))
	return append(b, value...)
}

// parseRecord reads what newRecord has written for a key. The value is a part of b.
func parseRecord(b []byte, key *CacheKey) (h recordHead, value []byte, valid bool) {
	h, valid = parseHead(b)
	head := h.length()
	if !valid || len(b) < head+recordSum {
		return h, nil, false
	}
	value = b[head+recordSum:]
	if uint64(len(value)) != uint64(h.size) {
		return h, nil, false
	}
	sum := binary.LittleEndian.Uint32(b[head:])
	return h, value, sum == recordChecksum(key, b[:head], value)
}

// until is when a record is not read from disk any more, in Unix nanoseconds; 0: never. Nobody knows there when an entry was last hit, so its
// idle time runs from the write on.
func (h *recordHead) until() int64 {
	if h.idle != 0 && (h.expires == 0 || h.stamp+h.idle < h.expires) {
		return h.stamp + h.idle
	}
	return h.expires
}

func (h *recordHead) over(now time.Time) bool {
	until := h.until()
	return until != 0 && now.UnixNano() >= until
}

// keep is for how long the database has to keep a record, rounded up to its seconds; 0: for ever.
func (h *recordHead) keep(now time.Time) time.Duration {
	until := h.until()
	if until == 0 {
		return 0
	}
	left := time.Duration(until - now.UnixNano())
	return max(left+time.Second-1, time.Second).Truncate(time.Second)
}

// The keys: epoch, kind, key. Epochs follow each other, so that new entries lie behind old ones, and all of an epoch go as one.
const (
	cacheHead  = 'h'
	cacheValue = 'v'
)

func epochPrefix(epoch uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{spaceCache}, epoch)
}

func cacheRecordKey(epoch uint32, kind byte, key *CacheKey) []byte {
	b := make([]byte, 0, 1+4+1+len(key))
	b = binary.BigEndian.AppendUint32(append(b, spaceCache), epoch)
	return append(append(b, kind), key[:]...)
}

// cutRecordKey is the other way.
func cutRecordKey(b []byte) (epoch uint32, kind byte, key CacheKey, valid bool) {
	if len(b) != 6+len(key) || b[0] != spaceCache {
		return 0, 0, key, false
	}
	copy(key[:], b[6:])
	return binary.BigEndian.Uint32(b[1:]), b[5], key, true
}
