package config

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// settings is the root of what the layers hold: the configuration, and what its providers start from.
type settings struct {
	Config
	ProviderDefaults Provider `koanf:"provider_defaults"`
	FlagDefaults     Flag     `koanf:"flag_defaults"`
	RouteDefaults    Route    `koanf:"route_defaults"`
	TargetDefaults   Target   `koanf:"target_defaults"`
	WebhookDefaults  Webhook  `koanf:"webhook_defaults"`
	CallerDefaults   Caller   `koanf:"caller_defaults"`
	LimitDefaults    Limit    `koanf:"limit_defaults"`
}

var (
	settingsType = reflect.TypeFor[settings]()
	providerType = reflect.TypeFor[Provider]()
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[Size]()
	secretType   = reflect.TypeFor[Secret]()
	stringType   = reflect.TypeFor[string]()
	flagType     = reflect.TypeFor[Flag]()
	listType     = reflect.TypeFor[[]string]()
	routeType    = reflect.TypeFor[Route]()
	targetType   = reflect.TypeFor[Target]()
)

// leaf is a key that holds a value.
type leaf struct {
	typ   reflect.Type
	allow string // tag: the permitted values and ranges; empty: see kind
	kind  string // tag: a further check of strings

	restart bool // tag: a reload can't change it
}

