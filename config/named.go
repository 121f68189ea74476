package config

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// nameRoutes turns the lists of routes and of their targets into tables by name, which is how all other parts know them, and notes their
// order. Their keys are then called routes.NAME.targets.NAME.KEY.
func (l *loader) nameRoutes(y *layer) {
	table, ok := l.nameList(y, y.values["routes"], "routes")
	if !ok {
		return
	}
	y.values["routes"] = table
	for name, route := range table {
		values, _ := route.(map[string]any)
		if targets, ok := l.nameList(y, values["targets"], "routes."+name+".targets"); ok {
			values["targets"] = targets
		}
	}
}

// nameLimits does the same with the list of limits. They need no name: one without is called by whom it is for, so that the others keep their
// names, and with them their counts, when one comes or goes.
func (l *loader) nameLimits(y *layer) {
	items, _ := y.values["limits"].([]any)
	if tables, ok := y.values["limits"].([]map[string]any); ok {
		for _, item := range tables {
			items = append(items, item)
		}
	}
	defaults, _ := y.values["limit_defaults"].(map[string]any)
	taken := map[string]bool{}
	for _, item := range items {
		if values, ok := item.(map[string]any); ok {
			name, _ := values["name"].(string)
			taken[name] = true
		}
	}
	for _, item := range items {
		values, ok := item.(map[string]any)
		if !ok || values["name"] != nil {
			continue
		}
		base := limitName(values, defaults)
		name := base
		for n := 2; taken[name]; n++ {
			name = base + "-" + strconv.Itoa(n)
		}
		taken[name] = true
		values["name"] = name
	}
	if table, ok := l.nameList(y, y.values["limits"], "limits"); ok {
		y.values["limits"] = table
	}
}

// longestLimitName leaves room for a number behind it.
const longestLimitName = 56

// limitName is what a limit without a name is called: those whom it is for, joined, or "all".
func limitName(values, defaults map[string]any) string {
	var scopes []string
	for _, key := range []string{"caller", "route", "target"} {
		scope, ok := values[key].(string)
		if !ok {
			scope, _ = defaults[key].(string)
		}
		if scope != "" && scope != ScopeAll {
			scopes = append(scopes, scope)
		}
	}
	if len(scopes) == 0 {
		return "all"
	}
	name := []byte(strings.Join(scopes, "-"))
	for i, c := range name {
		if !alphanumeric(c) && c != '_' && c != '-' {
			name[i] = '_'
		}
	}
	if len(name) > longestLimitName { // names that begin alike differ by the sum
		sum := sha256.Sum256(name)
		name = fmt.Appendf(name[:longestLimitName-9], "-%x", sum[:4])
	}
	return string(name)
}

// nameList is the table of a list of tables, each with its name; false where the value is no list.
func (l *loader) nameList(y *layer, value any, path string) (table map[string]any, ok bool) {
	var items []any
	switch v := value.(type) {
	case []any:
		items = v
	case []map[string]any:
		for _, item := range v {
			items = append(items, item)
		}
	default:
		return nil, false
	}
	table = make(map[string]any, len(items))
	for i, item := range items {
		at := path + "." + strconv.Itoa(i)
		values, isTable := item.(map[string]any)
		name, isName := values["name"].(string)
		place := []string{fmt.Sprintf("%s[%d]", path, i)}
		switch {
		case !isTable:
			l.reject(y.origin(path), place, "", "not a table", "")
		case values["name"] == nil:
			l.reject(y.origin(at), append(place, "name"), "", "required", "1 to 64 letters, digits, '_' and '-'")
		case !isName || !isRouteName(name):
			l.reject(y.origin(at+".name"), append(place, "name"), fmt.Sprintf("%q", values["name"]), "not a name", "1 to 64 letters, digits, '_' and '-'")
		case table[name] != nil:
			l.reject(y.origin(at+".name"), append(place, "name"), quote(name), "used twice", "")
		default:
			delete(values, "name")
			table[name] = values
			y.rename(at, path+"."+name)
			l.order[path+"."+name] = i
		}
	}
	return table, true
}

// rename has the lines of a table and of all in it found under another path.
func (y *layer) rename(from, to string) {
	var found []string
	for path := range y.lines {
		if path == from || strings.HasPrefix(path, from+".") {
			found = append(found, path)
		}
	}
	slices.Sort(found)
	for _, path := range found {
		y.lines[to+strings.TrimPrefix(path, from)] = y.lines[path]
	}
}
