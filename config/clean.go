package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// ownKeys are the keys that belong to one provider and can't be set for all.
var ownKeys = []string{"base_url", "api_key", "headers", "priced_as", "tls.server_name"}

// ownRouteKeys belong to one route, and ownTargetKeys to one target.
var (
	ownRouteKeys  = []string{"match.model", "match.header", "match.tag", "targets"}
	ownTargetKeys = []string{"key", "model"}
)

// ownPlaces are where own keys are set, by the table of defaults that they can't be set in.
var ownPlaces = map[string]string{
	"provider_defaults": "providers.NAME.",
	"route_defaults":    "routes.NAME.",
	"target_defaults":   "routes.NAME.targets.NAME.",
	"webhook_defaults":  "alerts.webhooks.NAME.",
	"caller_defaults":   "callers.NAME.",
}

// framingHeaders are set by the proxy itself, from base_url and the message it forwards.
var framingHeaders = []string{
	"host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer",
	"proxy-connection", "expect",
}

// clean returns the part of a layer's table that is right, with header names in lower case, reports the rest, and
// notes where the values stand. t is the struct or map type that the table stands for.
func (l *loader) clean(y *layer, t reflect.Type, values map[string]any, path []string) map[string]any {
	out := make(map[string]any, len(values))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		at := append(path[:len(path):len(path)], key)
		where := y.origin(strings.Join(at, "."))
		table, leaf, ok := child(t, key)
		switch {
		case !ok:
			l.reject(where, at, "", "unknown key"+suggestKey(strings.Join(at, ".")), "")
		case isOwn(at) && y.rank != rankDefault:
			l.reject(where, at, "", "belongs to one "+strings.TrimSuffix(at[0], "_defaults")+": set "+ownPlaces[at[0]]+strings.Join(at[1:], "."), "")
		case table != nil:
			sub, isTable := values[key].(map[string]any)
			switch {
			case !isTable:
				l.reject(where, at, "", "not a table", "")
			case table == flagType && t.Kind() == reflect.Map && !slices.Contains(flagNames[:], key):
				l.reject(where, at, "", "unknown flag"+suggest(key, flagNames[:]), strings.Join(flagNames[:], ", "))
			case t.Kind() == reflect.Map && (table == routeType || table == targetType || table == callerType || table == limitType):
				if !isRouteName(key) {
					l.reject(where, at, "", "not a name", "1 to 64 letters, digits, '_' and '-'")
					continue
				}
				l.origins[strings.Join(at, ".")] = where
				out[key] = l.clean(y, table, sub, at)
			case t.Kind() == reflect.Map && table == webhookType && !isProviderName(key):
				l.reject(where, at, "", "not a webhook's name", "a-z, 0-9 and _")
			case t.Kind() == reflect.Map && !isProviderName(key):
				l.reject(where, at, "", "not a provider's name", "a-z, 0-9 and _")
			default:
				l.origins[strings.Join(at, ".")] = where
				out[key] = l.clean(y, table, sub, at)
			}
		default:
			if t.Kind() == reflect.Map { // a header
				at[len(at)-1] = strings.ToLower(key)
			}
			name := at[len(at)-1]
			if _, twice := out[name]; twice {
				l.reject(where, at, "", "set twice", "")
			} else if l.accept(y, leaf, values[key], at, where) {
				l.origins[strings.Join(at, ".")] = where
				out[name] = values[key]
			}
		}
	}
	return out
}

// accept reports whether a value may stand at a leaf, and if not, reports why.
func (l *loader) accept(y *layer, leaf leaf, raw any, at []string, where origin) bool {
	if inHeaders(at) {
		if reason := checkHeaderName(at[len(at)-1]); reason != "" {
			l.reject(where, at, "", reason, "")
			return false
		}
	}
	v, reason := leaf.decode(raw, y.rank == rankEnviron)
	if reason != "" {
		l.reject(where, at, leaf.show(raw), reason, leaf.allowed())
		return false
	}
	if y.rank != rankEnviron && leaf.typ == secretType && isLiteralSecret(leaf.kind, v.String()) {
		l.reject(where, at, "", "a secret in a file",
			"env:NAME, file:PATH, or the secret itself in the environment variable "+variableOf(at))
		return false
	}
	return true
}

// reject reports a value that may not stand where it does.
func (l *loader) reject(where origin, at []string, value, reason, allowed string) {
	key := strings.Join(at, ".")
	l.bad[key] = true
	l.report(Problem{where.source, where.line, key, value, reason, allowed}, where.rank)
}

