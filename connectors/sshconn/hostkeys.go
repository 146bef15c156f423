package sshconn

import (
	"xvault/connectors"
)

// maxHostKeys is how many host keys a configuration may pin.
const maxHostKeys = 100

// HostKeys reads a field of pinned host keys: public key lines or fingerprints,
// each once, in their canonical form.
func HostKeys(f *connectors.Fields, name string) []string {
	seen := map[string]bool{}
	keys := []string{}
	for _, key := range f.Texts(name, maxHostKeys, func(text string) (string, error) {
		p, err := ParsePin(text)
		return p.String(), err
	}) {
		if !seen[key] {
			seen[key] = true
			keys = append(keys, key)
		}
	}
	return keys
}
