package config

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

//go:generate go run pricegen.go

//go:embed prices.tsv
var embeddedPrices string

// EmbeddedPrices returns the table that is built in. It is parsed once.
func EmbeddedPrices() (*PriceTable, error) { return parseEmbedded() }

var errCompact = errors.New("not a compact price table")

var parseEmbedded = sync.OnceValues(func() (*PriceTable, error) { return parseCompact(embeddedPrices) })

// The compact form is a text: "# name value" lines with date and origin, then a line per model, by key: key, provider
// and prices, parted by tabs. Prices are parted by blanks: a letter for the kind, the service tier's letter behind a
// dot, the context tier behind '>', and the value: i=2500000 i.b=1250000 i>200000=5000000. Values are PicoUSD per token,
// of q NanoUSD per query.
const (
	kindLetters = "iorwWtaAmMq" // in the order of kinds
	tierLetters = " bfp"        // in the order of tiers
)

// WriteCompact writes the table in the form that is built in, with the date and origin of the list.
func (t *PriceTable) WriteCompact(w io.Writer, date, origin string) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "# date %s\n# origin %s\n", date, origin)
	for _, key := range slices.Sorted(maps.Keys(t.entries)) {
		p := t.entries[key]
		b.WriteString(key + "\t" + p.namespace + "\t")
		for i, l := range p.listed {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteByte(kindLetters[l.kind])
			if l.tier != Standard {
				b.Write([]byte{'.', tierLetters[l.tier]})
			}
			if l.above > 0 {
				b.WriteString(">" + strconv.FormatInt(l.above, 10))
			}
			b.WriteString("=" + strconv.FormatInt(l.value, 10))
		}
		b.WriteByte('\n')
	}
	return b.Flush()
}

// parseCompact reads what WriteCompact writes.
func parseCompact(text string) (*PriceTable, error) {
	var prices []*Price
	var date, origin string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if value, ok := strings.CutPrefix(line, "# date "); ok {
			date = value
		} else if value, ok := strings.CutPrefix(line, "# origin "); ok {
			origin = value
		} else {
			p, err := parseCompactLine(line)
			if err != nil {
				return nil, err
			}
			prices = append(prices, p)
		}
	}
	t := newPriceTable(prices, nil)
	t.date, t.origin = date, origin
	return t, nil
}

func parseCompactLine(line string) (*Price, error) {
	fields := strings.Split(line, "\t")
	if len(fields) != 3 {
		return nil, fmt.Errorf("%w: %q", errCompact, line)
	}
	prices := make([]listed, 0, 1+strings.Count(fields[2], " "))
	for field := range strings.SplitSeq(fields[2], " ") {
		name, number, _ := strings.Cut(field, "=")
		name, above, inTier := strings.Cut(name, ">")
		letter, service, inService := strings.Cut(name, ".")
		var l listed
		var err error
		if l.value, err = strconv.ParseInt(number, 10, 64); err == nil && inTier {
			l.above, err = strconv.ParseInt(above, 10, 64)
		}
		k, tier := strings.Index(kindLetters, letter), 0
		if inService {
			tier = strings.Index(tierLetters, service)
		}
		if err != nil || len(letter) != 1 || k < 0 || tier < 0 || inService && len(service) != 1 {
			return nil, fmt.Errorf("%w: %q", errCompact, line)
		}
		l.kind, l.tier = kind(k), Tier(tier)
		prices = append(prices, l)
	}
	return newPrice(fields[0], fields[1], prices), nil
}
