package main

import (
	"cmp"
	enc "encoding/binary" // tests have a variable of that name
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"llm-auto-optimizer/proxy/limit"
)

// Balances are stored in buckets by those who have spent, so that a write takes those that have changed. A bucket is
//
//	version, entries, CRC-32C of all before it
//	entry:  length of the rule's name (0: the rule of the entry before), name, scopes, flags, IDs that are not 0, number of windows, windows
//	window: period and kind, begin since the one before, length, spent
//
// Numbers are varints, IDs eight bytes, times milliseconds: a limit's window is some 20 bytes with its caller, and 12 more for each stretch of a rolling one.
const (
	// balanceBuckets is how many there are: a value may have 1 MiB, which is room for 50,000 callers in each.
	balanceBuckets  = 256
	balancesVersion = 1
)

// Flags of a rule's scopes, for caller, route and target.
const (
	scopeEach  = 1 << 0
	scopeOnly  = 1 << 3 // an ID follows
	scopeFlags = 1<<6 - 1
)

// Flags of an entry.
const (
	entryShared = 1 << iota
	entryCaller
	entryRoute
	entryTarget
	entryFlags = 1<<iota - 1
)

var (
	errBalances   = errors.New("not a bucket of balances")
	balancesTable = crc32.MakeTable(crc32.Castagnoli)
)

// bucketName is the name that a bucket is stored by.
func bucketName(bucket int) string { return fmt.Sprintf("%02x", bucket) }

// bucketNumber is the bucket of a name.
func bucketNumber(name string) (int, error) {
	n, err := strconv.ParseUint(name, 16, 8)
	if err != nil || name != bucketName(int(n)) {
		return 0, fmt.Errorf("%w: it is called %q", errBalances, name)
	}
	return int(n), nil
}

// bucketOf is where what was spent by one is stored. It is part of the format.
func bucketOf(b *limit.Balance) int {
	h := xxhash.Sum64String(b.Rule)
	for _, id := range [...]limit.ID{b.Caller, b.Route, b.Target} {
		h = (h ^ uint64(id)) * 0x9e3779b97f4a7c15 // spreads low bits to high ones
		h ^= h >> 32
	}
	return int(h >> 56)
}

// spender is the balances of one entry of a rule: they stand side by side.
type spender []limit.Balance

func sameSpender(a, b *limit.Balance) bool { return a.Rule == b.Rule && compareSpenders(a, b) == 0 }

func compareSpenders(a, b *limit.Balance) int {
	return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Caller, b.Caller), cmp.Compare(a.Route, b.Route), cmp.Compare(a.Target, b.Target), cmp.Compare(bit(a.Shared), bit(b.Shared)))
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// bucketsOf puts balances into their buckets. What balances of the same say is the same there, in whatever order they came.
func bucketsOf(all []limit.Balance) (buckets [balanceBuckets][]spender) {
	for len(all) > 0 {
		n := 1
		for n < len(all) && sameSpender(&all[0], &all[n]) {
			n++
		}
		at := bucketOf(&all[0])
		buckets[at] = append(buckets[at], all[:n:n])
		all = all[n:]
	}
	for i := range buckets {
		slices.SortFunc(buckets[i], func(a, b spender) int { return compareSpenders(&a[0], &b[0]) })
	}
	return buckets
}

// appendBucket appends a bucket's value, which has its own checksum. An empty bucket has none.
func appendBucket(dst []byte, bucket []spender) []byte {
	if len(bucket) == 0 {
		return dst
	}
	start, rule := len(dst), ""
	dst = append(dst, balancesVersion)
	for _, s := range bucket {
		b := &s[0]
		if b.Rule == rule {
			dst = append(dst, 0)
		} else {
			rule = b.Rule
			dst = append(enc.AppendUvarint(dst, uint64(len(rule))), rule...)
			dst = appendScopes(dst, b)
		}
		flags := bit(b.Shared) * entryShared
		at := len(dst)
		dst = append(dst, 0)
		for i, id := range [...]limit.ID{b.Caller, b.Route, b.Target} {
			if id != 0 {
				flags |= entryCaller << i
				dst = enc.LittleEndian.AppendUint64(dst, uint64(id))
			}
		}
		dst[at] = flags
		dst = enc.AppendUvarint(dst, uint64(len(s)))
		before := int64(0)
		for i := range s {
			w := &s[i]
			begin, end := w.Begin.UnixMilli(), w.End.UnixMilli()
			dst = append(dst, byte(w.Per)<<1|bit(w.Rolling))
			dst = enc.AppendVarint(dst, begin-before)
			dst = enc.AppendVarint(dst, end-begin)
			dst = enc.AppendVarint(dst, w.Spent)
			before = begin
		}
	}
	return sealBucket(dst, start)
}

