package worker

import (
	"testing"

	"xvault/archive"
	"xvault/internal/job"
)

// What vanished during a backup is told, whole or not; where nothing did and
// nothing is missing, there is nothing to tell.
func TestResultTellsWhatVanished(t *testing.T) {
	t.Parallel()
	b := &backup{a: &attempt{claim: job.Claim{Source: &job.ClaimSource{Type: "sftp"}}}}
	if got := b.missing(archive.Summary{}); got != nil {
		t.Errorf("a whole backup has the result %s", got)
	}
	for range maxNamed + 5 {
		b.vanish("tmp/session\n1")
	}
	res := decode[missingResult](t, b.missing(archive.Summary{}))
	if res.Vanished != maxNamed+5 || len(res.VanishedPaths) != maxNamed || res.VanishedPaths[0] != `/tmp/session\n1` {
		t.Errorf("%+v", res)
	}
}
