package workerapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

// cleanObject makes a JSON object storable as jsonb, which knows neither NUL
// nor half a surrogate pair. An absent or null one stays absent.
func cleanObject(raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber() // 64-bit sizes must not pass through a float
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		return nil, errors.New("it must be a JSON object")
	}
	clean, err := json.Marshal(withoutNUL(object))
	if err != nil {
		return nil, errors.New("it cannot be stored")
	}
	return clean, nil
}

// withoutNUL replaces NUL in every string of a decoded value. Invalid text is
// replaced by the decoder already.
func withoutNUL(value any) any {
	switch v := value.(type) {
	case string:
		return strings.ReplaceAll(v, "\x00", "\uFFFD")
	case []any:
		for i := range v {
			v[i] = withoutNUL(v[i])
		}
		return v
	case map[string]any:
		clean := make(map[string]any, len(v))
		for name, member := range v {
			clean[strings.ReplaceAll(name, "\x00", "\uFFFD")] = withoutNUL(member)
		}
		return clean
	default:
		return v
	}
}
