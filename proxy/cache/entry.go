package cache

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/cespare/xxhash/v2"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/provider"
)

// ErrCorrupt says that bytes are no whole entry of this version, or that of another key.
var ErrCorrupt = errors.New("no entry of this key")

// Entry is a stored answer. The slices of a decoded one alias what it was decoded from.
type Entry struct {
	Key       Key
	Created   time.Time // when the provider's answer had come
	Expires   time.Time // from when on it is stale
	Route     []byte    // as in the Question; so are Caller and Model. They are for looking up and purging
	Caller    []byte
	Model     []byte
	Dialect   provider.Dialect
	Operation provider.Operation
	Format    provider.Format // of Answer
	Status    int
	Usage     provider.Usage
	Cost      config.NanoUSD // of the exchange that brought it: what a hit saves
	Unpriced  bool           // Cost is not known
	OwnTTL    bool           // the request has set how long it lives
	Asked     bool           // OpenAI chat and completions: the stream was asked for its usage (stream_options.include_usage), by whomever
	Latency   time.Duration  // of that exchange, to the last byte: what a hit saves, and how long a refresh takes
	FirstByte time.Duration  // of that exchange, to the first byte of content
	Type      []byte         // the header content-type
	Header    []byte         // other headers to replay, as AppendHeaders makes them
	Answer    []byte         // the body or the events, byte for byte, without content encoding
}

// The layout, all numbers little endian: magic, checksum of all that follows, length of all, key, numbers, lengths of the slices, slices. Operations
// and dialects are stored by their names, which stay when their numbers change.
const (
	entryMagic  = "LOC\x02" // the last byte is the version
	sumAt       = len(entryMagic)
	lengthAt    = sumAt + 8
	keyAt       = lengthAt + 4
	numbersAt   = keyAt + len(Key{})
	numbers     = 8 + usageFields
	usageFields = 11
	lengthsAt   = numbersAt + 8*numbers
	slices8     = 8
	entryHead   = lengthsAt + 4*slices8
	maxEntry    = 1 << 30 // bytes of an encoded entry
)

// The flags of an entry; its format stands behind them.
const (
	flagUnpriced = 1 << iota
	flagAsked
	flagOwnTTL
	flags = iota
)

// Size is the number of bytes that Append appends.
func (e *Entry) Size() int {
	return entryHead + len(e.Route) + len(e.Caller) + len(e.Model) + len(e.Dialect.String()) + len(e.Operation.String()) +
		len(e.Type) + len(e.Header) + len(e.Answer)
}

// Append appends the entry to dst. The entry must be smaller than 1 GiB.
func (e *Entry) Append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, entryMagic...)
	dst = binary.LittleEndian.AppendUint64(dst, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(e.Size())) //nolint:gosec // below maxEntry
	dst = append(dst, e.Key[:]...)
	flagged := int64(e.Format) << flags
	if e.Unpriced {
		flagged |= flagUnpriced
	}
	if e.Asked {
		flagged |= flagAsked
	}
	if e.OwnTTL {
		flagged |= flagOwnTTL
	}
	for _, n := range [8]int64{
		e.Created.UnixNano(), e.Expires.UnixNano(), int64(e.Status), flagged, int64(e.Cost), int64(e.Latency), int64(e.FirstByte), 0,
	} {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(n)) //nolint:gosec // the same bits
	}
	for _, n := range usageNumbers(&e.Usage) {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(*n)) //nolint:gosec // the same bits
	}
	dialect, operation := e.Dialect.String(), e.Operation.String()
	for _, n := range [slices8]int{
		len(e.Route), len(e.Caller), len(e.Model), len(dialect), len(operation), len(e.Type), len(e.Header), len(e.Answer),
	} {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(n)) //nolint:gosec // below maxEntry
	}
	dst = append(append(append(dst, e.Route...), e.Caller...), e.Model...)
	dst = append(append(dst, dialect...), operation...)
	dst = append(append(append(dst, e.Type...), e.Header...), e.Answer...)
	binary.LittleEndian.PutUint64(dst[start+sumAt:], xxhash.Sum64(dst[start+lengthAt:]))
	return dst
}

// Decode reads the entry that src is, all of it; ErrCorrupt where it is not whole, changed, of another version, or not of this key. A nil key
// stands for any. Nothing is allocated.
func Decode(e *Entry, key *Key, src []byte) error {
	if len(src) < entryHead || len(src) > maxEntry || string(src[:sumAt]) != entryMagic ||
		uint64(binary.LittleEndian.Uint32(src[lengthAt:])) != uint64(len(src)) ||
		xxhash.Sum64(src[lengthAt:]) != binary.LittleEndian.Uint64(src[sumAt:]) {
		return ErrCorrupt
	}
	var n [8]int64
	for i := range n {
		n[i] = int64(binary.LittleEndian.Uint64(src[numbersAt+8*i:])) //nolint:gosec // the same bits
	}
	*e = Entry{
		Key: Key(src[keyAt:]), Created: time.Unix(0, n[0]), Expires: time.Unix(0, n[1]), Status: int(n[2]),
		Format: provider.Format(n[3] >> flags), Unpriced: n[3]&flagUnpriced != 0, Asked: n[3]&flagAsked != 0, OwnTTL: n[3]&flagOwnTTL != 0, //nolint:gosec // as it was written
		Cost: config.NanoUSD(n[4]), Latency: time.Duration(n[5]), FirstByte: time.Duration(n[6]),
	}
	if key != nil && *key != e.Key {
		return ErrCorrupt
	}
	for i, u := range usageNumbers(&e.Usage) {
		*u = int64(binary.LittleEndian.Uint64(src[numbersAt+8*(len(n)+i):])) //nolint:gosec // the same bits
	}
	var dialect, operation []byte
	rest := src[entryHead:]
	for i, s := range [slices8]*[]byte{&e.Route, &e.Caller, &e.Model, &dialect, &operation, &e.Type, &e.Header, &e.Answer} {
		n := binary.LittleEndian.Uint32(src[lengthsAt+4*i:])
		if uint64(n) > uint64(len(rest)) {
			return ErrCorrupt
		}
		*s, rest = rest[:n:n], rest[n:]
	}
	var known, knownOperation bool
	e.Dialect, known = provider.ParseDialect(string(dialect))
	e.Operation, knownOperation = provider.ParseOperation(operation)
	if len(rest) > 0 || !known || !knownOperation {
		return ErrCorrupt
	}
	return nil
}

// usageNumbers are the counts of u in the order of the layout.
func usageNumbers(u *provider.Usage) [usageFields]*int64 {
	return [usageFields]*int64{
		&u.Input, &u.CacheRead, &u.CacheWrite5m, &u.CacheWrite1h, &u.Output, &u.Reasoning,
		&u.AudioInput, &u.AudioOutput, &u.ImageInput, &u.ImageOutput, &u.WebSearches,
	}
}

// Age is how old the answer is, from 0.
func (e *Entry) Age(now time.Time) time.Duration { return max(now.Sub(e.Created), 0) }

// State is what may be done with the answer; see StateAt.
func (e *Entry) State(now time.Time, s *Settings, d *Directives) State {
	limit := s.TTL
	if e.OwnTTL {
		limit = s.TTLFor(e.Expires.Sub(e.Created))
	}
	return StateAt(e.Created, e.Expires, now, limit, s, d)
}

// RefreshEarly reports whether a hit on the fresh answer should fetch it anew; see EarlyRefresh.
func (e *Entry) RefreshEarly(now time.Time, s *Settings, draw float64) bool {
	return EarlyRefresh(now, e.Expires, e.Latency, s.EarlyBeta, draw)
}
