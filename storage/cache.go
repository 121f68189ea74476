package storage

import (
	"bytes"
	"context"
	"time"
)

// CacheOptions say how a cache is kept.
type CacheOptions struct {
	Memory int64        // bytes of the tier in memory, overhead included; 0: it keeps nothing
	Disk   *DiskOptions // nil: there is no tier on disk
}

// Cache is a cache in two tiers: memory, and a database on disk that outlives the process. It is safe for concurrent use.
type Cache struct {
	memory *Memory
	disk   *Disk // nil: none
}

// CacheStats says how a cache does.
type CacheStats = struct {
	Memory MemoryStats
	Disk   *DiskStats // nil: there is none
}

// NewCache returns a cache. What is on disk is found once it has been looked through, in the background.
func NewCache(o CacheOptions) (*Cache, error) {
	c := &Cache{}
	if o.Disk != nil {
		var err error
		if c.disk, err = StartDisk(*o.Disk); err != nil {
			return nil, err
		}
	}
	c.memory = NewMemory(o.Memory)
	return c, nil
}

// Get returns the value under a key. Nobody may write to it. A value in memory costs no allocation; one that is in neither tier costs no call;
// one that is on disk only is waited for, up to DiskOptions.Wait, and comes into memory.
func (c *Cache) Get(now time.Time, key CacheKey) (value []byte, found bool) {
	if value, found = c.memory.Get(now, key); found || c.disk == nil || !c.disk.Has(key) {
		return value, found
	}
	return c.fetch(now, key)
}

// fetch brings a value from disk into memory.
func (c *Cache) fetch(now time.Time, key CacheKey) ([]byte, bool) {
	purges := c.memory.purges.Load()
	h, value, found := c.disk.get(context.Background(), now, &key)
	if !found || c.memory.purges.Load() != purges {
		return nil, false
	}
	if newer, found := c.memory.Peek(now, key); found {
		return newer.Value, true // it came meanwhile
	}
	item := &CacheItem{Value: bytes.Clone(value) /* without the room that reading took */, Idle: time.Duration(h.idle), Worth: h.worth}
	if h.expires != 0 {
		item.TTL = time.Duration(h.expires - now.UnixNano())
	}
	c.memory.put(now, &key, item, h.tags, purges)
	return value, true
}

// Put offers an entry to both tiers, and waits for none of them. It replaces an entry of the same key. false: neither takes it.
func (c *Cache) Put(now time.Time, key CacheKey, item *CacheItem) (taken bool) {
	taken = c.memory.Put(now, key, item)
	if c.disk != nil {
		taken = c.disk.Put(now, key, item) || taken
	}
	return taken
}

// Peek describes the entry under a key; ErrNotFound: there is none. Any other error says that it may be on disk, which does not tell now. It does not
// count as a hit, and moves nothing. ctx bounds how long the disk is waited for.
func (c *Cache) Peek(ctx context.Context, now time.Time, key CacheKey) (info CacheInfo, err error) {
	info, found := c.memory.Peek(now, key)
	switch {
	case c.disk == nil && !found:
		return info, ErrNotFound
	case c.disk == nil:
		return info, nil
	case !found:
		return c.disk.Peek(ctx, now, key)
	}
	info.Disk = c.disk.knows(&key)
	return info, nil
}

// Purge gives up the entries that filter picks, or only counts them when dry is set. None of those that were there when it was called is
// served after it, also when there is an error: it says that the disk can't be looked through now. They are deleted there once it
// can be, but a process that starts before that may find them again.
func (c *Cache) Purge(ctx context.Context, now time.Time, filter *CacheFilter, dry bool) (n CachePurge, err error) {
	if c.disk != nil { // first, so that nothing comes up from there any more
		n.Disk, err = c.disk.Purge(ctx, now, filter, dry)
	}
	n.Memory = c.memory.Purge(now, filter, dry)
	return n, err
}

// Delete gives up the entry under a key; see Purge.
func (c *Cache) Delete(ctx context.Context, now time.Time, key CacheKey) error {
	_, err := c.Purge(ctx, now, &CacheFilter{Key: &key}, false)
	return err
}

// HeldBy is how many bytes a route's entries occupy in memory, overhead included.
func (c *Cache) HeldBy(route string) int64 { return c.memory.heldBy(tagHash(route)).all.Load() }

// Stats says how the tiers do.
func (c *Cache) Stats() CacheStats {
	s := CacheStats{Memory: c.memory.Stats()}
	if c.disk != nil {
		d := c.disk.Stats()
		s.Disk = &d
	}
	return s
}

// Resize changes the limits, in bytes. What is too much in memory is gone when it returns, on disk soon after. A cache without a tier on
// disk does not get one by it.
func (c *Cache) Resize(now time.Time, memory, disk int64) {
	c.memory.Resize(now, memory)
	if c.disk != nil {
		c.disk.Resize(disk)
	}
}

// Close writes what waits to be written, for a moment, and ends. Calls that come later find nothing.
func (c *Cache) Close() error {
	c.memory.Close()
	if c.disk == nil {
		return nil
	}
	return c.disk.Close()
}
