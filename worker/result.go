package worker

import "encoding/json"

// maxResult is what the hub takes as a job's result, in bytes, with a margin.
const maxResult = 60 << 10

// withField adds a field to a result, which is a JSON object or empty, where there is
// room for it.
func withField(result []byte, name string, value any) []byte {
	all := map[string]any{}
	if len(result) > 0 {
		if err := json.Unmarshal(result, &all); err != nil {
			return result // it was made here
		}
	}
	all[name] = value
	with, err := json.Marshal(all)
	if err != nil || len(with) > maxResult {
		return result
	}
	return with
}
