package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "llm-auto-optimizer"

// arrows is the import table of DESIGN.md. A package obeys the line of its longest prefix; it may import its own line's
// tree and what stands here, each with its subpackages when it ends in "/...".
var arrows = map[string][]string{
	"cmd":               {"..."},
	"bench":             {"analysis/...", "config", "optimizer/...", "proxy/...", "storage/..."},
	"config":            {},
	"proxy":             {"proxy/...", "analysis/...", "config"},
	"proxy/admission":   {"proxy/limit"},
	"proxy/cache":       {"proxy/provider", "proxy/sse", "config"},
	"proxy/ledger":      {},
	"proxy/pacing":      {"proxy/limit"},
	"proxy/limit":       {},
	"proxy/policy":      {},
	"proxy/provider":    {"proxy/sse"},
	"proxy/pick":        {"proxy/policy", "analysis/..."},
	"proxy/sse":         {},
	"proxy/socket":      {},
	"proxy/upstream":    {"proxy/socket", "config"},
	"analysis":          {"analysis/window"},
	"analysis/window":   {},
	"optimizer":         {"analysis/...", "proxy/policy", "proxy/pick", "config"},
	"optimizer/control": {"optimizer", "optimizer/runner", "optimizer/jobs", "optimizer/state", "analysis/...", "proxy/policy", "proxy/pick", "config"},
	"storage":           {},
}

// doors are the libraries that only some packages may import: one library, one door.
var doors = map[string][]string{
	"github.com/dgraph-io/badger":    {"storage"},
	"github.com/dgraph-io/ristretto": {"storage"},
	"github.com/redis/rueidis":       {"storage"},
	"gonum.org/v1/gonum":             {"analysis"},
	"github.com/valyala/fasthttp":    {"proxy", "bench"},
}

// pure packages take bytes, times and random draws as arguments; these imports would let them do I/O.
var (
	pure  = []string{"proxy/policy", "proxy/cache", "proxy/limit", "proxy/provider", "proxy/pick", "proxy/sse", "analysis"}
	doing = []string{"net", "net/http", "os", "os/exec", "os/signal", "syscall", "io/ioutil", "log", "database/sql"}
)

// folders are the only top-level folders that hold Go packages.
var folders = []string{"cmd", "config", "proxy", "analysis", "optimizer", "storage", "bench"}

func TestImportsFollowTheDesign(t *testing.T) {
	t.Parallel()
	packages := 0
	for dir, imports := range importsOfTree(t, "../..") {
		packages++
		for _, imp := range imports {
			if why := forbidden(dir, imp); why != "" {
				t.Errorf("%s imports %s: %s", dir, imp, why)
			}
		}
		if top, _, _ := strings.Cut(dir, "/"); !slices.Contains(folders, top) {
			t.Errorf("%s holds Go code outside of the layout: %v", dir, folders)
		}
	}
	if packages == 0 {
		t.Error("no packages found: the walk starts in the wrong place")
	}
}

func TestForbiddenImports(t *testing.T) {
	t.Parallel()
	check := func(dir, imp string, allowed bool) {
		t.Helper()
		if why := forbidden(dir, imp); (why == "") != allowed {
			t.Errorf("forbidden(%q, %q): got %q, want allowed %v", dir, imp, why, allowed)
		}
	}
	check("proxy", module+"/proxy/provider", true)
	check("proxy", module+"/optimizer", false)
	check("proxy", module+"/analysis/window", true)
	check("proxy/cache", module+"/proxy/provider", true)
	check("proxy/cache", module+"/proxy/policy", false)
	check("proxy/cache", "net", false)
	check("proxy/upstream", module+"/config", true)
	check("proxy/upstream", module+"/proxy/policy", false)
	check("proxy/policy", module+"/proxy/pick", false)
	check("proxy/provider/providertest", module+"/proxy/provider", true)
	check("proxy/provider/providertest", module+"/proxy", false)
	check("optimizer/control", module+"/optimizer", true)
	check("optimizer/control", module+"/optimizer/control/controlpb", true)
	check("optimizer/control", module+"/proxy", false)
	check("optimizer", module+"/optimizer/control", false)
	check("analysis/window", module+"/analysis", false)
	check("bench/sim", module+"/proxy/provider", true)
	check("bench", module+"/cmd/llmopt", false)
	check("cmd/llmopt", module+"/bench/sim", true)
	check("cmd/llmopt", "github.com/valyala/fasthttp", false)
	check("proxy/upstream", "github.com/valyala/fasthttp/fasthttputil", true)
	check("proxy", "github.com/dgraph-io/badger/v4", false)
	check("storage", "github.com/dgraph-io/badger/v4", true)
	check("analysis/window", "net/http", false)
	check("proxy/provider", "net/url", true)
	check("proxy/upstream", "net", true)
	check("web", module+"/config", false)
}

// forbidden says why a package in dir, relative to the module, must not import imp; "" when it may.
func forbidden(dir, imp string) string {
	if own, ok := strings.CutPrefix(imp, module+"/"); ok {
		line := longestPrefix(dir, maps.Keys(arrows))
		if line == "" {
			return "the folder is not in the table"
		}
		if longestPrefix(own, maps.Keys(arrows)) == line || slices.ContainsFunc(arrows[line], func(allowed string) bool {
			tree, all := strings.CutSuffix(allowed, "...")
			return own == allowed || all && (tree == "" || strings.HasPrefix(own+"/", tree))
		}) {
			return ""
		}
		return "no such arrow in DESIGN.md for " + line
	}
	if library := longestPrefix(imp, maps.Keys(doors)); library != "" && longestPrefix(dir, slices.Values(doors[library])) == "" {
		return "only " + strings.Join(doors[library], " and ") + " may"
	}
	if slices.Contains(doing, imp) && longestPrefix(dir, slices.Values(pure)) != "" {
		return "the package is pure"
	}
	return ""
}

// longestPrefix finds the longest of the paths that is p or a folder above it.
func longestPrefix(p string, paths func(func(string) bool)) string {
	longest := ""
	for candidate := range paths {
		if (p == candidate || strings.HasPrefix(p, candidate+"/")) && len(candidate) > len(longest) {
			longest = candidate
		}
	}
	return longest
}

// importsOfTree maps the folders of all Go packages below root to what their files import, test files excepted. Files of
// every platform count.
func importsOfTree(t *testing.T, root string) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			if name != "." && (base == "testdata" || base == "node_modules" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") || strings.HasSuffix(base, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, filepath.FromSlash(name)), nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir := path.Dir(name)
		found[dir] = append(found[dir], "") // a file without imports is Go code, too
		for _, spec := range file.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			found[dir] = append(found[dir], imp)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
