package load

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// FuzzTrace holds that what is read is in order, within its limits, the same when compressed, and the same again when it is
// written as a trace.
func FuzzTrace(f *testing.F) {
	for _, s := range []string{azureSample, mooncakeSample, servegenSample, "{}", ",\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, content string) {
		read := func(content string) (all []Arrival, found traceContent, err error) {
			r, err := uncompressed(strings.NewReader(content))
			if err != nil {
				return nil, found, err
			}
			found, err = readTrace(r, func(a Arrival) bool {
				all = append(all, a)
				return true
			})
			return all, found, err
		}
		all, found, err := read(content)
		unpacked, same, again := read(packed(content))
		if strings.HasPrefix(content, "\x1f\x8b") {
			return // packed twice
		}
		if !reflect.DeepEqual(all, unpacked) || !reflect.DeepEqual(found, same) || fmt.Sprint(err) != fmt.Sprint(again) {
			t.Fatalf("compressed: got %+v and %v, else %+v and %v", unpacked, again, all, err)
		}
		if err != nil {
			return
		}
		if found.format == formatServegen {
			n := 0
			for a := range drawClients(found.clients, nil, 0, 1) {
				if n++; a.At < 0 || a.At > maxSpan+servegenStep || n > 1000 {
					break
				}
			}
			return
		}
		var written strings.Builder
		for i, a := range all {
			if i > 0 && a.At < all[i-1].At || a.At < 0 || a.Input < 1 || a.Input > maxPrompt || a.Output < 1 || a.Output > maxPrompt {
				t.Fatalf("request %d is %+v", i, a)
			}
			blocks := strings.ReplaceAll(fmt.Sprint(a.Blocks), " ", ",")
			fmt.Fprintf(&written, `{"timestamp":%.6f,"input_length":%d,"output_length":%d,"hash_ids":%s}`+"\n", float64(a.At)/1e6, a.Input, a.Output, blocks)
		}
		rewritten, _, err := read(written.String())
		if err != nil {
			t.Fatalf("written again: %v", err)
		}
		for i, a := range rewritten {
			// Near the longest span a float64 of milliseconds has no nanoseconds left.
			if off := a.At - all[i].At; off < -100 || off > 100 || a.Input != all[i].Input || a.Output != all[i].Output || fmt.Sprint(a.Blocks) != fmt.Sprint(all[i].Blocks) {
				t.Fatalf("written again, request %d is %+v, was %+v", i, a, all[i])
			}
		}
	})
}
