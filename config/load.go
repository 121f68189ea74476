package config

import (
	"cmp"
	"embed"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

//go:embed default.toml
var defaultTOML []byte

// profiles are sets of settings for a place where the program runs.
//
//go:embed development.toml production.toml test.toml
var profiles embed.FS

var profileNames = []string{"development", "production", "test"}

// profileVariable names the profile.
const profileVariable = "OPTIMIZER_ENV"

// Options say where settings come from besides the defaults.
type Options struct {
	File    string   // path of a file in TOML, YAML or JSON; empty: that of the profile, if it is there
	Environ []string // KEY=value, as os.Environ; the only environment that is looked at
}

// Load reads, merges and validates all layers of settings. It touches no state but files that the settings name. An
// error is an *Error with all problems found.
func Load(o Options) (*Config, error) {
	c, _, err := LoadSettings(o)
	return c, err
}

// LoadSettings is Load that also tells where each value in force comes from.
func LoadSettings(o Options) (*Config, []Setting, error) {
	l := &loader{environ: make(map[string]string, len(o.Environ)), origins: map[string]origin{}, bad: map[string]bool{}, files: map[string]bool{}, order: map[string]int{}}
	for _, entry := range o.Environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			l.environ[name] = value
		}
	}
	merged := koanf.New(".")
	layers := []layer{l.fileLayer(defaultName, defaultTOML, rankDefault)}
	layers = append(layers, l.profileLayers(o.File)...)
	for _, layer := range append(layers, l.environLayer()) {
		values := l.clean(&layer, settingsType, layer.values, nil)
		if err := merged.Load(confmap.Provider(values, ""), nil); err != nil {
			panic("BUG: merge settings: " + err.Error())
		}
	}
	raw := merged.Raw()
	c := l.build(raw)
	l.validate(c)
	if len(l.problems) > 0 {
		return nil, nil, l.err()
	}
	c.files = slices.Sorted(maps.Keys(l.files))
	c.sum = FingerprintOf(c.files)
	return c, l.settings(c), nil
}

// profileLayers are the layers of the profile and of the file.
func (l *loader) profileLayers(file string) (layers []layer) {
	profile := l.environ[profileVariable]
	switch text, err := profiles.ReadFile(profile + ".toml"); {
	case profile == "":
	case err != nil || !slices.Contains(profileNames, profile):
		l.report(Problem{Source: profileVariable, Value: quote(profile), Reason: "no such profile" + suggest(profile, profileNames), Allowed: strings.Join(profileNames, ", ")}, rankEnviron)
	default:
		layers = append(layers, l.fileLayer(profile+".toml", text, rankProfile))
		if own := filepath.Join("config", profile+".toml"); file == "" && isThere(own) {
			file = own
		}
	}
	if file == "" {
		return layers
	}
	l.files[file] = true
	text, err := os.ReadFile(file)
	if err != nil {
		l.report(Problem{Source: file, Reason: plain(err)}, rankFile)
		return layers
	}
	return append(layers, l.fileLayer(file, text, rankFile))
}

func isThere(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// loader is the state of one Load.
type loader struct {
	environ  map[string]string
	origins  map[string]origin // of every key that is set and the tables it stands in, by dotted path
	bad      map[string]bool   // keys whose problem is reported already
	files    map[string]bool   // that a reload has to watch
	order    map[string]int    // places of routes and targets in their lists, by dotted path
	problems []rankedProblem
}

// Layers in the order in which they are merged and, behind the defaults, reported.
const (
	rankDefault = iota
	rankProfile
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

// fileLayer parses a file. One that doesn't parse is one problem and an empty layer.
func (l *loader) fileLayer(source string, text []byte, rank int) layer {
	doc, err := parse(source, text)
	if wrong := new(parseError); errors.As(err, &wrong) {
		l.report(Problem{Source: source, Line: wrong.line, Reason: wrong.reason}, rank)
		return layer{rank: rank, source: source}
	}
	y := layer{values: doc.values, rank: rank, source: source, lines: doc.lines}
	l.nameRoutes(&y)
	l.nameLimits(&y)
	return y
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
	if rest, ok := strings.CutPrefix(path, "flags."); ok {
		_, key, _ := strings.Cut(rest, ".")
		return l.origins["flag_defaults."+key]
	}
	if rest, ok := strings.CutPrefix(path, "alerts.webhooks."); ok {
		_, key, _ := strings.Cut(rest, ".")
		return l.origins["webhook_defaults."+key]
	}
	if rest, ok := strings.CutPrefix(path, "callers."); ok {
		_, key, _ := strings.Cut(rest, ".")
		return l.origins["caller_defaults."+key]
	}
	if rest, ok := strings.CutPrefix(path, "limits."); ok {
		_, key, _ := strings.Cut(rest, ".")
		return l.origins["limit_defaults."+key]
	}
	if rest, ok := strings.CutPrefix(path, "routes."); ok {
		_, key, _ := strings.Cut(rest, ".")
		if target, ok := strings.CutPrefix(key, "targets."); ok {
			_, key, _ = strings.Cut(target, ".")
			return l.origins["target_defaults."+key]
		}
		return l.origins["route_defaults."+key]
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
