package archive

import (
	"errors"
	"fmt"
	"strings"

	"xvault/internal/entry"
)

// checkHeader refuses what a reader would have to refuse as well. Connectors
// are trusted to mean well, but the names they pass on come from elsewhere.
func checkHeader(h *entry.Header) error {
	if err := checkUnread(h); err != nil {
		return err
	}
	if err := checkLink(h); err != nil {
		return fmt.Errorf("%s: %w", Escape(h.Path), err)
	}
	return nil
}

// checkUnread is for an entry that could not be read: a link has no target then.
func checkUnread(h *entry.Header) error {
	if err := checkPath(h.Path); err != nil {
		return err
	}
	if h.UID < 0 || h.GID < 0 {
		return fmt.Errorf("%s: negative owner", Escape(h.Path))
	}
	return checkXattrs(h)
}

func checkLink(h *entry.Header) error {
	switch h.Kind {
	case entry.Symlink:
		return checkSymlinkTarget(h.LinkTarget)
	case entry.Hardlink:
		if err := checkPath(h.LinkTarget); err != nil {
			return fmt.Errorf("hard link: %w", err)
		}
		if comparePaths(h.LinkTarget, h.Path) >= 0 {
			return errors.New("hard link to a path that does not come before it")
		}
	}
	return nil
}

func checkSymlinkTarget(target string) error {
	switch {
	case target == "":
		return errors.New("symbolic link without a target")
	case len(target) > MaxPath:
		return fmt.Errorf("symbolic link's target of %d bytes, at most %d are allowed", len(target), MaxPath)
	case strings.IndexByte(target, 0) >= 0:
		return errors.New("symbolic link's target holds a zero byte")
	}
	return nil
}

func checkXattrs(h *entry.Header) error {
	total := 0
	for name, value := range h.Xattrs {
		if name == "" || strings.IndexByte(name, 0) >= 0 {
			return fmt.Errorf("%s: malformed name of an extended attribute", Escape(h.Path))
		}
		total += len(name) + len(value)
	}
	if total > maxXattr {
		return fmt.Errorf("%s: %d bytes of extended attributes, at most %d are allowed",
			Escape(h.Path), total, maxXattr)
	}
	return nil
}
