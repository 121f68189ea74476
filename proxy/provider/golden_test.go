package provider

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the Meter says into testdata/golden/*.want")

// reading is all a Meter says of an answer.
type reading struct {
	Usage    *Usage `json:",omitempty"`
	Final    bool   `json:",omitempty"`
	Content  bool   `json:",omitempty"`
	Complete bool   `json:",omitempty"`
	Failed   string `json:",omitempty"`
	Output   int64  `json:",omitempty"`
	Tier     string `json:",omitempty"`
	Model    string `json:",omitempty"`
	Unread   bool   `json:",omitempty"`
}

func readingOf(m *Meter) reading {
	r := reading{
		Final:    m.UsageFinal(),
		Content:  m.Content(),
		Complete: m.Complete(),
		Output:   m.OutputBytes(),
		Tier:     string(m.ServiceTier()),
		Model:    string(m.Model()),
		Unread:   m.Unread(),
	}
	if u, ok := m.Usage(); ok {
		r.Usage = &u
	}
	if kind, failed := m.Failed(); failed {
		r.Failed = kind
	} else if kind != "" {
		r.Failed = "kind without failure: " + kind
	}
	return r
}

func (r reading) String() string {
	b, err := json.Marshal(r)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// read has m read the pieces of an answer.
func read(m *Meter, op Operation, f Format, pieces ...[]byte) reading {
	m.Reset(op, f)
	for _, p := range pieces {
		m.Write(p)
	}
	m.Close()
	return readingOf(m)
}

// pieces cuts b into pieces of size bytes, each in memory of its own that ends where the piece ends.
func pieces(b []byte, size int) [][]byte {
	var all [][]byte
	for len(b) > 0 {
		n := min(size, len(b))
		all = append(all, append(make([]byte, 0, n), b[:n]...))
		b = b[n:]
	}
	return all
}

// golden is an answer of testdata/golden/OPERATION/NAME.{json,sse,array}.
type golden struct {
	name   string
	op     Operation
	format Format
	body   []byte
	want   string // file
}

func goldens(t testing.TB) []golden {
	t.Helper()
	formats := map[string]Format{".json": Plain, ".sse": EventStream, ".array": JSONArray}
	names, err := filepath.Glob("testdata/golden/*/*")
	if err != nil {
		t.Fatal(err)
	}
	var all []golden
	for _, name := range names {
		format, ok := formats[filepath.Ext(name)]
		if !ok {
			continue
		}
		g := golden{name: strings.TrimPrefix(name, "testdata/golden/"), format: format, want: name + ".want"}
		dir := filepath.Base(filepath.Dir(name))
		for g.op = 1; g.op < operationsEnd && g.op.String() != dir; g.op++ {
		}
		if g.op == operationsEnd {
			t.Fatalf("%s: no operation is named %s", name, dir)
		}
		if g.body, err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	if len(all) < 45 {
		t.Fatalf("only %d golden answers", len(all))
	}
	return all
}

// Answers as the providers send them, and what they mean. Whatever the splits, the readings are the same.
func TestMeter_Golden(t *testing.T) {
	t.Parallel()
	for _, g := range goldens(t) {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			var m Meter
			got := read(&m, g.op, g.format, g.body)
			if *update {
				if err := os.WriteFile(g.want, []byte(got.String()+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			b, err := os.ReadFile(g.want)
			if err != nil {
				t.Fatal(err)
			}
			var want reading
			if err := json.Unmarshal(b, &want); err != nil {
				t.Fatal(err)
			}
			if got.String() != want.String() {
				t.Errorf("got  %v\nwant %v", got, want)
			}
			for _, size := range []int{1, 2, 3, 7, 64, 100, 1000} {
				if got := read(&m, g.op, g.format, pieces(g.body, size)...); got.String() != want.String() {
					t.Errorf("in pieces of %d: got  %v\nwant %v", size, got, want)
				}
			}
			for i := range g.body {
				if got := read(&m, g.op, g.format, g.body[:i], g.body[i:]); got.String() != want.String() {
					t.Fatalf("split at %d: got  %v\nwant %v", i, got, want)
				}
			}
		})
	}
}
