package sftp

import "time"

// Options tune how a server is read. The zero value of each means its default;
// tests make them smaller.
type Options struct {
	// HandshakeTimeout bounds everything from the open connection to the first
	// answer of the SFTP server. Default 45 s.
	HandshakeTimeout time.Duration
	// KeepAlive is how often the server is asked for a sign of life; it counts
	// as gone when no byte came for three times as long. Default 15 s.
	KeepAlive time.Duration
	// StallAfter is how long a server that is alive may owe answers before the
	// attempt ends: a disk that hangs, a stale network file system. Default 3 min.
	StallAfter time.Duration
	// SmallFile is up to which size, in bytes, a file is read whole before its
	// header is given out. Default 1 MiB.
	SmallFile int64
	// Ahead is how many bytes of content are held for files whose turn has not
	// come. Default 16 MiB.
	Ahead int64
	// Window is how many bytes of a large file are on their way at once.
	// Default 4 MiB.
	Window int64
	// Stretch is how many bytes all sources of a type together may have on their
	// way on top of that, where long round trips ask for more. Default 24 MiB.
	Stretch int64
	// WidenAt is how many bytes must come in one round trip before more channels
	// are opened. Default 800 KiB, which is near what one channel brings.
	WidenAt int64
	// BusyAt is the share of their time from which on this machine's processors are so
	// busy that large files get no further connections, as these would be of no use. In
	// a container it is still the whole machine's. Default 0.85.
	BusyAt float64
	// TarsAfter is for how long one tar must have been too few before more are
	// started. Default 400 ms, which is what it may take to start them.
	TarsAfter time.Duration
	// Handles is how many files are open at once, where the server allows as
	// many. Default 1000.
	Handles int
	// ListingMemory bounds, in bytes, the names held at once. Default 192 MiB,
	// which is two to three million names in one folder.
	ListingMemory int64
	// Shell says that programs on the server may be used, where it has them.
	Shell bool
	// ShellPatience is how long a shell may take to say what it has and what is in the
	// configured paths themselves. A server that is busy takes its time, and without its
	// shell it has more to do. Default 20 s.
	ShellPatience time.Duration
	// FindPatience is how long everything may take to be listed at once. Default 8 s.
	FindPatience time.Duration
	// FindMemory bounds, in bytes, what find lists at once. Default 24 MiB, which
	// is some 250,000 files.
	FindMemory int64
	// ListAhead is how many bytes of names are held for folders whose turn has
	// not come. Default 12 MiB.
	ListAhead int64
}

func (o Options) withDefaults() Options {
	orDuration(&o.HandshakeTimeout, 45*time.Second)
	orDuration(&o.KeepAlive, 15*time.Second)
	orDuration(&o.StallAfter, 3*time.Minute)
	orDuration(&o.ShellPatience, 20*time.Second)
	orDuration(&o.FindPatience, 8*time.Second)
	orDuration(&o.TarsAfter, 400*time.Millisecond)
	orInt(&o.SmallFile, 1<<20)
	orInt(&o.Ahead, 16<<20)
	orInt(&o.Window, 4<<20)
	orInt(&o.Stretch, 24<<20)
	orInt(&o.WidenAt, 800<<10)
	orInt(&o.ListingMemory, 192<<20)
	orInt(&o.ListAhead, 12<<20)
	orInt(&o.FindMemory, 24<<20)
	if o.BusyAt <= 0 {
		o.BusyAt = 0.85
	}
	if o.Handles <= 0 {
		o.Handles = 1000
	}
	return o
}

func orDuration(d *time.Duration, missing time.Duration) {
	if *d <= 0 {
		*d = missing
	}
}

func orInt(n *int64, missing int64) {
	if *n <= 0 {
		*n = missing
	}
}
