package proxy

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
)

// These tests hold the documentation to the code, name by name and in both directions.

const repository = ".."

func reference(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "docs/reference.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// tableOf returns the cells of the first table below a heading, by the name in the first cell.
func tableOf(t *testing.T, page, heading string) map[string][]string {
	t.Helper()
	_, section, ok := strings.Cut(page, "\n"+heading+"\n")
	if !ok {
		t.Fatalf("docs/reference.md has no heading %q", heading)
	}
	rows := map[string][]string{}
	for line := range strings.Lines(section) {
		if !strings.HasPrefix(line, "|") {
			if len(rows) > 0 {
				return rows
			}
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`")
		}
		if cells[0] != "" && strings.Contains(line, "`"+cells[0]+"`") {
			rows[cells[0]] = cells[1:]
		}
	}
	return rows
}

// same reports what one side has and the other lacks.
func same(t *testing.T, what string, documented, actual []string) {
	t.Helper()
	if len(actual) == 0 {
		t.Errorf("%s: none found in the code: the search is broken", what)
	}
	for _, name := range actual {
		if !slices.Contains(documented, name) {
			t.Errorf("%s %s: not in docs/reference.md", what, name)
		}
	}
	for _, name := range documented {
		if !slices.Contains(actual, name) {
			t.Errorf("%s %s: docs/reference.md has it, the code does not", what, name)
		}
	}
}

// literals calls f with every string literal of the Go files below dir that are no tests.
func literals(t *testing.T, dir string, f func(value string)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != dir && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if value, ok := stringOf(n); ok {
				f(value)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// stringOf is the value of a node that is a string literal.
func stringOf(n ast.Node) (string, bool) {
	lit, ok := n.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	value, err := strconv.Unquote(lit.Value)
	return value, err == nil
}

var metricName = regexp.MustCompile(`\bllmopt_[a-z0-9_]+\b`)

func TestDocs_NameEveryMetric(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	literals(t, repository, func(value string) {
		for _, name := range metricName.FindAllString(value, -1) {
			names[name] = true
		}
	})
	rows := tableOf(t, reference(t), "## Metrics")
	same(t, "metric", slices.Collect(maps.Keys(rows)), slices.Collect(maps.Keys(names)))

	// Queries and prose elsewhere name only metrics that exist.
	pages, _ := filepath.Glob(filepath.Join(repository, "docs/*.md"))
	for _, page := range append(pages, filepath.Join(repository, "README.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range metricName.FindAllString(string(text), -1) {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base, ok := strings.CutSuffix(name, suffix); ok && rows[base] != nil && rows[base][0] == "histogram" {
					name = base
				}
			}
			if !names[name] {
				t.Errorf("%s: no metric is called %s", page, name)
			}
		}
	}
}

// TestDocs_LabelsOfMetrics compares the labels and kinds of the request path's metrics with what a scrape shows.
func TestDocs_LabelsOfMetrics(t *testing.T) {
	t.Parallel()
	m := newMetricSet()
	s, err := newProviderState(&config.Provider{Name: "p", Dialect: "openai", BaseURL: "http://127.0.0.1:1"}, true)
	if err != nil {
		t.Fatal(err)
	}
	m.origins(func() map[string]*providerState { return map[string]*providerState{"p": s} })
	m.logCounters(NewAccessLog(nil))
	m.rejected(&badRequest)
	m.target(&target{name: "p/m", provider: "p", model: "m"})
	var scrape bytes.Buffer
	m.set.WritePrometheus(&scrape)

	rows := tableOf(t, reference(t), "## Metrics")
	label := regexp.MustCompile(`(\w+)="`)
	seen := 0
	for line := range strings.Lines(scrape.String()) {
		name := metricName.FindString(line)
		histogram := false
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, ok := strings.CutSuffix(name, suffix); ok {
				name, histogram = base, true
			}
		}
		row := rows[name]
		if len(row) != 3 {
			t.Errorf("%s: not documented, or a row without four cells", name)
			continue
		}
		seen++
		if histogram != (row[0] == "histogram") {
			t.Errorf("%s: documented as a %s", name, row[0])
		}
		var labels []string
		for _, match := range label.FindAllStringSubmatch(line, -1) {
			if match[1] != "le" {
				labels = append(labels, match[1])
			}
		}
		if got := strings.Join(labels, ", "); got != row[1] {
			t.Errorf("%s: has the labels %q, documented are %q", name, got, row[1])
		}
	}
	if seen == 0 {
		t.Error("the scrape is empty")
	}
	for _, typ := range tokenTypes {
		if !strings.Contains(rows[metricTokens][2], typ) {
			t.Errorf("%s: type %s is not documented", metricTokens, typ)
		}
	}
}

func TestDocs_NameEveryError(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	rows := tableOf(t, reference(t), "## Errors")
	ast.Inspect(file, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok || fmt.Sprint(lit.Type) != "kindOfFailure" {
			return true
		}
		code, _ := stringOf(lit.Elts[1])
		codes = append(codes, code)
		return true
	})
	same(t, "error", slices.Collect(maps.Keys(rows)), codes)
	for _, k := range []*kindOfFailure{
		&badRequest, &badBody, &unknownRoute, &requestTimeout, &tooLarge, &headersTooLarge, &internal, &connectFailed, &brokenAnswer,
		&connectTimeout, &firstByteLate, &idleTooLong, &totalTooLong, &clientLeft, &clientSlow, &overloaded, &shuttingDown, &answerIncomplete,
		&badVersion, &unknownTarget, &badOption, &overrideForbidden, &routeSaturated, &routeUnavailable, &routeKeyless, &notCached, &unknownCaller, &overLimit, &overBudget, &providerLimited,
	} {
		codes = slices.DeleteFunc(codes, func(c string) bool { return c == k.code })
		want := fmt.Sprint(k.status, " ", k.outcome)
		if row := rows[k.code]; len(row) != 3 || row[0]+" "+row[1] != want {
			t.Errorf("error %s: documented as %q, want %s", k.code, row, want)
		}
	}
	if len(codes) > 0 {
		t.Errorf("errors whose status and outcome this test does not compare: %v", codes)
	}
}

func TestDocs_NameEveryOutcome(t *testing.T) {
	t.Parallel()
	var outcomes []string
	for _, o := range window.Outcomes() {
		outcomes = append(outcomes, o.String())
	}
	same(t, "outcome", slices.Collect(maps.Keys(tableOf(t, reference(t), "### Outcomes"))), outcomes)
}

// TestDocs_NameEveryLogKey finds the keys as the second arguments of the functions log… in accessline.go.
func TestDocs_NameEveryLogKey(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "accessline.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 3 {
			return true
		}
		if f, ok := call.Fun.(*ast.Ident); !ok || !strings.HasPrefix(f.Name, "log") {
			return true
		}
		if key, ok := stringOf(call.Args[1]); ok && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
		return true
	})
	same(t, "log key", slices.Collect(maps.Keys(tableOf(t, reference(t), "## Access log"))), keys)
}

