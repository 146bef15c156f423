package job

// ValidWorkerID reports whether id may name a worker: 1 to 64 of
// A-Z a-z 0-9 _ and -.
func ValidWorkerID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
