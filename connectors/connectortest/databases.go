package connectortest

import "testing"

// Served starts a server for one test, which is reached in a way: "straight", through
// an SSH "tunnel", or "remote", by the SSH host's own programs.
type Served func(t *testing.T, way string, o Options) *Server

// leftOut are tests that pass the same code whichever the way to a database is, and are
// left to another one, or to another connector that uses it.
func leftOut() map[string][]string {
	return map[string][]string{
		"straight": nil,
		"tunnel": {
			"PathIsMissing", "VisitFails", "ReadsAfterAProbe", "ContextEnds", "CloseEndsRead", "NameDoesNotResolve", "ServerRefusesConnections",
		},
		"remote": {
			"HostKeyIsUnknown", "HostKeyIsTrustedOnFirstUse", "HostKeyChanged", "NameDoesNotResolve", "ServerRefusesConnections", "CloseEndsRead", "ReadsAfterAProbe",
		},
	}
}

// RunDatabase runs RunContent for each way to a database, without what RunDatabaseLeftOut
// runs. There is no SourceIsEmpty: a database without tables is one, and is backed up.
func RunDatabase(t *testing.T, start Served) {
	t.Helper()
	for way, names := range leftOut() {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			RunContent(t, start.by(way), names...)
		})
	}
}

// RunDatabaseLeftOut runs the rest, which takes long.
func RunDatabaseLeftOut(t *testing.T, start Served) {
	t.Helper()
	for way, names := range leftOut() {
		if len(names) == 0 {
			continue
		}
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			RunSome(t, start.by(way), names...)
		})
	}
}

// RunDatabaseRestores runs RunRestores through a way.
func RunDatabaseRestores(t *testing.T, start Served, way string) {
	t.Helper()
	RunRestores(t, start.by(way))
}

func (s Served) by(way string) Factory {
	return func(t *testing.T, o Options) *Server {
		t.Helper()
		return s(t, way, o)
	}
}