func TestDocs_NameEveryHeader(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	header := regexp.MustCompile(`^` + ownPrefix + `[a-z-]+$`)
	literals(t, ".", func(value string) {
		if header.MatchString(value) {
			names[value] = true
		}
	})
	page := reference(t)
	documented := slices.Collect(maps.Keys(tableOf(t, page, "## Headers")))
	for _, name := range []string{"x-llmopt-session", "x-llmopt-route-options", "x-llmopt-cache-key", "x-llmopt-cache-ttl"} { // those of requests, in a table of their own
		if strings.Contains(page, "| `"+name+"` |") {
			documented = append(documented, name)
		}
	}
	same(t, "header", documented, slices.Collect(maps.Keys(names)))
}

// TestDocs_LinksLead follows the links of the documentation that stay in the repository.
func TestDocs_LinksLead(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)\s]+)\)|src="([^"]+)"`)
	pages, _ := filepath.Glob(filepath.Join(repository, "docs/*.md"))
	found := 0
	for _, page := range append(pages, filepath.Join(repository, "README.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range link.FindAllStringSubmatch(string(text), -1) {
			u, err := url.Parse(match[1] + match[2])
			if err != nil || u.Host != "" {
				continue
			}
			found++
			to := page
			if u.Path != "" {
				to = filepath.Join(filepath.Dir(page), u.Path)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %v", page, err)
			} else if u.Fragment != "" && !slices.Contains(anchors(t, to), u.Fragment) {
				t.Errorf("%s: %s has no heading #%s", page, to, u.Fragment)
			}
		}
	}
	if found == 0 {
		t.Error("no links found: the search is broken")
	}
}

// anchors are the names under which the headings of a page can be linked to.
func anchors(t *testing.T, page string) (names []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	drop := regexp.MustCompile("[^a-z0-9 _-]")
	for _, match := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(text), -1) {
		names = append(names, strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(match[1]), ""), " ", "-"))
	}
	return names
}
