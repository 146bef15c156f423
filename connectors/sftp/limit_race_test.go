//go:build race

package sftp_test

import "time"

// limit is wide: the race detector makes everything several times slower, and
// other packages are tested at the same time. Read one after the other, the files
// would take three minutes.
const limit = 20 * time.Second
