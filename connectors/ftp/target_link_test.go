package ftp_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"xvault/connectors"
	"xvault/connectors/ftp"
	"xvault/internal/entry"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

// However many symbolic links there are, which FTP cannot make, all else is written, and
// what else cannot be is told before them.
func TestLinksAreTold(t *testing.T) {
	t.Parallel()
	s := testenv.FTPD(t, testenv.FTPOptions{Kind: "vsftpd"})
	target := targetWith(t, ftp.New(quick), s.Config(s.Root), connectors.Env{Credential: s.Credential()}, connectors.TargetOptions{})
	const links = 10_050 // more failures than are borne with otherwise
	for i := range links {
		check(t, target.Put(t.Context(), connectors.TargetItem{Header: entry.Header{Path: strings.TrimPrefix(fmt.Sprintf("%s/link%d", s.Root, i), "/"), Kind: entry.Symlink, LinkTarget: "fine"}}))
	}
	for _, name := range []string{"new\nline", "fine"} {
		check(t, target.Put(t.Context(), fileItem(s.Root+"/"+name, strings.NewReader("x"), 1)))
	}
	check(t, target.Finish(t.Context()))
	r := target.Report()
	if r.Failed != links+1 || r.LinksLost != links || r.Files != 1 || len(r.Problems) != connectors.MaxTargetProblems ||
		!strings.Contains(r.Problems[0].Err.Message, "line break") || !strings.Contains(r.Problems[1].Err.Message, `is a symbolic link to "fine"`) {
		t.Errorf("%+v", r)
	}
}

// A link that is there as it was is no failure under any rule; one that leads elsewhere
// stays, for nothing can take its place.
func TestIntactLinksAreUnchanged(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		s := testenv.FTPD(t, testenv.FTPOptions{Kind: kind})
		put(t, s.Root+"/there", []byte("x"))
		check(t, os.Symlink("there", s.Root+"/intact"))
		check(t, os.Symlink("elsewhere", s.Root+"/other"))
		for _, rule := range []job.Existing{job.ExistingOverwrite, job.ExistingSkip, job.ExistingNewer} {
			target := targetWith(t, ftp.New(quick), s.Config(s.Root), connectors.Env{Credential: s.Credential()}, connectors.TargetOptions{Existing: rule})
			for _, name := range []string{"intact", "other"} {
				check(t, target.Put(t.Context(), connectors.TargetItem{Header: entry.Header{Path: strings.TrimPrefix(s.Root+"/"+name, "/"), Kind: entry.Symlink, LinkTarget: "there"}}))
			}
			check(t, target.Finish(t.Context()))
			r := target.Report()
			lost := rule == job.ExistingOverwrite
			if r.Unchanged != 1 || r.Failed+r.Skipped != 1 || (r.LinksLost == 1) != lost || (r.Failed == 1) != lost {
				t.Errorf("%s, %s: %+v", kind, rule, r)
			}
			for name, want := range map[string]string{"intact": "there", "other": "elsewhere"} {
				if to, err := os.Readlink(s.Root + "/" + name); err != nil || to != want {
					t.Errorf("%s, %s: %s leads to %q, %v", kind, rule, name, to, err)
				}
			}
		}
	}
}
