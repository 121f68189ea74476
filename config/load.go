package config

import (
	"cmp"
	_ "embed"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	gotoml "github.com/pelletier/go-toml/v2"
)

//go:embed default.toml
var defaultTOML []byte

// Options say where settings come from besides the defaults.
type Options struct {
	File    string   // path of a TOML file; empty: none
	Environ []string // KEY=value, as os.Environ; the only environment that is looked at
}

// Load reads, merges and validates all layers of settings. It touches no state but files that the settings name. An
// error is an *Error with all problems found.
func Load(o Options) (*Config, error) {
	l := &loader{environ: make(map[string]string, len(o.Environ)), origins: map[string]origin{}, bad: map[string]bool{}}
	for _, entry := range o.Environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			l.environ[name] = value
		}
	}
	merged := koanf.New(".")
	layers := []layer{l.tomlLayer(defaultName, defaultTOML, rankDefault)}
	if o.File != "" {
		if document, err := os.ReadFile(o.File); err != nil {
			l.report(Problem{Source: o.File, Reason: plain(err)}, rankFile)
		} else {
			layers = append(layers, l.tomlLayer(o.File, document, rankFile))
		}
	}
	for _, layer := range append(layers, l.environLayer()) {
		values := l.clean(&layer, settingsType, layer.values, nil)
		if err := merged.Load(confmap.Provider(values, ""), nil); err != nil {
			panic("BUG: merge settings: " + err.Error())
		}
	}
	c := l.build(merged.Raw())
	l.validate(c)
	if len(l.problems) > 0 {
		return nil, l.err()
	}
	return c, nil
}

// loader is the state of one Load.
type loader struct {
	environ  map[string]string
	origins  map[string]origin // of every key that is set and the tables it stands in, by dotted path
	bad      map[string]bool   // keys whose problem is reported already
	problems []rankedProblem
}

// Layers in the order in which they are merged and, behind the defaults, reported.
const (
	rankDefault = iota
	rankFile
	rankEnviron
)

const defaultName = "default.toml"

// layer is one source of settings, not yet checked.
type layer struct {
	values map[string]any
	rank   int
	source string            // of a file
	lines  map[string]int    // of a file, by dotted path
	names  map[string]string // of the environment: variables by dotted path
}

// origin is where a value stands.
type origin struct {
	source string
	line   int
	rank   int
}

// dir returns the directory that paths are relative to, empty for the working directory.
func (o origin) dir() string {
	if o.rank == rankFile {
		return filepath.Dir(o.source)
	}
	return ""
}

// origin returns where the key or table at the dotted path stands in the layer. Of the variables that set keys of a
// table the first stands for it.
func (y *layer) origin(path string) origin {
	if y.rank == rankEnviron {
		name, ok := y.names[path]
		if !ok {
			for _, key := range slices.Sorted(maps.Keys(y.names)) {
				if strings.HasPrefix(key, path+".") {
					name = y.names[key]
					break
				}
			}
		}
		return origin{source: name, rank: y.rank}
	}
	return origin{source: y.source, line: y.lines[path], rank: y.rank}
}

// tomlLayer parses a TOML document. A document that doesn't parse is one problem and an empty layer.
func (l *loader) tomlLayer(source string, document []byte, rank int) layer {
	values, err := toml.Parser().Unmarshal(document)
	if err != nil {
		p := Problem{Source: source, Reason: strings.TrimPrefix(err.Error(), "toml: ")}
		if where := new(gotoml.DecodeError); errors.As(err, &where) {
			p.Line, _ = where.Position()
		}
		l.report(p, rank)
		return layer{rank: rank, source: source}
	}
	return layer{values: values, rank: rank, source: source, lines: linesOf(document)}
}

// originOf returns where the effective value at the path comes from. What a provider doesn't set itself comes from
// provider_defaults.
func (l *loader) originOf(path string) origin {
	if o, ok := l.origins[path]; ok {
		return o
	}
	if rest, ok := strings.CutPrefix(path, "providers."); ok {
		_, key, _ := strings.Cut(rest, ".")
		return l.origins["provider_defaults."+key]
	}
	return origin{}
}

// rankedProblem remembers the layer of a problem, for their order.
type rankedProblem struct {
	Problem
	rank int
}

func (l *loader) report(p Problem, rank int) {
	l.problems = append(l.problems, rankedProblem{p, rank})
}

// complain reports a problem of the effective value at the path, once.
func (l *loader) complain(path, value, reason, allowed string) {
	if l.bad[path] {
		return
	}
	l.bad[path] = true
	o := l.originOf(path)
	l.report(Problem{Source: o.source, Line: o.line, Key: path, Value: value, Reason: reason, Allowed: allowed}, o.rank)
}

// err returns the problems in the order of layers, lines, variables and keys.
func (l *loader) err() error {
	slices.SortStableFunc(l.problems, func(a, b rankedProblem) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Key, b.Key))
	})
	out := &Error{}
	for _, p := range l.problems {
		out.Problems = append(out.Problems, p.Problem)
	}
	return out
}

// plain returns the message of a file error without the operation and path, which stand beside it.
func plain(err error) string {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}
