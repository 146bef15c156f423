//go:build !long

package download_test

import "time"

// largeSnapshot is how much the snapshot holds out of which one small file is
// fetched, in bytes.
const largeSnapshot = 128 << 20

// smallFileWithin is how soon that file has to be there. Tests that run beside many others
// are not held to the aim, which is a second.
const smallFileWithin = 20 * time.Second
