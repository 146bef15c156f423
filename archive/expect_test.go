package archive

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"slices"

	"xvault/internal/entry"
)

func sortItems(items []item) []item {
	slices.SortFunc(items, func(a, b item) int { return comparePaths(a.Path, b.Path) })
	return items
}

// wanted is what tree must say of a folder restored from these items.
func wanted(items []item) map[string]string {
	nodes := make(map[string]string)
	byPath := make(map[string]item)
	for _, it := range items {
		byPath[it.Path] = it
		switch it.Kind {
		case entry.Dir:
			nodes[it.Path] = inode(it)
		case entry.Symlink:
			nodes[it.Path] = inode(it) + " -> " + it.LinkTarget
		case entry.File:
			nodes[it.Path] = inode(it) + fmt.Sprintf(" %d %x", len(it.content), sha256.Sum256([]byte(it.content)))
		case entry.Hardlink:
			nodes[it.Path] = inode(byPath[it.LinkTarget]) + " = " + it.LinkTarget
		}
	}
	return nodes
}

func inode(it item) string {
	mode := attributes{mode: it.Mode}.fileMode(true)
	switch it.Kind {
	case entry.Dir:
		mode |= fs.ModeDir
	case entry.Symlink:
		mode |= fs.ModeSymlink
	}
	return fmt.Sprintf("%v %s %d.%09d", mode, owner(int64(it.UID), int64(it.GID)), it.ModTime.Unix(), it.ModTime.Nanosecond())
}
