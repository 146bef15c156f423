//go:build !race

package sftp_test

import "time"

// limit is what 3,000 small files may take behind 10 ms in each direction.
const limit = 1500 * time.Millisecond
