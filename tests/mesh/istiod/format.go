package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// width is the limit of a line, in bytes, unless a single value is longer.
const width = 120

// format writes JSON with sorted keys. A value that fits on one line is on one line, so the files are short, and a diff
// still shows single values.
func format(value any) ([]byte, error) {
	// Only plain JSON types from here on.
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var plain any
	if err := json.Unmarshal(text, &plain); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := write(&out, plain, 0, 0); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// write appends a value whose first line starts at a column; later lines are indented.
func write(out *bytes.Buffer, value any, indent, column int) error {
	line, err := oneLine(value)
	if err != nil {
		return err
	}
	opening, closing, items, err := itemsOf(value)
	if err != nil {
		return err
	}
	// One more byte for a comma.
	if len(items) == 0 || column+len(line)+1 <= width {
		out.Write(line)
		return nil
	}
	out.WriteString(opening)
	for i, item := range items {
		if i > 0 {
			out.WriteString(",")
		}
		out.WriteString("\n" + strings.Repeat(" ", indent+2) + item.key)
		if err := write(out, item.value, indent+2, indent+2+len(item.key)); err != nil {
			return err
		}
	}
	out.WriteString("\n" + strings.Repeat(" ", indent) + closing)
	return nil
}

// item is a member of an object, with its quoted key and the colon, or of a list, without a key.
type item struct {
	key   string
	value any
}

func itemsOf(value any) (opening, closing string, items []item, err error) {
	switch value := value.(type) {
	case []any:
		for _, one := range value {
			items = append(items, item{"", one})
		}
		return "[", "]", items, nil
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			quoted, err := oneLine(key)
			if err != nil {
				return "", "", nil, err
			}
			items = append(items, item{string(quoted) + ": ", value[key]})
		}
		return "{", "}", items, nil
	}
	return "", "", nil, nil
}

func oneLine(value any) ([]byte, error) {
	opening, closing, items, err := itemsOf(value)
	if err != nil {
		return nil, err
	}
	if opening == "" {
		var out bytes.Buffer
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		err := encoder.Encode(value)
		return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
	}
	out := []byte(opening)
	for i, item := range items {
		if i > 0 {
			out = append(out, ", "...)
		}
		out = append(out, item.key...)
		line, err := oneLine(item.value)
		if err != nil {
			return nil, err
		}
		out = append(out, line...)
	}
	return append(out, closing...), nil
}
