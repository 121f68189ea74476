package storage

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// A backup is a line that says what it is, the schema version, and one zstd frame of badger's own format, followed by an end mark and
// the number of bytes before it. zstd's checksum covers the content, the end mark tells a whole file from a part of one.

const (
	backupTitle = "llmopt state backup 1\n"
	backupEnd   = "\nend of backup\n"
)

// ErrBackup says that a file is no whole backup.
var ErrBackup = errors.New("not a whole backup")

func writeBackup(w io.Writer, content func(io.Writer) error) error {
	head := binary.AppendUvarint([]byte(backupTitle), schemaVersion)
	if _, err := w.Write(head); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	counted := &counter{w: z}
	if err := content(counted); err != nil {
		_ = z.Close()
		return err
	}
	if _, err := z.Write(binary.BigEndian.AppendUint64([]byte(backupEnd), uint64(counted.n))); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	return nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// CheckBackup reads a backup to its end and fails with ErrBackup when it is not whole, or with ErrNewer.
func CheckBackup(r io.Reader) error {
	return readBackup(r, func(r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		return err
	})
}

// readBackup gives what a backup holds to content, which must read it to its end.
func readBackup(r io.Reader, content func(io.Reader) error) error {
	b := bufio.NewReader(r)
	title := make([]byte, len(backupTitle))
	if _, err := io.ReadFull(b, title); err != nil || string(title) != backupTitle {
		return fmt.Errorf("%w: it does not begin with %q", ErrBackup, backupTitle[:len(backupTitle)-1])
	}
	schema, err := binary.ReadUvarint(b)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBackup, err)
	}
	if schema > schemaVersion {
		return fmt.Errorf("backup of schema version %d, this program knows %d: %w", schema, schemaVersion, ErrNewer)
	}
	z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("read backup: %w", err)
	}
	defer z.Close()
	t := &trailed{r: bufio.NewReaderSize(z, 1<<16)}
	if err := content(t); err != nil {
		return err
	}
	if !t.ended {
		return fmt.Errorf("%w: it goes on after its end", ErrBackup)
	}
	return nil
}

// trailed reads up to a trailer and checks that.
type trailed struct {
	r     *bufio.Reader
	n     int64
	ended bool
}

const trailerSize = len(backupEnd) + 8

func (t *trailed) Read(p []byte) (int, error) {
	if t.ended {
		return 0, io.EOF
	}
	ahead, err := t.r.Peek(min(len(p)+trailerSize, t.r.Size()))
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	if n := len(ahead) - trailerSize; n > 0 {
		n = copy(p, ahead[:n])
		t.n += int64(n)
		_, _ = t.r.Discard(n)
		return n, nil
	}
	if len(ahead) < trailerSize || string(ahead[:len(backupEnd)]) != backupEnd ||
		binary.BigEndian.Uint64(ahead[len(backupEnd):]) != uint64(t.n) {
		return 0, fmt.Errorf("%w: its end is missing", ErrBackup)
	}
	t.ended = true
	return 0, io.EOF
}
