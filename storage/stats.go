package storage

import (
	"context"
	"path/filepath"
)

// Stats says what is stored.
type Stats struct {
	Dir       string  `json:"dir"`
	Schema    uint64  `json:"schema"`     // version of the layout of keys
	FileBytes int64   `json:"file_bytes"` // what the files occupy
	FreeBytes int64   `json:"free_bytes"` // left on the file system; -1: not known
	Spaces    []Space `json:"spaces"`
}

// Space is one kind of what is stored.
type Space struct {
	Name       string `json:"name"`
	Entries    int64  `json:"entries"`
	KeyBytes   int64  `json:"key_bytes"`   // before compression
	ValueBytes int64  `json:"value_bytes"` // before compression
}

// stats reads all keys, so it takes a while where there are many.
func (e *engine) stats(ctx context.Context) (*Stats, error) {
	s := &Stats{Dir: e.dir, Schema: schemaVersion, FileBytes: folderSize(filepath.Join(e.dir, dataFolder)), FreeBytes: -1}
	if free, known := freeSpace(e.dir); known {
		s.FreeBytes = free
	}
	for _, title := range spaceTitles {
		space := Space{Name: title.title}
		err := e.scan(ctx, query{spans: []span{prefixSpan([]byte{title.space})}}, func(key, value []byte) error {
			space.Entries++
			space.KeyBytes += int64(len(key))
			space.ValueBytes += int64(len(value))
			return nil
		})
		if err != nil {
			return nil, err
		}
		s.Spaces = append(s.Spaces, space)
	}
	return s, nil
}
