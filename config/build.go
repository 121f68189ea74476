package config

import (
	"bytes"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// References to secrets.
const (
	refEnv  = "env:"
	refFile = "file:"
)

// maxSecret is the largest secret file that is read, in bytes: keys are short, and a wrong path may name anything.
const maxSecret = 64 << 10

// build makes the configuration of the merged layers: every provider on top of provider_defaults, references resolved.
func (l *loader) build(merged map[string]any) *Config {
	var c Config
	providers, _ := merged["providers"].(map[string]any)
	flags, _ := merged["flags"].(map[string]any)
	delete(merged, "providers")
	delete(merged, "flags")
	routes, _ := merged["routes"].(map[string]any)
	delete(merged, "routes")
	callers, _ := merged["callers"].(map[string]any)
	delete(merged, "callers")
	limits, _ := merged["limits"].(map[string]any)
	delete(merged, "limits")
	webhooks := l.buildWebhooks(merged)
	l.assign(reflect.ValueOf(&c).Elem(), merged, "")
	c.Alerts.Webhooks = webhooks

	c.Providers = make(map[string]Provider, len(providers))
	for _, name := range slices.Sorted(maps.Keys(providers)) {
		p := Provider{Name: name}
		l.assign(reflect.ValueOf(&p).Elem(), over(merged["provider_defaults"], providers[name]), "providers."+name+".")
		p.BaseURL = strings.TrimRight(p.BaseURL, "/")
		c.Providers[name] = p
	}
	c.Routes = make(map[string]Route, len(routes))
	for _, name := range slices.Sorted(maps.Keys(routes)) {
		c.Routes[name] = l.buildRoute(name, merged["cache"], merged["route_defaults"], merged["target_defaults"], routes[name])
	}
	l.buildLimits(&c, merged, callers, limits)
	c.FlagSettings = make(map[string]Flag, len(flagNames))
	for _, name := range flagNames {
		var f Flag
		l.assign(reflect.ValueOf(&f).Elem(), over(merged["flag_defaults"], flags[name]), "flags."+name+".")
		c.FlagSettings[name] = f
	}
	c.Profile = l.environ[profileVariable]
	c.Flags = newFlagSet(c.FlagSettings, c.Profile)
	return &c
}

// buildRoute makes a route and its targets on top of their defaults.
func (l *loader) buildRoute(name string, cache, defaults, targetDefaults, own any) Route {
	prefix := "routes." + name
	r := Route{Name: name, Targets: map[string]Target{}, order: l.order[prefix]}
	values := over(defaults, own)
	values["cache"] = over(cache, values["cache"])
	targets, _ := values["targets"].(map[string]any)
	delete(values, "targets")
	l.assign(reflect.ValueOf(&r).Elem(), values, prefix+".")
	for _, target := range slices.Sorted(maps.Keys(targets)) {
		at := prefix + ".targets." + target
		t := Target{Name: target, order: l.order[at]}
		l.assign(reflect.ValueOf(&t).Elem(), over(targetDefaults, targets[target]), at+".")
		r.Targets[target] = t
	}
	return r
}

// over returns the keys of two tables, either of which may be missing; the second wins.
func over(defaults, own any) map[string]any {
	k := koanf.New(".")
	for _, values := range []any{defaults, own} {
		table, _ := values.(map[string]any)
		if err := k.Load(confmap.Provider(table, ""), nil); err != nil {
			panic("BUG: merge tables: " + err.Error())
		}
	}
	return k.Raw()
}

// assign sets the fields of a struct from a table of checked values.
func (l *loader) assign(v reflect.Value, values map[string]any, prefix string) {
	for key, value := range values {
		f, ok := fieldOf(v.Type(), key)
		if !ok {
			continue // the tables of defaults
		}
		field := v.FieldByIndex(f.Index)
		table, leaf, _ := child(v.Type(), key)
		switch {
		case table != nil && table.Kind() == reflect.Struct:
			l.assign(field, value.(map[string]any), prefix+key+".")
		case table != nil && table.Elem() == stringType:
			texts := make(map[string]string)
			for name, raw := range value.(map[string]any) {
				texts[name], _ = raw.(string)
			}
			field.Set(reflect.ValueOf(texts))
		case table != nil: // headers
			headers := make(map[string]Secret)
			for name, raw := range value.(map[string]any) {
				headers[name] = l.resolve(prefix+key+"."+name, raw.(string), true)
			}
			field.Set(reflect.ValueOf(headers))
		case leaf.typ == secretType:
			field.Set(reflect.ValueOf(l.resolve(prefix+key, value.(string), leaf.kind == kindCredential)))
		default:
			decoded, reason := leaf.decode(value, true)
			if reason != "" {
				panic("BUG: " + prefix + key + " was checked before: " + reason)
			}
			if leaf.kind == "path" || leaf.kind == "dir" || leaf.kind == "socket" || leaf.kind == "sink" {
				decoded = reflect.ValueOf(l.locate(prefix+key, leaf.kind, decoded.String()))
			}
			if leaf.kind == "path" && decoded.String() != "" {
				l.files[decoded.String()] = true
			}
			field.Set(decoded)
		}
	}
}

// locate makes a path that stands in a file relative to that file.
func (l *loader) locate(key, kind, path string) string {
	if path == "" || filepath.IsAbs(path) || kind == "sink" && (path == "stdout" || path == "stderr" || path == "off") {
		return path
	}
	return filepath.Join(l.originOf(key).dir(), path)
}

// resolve returns the secret that a value of the key is or refers to. If it is to stand in a header, it must fit.
func (l *loader) resolve(key, value string, header bool) Secret {
	secret := value
	if name, ok := strings.CutPrefix(value, refEnv); ok {
		if secret = l.environ[name]; secret == "" {
			l.complain(key, "", "the environment variable "+name+" that it refers to is not set or empty", "")
			return Secret{}
		}
	} else if path, ok := strings.CutPrefix(value, refFile); ok {
		if !filepath.IsAbs(path) {
			path = filepath.Join(l.originOf(key).dir(), path)
		}
		l.files[path] = true
		text, err := readSecret(path)
		if err != nil {
			l.complain(key, "", "the file "+path+" that it refers to: "+plain(err), "")
			return Secret{}
		}
		if secret = text; secret == "" {
			l.complain(key, "", "the file "+path+" that it refers to is empty", "")
			return Secret{}
		}
	}
	if header && !isHeaderValue(secret) {
		l.complain(key, "", "a value that can't stand in a header: line breaks, control characters or blanks at the ends", "")
		return Secret{}
	}
	return NewSecret(secret)
}

// readSecret returns the contents of a file without the line break at its end.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", err
	}
	if len(text) > maxSecret {
		return "", errSecretSize
	}
	return string(bytes.TrimRight(text, "\r\n")), nil
}
