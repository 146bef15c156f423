package connectors

import "slices"

// Registry is the list of source types that a program knows. It is built once,
// explicitly, and only read afterwards.
type Registry struct {
	types map[string]Type
	names []string
}

// NewRegistry makes a registry; of two types with one name the later counts.
func NewRegistry(types ...Type) *Registry {
	r := &Registry{types: map[string]Type{}}
	for _, t := range types {
		if _, ok := r.types[t.Name]; !ok {
			r.names = append(r.names, t.Name)
		}
		r.types[t.Name] = t
	}
	return r
}

// Lookup finds a type by its name; false means that this version does not
// support it.
func (r *Registry) Lookup(name string) (Type, bool) {
	t, ok := r.types[name]
	return t, ok
}

// Names lists the types in the order of their registration.
func (r *Registry) Names() []string { return slices.Clone(r.names) }
