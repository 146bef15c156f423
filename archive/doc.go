// Package archive reads and writes the artifact: the one sealed file that a
// snapshot is, with its manifest and meta beside it. docs/format.md fixes every
// byte of it.
//
// What it promises:
//
//   - an artifact opens with stock tools, for ever:
//     age -d -i key backup.tar.zst.enc | zstd -d | tar x
//   - what is under the seal depends on the entries alone, not on the number of
//     cores or the timing of a source;
//   - a Writer's memory grows neither with the number nor with the size of the
//     files, and a Reader's not with what a hostile artifact claims of itself;
//   - a Reader returns content only if it is authentic and its hash is right,
//     and writes nothing outside of the folder that it was given.
//
// It knows entries, readers and writers; sources and storage are no concern of
// its own.
package archive
