package config

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Setting is one value in force and where it comes from.
type Setting struct {
	Key     string `json:"key"`               // dotted
	Value   string `json:"value"`             // as TOML has it; "***" for a secret that is set
	Layer   string `json:"layer"`             // default, profile, file or environment
	Source  string `json:"source,omitempty"`  // of layers but the defaults: path of the file, name of the variable
	Line    int    `json:"line,omitempty"`    // in the file
	Restart bool   `json:"restart,omitempty"` // a reload can't change it
}

var layerNames = [...]string{rankDefault: "default", rankProfile: "profile", rankFile: "file", rankEnviron: "environment"}

// settings lists what is in force, by key.
func (l *loader) settings(c *Config) (out []Setting) {
	walk(reflect.ValueOf(c).Elem(), "", func(key string, leaf leaf, v reflect.Value) {
		o := l.originOf(key)
		s := Setting{Key: key, Value: display(v), Layer: layerNames[o.rank], Restart: leaf.restart}
		if o.rank != rankDefault {
			s.Source, s.Line = o.source, o.line
		}
		out = append(out, s)
	})
	slices.SortFunc(out, func(a, b Setting) int { return cmp.Compare(a.Key, b.Key) })
	return out
}

// walk calls visit for every leaf of a value of the schema.
func walk(v reflect.Value, prefix string, visit func(key string, leaf leaf, v reflect.Value)) {
	if v.Kind() == reflect.Map {
		for _, k := range v.MapKeys() {
			if table, leaf, _ := child(v.Type(), k.String()); table == nil {
				visit(prefix+k.String(), leaf, v.MapIndex(k))
			} else {
				walk(v.MapIndex(k), prefix+k.String()+".", visit)
			}
		}
		return
	}
	for _, f := range reflect.VisibleFields(v.Type()) {
		key := f.Tag.Get("koanf")
		if key == "" || key == "-" {
			continue
		}
		if table, leaf, _ := child(v.Type(), key); table == nil {
			visit(prefix+key, leaf, v.FieldByIndex(f.Index))
		} else {
			walk(v.FieldByIndex(f.Index), prefix+key+".", visit)
		}
	}
}

// display writes a value as TOML has it.
func display(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return strconv.Quote(FormatDuration(x))
	case []string:
		quoted := make([]string, 0, len(x))
		for _, s := range x {
			quoted = append(quoted, strconv.Quote(s))
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case string:
		return strconv.Quote(x)
	case Secret, Size:
		return strconv.Quote(fmt.Sprint(x))
	default:
		return fmt.Sprint(x)
	}
}

// NeedRestart returns the keys whose change from one configuration to another a reload can't put in force, in ascending order.
func NeedRestart(from, to *Config) (keys []string) {
	before := map[string]any{}
	walk(reflect.ValueOf(from).Elem(), "", func(key string, leaf leaf, v reflect.Value) {
		if leaf.restart {
			before[key] = v.Interface()
		}
	})
	walk(reflect.ValueOf(to).Elem(), "", func(key string, leaf leaf, v reflect.Value) {
		if leaf.restart && !reflect.DeepEqual(before[key], v.Interface()) {
			keys = append(keys, key)
		}
	})
	if (from.Server.TLSCert == "") != (to.Server.TLSCert == "") { // the certificate can change, but not whether there is one
		keys = append(keys, "server.tls_cert")
	}
	if (from.Admin.TLSCert == "") != (to.Admin.TLSCert == "") {
		keys = append(keys, "admin.tls_cert")
	}
	slices.Sort(keys)
	return keys
}

// Changed returns the keys that have another value, in ascending order. Secrets are compared, not shown.
func Changed(from, to *Config) (keys []string) {
	values := func(c *Config) map[string]any {
		m := map[string]any{}
		walk(reflect.ValueOf(c).Elem(), "", func(key string, _ leaf, v reflect.Value) { m[key] = v.Interface() })
		return m
	}
	before, after := values(from), values(to)
	for key, v := range after {
		if old, was := before[key]; !was || !reflect.DeepEqual(old, v) {
			keys = append(keys, key)
		}
	}
	for key := range before {
		if _, is := after[key]; !is {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}
