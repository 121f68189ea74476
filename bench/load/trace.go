package load

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Trace is a recording of arrivals in a file, compressed with gzip or not. Its format is told by its first line:
//
//   - Azure's LLM inference traces: CSV with TIMESTAMP, ContextTokens, GeneratedTokens, one row a request;
//   - Mooncake's: JSON lines with timestamp (ms), input_length, output_length, hash_ids;
//   - ServeGen's clients, as one table: CSV with client, seconds, rate, cv, family, p1, p2, one row for ten minutes of a
//     client, of which arrivals are drawn.
//
// The first two are read as they are needed. Times count from the first request, or from ServeGen's second 0.
type Trace struct {
	Format string        // "azure", "mooncake" or "servegen"
	Span   time.Duration // to the last request, or to the end of ServeGen's last step

	path    string
	seed    uint64
	lengths *lengths
	clients []traceClient // of ServeGen's
	err     error
}

// OpenTrace reads a trace to its end once, so that whatever is wrong with it shows before anything is sent. Lengths names
// a file with ServeGen's distributions of lengths, which the requests of such a trace get; "": none. The seed is for what
// is drawn.
func OpenTrace(path, lengthsPath string, seed uint64) (*Trace, error) {
	t := &Trace{path: path, seed: seed}
	err := t.open(func(r io.Reader) error {
		found, err := readTrace(r, func(a Arrival) bool {
			t.Span = a.At
			return true
		})
		t.Format, t.clients = found.format, found.clients
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, c := range t.clients {
		if n := len(c.steps); n > 0 {
			t.Span = max(t.Span, c.steps[n-1].start+servegenStep)
		}
	}
	if lengthsPath == "" {
		return t, nil
	}
	if t.Format != formatServegen {
		return nil, fmt.Errorf("trace %s: it is one of %s, which states lengths itself: want no file of lengths", path, t.Format)
	}
	err = readFile(lengthsPath, func(r io.Reader) error {
		t.lengths, err = readLengths(r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("lengths %s: %w", lengthsPath, err)
	}
	return t, nil
}

func (t *Trace) open(read func(io.Reader) error) error {
	if err := readFile(t.path, read); err != nil {
		return fmt.Errorf("trace %s: %w", t.path, err)
	}
	return nil
}

// Arrivals are those of the trace from a time on, which becomes the start, speed times as fast. They are the same each time
// they are taken.
func (t *Trace) Arrivals(from time.Duration, speed float64) Arrivals {
	if t.Format == formatServegen {
		return replay(drawClients(t.clients, t.lengths, from, t.seed), from, speed)
	}
	return replay(func(yield func(Arrival) bool) {
		t.err = t.open(func(r io.Reader) error {
			_, err := readTrace(r, yield)
			return err
		})
	}, from, speed)
}

// Err is why the arrivals ended early, when the file has become another one meanwhile. It must not be called while they
// are being taken.
func (t *Trace) Err() error { return t.err }

// readFile gives the content of a file, uncompressed, to read.
func readFile(path string, read func(io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		var wrong *os.PathError
		if errors.As(err, &wrong) { // callers name the file themselves
			return wrong.Err
		}
		return err
	}
	defer f.Close()
	plain, err := uncompressed(f)
	if err != nil {
		return err
	}
	return read(plain)
}

// uncompressed takes gzip off, where there is any.
func uncompressed(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	if magic, err := b.Peek(2); err != nil || magic[0] != 0x1f || magic[1] != 0x8b {
		return b, nil // files too short to be compressed, too
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	return z, nil
}

const (
	formatAzure    = "azure"
	formatMooncake = "mooncake"
	formatServegen = "servegen"

	maxLine = 1 << 20 // bytes; the longest of Mooncake's hold some hundred numbers

	// maxSpan bounds times in a trace: beyond it they cannot be meant.
	maxSpan = 10 * 365 * 24 * time.Hour
)

// traceContent is what readTrace finds besides arrivals.
type traceContent struct {
	format  string
	clients []traceClient
}

// readTrace reads a trace of any format. It gives the arrivals that lines stand for to yield, until that returns false.
func readTrace(r io.Reader, yield func(Arrival) bool) (found traceContent, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	var parse func(line []byte) (Arrival, error)
	var table clientTable
	var first, last time.Duration
	number, requests := 0, 0
	for lines.Scan() && lines.Err() == nil { // of a file that cannot be read on, the last line may be a part
		number++
		line := bytes.TrimRight(lines.Bytes(), "\r")
		if number == 1 {
			var header bool
			found.format, parse, header = formatOf(line)
			if found.format == "" {
				return found, fmt.Errorf("line 1: %.40q: want the header %q or %q, or a JSON object with timestamp, input_length and output_length",
					line, azureHeader, servegenHeader)
			}
			if header {
				continue
			}
		}
		if len(line) == 0 {
			continue
		}
		if found.format == formatServegen {
			if err := table.add(line); err != nil {
				return found, fmt.Errorf("line %d: %w", number, err)
			}
			continue
		}
		a, err := parse(line)
		if err != nil {
			return found, fmt.Errorf("line %d: %w", number, err)
		}
		if requests++; requests == 1 {
			first = a.At
		}
		if a.At -= first; a.At < last || a.At > maxSpan {
			return found, fmt.Errorf("line %d: timestamp is %v after the first request's: want at least %v, that of the line before, and at most %v",
				number, a.At, last, maxSpan)
		}
		if last = a.At; !yield(a) {
			return found, nil
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return found, fmt.Errorf("line %d: longer than %d bytes", number+1, maxLine)
	case err != nil:
		return found, fmt.Errorf("line %d: %w", number+1, err)
	}
	found.clients = table.clients
	if requests == 0 && !table.busy {
		return found, errors.New("it holds no requests")
	}
	return found, nil
}

// formatOf tells a format by its first line, and whether that is a header.
func formatOf(line []byte) (format string, parse func([]byte) (Arrival, error), header bool) {
	switch {
	case string(line) == azureHeader:
		return formatAzure, parseAzure, true
	case string(line) == servegenHeader:
		return formatServegen, nil, true
	case len(line) > 0 && line[0] == '{':
		return formatMooncake, parseMooncake, false
	}
	return "", nil, false
}
