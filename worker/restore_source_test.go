package worker

import (
	"strings"
	"testing"

	"xvault/connectors"
	"xvault/internal/job"
)

// A restore that failed claims to be whole but for its links only where it is.
func TestIncompleteRestoreClaimsNoMoreThanIsThere(t *testing.T) {
	t.Parallel()
	const whole = "all is restored but the symbolic links (2), the first: it. "
	for name, c := range map[string]struct {
		failed, links, skipped, incomplete int64
		want                               string
	}{
		"links only":            {2, 2, 0, 0, whole},
		"a file was left":       {2, 2, 1, 0, "2 symbolic links could not be made, the first: it. All else is restored, except 1 left as found, though different. A source of type sftp"},
		"a partial snapshot":    {2, 2, 0, 3, "2 symbolic links could not be made, the first: it. All else is restored, except 3 incomplete in the snapshot. A source of type sftp"},
		"both":                  {2, 2, 1, 3, "2 symbolic links could not be made, the first: it. All else is restored, except 1 left as found, though different and 3 incomplete in the snapshot. A source"},
		"more than links":       {5, 2, 0, 0, "5 entries could not be written, the first: it. The others are restored; what is there"},
		"more, and one is left": {5, 0, 1, 0, "5 entries could not be written, the first: it. The others are restored, except 1 left as found, though different; what"},
	} {
		report := connectors.TargetReport{
			Failed: c.failed, LinksLost: c.links, Skipped: c.skipped,
			Problems: []connectors.TargetProblem{{Path: "a", Err: job.Errorf(job.ConnectFailed, "it")}},
		}
		err := incompleteRestore(report, c.incomplete)
		if !strings.HasPrefix(err.Error(), string(job.PermissionDenied)+": "+c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if told := strings.Contains(err.Error(), "of them are symbolic links"); told != (c.links > 0 && c.links < c.failed) {
			t.Errorf("%s: the links among others: %v", name, err)
		}
	}
}
