package storage

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A process that is killed while it makes a new memtable leaves an empty file behind, which is no damage.
func TestOpen_EmptyMemtable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	ok(t, s.PutTotals(t.Context(), 7, []Total{{Hour: 1, Key: []byte("k"), Data: []byte("d")}}, time.Hour))
	ok(t, s.Close())
	ok(t, os.WriteFile(filepath.Join(dir, dataFolder, "00099.mem"), nil, 0o600))
	s = open(t, dir)
	defer s.Close()
	if n, err := s.Flush(t.Context()); err != nil || n != 7 {
		t.Errorf("flush %d, %v", n, err)
	}
}
