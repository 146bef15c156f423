// Package connectortest is the suite that every connector passes, against a real
// server. It has two parts. Tests of trees put one on the server's disk, read it through
// the connector and compare what was visited with what a look at the disk shows: Run.
// Tests of lines and logins break what leads to the server, and want a failure with the
// right code, never a smaller success; they need something to read, whatever that is: Run
// has them read trees, RunContent what a Content makes. RunTarget and RunRestores are the
// same for what is written back.
package connectortest

import (
	"context"
	"encoding/json"
	"io"
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
	// Config is a raw configuration that reads paths, or what Content made, through an
	// address, which is Addr or a proxy's.
	Config func(host string, port int, paths ...string) map[string]any
	// Credential lets the user in, WrongCredential does not.
	Credential      job.Credential
	WrongCredential job.Credential
	// Lend adds to what a connector is lent for one job. Nil: nothing.
	Lend func(t *testing.T, env *connectors.Env)
	// WrongSSH does not let into the machine through which the server is reached; zero
	// where there is none.
	WrongSSH job.Credential
	// Content is what is read and restored of a server that serves no tree in Root.
	Content *Content
	// Back makes something of so many bytes at least that is backed up and restored. Nil:
	// a tree below Root.
	Back func(t *testing.T, bytes int) Back
	// Place gives the path on the disk of what was stored under a name, for tests of trees
	// to find it; false: it is of no file. raw is the source's configuration. Nil: the name
	// is the path.
	Place func(raw map[string]any, name string) (path string, ok bool)
	// Stop ends the server, so that it refuses connections; or has Addr be one where nobody
	// listens.
	Stop func()
	// Kills are the ways in which a server breaks off what it is at, each tried.
	Kills []Kill
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

// Kill is one way in which a server breaks off what it is at.
type Kill struct {
	What string // that is killed, for messages
	Do   func()
	// Codes are what a reading may fail with for it. Empty: ConnectFailed, as of a restore,
	// for it is to be tried again.
	Codes []job.Code
	// Reading says that it breaks off nothing but what is read.
	Reading bool
	// Again makes good what Do did, so that the server serves as before. Nil: there is
	// nothing to make good.
	Again func()
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
	// In is the part of a configuration that has host_keys. Nil: all of it.
	In func(raw map[string]any) map[string]any
	// Replace gives the server another key.
	Replace func()
}

// Options say what server a test needs.
type Options struct {
	// Unprivileged asks for a server that runs as a user without privileges.
	Unprivileged bool
	// Own asks for a server that nobody else uses, for it is killed.
	Own bool
	// Hasty asks for a connector whose patience is as short as can be, for a test waits for
	// the end of it.
	Hasty bool
}

// Factory starts a server for one test.
type Factory func(t *testing.T, o Options) *Server

// Run runs the suite.
func Run(t *testing.T, start Factory) {
	t.Helper()
	runSome(t, start, tests(), slices.Sorted(maps.Keys(tests())))
}

// RunBut runs the suite but for the named tests.
func RunBut(t *testing.T, start Factory, names ...string) {
	t.Helper()
	runBut(t, start, tests(), names)
}

// RunContent runs what of the suite needs no tree, but for the named tests.
func RunContent(t *testing.T, start Factory, but ...string) {
	t.Helper()
	runBut(t, start, lineTests(), but)
}

// RunSome runs the named tests of the suite.
func RunSome(t *testing.T, start Factory, names ...string) {
	t.Helper()
	runSome(t, start, tests(), names)
}

func runBut(t *testing.T, start Factory, all map[string]func(*testing.T, Factory), names []string) {
	t.Helper()
	for _, name := range names {
		if _, ok := all[name]; !ok {
			t.Fatalf("the suite has no test %q", name)
		}
		delete(all, name)
	}
	runSome(t, start, all, slices.Sorted(maps.Keys(all)))
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
	all := lineTests()
	maps.Copy(all, map[string]func(*testing.T, Factory){
		"ReadsAnAwkwardTree":      testAwkwardTree,
		"ReadsSeveralPaths":       testSeveralPaths,
		"FollowsAPathThatIsALink": testPathIsLink,
		"Excludes":                testExcludes,
		"ReportsWhatItCannotRead": testUnreadable,
		"SmallFilesChange":        testSmallFilesChange,
		"ManyFilesVanish":         testManyFilesVanish,
		"LargeFileGrows":          testLargeFileGrows,
		"LargeFileShrinks":        testLargeFileShrinks,
		"DirectoryBecomesLink":    testDirectoryBecomesLink,
		"SourceIsEmpty":           testEmpty,
		"ProbeTellsOfPaths":       testProbe,
		"ManyNamesInOneFolder":    testManyNames,
	})
	return all
}

// lineTests are of what leads to a server, whatever it serves.
func lineTests() map[string]func(*testing.T, Factory) {
	return map[string]func(*testing.T, Factory){
		"ConnectionIsCut":            testCut,
		"ConnectionStalls":           testStall,
		"ServerIsKilled":             testKilled,
		"ServerRefusesConnections":   testRefused,
		"NameDoesNotResolve":         testNoSuchHost,
		"CredentialIsWrong":          testWrongCredential,
		"HostKeyIsUnknown":           testHostKeyUnknown,
		"HostKeyIsTrustedOnFirstUse": testTrustOnFirstUse,
		"HostKeyChanged":             testHostKeyChanged,
		"PathIsMissing":              testMissingPath,
		"ContextEnds":                testCancel,
		"VisitFails":                 testVisitFails,
		"CloseEndsRead":              testCloseEndsRead,
		"ReadsAfterAProbe":           testReadAfterProbe,
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

// opened is a source that is closed after the test, and visits names as paths on the disk.
func opened(t *testing.T, s *Server, raw map[string]any, change ...func(*connectors.Env)) connectors.Source {
	t.Helper()
	source := openedAsIs(t, s, raw, change...)
	if s.Place == nil {
		return source
	}
	return placed{source, func(name string) (string, bool) { return s.Place(raw, name) }}
}

func openedAsIs(t *testing.T, s *Server, raw map[string]any, change ...func(*connectors.Env)) connectors.Source {
	t.Helper()
	env := lent(t, s)
	for _, c := range change {
		c(&env)
	}
	source, err := s.Type.Open(canonical(t, s, raw), env)
	if err != nil {
		t.Fatal(err)
	}
	closedTwice(t, source)
	return source
}

// lent is what a connector is lent for one job.
func lent(t *testing.T, s *Server) connectors.Env {
	t.Helper()
	env := connectors.Env{Credential: s.Credential, Dial: connectors.NewDialer(connectors.DialerConfig{})}
	if s.Lend != nil {
		s.Lend(t, &env)
	}
	return env
}

// closedTwice closes after the test what may be closed twice.
func closedTwice(t *testing.T, c io.Closer) {
	t.Helper()
	t.Cleanup(func() {
		for range 2 {
			if err := c.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	})
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
