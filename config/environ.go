package config

import (
	"maps"
	"slices"
	"strings"
)

// envPrefix begins the names of all environment variables that are settings.
const envPrefix = "OPTIMIZER_"

// notSettings are variables with the prefix that mean something else: the profile, and the data of tests and docs.
var notSettings = []string{"OPTIMIZER_ENV", "OPTIMIZER_DATA"}

// environLayer reads the settings among the environment variables.
func (l *loader) environLayer() layer {
	out := layer{values: map[string]any{}, names: map[string]string{}, rank: rankEnviron}
	for _, name := range slices.Sorted(maps.Keys(l.environ)) {
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(notSettings, name) {
			continue
		}
		path, ok := environPath(name)
		if !ok {
			l.report(Problem{Source: name, Reason: "no such setting" + suggestVariable(name)}, rankEnviron)
			continue
		}
		out.names[strings.Join(path, ".")] = name
		table := out.values
		for _, key := range path[:len(path)-1] {
			sub, ok := table[key].(map[string]any)
			if !ok {
				sub = map[string]any{}
				table[key] = sub
			}
			table = sub
		}
		table[path[len(path)-1]] = l.environ[name]
	}
	return out
}

// environPath returns the path of the key that a variable sets: SERVER__LISTEN is server.listen. The names of
// providers may hold underscores, also two in a row, so that their keys are found from the right; in the names of
// headers an underscore stands for '-'.
func environPath(variable string) (path []string, ok bool) {
	rest := strings.TrimPrefix(variable, envPrefix)
	if rest != strings.ToUpper(rest) {
		return nil, false
	}
	rest = strings.ToLower(rest)
	if provider, ok := strings.CutPrefix(rest, "providers__"); ok {
		return providerPath(provider)
	}
	path = strings.Split(rest, "__")
	if _, ok := leafAt(path); !ok || path[0] == "providers" {
		return nil, false
	}
	return path, true
}

// providerPath splits the lower-case rest of a variable behind OPTIMIZER_PROVIDERS__.
func providerPath(rest string) (path []string, ok bool) {
	if name, header, found := strings.Cut(rest, "__headers__"); found && name != "" && header != "" {
		return []string{"providers", name, "headers", strings.ReplaceAll(header, "_", "-")}, true
	}
	key := ""
	for _, k := range keysOf(nil, providerType, "") { // the longest key leaves the shortest name
		if _, isLeaf := leafAt([]string{"providers", "x", k}); !isLeaf && !strings.Contains(k, ".") {
			continue
		}
		if len(k) > len(key) && strings.HasSuffix(rest, "__"+strings.ReplaceAll(k, ".", "__")) {
			key = k
		}
	}
	name := strings.TrimSuffix(rest, "__"+strings.ReplaceAll(key, ".", "__"))
	if key == "" || name == "" {
		return nil, false
	}
	return append([]string{"providers", name}, strings.Split(key, ".")...), true
}

// suggestVariable returns ", did you mean …?" when a variable that exists is near.
func suggestVariable(variable string) string {
	if upper := strings.ToUpper(variable); upper != variable {
		if _, ok := environPath(upper); ok {
			return ", did you mean " + upper + "?"
		}
	}
	path := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(variable, envPrefix)), "__", ".")
	if near, ok := nearest(path, knownKeys(path)); ok {
		if near := variableOf(strings.Split(near, ".")); near != variable { // equal: a table, not a value
			return ", did you mean " + near + "?"
		}
	}
	return ""
}
