package alert

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Severity says how bad it is.
type Severity uint8

// The severities.
const (
	Info     Severity = iota // good to know
	Warning                  // somebody should look, today
	Critical                 // now

	severities
)

var severityNames = [severities]string{"info", "warning", "critical"}

func (s Severity) String() string { return severityNames[min(s, Critical)] }

// ParseSeverity reads the name of a severity.
func ParseSeverity(name string) (Severity, error) {
	for i, n := range severityNames {
		if n == name {
			return Severity(i), nil
		}
	}
	return 0, fmt.Errorf("no severity %q: %s", name, strings.Join(severityNames[:], ", "))
}

// Alert is something that people are to be told. Texts that are too long are cut.
type Alert struct {
	Key      string // what it is about: alerts with the same key are the same one
	Severity Severity
	Title    string // one line
	Text     string
	Fields   []Field // in the order in which they are shown
	Event    bool    // it has happened, and does not go on: there is nothing to be resolved
}

// Field is a fact of an alert.
type Field struct{ Name, Value string }

// Bounds of what an alert holds, in bytes.
const (
	mostKey    = 200
	mostTitle  = 200
	mostText   = 2000
	mostName   = 60
	mostValue  = 300
	mostFields = 20
)

// bounded is the alert with its texts cut to their bounds.
func (a Alert) bounded() Alert {
	a.Key, a.Title, a.Text = cut(a.Key, mostKey), cut(a.Title, mostTitle), cut(a.Text, mostText)
	fields := make([]Field, 0, min(len(a.Fields), mostFields))
	for _, f := range a.Fields[:cap(fields)] {
		fields = append(fields, Field{cut(f.Name, mostName), cut(f.Value, mostValue)})
	}
	a.Fields, a.Severity = fields, min(a.Severity, Critical)
	return a
}

// cut shortens a text to so many bytes, between two characters, and makes it valid UTF-8.
func cut(s string, most int) string {
	if len(s) > most {
		s = s[:most-len("…")]
		for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
			s = s[:len(s)-1]
		}
		if r, n := utf8.DecodeLastRuneInString(s); r == utf8.RuneError && n == 1 {
			s = s[:len(s)-1]
		}
		s += "…"
	}
	return strings.ToValidUTF8(s, "?")
}

// Statuses of messages.
const (
	statusFiring   = "firing" // it goes on
	statusResolved = "resolved"
	statusEvent    = "event" // see Alert.Event
)

// message is what is told of an alert at some time.
type message struct {
	Alert
	status string
	at     time.Time
	since  time.Time // it goes on
	raised int       // times that it was raised since then
	source source
}

// source is who tells it.
type source struct{ instance, version string }
