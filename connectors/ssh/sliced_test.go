package ssh_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xvault/connectors"
	"xvault/connectors/sftp"
	"xvault/connectors/ssh"
	"xvault/internal/testenv"
)

// slicing is a server whose SFTP, find and tar say everything in pieces of 61 bytes.
func slicing(t *testing.T) *testenv.SSHServer {
	t.Helper()
	const slice = ` "$@" | dd bs=61 status=none; exit ${PIPESTATUS[0]}`
	options := fake{"find": "/usr/bin/find" + slice, "tar": "/usr/bin/tar" + slice}.options(t)
	subsystem := filepath.Join(testenv.Dir(t), "sftp")
	script := "#!/bin/bash\n/usr/lib/openssh/sftp-server" + slice + "\n"
	if err := os.WriteFile(subsystem, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	options.NoSFTP, options.Extra = true, append(options.Extra, "Subsystem sftp "+subsystem)
	return testenv.SSHD(t, options)
}

// F8: what the server says comes in pieces of a few bytes, in what SSH carries and on
// the line below that, and is the same; over SFTP, and through find and tar.
func TestConnectionIsSliced(t *testing.T) {
	t.Parallel()
	whole, sliced := testenv.SSHD(t, testenv.SSHOptions{}), slicing(t)
	plant(t, whole.Root)
	src, _ := open(t, sftp.New(calm), whole, whole.Config(whole.Root))
	want := pack(t, src, nil)
	line := testenv.Slices{Dial: connectors.NewDialer(connectors.DialerConfig{})}
	for _, kind := range []connectors.Type{sftp.New(calm), ssh.New(calm)} {
		src, log := openBy(t, kind, sliced, sliced.Config(whole.Root), line)
		got := pack(t, src, nil)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes of tar, whole %d; the first difference is at %d", kind.Name, len(got), len(want), differ(got, want))
		}
		if shell := strings.Contains(log.String(), "GNU findutils") && strings.Contains(log.String(), "GNU tar"); shell != (kind.Name == "ssh") || strings.Contains(log.String(), "ended early") {
			t.Errorf("%s: the log says %s", kind.Name, log)
		}
	}
}
