package config

import (
	_ "embed"
	"strings"
)

//go:embed reference.md
var referencePage string

// Reference returns the page that explains the settings, in Markdown: how they are given, and every key.
func Reference() string {
	before, after, _ := strings.Cut(referencePage, "<!-- keys -->\n")
	return "<!-- Printed by \"llmopt config reference\". Edit config/reference.md and config/default.toml. -->\n" + before +
		keyTables(string(defaultTOML)) + after
}

// keyTables renders default.toml for the page: a heading for each section, a table for its keys, and the providers and flags that
// are built in as they stand.
func keyTables(document string) string {
	var out, comment strings.Builder
	document, instances, _ := strings.Cut(document, "# The providers. ")
	section, open := "", false
	row := func(key, value string) {
		text, allowed, _ := strings.Cut(comment.String(), " Allowed: ")
		if !open {
			out.WriteString("\n| Key | Default | Allowed | Meaning |\n|---|---|---|---|\n")
			open = true
		}
		if l, ok := leafAt(strings.Split(key, ".")); ok && l.restart {
			text += " *Needs a restart.*"
		}
		out.WriteString("| `" + key + "` | `" + value + "` | " + allowed + " | " + text + " |\n")
	}
	for line := range strings.Lines(document) {
		line = strings.TrimRight(line, "\n")
		switch key, value, isKey := strings.Cut(line, " = "); {
		case line == "":
			comment.Reset()
		case line[0] == '#':
			if comment.Len() > 0 {
				comment.WriteByte(' ')
			}
			comment.WriteString(strings.TrimSpace(line[1:]))
		case line[0] == '[':
			section = strings.Trim(line, "[]")
			if strings.Contains(comment.String(), " Allowed: ") {
				row(section, "{}")
				continue
			}
			out.WriteString("\n### " + section + "\n\n" + comment.String() + "\n")
			open = false
		case isKey:
			row(section+"."+key, value)
		}
	}
	out.WriteString("\n### The built-in providers and flags\n\n```toml\n# The providers. " + strings.TrimSpace(instances) + "\n```\n")
	return out.String()
}
