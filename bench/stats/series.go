package stats

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// Series is one stream of values in time order.
type Series struct {
	Name   string
	Stamps []string // as they stand in the file
	Times  []time.Time
	Values []float64 // NaN where the file has no number
	Texts  []string  // the values as they stand in the file
}

// layouts are the spellings of a timestamp that [ReadCSV] takes, tried in this order; numbers are Unix seconds.
var layouts = []string{"2006-01-02 15:04:05", "2006-01-02 15:04:05.999999999", time.RFC3339Nano, "2006-01-02T15:04:05.999999999",
	"2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02", "01/02/2006 15:04:05", "01/02/2006 15:04"}

// ReadCSV reads a series from a table with a header. The columns "timestamp" and "value" are found by name, in any case, or are
// the first two. A value that is empty or no number is missing (NaN). It fails where a timestamp cannot be read, with the line.
func ReadCSV(r io.Reader) (*Series, error) {
	table := csv.NewReader(r)
	table.FieldsPerRecord = -1
	table.TrimLeadingSpace = true
	table.ReuseRecord = true
	header, err := table.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("no header: the file is empty")
	}
	if err != nil {
		return nil, err
	}
	stampColumn, valueColumn := column(header, "timestamp", 0), column(header, "value", 1)
	s := new(Series)
	for {
		row, err := table.Read()
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := table.FieldPos(0)
		if need := max(stampColumn, valueColumn) + 1; len(row) < need {
			return nil, fmt.Errorf("line %d: %d columns, needed are %d: timestamp,value", line, len(row), need)
		}
		at, err := parseStamp(row[stampColumn])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		s.Stamps = append(s.Stamps, strings.Clone(row[stampColumn]))
		s.Times = append(s.Times, at)
		s.Values = append(s.Values, parseValue(row[valueColumn]))
		s.Texts = append(s.Texts, strings.Clone(row[valueColumn]))
	}
}

func column(header []string, name string, otherwise int) int {
	for i, h := range header {
		if strings.EqualFold(strings.TrimSpace(strings.TrimPrefix(h, "\ufeff")), name) {
			return i
		}
	}
	return otherwise
}

func parseStamp(s string) (time.Time, error) {
	s = strings.TrimSpace(s)
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	if seconds, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(seconds) < 1<<40 {
		whole, part := math.Modf(seconds)
		return time.Unix(int64(whole), int64(part*1e9)).UTC(), nil
	}
	return time.Time{}, fmt.Errorf("timestamp %q: neither a date and time such as 2006-01-02 15:04:05 nor Unix seconds", s)
}

// parseValue returns NaN for what is no finite number.
func parseValue(s string) float64 {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || math.IsInf(v, 0) {
		return math.NaN()
	}
	return v
}
