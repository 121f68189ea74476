package proxy

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	mathrand "math/rand/v2"
	"time"
)

// idLen is the length of an exchange's id in hexadecimal digits: 12 of the time in milliseconds, 16 random ones.
const idLen = 28

const hexDigits = "0123456789abcdef"

// appendID appends a new id. Ids sort by time.
func appendID(dst []byte, now time.Time) []byte {
	ms, r := uint64(now.UnixMilli()), mathrand.Uint64() //nolint:gosec // after 1970; an id need not be unpredictable
	for shift := 44; shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[ms>>shift&15])
	}
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[r>>shift&15])
	}
	return dst
}

// hashID is a keyed hash that stands for a caller or a session. The zero value stands for none.
type hashID [8]byte

func (h hashID) appendTo(dst []byte) []byte {
	if h == (hashID{}) {
		return append(dst, '-')
	}
	return hex.AppendEncode(dst, h[:])
}

// hasher makes hashIDs: the first 8 bytes of SHA-256 over a secret key and the value. Truncation leaves no length
// extension, and without the key nobody can test a guessed credential against a log.
type hasher struct{ key [32]byte }

// newHasher derives the key from a secret, or draws a random one where that is empty: then hashes differ after a restart.
func newHasher(secret string) hasher {
	var h hasher
	if secret == "" {
		_, _ = rand.Read(h.key[:]) // never fails
	} else {
		h.key = sha256.Sum256([]byte(secret))
	}
	return h
}

// hash puts a domain and the parts together in scratch, which it returns for reuse.
func (h *hasher) hash(scratch []byte, domain byte, parts ...[]byte) (hashID, []byte) {
	scratch = append(append(scratch[:0], h.key[:]...), domain)
	for _, p := range parts {
		scratch = append(scratch, p...)
	}
	sum := sha256.Sum256(scratch)
	return hashID(sum[:8]), scratch
}
