package archive

// childEnv has the test binary do one job in a process of its own, whose memory
// can be measured.
const childEnv = "XVAULT_ARCHIVE_TEST_CHILD"

func child() int { return 0 }
