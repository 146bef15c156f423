// Package connectortest is the suite that every connector which reads a tree of
// files passes, against a real server. Each test puts a tree on the server's
// disk, reads it through the connector and compares what was visited with what a
// look at the disk shows.
package connectortest

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// Server is a running server to read from, and what reaches it.
type Server struct {
	// Type is the connector, with deadlines of a few seconds: Patience.
	Type connectors.Type
	// Patience is how long the connector waits at most for a server that is
	// silent.
	Patience time.Duration
	// Root is an empty folder on this machine that the server serves under the
	// same path.
	Root string
	// Addr is where it listens.
	Addr string
	// Config is a raw configuration that reads paths through an address, which
	// is Addr or a proxy's.
	Config func(host string, port int, paths ...string) map[string]any
	// Credential lets the user in, WrongCredential does not.
	Credential      job.Credential
	WrongCredential job.Credential
	// Stop ends the server, so that it refuses connections.
	Stop func()
	// Unprivileged: the server's user cannot read what belongs to root alone.
	Unprivileged bool
	// HardLinks: the connector tells which names are of one file, if nothing of it
	// is excluded.
	HardLinks bool
	// RefusedName tells names that the server shows, but the protocol or the server
	// does not let anybody ask for, so that such an entry is visited with an error that
	// names it, and nothing below it. Nil: there are none.
	RefusedName func(name string) bool
	// CoarseTimes are the kinds of entries whose times the server does not tell to the
	// second; that of a file always counts.
	CoarseTimes []entry.Kind
	// SpecialsAlike: the server does not tell a socket from a FIFO.
	SpecialsAlike bool
	// UntoldTargets are texts of links that the server does not tell: such a link is
	// visited with an error that names it.
	UntoldTargets []string
	// HiddenTargets are texts of links that the server does not show at all, so that
	// nobody can know of them.
	HiddenTargets []string
	// HiddenName tells names that the server does not show at all; nil: it shows all.
	HiddenName func(name string) bool
	// CoarseFrom is the length of a path, in bytes, from which times of folders are not
	// told to the second; 0: they are at any.
	CoarseFrom int
	// Own makes what lies at a path the server's user's, so that it can be written to.
	// Nil: it can be anyway, or should not.
	Own func(path string) error
	// CannotWrite is what cannot be written to it.
	CannotWrite CannotWrite
	// HostKeys is set where the server has one that can be pinned.
	HostKeys *HostKeys
}

// CannotWrite is what a target cannot make or set on a server. It tells of each entry
// that it could not make, and counts the others that are not in all as they were.
type CannotWrite struct {
	Links       bool // symbolic links
	Owners      bool
	Modes       bool
	FolderTimes bool
	// Path tells paths below the root of the tree that cannot be written, and nothing
	// below them.
	Path func(path string) bool
}

// HostKeys is a server's identity.
type HostKeys struct {
	// Current is the key as the configuration pins it.
	Current func() string
	// Fingerprint is the same as people compare it.
	Fingerprint func() string
	// Replace gives the server another key.
	Replace func()
}

// Options say what server a test needs.
type Options struct {
	// Unprivileged asks for a server that runs as a user without privileges.
	Unprivileged bool
}

// Factory starts a server for one test.
type Factory func(t *testing.T, o Options) *Server

// Run runs the suite.
func Run(t *testing.T, start Factory) {
	t.Helper()
	RunSome(t, start, slices.Sorted(maps.Keys(tests()))...)
}

// RunBut runs the suite but for the named tests.
func RunBut(t *testing.T, start Factory, names ...string) {
	t.Helper()
	all := tests()
	for _, name := range names {
		if _, ok := all[name]; !ok {
			t.Fatalf("the suite has no test %q", name)
		}
		delete(all, name)
	}
	runSome(t, start, all, slices.Sorted(maps.Keys(all)))
}

// RunSome runs the named tests of the suite.
func RunSome(t *testing.T, start Factory, names ...string) {
	t.Helper()
	runSome(t, start, tests(), names)
}

func runSome(t *testing.T, start Factory, all map[string]func(*testing.T, Factory), names []string) {
	t.Helper()
	for _, name := range names {
		test, ok := all[name]
		if !ok {
			t.Fatalf("the suite has no test %q", name)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start)
		})
	}
}

func tests() map[string]func(*testing.T, Factory) {
	return map[string]func(*testing.T, Factory){
		"ReadsAnAwkwardTree":         testAwkwardTree,
		"ReadsSeveralPaths":          testSeveralPaths,
		"FollowsAPathThatIsALink":    testPathIsLink,
		"Excludes":                   testExcludes,
		"ReportsWhatItCannotRead":    testUnreadable,
		"SmallFilesChange":           testSmallFilesChange,
		"ManyFilesVanish":            testManyFilesVanish,
		"LargeFileGrows":             testLargeFileGrows,
		"LargeFileShrinks":           testLargeFileShrinks,
		"DirectoryBecomesLink":       testDirectoryBecomesLink,
		"ConnectionIsCut":            testCut,
		"ConnectionStalls":           testStall,
		"ServerRefusesConnections":   testRefused,
		"NameDoesNotResolve":         testNoSuchHost,
		"CredentialIsWrong":          testWrongCredential,
		"HostKeyIsUnknown":           testHostKeyUnknown,
		"HostKeyIsTrustedOnFirstUse": testTrustOnFirstUse,
		"HostKeyChanged":             testHostKeyChanged,
		"PathIsMissing":              testMissingPath,
		"SourceIsEmpty":              testEmpty,
		"ContextEnds":                testCancel,
		"VisitFails":                 testVisitFails,
		"CloseEndsRead":              testCloseEndsRead,
		"ProbeTellsOfPaths":          testProbe,
		"ManyNamesInOneFolder":       testManyNames,
	}
}

// canonical validates a raw configuration that must be right.
func canonical(t *testing.T, s *Server, raw map[string]any) []byte {
	t.Helper()
	b, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	config, faults := s.Type.Validate(b)
	if len(faults) > 0 {
		t.Fatalf("the configuration %s is refused: %v", b, faults)
	}
	return config
}

// opened is a source that is closed after the test.
func opened(t *testing.T, s *Server, raw map[string]any, change ...func(*connectors.Env)) connectors.Source {
	t.Helper()
	env := connectors.Env{Credential: s.Credential, Dial: connectors.NewDialer(connectors.DialerConfig{})}
	for _, c := range change {
		c(&env)
	}
	source, err := s.Type.Open(canonical(t, s, raw), env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := source.Close(); err != nil {
				t.Errorf("close the source: %v", err)
			}
		}
	})
	return source
}

// deadline bounds what must not hang.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// wantCode checks that an error is one for people, with the code.
func wantCode(t *testing.T, what string, err error, codes ...job.Code) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: success, want %v", what, codes)
		return
	}
	for _, code := range codes {
		if job.CodeOf(err) == code {
			t.Logf("%s: %v", what, err)
			return
		}
	}
	t.Errorf("%s: %v, want code %v", what, err, codes)
}
