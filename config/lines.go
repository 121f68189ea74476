package config

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// linesOf returns the line, counted from 1, on which each table and key of a valid TOML document stands, by dotted
// path; the tables of a list are told apart by their number, from 0. The first mention counts.
func linesOf(document []byte) map[string]int {
	n := noter{document, map[string]int{}, map[string]int{}}
	var p unstable.Parser
	p.Reset(document)
	var table []string
	for p.NextExpression() {
		switch e := p.Expression(); e.Kind {
		case unstable.Table:
			table = n.key(nil, e, false)
		case unstable.ArrayTable:
			table = n.key(nil, e, true)
		case unstable.KeyValue:
			n.keyValue(table, e)
		}
	}
	return n.lines
}

// noter notes lines.
type noter struct {
	document []byte
	lines    map[string]int
	counts   map[string]int // of the tables of each list so far, by dotted path
}

// keyValue notes a key and the keys of the inline tables it may hold.
func (n *noter) keyValue(table []string, e *unstable.Node) {
	n.value(n.key(table, e, false), e.Value())
}

func (n *noter) value(path []string, v *unstable.Node) {
	switch v.Kind {
	case unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			n.keyValue(path, it.Node())
		}
	case unstable.Array:
		i := 0
		for it := v.Children(); it.Next(); i++ {
			if it.Node().Kind == unstable.InlineTable {
				n.value(append(path[:len(path):len(path)], strconv.Itoa(i)), it.Node())
			}
		}
	}
}

// key notes every step of the key of a table or key-value node and returns its path. next says that it begins another table of a list.
func (n *noter) key(table []string, e *unstable.Node, next bool) []string {
	path := table[:len(table):len(table)]
	for it := e.Key(); it.Next(); {
		path = append(path, string(it.Node().Data))
		line := 1 + bytes.Count(n.document[:it.Node().Raw.Offset], []byte("\n"))
		dotted := n.note(path, line)
		last := it.IsLast()
		if count := n.counts[dotted]; next && last {
			path = append(path, strconv.Itoa(count))
			n.counts[dotted]++
			n.note(path, line)
		} else if count > 0 && !last || count > 0 && e.Kind != unstable.KeyValue {
			path = append(path, strconv.Itoa(count-1)) // the newest of the list
		}
	}
	return path
}

func (n *noter) note(path []string, line int) (dotted string) {
	dotted = strings.Join(path, ".")
	if _, known := n.lines[dotted]; !known {
		n.lines[dotted] = line
	}
	return dotted
}
