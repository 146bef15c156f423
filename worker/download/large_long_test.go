//go:build long

package download_test

import "time"

// largeSnapshot is how much the snapshot holds out of which one small file is
// fetched, in bytes.
const largeSnapshot = 2 << 30

// smallFileWithin is how soon that file has to be there.
const smallFileWithin = time.Second
