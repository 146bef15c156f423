package ftp

import (
	"crypto/x509"
	"time"
)

// Options tune how a server is read. The zero value of each means its default;
// tests make them smaller.
type Options struct {
	// Patience is how long a server may be silent while it owes an answer or
	// bytes. Default 1 min.
	Patience time.Duration
	// Connections is how many there are at once, where the server allows as many.
	// Default 4.
	Connections int
	// SmallFile is up to which size, in bytes, a file is read whole before its
	// header is given out. Default 4 MiB.
	SmallFile int64
	// Ahead is how many bytes of content are held for files whose turn has not
	// come. Default 16 MiB.
	Ahead int64
	// ListingMemory bounds, in bytes, one folder's listing. Default 128 MiB, which
	// is more than a million names.
	ListingMemory int64
	// ListAhead is how many bytes of listings are held for folders whose turn has
	// not come. Default 8 MiB.
	ListAhead int64
	// Roots are the authorities to trust where the configuration has none of its
	// own. Nil means the system's.
	Roots *x509.CertPool
	// Now tells the time, to which listings without a year relate. Default
	// time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Patience <= 0 {
		o.Patience = time.Minute
	}
	if o.Connections <= 0 {
		o.Connections = 4
	}
	orInt(&o.SmallFile, 4<<20)
	orInt(&o.Ahead, 16<<20)
	orInt(&o.ListingMemory, 128<<20)
	orInt(&o.ListAhead, 8<<20)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func orInt(n *int64, missing int64) {
	if *n <= 0 {
		*n = missing
	}
}
