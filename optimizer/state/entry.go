package state

import (
	"encoding/json"
	"time"
)

// Entry is one entry of the journal: a change of the policy in force, or what an operator has done by hand, and why.
type Entry struct {
	Format  int       `json:"format"` // counts up when fields change their meaning
	At      time.Time `json:"at"`
	Kind    string    `json:"kind"`
	Reason  string    `json:"reason"`
	From    uint64    `json:"from"`              // policy version before
	To      uint64    `json:"to"`                // and after
	Changed []string  `json:"changed,omitempty"` // settings

	Decision json.RawMessage `json:"decision,omitempty"` // of the optimizer, whole
}

// entryFormat is the present format.
const entryFormat = 1

// The kinds of changes.
const (
	KindConfiguration = "configuration" // an operator's settings
	KindRestore       = "restore"       // stored state was replaced by a backup
	KindTarget        = "target"        // an operator has drained, ejected or restored a target
	KindCache         = "cache"         // an operator has purged kept answers
	KindDecision      = "decision"      // of the optimizer, or of an operator by it
)

func (e Entry) encode() []byte {
	e.Format = entryFormat
	b, err := json.Marshal(e)
	if err != nil {
		panic("BUG: journal entry: " + err.Error())
	}
	return b
}

// DecodeEntry reads an entry of the journal.
func DecodeEntry(b []byte) (Entry, error) {
	var e Entry
	err := json.Unmarshal(b, &e)
	return e, err
}