// show returns the value for a message: nothing of secrets, nor of URLs that may hold one.
func (l leaf) show(raw any) string {
	s, isString := raw.(string)
	if l.typ == secretType || l.kind == "base_url" && strings.ContainsAny(s, "@?") {
		return ""
	}
	if raw == nil {
		return "null"
	}
	if !isString {
		return fmt.Sprint(raw)
	}
	if len(s) > maxShown {
		return strconv.Quote(s[:maxShown]) + "…"
	}
	return strconv.Quote(s)
}

// maxShown is how many bytes of a wrong value a message repeats: enough to find it.
const maxShown = 80

// isLiteralSecret reports whether a value in a file is a secret itself. Headers that carry no credential by their name
// may hold literals, unless the value looks like one.
func isLiteralSecret(kind, value string) bool {
	if value == "" || strings.HasPrefix(value, refEnv) || strings.HasPrefix(value, refFile) {
		return false
	}
	if kind != kindHeader {
		return true
	}
	lower := strings.ToLower(value)
	return strings.HasPrefix(lower, "bearer ") || strings.HasPrefix(lower, "basic ") || strings.HasPrefix(lower, "sk-")
}

// checkHeaderName returns what is wrong with the name of a header that is to be set on requests, or "".
func checkHeaderName(name string) string {
	switch {
	case !isToken(name):
		return "not a header's name"
	case slices.Contains(framingHeaders, strings.ToLower(name)):
		return "a header that the proxy sets itself"
	}
	return ""
}

// inHeaders reports whether a path leads to a header.
func inHeaders(path []string) bool {
	return len(path) == 4 && path[0] == "providers" && path[2] == "headers"
}

// isOwn reports whether a path in the defaults of providers, routes or targets belongs to single ones.
func isOwn(path []string) bool {
	key := strings.Join(path[1:], ".")
	switch path[0] {
	case "provider_defaults":
		return slices.Contains(ownKeys, key)
	case "route_defaults":
		return slices.Contains(ownRouteKeys, key)
	case "target_defaults":
		return slices.Contains(ownTargetKeys, key)
	case "webhook_defaults":
		return slices.Contains(ownWebhookKeys, key)
	case "caller_defaults":
		return slices.Contains(ownCallerKeys, key)
	}
	return false
}

// variableOf returns the environment variable that sets the key.
func variableOf(path []string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(strings.Join(path, "__"), "-", "_"))
}

// knownKeys returns the dotted paths of all keys; those of providers carry the name that path has there.
func knownKeys(path string) []string {
	keys := keysOf(nil, settingsType, "")
	if rest, ok := strings.CutPrefix(path, "providers."); ok {
		name, _, _ := strings.Cut(rest, ".")
		keys = keysOf(keys, providerType, "providers."+name+".")
	}
	if rest, ok := strings.CutPrefix(path, "flags."); ok {
		name, _, _ := strings.Cut(rest, ".")
		keys = keysOf(keys, flagType, "flags."+name+".")
	}
	if rest, ok := strings.CutPrefix(path, "alerts.webhooks."); ok {
		name, _, _ := strings.Cut(rest, ".")
		keys = keysOf(keys, webhookType, "alerts.webhooks."+name+".")
	}
	if rest, ok := strings.CutPrefix(path, "callers."); ok {
		name, _, _ := strings.Cut(rest, ".")
		keys = keysOf(keys, callerType, "callers."+name+".")
	}
	if rest, ok := strings.CutPrefix(path, "limits."); ok {
		name, _, _ := strings.Cut(rest, ".")
		keys = keysOf(keys, limitType, "limits."+name+".")
	}
	if rest, ok := strings.CutPrefix(path, "routes."); ok {
		name, rest, _ := strings.Cut(rest, ".")
		keys = keysOf(keys, routeType, "routes."+name+".")
		if target, ok := strings.CutPrefix(rest, "targets."); ok {
			target, _, _ = strings.Cut(target, ".")
			keys = keysOf(keys, targetType, "routes."+name+".targets."+target+".")
		}
	}
	return keys
}

// suggestKey returns ", did you mean …?" when a key that exists is near.
func suggestKey(path string) string { return suggest(path, knownKeys(path)) }

func suggest(path string, known []string) string {
	if near, ok := nearest(path, known); ok {
		return ", did you mean " + near + "?"
	}
	return ""
}
