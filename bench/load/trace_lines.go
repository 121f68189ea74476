package load

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

const (
	azureHeader = "TIMESTAMP,ContextTokens,GeneratedTokens"
	azureTime   = "2006-01-02 15:04:05" // parsing takes a fraction too
)

// parseAzure reads one row. At counts from some time that is the same for all rows.
func parseAzure(line []byte) (a Arrival, err error) {
	fields := bytes.Split(line, []byte(","))
	if len(fields) != 3 {
		return a, fmt.Errorf("%d fields: want 3, %s", len(fields), azureHeader)
	}
	at, err := time.Parse(azureTime, string(fields[0]))
	if err != nil {
		return a, fmt.Errorf("TIMESTAMP is %.40q: want a time such as 2023-11-16 18:17:03.9799600", fields[0])
	}
	if year := at.Year(); year < 2000 || year > 2200 {
		return a, fmt.Errorf("TIMESTAMP is %.40q: want a year from 2000 to 2200", fields[0])
	}
	a.At = at.Sub(azureEpoch)
	if a.Input, err = parseTokens("ContextTokens", string(fields[1])); err != nil {
		return a, err
	}
	a.Output, err = parseTokens("GeneratedTokens", string(fields[2]))
	return a, err
}

// azureEpoch is near enough to all times for a time.Duration.
var azureEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// parseTokens reads a length.
func parseTokens(field, s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxPrompt {
		return 0, fmt.Errorf("%s is %.40q: want a number from 1 to %d", field, s, maxPrompt)
	}
	return n, nil
}

// mooncakeLine is one request. What is missing is nil.
type mooncakeLine struct {
	Timestamp *float64 `json:"timestamp"` // milliseconds
	Input     *int     `json:"input_length"`
	Output    *int     `json:"output_length"`
	Blocks    []uint64 `json:"hash_ids"`
}

func parseMooncake(line []byte) (a Arrival, err error) {
	var m mooncakeLine
	if err := json.Unmarshal(line, &m); err != nil {
		if wrong := new(json.UnmarshalTypeError); errors.As(err, &wrong) && wrong.Field != "" {
			return a, fmt.Errorf("%s is a %s: want %s", wrong.Field, wrong.Value, mooncakeWants(wrong.Field))
		}
		return a, fmt.Errorf("not a JSON object: %w", err)
	}
	const limit = float64(maxSpan / time.Millisecond)
	if m.Timestamp == nil || !(*m.Timestamp >= 0 && *m.Timestamp <= limit) {
		return a, fmt.Errorf("timestamp is %s: want %s", orMissing(m.Timestamp), mooncakeWants("timestamp"))
	}
	for _, length := range []struct {
		field string
		n     *int
		into  *int
	}{{"input_length", m.Input, &a.Input}, {"output_length", m.Output, &a.Output}} {
		if length.n == nil || *length.n < 1 || *length.n > maxPrompt {
			return a, fmt.Errorf("%s is %s: want %s", length.field, orMissing(length.n), mooncakeWants(length.field))
		}
		*length.into = *length.n
	}
	if most := (a.Input + blockTokens - 1) / blockTokens; len(m.Blocks) > most {
		return a, fmt.Errorf("hash_ids has %d blocks: want at most %d, as many as %d tokens take", len(m.Blocks), most, a.Input)
	}
	a.At = time.Duration(math.Round(*m.Timestamp * float64(time.Millisecond)))
	a.Blocks = m.Blocks
	return a, nil
}

func mooncakeWants(field string) string {
	switch field {
	case "timestamp":
		return fmt.Sprintf("milliseconds from 0 to %d", maxSpan/time.Millisecond)
	case "hash_ids":
		return "a list of whole numbers from 0"
	default:
		return fmt.Sprintf("a number from 1 to %d", maxPrompt)
	}
}

func orMissing[T any](v *T) string {
	if v == nil {
		return "missing"
	}
	return fmt.Sprint(*v)
}
