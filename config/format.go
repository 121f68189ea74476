package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	gotoml "github.com/pelletier/go-toml/v2"
	"go.yaml.in/yaml/v3"
)

// document is a parsed file: its values, and the lines, counted from 1, on which tables and keys stand, by dotted path.
type document struct {
	values map[string]any
	lines  map[string]int
	nodes  int // of YAML, aliases followed
}

// maxNodes bounds what aliases of YAML can blow a document up to.
const maxNodes = 10_000

// parseError is what is wrong with a document as a whole.
type parseError struct {
	line   int // 0: unknown
	reason string
}

func (e *parseError) Error() string { return e.reason }

// parse reads a document in the format that the file's name ends with: TOML unless that is .yaml, .yml or .json. An error is a
// *parseError.
func parse(file string, text []byte) (document, error) {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".yaml", ".yml":
		return parseYAML(text)
	case ".json":
		return parseJSON(text)
	}
	values, err := toml.Parser().Unmarshal(text)
	if err != nil {
		e := &parseError{reason: strings.TrimPrefix(err.Error(), "toml: ")}
		if where := new(gotoml.DecodeError); errors.As(err, &where) {
			e.line, _ = where.Position()
		}
		return document{}, e
	}
	return document{values: values, lines: linesOf(text)}, nil
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

func parseYAML(text []byte) (document, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		e := &parseError{reason: strings.TrimPrefix(err.Error(), "yaml: ")}
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			e.line, _ = strconv.Atoi(m[1])
			e.reason = strings.TrimPrefix(err.Error(), m[0])
		}
		return document{}, e
	}
	doc := document{values: map[string]any{}, lines: map[string]int{}}
	if len(root.Content) == 0 { // an empty file
		return doc, nil
	}
	value, err := doc.fromYAML(root.Content[0], "")
	if err != nil {
		return document{}, err
	}
	table, ok := value.(map[string]any)
	if !ok && value != nil {
		return document{}, &parseError{root.Content[0].Line, "not a table of settings"}
	}
	if ok {
		doc.values = table
	}
	return doc, nil
}

// fromYAML returns the value of a node in the types that TOML has, and notes where its keys stand.
func (d *document) fromYAML(n *yaml.Node, path string) (any, error) {
	if d.nodes++; d.nodes > maxNodes {
		return nil, &parseError{n.Line, "too many values, or aliases without end"}
	}
	switch n.Kind {
	case yaml.AliasNode:
		return d.fromYAML(n.Alias, path)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for i, c := range n.Content {
			at := path
			if c.Kind == yaml.MappingNode {
				at = join(path, strconv.Itoa(i))
				d.lines[at] = c.Line
			}
			v, err := d.fromYAML(c, at)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.MappingNode:
		table := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			at := join(path, key.Value)
			if _, twice := table[key.Value]; twice {
				return nil, &parseError{key.Line, "key " + at + " is set twice"}
			}
			if _, known := d.lines[at]; !known {
				d.lines[at] = key.Line
			}
			v, err := d.fromYAML(n.Content[i+1], at)
			if err != nil {
				return nil, err
			}
			table[key.Value] = v
		}
		return table, nil
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, &parseError{n.Line, err.Error()}
	}
	switch v := v.(type) {
	case int:
		return int64(v), nil
	case nil, string, bool, int64, float64:
		return v, nil
	default: // dates, large numbers
		return n.Value, nil
	}
}

func parseJSON(text []byte) (document, error) {
	p := jsonParser{document{values: map[string]any{}, lines: map[string]int{}}, text, json.NewDecoder(bytes.NewReader(text))}
	p.decoder.UseNumber()
	value, err := p.value("")
	if err == nil {
		if _, more := p.decoder.Token(); more == nil {
			err = errors.New("more than one value")
		}
	}
	if err != nil {
		at := p.decoder.InputOffset()
		if syntax := new(json.SyntaxError); errors.As(err, &syntax) {
			at = syntax.Offset
		}
		return document{}, &parseError{p.lineAt(at), strings.TrimPrefix(err.Error(), "json: ")}
	}
	table, ok := value.(map[string]any)
	if !ok {
		return document{}, &parseError{1, "not an object of settings"}
	}
	p.values = table
	return p.document, nil
}

// jsonParser reads JSON token by token, because only so are the places of keys known.
type jsonParser struct {
	document
	text    []byte
	decoder *json.Decoder
}

func (p *jsonParser) lineAt(offset int64) int {
	return 1 + bytes.Count(p.text[:min(int(offset), len(p.text))], []byte("\n"))
}

func (p *jsonParser) value(path string) (any, error) {
	token, err := p.decoder.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '[' {
			return p.list(path)
		}
		return p.object(path)
	case json.Number:
		if n, err := t.Int64(); err == nil {
			return n, nil
		}
		return t.Float64()
	default:
		return token, nil
	}
}

func (p *jsonParser) list(path string) (any, error) {
	list := []any{}
	for p.decoder.More() {
		v, err := p.value(join(path, strconv.Itoa(len(list))))
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := p.decoder.Token()
	return list, err
}

func (p *jsonParser) object(path string) (any, error) {
	table := map[string]any{}
	for p.decoder.More() {
		token, err := p.decoder.Token()
		if err != nil {
			return nil, err
		}
		key, _ := token.(string)
		at := join(path, key)
		if _, twice := table[key]; twice {
			return nil, fmt.Errorf("key %s is set twice", at)
		}
		if _, known := p.lines[at]; !known {
			p.lines[at] = p.lineAt(p.decoder.InputOffset())
		}
		if table[key], err = p.value(at); err != nil {
			return nil, err
		}
	}
	_, err := p.decoder.Token()
	return table, err
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