// fieldOf returns the field of struct type t, or of a struct embedded in it, that has the key.
func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	for _, f := range reflect.VisibleFields(t) {
		if tag := f.Tag.Get("koanf"); tag == key && tag != "-" && tag != "" {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// child returns what the key names inside a value of type t: a table (a struct or map type) or a leaf.
func child(t reflect.Type, key string) (table reflect.Type, l leaf, ok bool) {
	if t.Kind() == reflect.Map {
		if t.Elem() == secretType {
			return nil, leaf{typ: secretType, kind: headerKind(key)}, true
		}
		if t.Elem() == stringType {
			return nil, leaf{typ: stringType, kind: "pattern"}, true
		}
		return t.Elem(), leaf{}, true
	}
	f, ok := fieldOf(t, key)
	if !ok {
		return nil, leaf{}, false
	}
	if f.Type.Kind() == reflect.Map || f.Type.Kind() == reflect.Struct && f.Type != secretType {
		return f.Type, leaf{}, true
	}
	return nil, leaf{f.Type, f.Tag.Get("allow"), f.Tag.Get("kind"), f.Tag.Get("reload") == "restart"}, true
}

// leafAt returns the leaf that a path of keys leads to.
func leafAt(path []string) (l leaf, ok bool) {
	table := settingsType
	for _, key := range path {
		if table == nil {
			return leaf{}, false
		}
		if table, l, ok = child(table, key); !ok {
			return leaf{}, false
		}
	}
	return l, table == nil
}

// borrowed are tables of defaults whose own defaults stand in another table, by their paths.
var borrowed = map[string]string{"route_defaults.cache": "cache"}

// keysOf appends to dst the dotted paths of all tables and leaves below t. Maps end there: their keys are free. Tables that have
// no defaults of their own are left out.
func keysOf(dst []string, t reflect.Type, prefix string) []string {
	if t.Kind() != reflect.Struct {
		return dst
	}
	for _, f := range reflect.VisibleFields(t) {
		key := f.Tag.Get("koanf")
		if key == "" || key == "-" {
			continue
		}
		if borrowed[prefix+key] != "" {
			continue
		}
		dst = append(dst, prefix+key)
		if table, _, _ := child(t, key); table != nil {
			dst = keysOf(dst, table, prefix+key+".")
		}
	}
	return dst
}

// allowed returns what may stand at the leaf, in the words that default.toml uses too.
func (l leaf) allowed() string {
	switch {
	case l.allow != "":
		return l.allow
	case l.typ.Kind() == reflect.Bool:
		return "true, false"
	case l.typ == listType && l.kind == "":
		return "list of strings"
	case l.typ == secretType && l.kind != kindHeader:
		return "env:NAME or file:PATH (the secret itself in the environment), or empty"
	default:
		return stringKinds[l.kind].allowed
	}
}

// decode returns the value at a leaf as the leaf's type, or why it may not stand there. Strings of the environment
// (text) are read as whatever the leaf wants; in files numbers and booleans stand without quotes. Secrets stay strings.
func (l leaf) decode(raw any, text bool) (v reflect.Value, reason string) {
	s, isString := raw.(string)
	n, isInt := raw.(int64)
	switch {
	case l.typ == durationType:
		d, err := time.Duration(0), errDuration
		if isString {
			d, err = ParseDuration(s)
		}
		if (isInt && n == 0) || s == "0" {
			d, err = 0, nil
		}
		if err != nil {
			return v, err.Error()
		}
		v = reflect.ValueOf(d)
	case l.typ == sizeType:
		size, err := Size(n), error(nil)
		if isString {
			size, err = ParseSize(s)
		} else if !isInt || n < 0 {
			err = errSize
		}
		if err != nil {
			return v, err.Error()
		}
		v = reflect.ValueOf(size)
	case l.typ.Kind() == reflect.Int:
		if isString && text {
			var err error
			n, err = strconv.ParseInt(strings.TrimSpace(s), 10, 64)
			isInt = err == nil
		}
		if !isInt {
			return v, "not a whole number"
		}
		v = reflect.ValueOf(int(n))
	case l.typ.Kind() == reflect.Float64:
		f, isNumber := raw.(float64)
		if isInt {
			f, isNumber = float64(n), true
		}
		if isString && text {
			var err error
			f, err = strconv.ParseFloat(strings.TrimSpace(s), 64)
			isNumber = err == nil
		}
		if !isNumber || math.IsNaN(f) {
			return v, "not a number"
		}
		v = reflect.ValueOf(f).Convert(l.typ)
	case l.typ == listType:
		list, reason := stringList(raw, text)
		if reason != "" {
			return v, reason
		}
		if check := stringKinds[l.kind].check; check != nil {
			for _, item := range list {
				if reason := check(item); reason != "" {
					return v, reason
				}
			}
		}
		return reflect.ValueOf(list), ""
	case l.typ.Kind() == reflect.Bool:
		b, isBool := raw.(bool)
		if isString && text {
			b = s == "true" || s == "1"
			isBool = b || s == "false" || s == "0"
		}
		if !isBool {
			return v, "not a boolean"
		}
		return reflect.ValueOf(b), ""
	default: // strings and secrets
		if !isString {
			return v, "not a string"
		}
		if l.typ == secretType {
			return reflect.ValueOf(s), ""
		}
		v = reflect.ValueOf(s)
		if check := stringKinds[l.kind].check; check != nil {
			if reason := check(s); reason != "" {
				return v, reason
			}
		}
	}
	switch {
	case l.allow == "" || l.permits(v):
		return v, ""
	case strings.Contains(l.allow, ".."):
		return v, "out of range"
	default:
		return v, "not a choice"
	}
}

// stringList reads a list of strings; in the environment (text) commas stand between them.
func stringList(raw any, text bool) (list []string, reason string) {
	list = []string{}
	if s, isString := raw.(string); isString && text {
		for item := range strings.SplitSeq(s, ",") {
			if item = strings.TrimSpace(item); item != "" {
				list = append(list, item)
			}
		}
		return list, ""
	}
	items, isList := raw.([]any)
	if strs, isStrings := raw.([]string); isStrings {
		return strs, ""
	}
	if !isList {
		return nil, "not a list"
	}
	for _, item := range items {
		s, isString := item.(string)
		if !isString || strings.TrimSpace(s) == "" {
			return nil, "not a list of strings that are not empty"
		}
		list = append(list, s)
	}
	return list, ""
}

// permits reports whether v is in the leaf's list of values and ranges.
func (l leaf) permits(v reflect.Value) bool {
	for item := range strings.SplitSeq(l.allow, ", ") {
		if l.typ.Kind() == reflect.String {
			if v.String() == strings.Trim(item, `"`) {
				return true
			}
			continue
		}
		low, high, isRange := strings.Cut(item, "..")
		if !isRange {
			high = low
		}
		if l.typ.Kind() == reflect.Float64 {
			if l.bound(low).Float() <= v.Float() && v.Float() <= l.bound(high).Float() {
				return true
			}
		} else if l.bound(low).Int() <= v.Int() && v.Int() <= l.bound(high).Int() {
			return true
		}
	}
	return false
}

// bound reads one end of a range in an allow tag.
func (l leaf) bound(s string) reflect.Value {
	v, reason := leaf{typ: l.typ}.decode(s, true)
	if reason != "" {
		panic(fmt.Sprintf("BUG: allow tag %q: %s", l.allow, reason))
	}
	return v
}
