package compare

import (
	_ "embed"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
)

//go:embed performance.md.tmpl
var page string

// Text prints the tables for a terminal.
func (r *Result) Text(w io.Writer) {
	fmt.Fprintf(w, "\nmedians of %d rounds on %s\n\n%s\n", r.Rounds, r.where(), r.figures(true).text())
	if t := r.ratios(); len(t) > 1 {
		fmt.Fprintf(w, "llmopt\n%s\n", t.text())
	}
	if t := r.pairBounds(); len(t) > 1 {
		fmt.Fprintf(w, "with and without\n%s\n", t.text())
	}
	if t := r.others(); len(t) > 1 {
		fmt.Fprintf(w, "without a proxy\n%s\n", t.text())
	}
}

func (r *Result) where() string {
	return fmt.Sprintf("%d × %s, Linux %s, %s", r.Machine.Cores, r.Machine.CPU, r.Machine.Kernel, r.Machine.Go)
}

// Page writes docs/performance.md from a result that stands in the file at path.
func (r *Result) Page(w io.Writer, path string) error {
	t, err := template.New("performance").Parse(page)
	if err != nil {
		return err
	}
	var versions []string
	for _, name := range slices.Sorted(maps.Keys(r.Machine.Versions)) {
		versions = append(versions, r.Machine.Versions[name])
	}
	return t.Execute(w, map[string]any{
		"File": filepath.Base(path), "Result": r, "Where": r.where(), "Versions": strings.Join(versions, "; "),
		"Date": r.Started.Format("2 January 2006"), "Figures": r.figures(true).markdown(), "Ratios": r.ratios().markdown(), "Others": r.others().markdown(),
	})
}
