package main

import (
	"bytes"
	"fmt"
	"time"
)

// Text implements control.Saved.
func (s *saved) Text() string {
	var b bytes.Buffer
	if s.Cache.From != nil {
		s.Cache.text(&b)
	}
	if s.Prompts.From != nil {
		s.Prompts.text(&b)
	}
	if s.Missing != "" {
		fmt.Fprintf(&b, "\nwhat the caches have saved is not all known: %s\n", s.Missing)
	}
	return b.String()
}

func (c *cacheSaved) text(b *bytes.Buffer) {
	fmt.Fprintf(b, "\nthe cache of answers, since %s: %s and %s of waiting; no part of what the optimizer saves\n", hourText(c.From), gain(c.Saved), shortDuration(c.Sooner))
	rows := [][]string{{"  route", "answers", "worth", "fetched anew", "saved", "time saved"}}
	row := func(name string, a *cacheAmounts) {
		rows = append(rows, []string{"  " + name, fmt.Sprint(a.Answers), dollars(a.Worth), dollars(a.Refresh), amount(a.Saved), shortDuration(a.Sooner)})
	}
	for i := range c.Routes {
		row(clip(printable(c.Routes[i].Route)), &c.Routes[i].cacheAmounts)
	}
	appendTable(b, []bool{true, false, false, false, false, false}, rows)
}

func (p *promptSaved) text(b *bytes.Buffer) {
	fmt.Fprintf(b, "\nmarked prompts, since %s: %s; no part of the above\n", hourText(p.From), gain(p.Saved))
	rows := [][]string{{"  route", "marked", "left unmarked", "saved"}}
	for i := range p.Routes {
		r := &p.Routes[i]
		rows = append(rows, []string{"  " + clip(printable(r.Route)), fmt.Sprint(r.Marked), fmt.Sprint(r.Unmarked), amount(r.Saved)})
	}
	appendTable(b, []bool{true, false, false, false}, rows)
}

func hourText(t *time.Time) string { return t.UTC().Format("2006-01-02 15:04") }

// gain is an amount that was saved, or lost, in words.
func gain(nano int64) string {
	if nano < 0 {
		return "lost " + dollars(-nano)
	}
	return "saved " + dollars(nano)
}

func amount(nano int64) string {
	if nano < 0 {
		return "-" + dollars(-nano)
	}
	return dollars(nano)
}
