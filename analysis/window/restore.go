package window

import "time"

// Restorer files stored slots into a recorder. Slots of a series that a coarser slot takes are merged before they are filed, which
// is what makes it quick when they come in order. Not safe for concurrent use; the recorder may be in use meanwhile.
type Restorer struct {
	recorder *Recorder
	now      int64

	key    Key
	series *Series

	// What waits to be filed at a level coarser than its own, if any.
	level   int
	number  int64
	waiting bool
	work    *workspace
}

// NewRestorer returns a restorer that files slots as they are kept at now. Close it.
func (r *Recorder) NewRestorer(now time.Time) *Restorer {
	return &Restorer{recorder: r, now: slotOf(now), work: new(workspace)}
}

// Add files a stored slot of a level under its series, at the finest level that keeps its time. Whoever calls it sees to it that no
// time is restored twice, at one level or at two. data is kept and must not be changed.
func (r *Restorer) Add(k Key, l Level, number int64, data []byte) error {
	sealed, err := sealedOf(data)
	if err != nil {
		return err
	}
	if r.series == nil || k != r.key {
		r.flush()
		r.series = r.recorder.Series(k)
		r.key = k.clone()
	}
	at := number * levels[l].width
	r.recorder.began(at)
	lvl := int(l)
	for lvl < lastLevel && !levels[lvl].keeps(at/levels[lvl].width, r.now/levels[lvl].width) {
		lvl++
	}
	if lvl == int(l) {
		r.put(lvl, at, sealed)
		return nil
	}
	if number := at / levels[lvl].width; !r.waiting || lvl != r.level || number != r.number {
		r.flush()
		r.level, r.number, r.waiting = lvl, number, true
	}
	r.work.tally.addSealed(sealed)
	return nil
}

// Close files what is left.
func (r *Restorer) Close() { r.flush() }

func (r *Restorer) flush() {
	if r.waiting {
		r.put(r.level, r.number*levels[r.level].width, r.work.seal())
		r.waiting = false
	}
}

func (r *Restorer) put(lvl int, at int64, data []byte) {
	r.series.mu.Lock()
	defer r.series.mu.Unlock()
	r.series.rings.put(lvl, at, data, r.now)
}
