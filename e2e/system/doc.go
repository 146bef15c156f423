// Package system runs the whole of xVault for tests: the real binary as child
// processes, against real Postgres, Redis and sshd, each on a free loopback
// port and gone when the test ends, even if the test process is killed.
//
// The judge is never xVault itself. What the tests believe in is a ledger
// outside of it (what the hub acknowledged over HTTP, the source as it was),
// plain SQL, the files on disk, and the stock tools age, zstd and tar.
package system
