package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Problem is one thing that is wrong with the settings.
type Problem struct {
	Source  string `json:"source"`          // path of the file, name of the environment variable, or "default.toml"
	Line    int    `json:"line,omitempty"`  // in the file; 0: unknown or not a file
	Key     string `json:"key,omitempty"`   // dotted, such as server.listen; empty: the source as a whole
	Value   string `json:"value,omitempty"` // as written, quoted; empty for secrets and whatever may hold one
	Reason  string `json:"reason"`
	Allowed string `json:"allowed,omitempty"` // what may stand there
}

// String returns the problem on one line: source:line: key = value: reason (allowed: …).
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Source)
	if p.Line > 0 {
		b.WriteString(":" + strconv.Itoa(p.Line))
	}
	if p.Key != "" {
		b.WriteString(": " + p.Key)
	}
	if p.Value != "" {
		b.WriteString(" = " + p.Value)
	}
	b.WriteString(": " + p.Reason)
	if p.Allowed != "" {
		b.WriteString(" (allowed: " + p.Allowed + ")")
	}
	return b.String()
}

// Error is all that is wrong with the settings, file first, in the order of lines.
type Error struct{ Problems []Problem }

// Error returns one line per problem.
func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Problems)+1)
	if n := len(e.Problems); n > 1 {
		lines = append(lines, fmt.Sprintf("%d problems", n))
	}
	for _, p := range e.Problems {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

// nearest returns the candidate that a dotted path was probably meant to be: one within an edit distance of a third of
// its last step, or one that goes on where the path ends, or, for a path of one step, one that ends in it.
func nearest(path string, candidates []string) (string, bool) {
	last := path[strings.LastIndexByte(path, '.')+1:]
	best, distance := "", max(1, len(last)/3)+1
	for _, c := range candidates {
		if d := editDistance(path, c); d < distance {
			best, distance = c, d
		}
	}
	for _, c := range candidates {
		if best != "" {
			break
		}
		if len(last) > 2 && (strings.HasPrefix(c, path+"_") || last == path && strings.HasSuffix(c, "."+path)) {
			best = c
		}
	}
	return best, best != ""
}

// editDistance is Levenshtein's: the least number of bytes to insert, delete or replace to make b from a.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1) // distances of a[:i] to every prefix of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
