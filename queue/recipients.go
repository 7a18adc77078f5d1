package queue

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// recipientList is an array of strings that all share the memory of one string. A job may have ten
// thousand recipients, and allocating each alone took longer than reading them (BenchmarkDecodeJob).
type recipientList []string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (ids *recipientList) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*ids = nil
	value, err := dec.ReadValue()
	if err != nil || value.Kind() == 'n' {
		return err
	}
	wrong := func(at jsontext.Pointer, kind jsontext.Kind, wants string) error {
		return &json.SemanticError{JSONKind: kind, JSONPointer: at, Err: fmt.Errorf("must be %s, not a JSON %v", wants, kind)}
	}
	if value.Kind() != '[' {
		return wrong(dec.StackPointer(), value.Kind(), "an array of strings")
	}
	*ids = make(recipientList, 0, 1+bytes.Count(value, []byte{','}))
	for all, i := string(value), 1; ; i++ { // the value is known to be valid
		switch kind := jsontext.Kind(all[i]); kind {
		case ',', ' ', '\t', '\r', '\n':
		case ']':
			if cap(*ids) > 2*len(*ids)+16 { // the commas were in the ids
				*ids = slices.Clone(*ids)
			}
			return nil
		case '"':
			end, escaped := stringEnd(all, i)
			id := all[i+1 : end]
			if escaped {
				unquoted, err := jsontext.AppendUnquote(nil, all[i:end+1])
				if err != nil {
					return err
				}
				id = string(unquoted)
			}
			*ids, i = append(*ids, id), end
		case 'n': // Validate refuses it
			*ids, i = append(*ids, ""), i+len("ull")
		default:
			return wrong(dec.StackPointer().AppendToken(strconv.Itoa(len(*ids))), value[i:].Kind(), "a string")
		}
	}
}

// stringEnd returns where the string literal that begins at begin ends, and whether anything in it is
// escaped. The text is valid JSON.
func stringEnd(text string, begin int) (end int, escaped bool) {
	end = begin + 1 + strings.IndexByte(text[begin+1:], '"')
	if strings.IndexByte(text[begin:end], '\\') < 0 {
		return end, false
	}
	for end = begin + 1; text[end] != '"'; end++ {
		if text[end] == '\\' {
			end++
		}
	}
	return end, true
}

var uniqueSeed = maphash.MakeSeed()

// unique removes repeated strings and keeps the order of the first ones. It changes ids in place.
func unique(ids []string) []string {
	// Up to this many, comparing costs less than hashing (BenchmarkDecodeJob).
	const few = 8
	if len(ids) <= few {
		kept := ids[:0]
	next:
		for _, id := range ids {
			for _, k := range kept {
				if k == id {
					continue next
				}
			}
			kept = append(kept, id)
		}
		return kept
	}
	// An open hash table, at most half full, of positions in kept, each plus one. It takes a third of
	// the time that a map takes.
	places := make([]uint32, 1<<bits.Len(uint(2*len(ids)-1)))
	mask := uint64(len(places) - 1)
	kept := ids[:0]
	for _, id := range ids {
		at := maphash.String(uniqueSeed, id) & mask
		for places[at] != 0 && kept[places[at]-1] != id {
			at = (at + 1) & mask
		}
		if places[at] == 0 {
			kept = append(kept, id)
			places[at] = uint32(len(kept))
		}
	}
	return kept
}

// compact gives recipients that pin no more than about twice their own size. They share the memory of a
// text of up to text bytes, and of that all may be commas, blanks and repetitions that unique removed.
func compact(ids []string, text int) []string {
	own := 0
	for _, id := range ids {
		own += len(id)
	}
	const few = 512 // bytes that are not worth a copy
	if text > 2*(own+int(unsafe.Sizeof(""))*len(ids))+few {
		var all strings.Builder
		all.Grow(own)
		for _, id := range ids {
			all.WriteString(id)
		}
		rest := all.String()
		for i, id := range ids {
			ids[i], rest = rest[:len(id)], rest[len(id):]
		}
	}
	if cap(ids) > 2*len(ids)+few/int(unsafe.Sizeof("")) {
		ids = append(make([]string, 0, len(ids)), ids...)
	}
	return ids
}
