package config

import (
	"bytes"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// linesOf returns the line, counted from 1, on which each table and key of a valid TOML document stands, by dotted
// path. The first mention counts.
func linesOf(document []byte) map[string]int {
	lines := make(map[string]int)
	var p unstable.Parser
	p.Reset(document)
	var table []string
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind == unstable.Table || e.Kind == unstable.ArrayTable {
			table = noteKey(lines, document, nil, e)
		} else if e.Kind == unstable.KeyValue {
			noteKeyValue(lines, document, table, e)
		}
	}
	return lines
}

// noteKeyValue notes a key and the keys of the inline table it may hold.
func noteKeyValue(lines map[string]int, document []byte, table []string, e *unstable.Node) {
	path := noteKey(lines, document, table, e)
	if v := e.Value(); v.Kind == unstable.InlineTable {
		for it := v.Children(); it.Next(); {
			noteKeyValue(lines, document, path, it.Node())
		}
	}
}

// noteKey notes every step of the key of a table or key-value node and returns its path.
func noteKey(lines map[string]int, document []byte, table []string, e *unstable.Node) []string {
	path := table[:len(table):len(table)]
	for it := e.Key(); it.Next(); {
		path = append(path, string(it.Node().Data))
		dotted := strings.Join(path, ".")
		if _, known := lines[dotted]; !known {
			lines[dotted] = 1 + bytes.Count(document[:it.Node().Raw.Offset], []byte("\n"))
		}
	}
	return path
}