// appendScopes appends for whom the rule of a balance is.
func appendScopes(dst []byte, b *limit.Balance) []byte {
	at := len(dst)
	dst = append(dst, 0)
	for i, s := range [...]limit.Scope{b.CallerScope, b.RouteScope, b.TargetScope} {
		dst[at] |= bit(s.Each) * scopeEach << i
		if s.Only != 0 {
			dst[at] |= scopeOnly << i
			dst = enc.LittleEndian.AppendUint64(dst, uint64(s.Only))
		}
	}
	return dst
}

// sealBucket appends the checksum of the bucket that begins at start.
func sealBucket(dst []byte, start int) []byte {
	return enc.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], balancesTable))
}

// parseBucket returns the balances in a bucket's value. An error is one of errBalances.
func parseBucket(bucket int, value []byte) (all []limit.Balance, err error) {
	if len(value) < 5 || value[0] != balancesVersion {
		return nil, fmt.Errorf("%w of version %d", errBalances, balancesVersion)
	}
	body, sum := value[:len(value)-4], value[len(value)-4:]
	if crc32.Checksum(body, balancesTable) != enc.LittleEndian.Uint32(sum) {
		return nil, fmt.Errorf("%w: its checksum differs", errBalances)
	}
	r, rule := bucketReader{body[1:], nil}, limit.Balance{}
	for len(r.rest) > 0 && r.err == nil {
		if n := r.count(); n > 0 {
			rule = limit.Balance{Rule: string(r.bytes(n))}
			r.scopes(&rule)
		}
		from := len(all)
		if all = r.entry(all, rule); len(all) > from && bucketOf(&all[from]) != bucket {
			return nil, fmt.Errorf("%w: it holds what belongs to another", errBalances)
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	return all, nil
}

// bucketReader reads the parts of a bucket one by one. After an error there is nothing but zeros.
type bucketReader struct {
	rest []byte
	err  error
}

func (r *bucketReader) fail() { r.rest, r.err = nil, fmt.Errorf("%w: it breaks off", errBalances) }

func (r *bucketReader) bytes(n int) []byte {
	if n > len(r.rest) {
		r.fail()
		return nil
	}
	part := r.rest[:n]
	r.rest = r.rest[n:]
	return part
}

// count reads a number of things that have a byte at least.
func (r *bucketReader) count() int {
	n, size := enc.Uvarint(r.rest)
	if size <= 0 || n > uint64(len(r.rest)-size) {
		r.fail()
		return 0
	}
	r.rest = r.rest[size:]
	return int(n) //nolint:gosec // no more than there are bytes
}

func (r *bucketReader) varint() int64 {
	n, size := enc.Varint(r.rest)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *bucketReader) id() limit.ID {
	part := r.bytes(8)
	if part == nil {
		return 0
	}
	return limit.ID(enc.LittleEndian.Uint64(part))
}

// flags reads a byte of up to most.
func (r *bucketReader) flags(most byte) byte {
	part := r.bytes(1)
	if part == nil {
		return 0
	}
	if part[0] > most {
		r.fail()
		return 0
	}
	return part[0]
}

// scopes reads for whom a rule is.
func (r *bucketReader) scopes(b *limit.Balance) {
	flags := r.flags(scopeFlags)
	for i, s := range [...]*limit.Scope{&b.CallerScope, &b.RouteScope, &b.TargetScope} {
		s.Each = flags&(scopeEach<<i) != 0
		if flags&(scopeOnly<<i) != 0 {
			s.Only = r.id()
		}
	}
}

// entry reads an entry behind its rule, and appends its balances.
func (r *bucketReader) entry(all []limit.Balance, b limit.Balance) []limit.Balance {
	flags := r.flags(entryFlags)
	b.Shared = flags&entryShared != 0
	for i, id := range [...]*limit.ID{&b.Caller, &b.Route, &b.Target} {
		if flags&(entryCaller<<i) != 0 {
			*id = r.id()
		}
	}
	begin := int64(0)
	for range r.count() {
		kind := r.flags(1<<8 - 1)
		begin += r.varint()
		length := r.varint()
		b.Per, b.Rolling, b.Spent = limit.Period(kind>>1), kind&1 != 0, r.varint()
		if r.err != nil {
			return all
		}
		b.Begin, b.End = time.UnixMilli(begin), time.UnixMilli(begin+length)
		all = append(all, b)
	}
	return all
}
