package archive

import "errors"

// Format is the version of what this package writes. A reader refuses any other.
const Format = "xvault/1"

// The files of a snapshot, below its folder or key prefix.
const (
	ArtifactName = "backup.tar.zst.enc"
	ManifestName = "manifest.json"
	MetaName     = "meta.json"
)

// Magic numbers. The zstd format reserves 0x184D2A50 to 0x184D2A5F for frames
// that every decoder skips; the seek table's is fixed by its own specification.
const (
	magicIndex     = 0x184D2A58
	magicDirectory = 0x184D2A59
	magicSeekTable = 0x184D2A5E
	magicSeekable  = 0x8F92EAB1
	magicZstd      = 0xFD2FB528

	tagIndex     = "XVI1"
	tagDirectory = "XVD1"
)

// Limits of the format. A writer keeps them and a reader refuses what does not.
const (
	// MaxFrame is the plaintext of one zstd frame.
	MaxFrame = 4 << 20
	// MaxPart is one part of a member whose length was unknown.
	MaxPart = 16 << 20
	// MaxPath is the length of a path or a link's target in bytes.
	MaxPath = 32 << 10

	maxOwner = 255       // of a user's or a group's name
	maxXattr = 512 << 10 // of all extended attributes of an entry together

	// maxFrameSealed bounds a compressed frame: zstd stores what it cannot
	// compress with three bytes for every 128 KiB.
	maxFrameSealed = MaxFrame + MaxFrame>>8 + 64
	// maxIndexRaw is one index block's entries, uncompressed.
	maxIndexRaw = 4 << 20
	// maxDirectoryRaw is the directory, uncompressed.
	maxDirectoryRaw = 256 << 20
	// maxIndexFrame is one index block as it is stored.
	maxIndexFrame = 8 << 20

	tarBlock = 512
	// skippableHeader is a skippable frame's magic and length.
	skippableHeader = 8
	// seekEntry and seekFooter are the sizes of the seek table's parts.
	seekEntry  = 8
	seekFooter = 9
	maxFrames  = 0x8000000
)

// Errors that callers tell apart. What package seal reports (a wrong identity,
// a file cut short) comes through as it is.
var (
	// ErrCorrupt: the seal opens, but what is under it breaks the format.
	ErrCorrupt = errors.New("the artifact is damaged")
	// ErrNotFound: no entry of that path.
	ErrNotFound = errors.New("no such path in the artifact")
	// ErrNotStored: the index knows the entry, but its content is not there.
	ErrNotStored = errors.New("the content was not stored")
)
