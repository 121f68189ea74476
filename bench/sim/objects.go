package sim

import "sync"

// maxObjects bounds what the simulator remembers of stored responses, files and batches: the oldest goes first.
const maxObjects = 1024

// object is something a client stored.
type object struct {
	kind    string // "response", "file", "batch"
	id      string
	json    []byte
	content []byte // of a file
	size    int    // of a file, even when its content was too large to keep
}

// objects are what clients stored, in order of age. Safe for concurrent use.
type objects struct {
	mu   sync.Mutex
	list []*object
}

func (o *objects) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = nil
}

// put stores an object, in the place of one with its id.
func (o *objects) put(obj *object) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, old := range o.list {
		if old.id == obj.id {
			o.list[i] = obj
			return
		}
	}
	if len(o.list) >= maxObjects {
		o.list = append(o.list[:0], o.list[1:]...)
	}
	o.list = append(o.list, obj)
}

// get finds an object; nil if there is none.
func (o *objects) get(kind, id string) *object {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, obj := range o.list {
		if obj.kind == kind && obj.id == id {
			return obj
		}
	}
	return nil
}

// remove forgets an object.
func (o *objects) remove(kind, id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, obj := range o.list {
		if obj.kind == kind && obj.id == id {
			o.list = append(o.list[:i], o.list[i+1:]...)
			return
		}
	}
}

// all returns the objects of a kind, oldest first.
func (o *objects) all(kind string) []*object {
	o.mu.Lock()
	defer o.mu.Unlock()
	var list []*object
	for _, obj := range o.list {
		if obj.kind == kind {
			list = append(list, obj)
		}
	}
	return list
}
