package cmd

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"xvault/archive"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// entryJSON is one entry for programs. Text that is not UTF-8 is lossy, and
// its bytes are in the field of the same name with _base64.
type entryJSON struct {
	Path             string     `json:"path"`
	PathBase64       string     `json:"path_base64,omitempty"`
	Type             string     `json:"type"`
	Size             int64      `json:"size"`
	Mode             string     `json:"mode"` // octal
	ModTime          *time.Time `json:"mtime"`
	SHA256           string     `json:"sha256,omitempty"`
	LinkTarget       string     `json:"link_target,omitempty"`
	LinkTargetBase64 string     `json:"link_target_base64,omitempty"`
	Flags            []string   `json:"flags,omitempty"`
	Code             job.Code   `json:"code,omitempty"`
}

func describeEntry(e *archive.Entry) entryJSON {
	j := entryJSON{
		Path: e.Path, PathBase64: notUTF8(e.Path), Type: kindName(e.Kind), Size: e.Size,
		Mode: fmt.Sprintf("%04o", e.Mode), LinkTarget: e.LinkTarget, LinkTargetBase64: notUTF8(e.LinkTarget),
		Flags: flagNames(e.Flags), Code: e.Code,
	}
	// A file system may hold years that RFC 3339 cannot write.
	if y := e.ModTime.Year(); y >= 0 && y <= 9999 {
		j.ModTime = &e.ModTime
	}
	if e.Kind == entry.File && e.Stored() {
		j.SHA256 = hex.EncodeToString(e.SHA256[:])
	}
	return j
}

func notUTF8(s string) string {
	if utf8.ValidString(s) {
		return ""
	}
	return base64.StdEncoding.EncodeToString([]byte(s))
}

func kindName(k entry.Kind) string {
	switch k {
	case entry.File:
		return "file"
	case entry.Dir:
		return "dir"
	case entry.Symlink:
		return "symlink"
	case entry.Hardlink:
		return "hardlink"
	case entry.Device:
		return "device"
	case entry.FIFO:
		return "fifo"
	case entry.Socket:
		return "socket"
	default:
		return "unknown"
	}
}

func flagNames(f entry.Flags) []string {
	var names []string
	for _, flag := range []struct {
		bit  entry.Flags
		name string
	}{
		{entry.ChangedWhileRead, "changed_while_read"},
		{entry.Parts, "parts"},
		{entry.Skipped, "skipped"},
		{entry.Unreadable, "unreadable"},
		{entry.Padded, "padded"},
	} {
		if f&flag.bit != 0 {
			names = append(names, flag.name)
		}
	}
	return names
}

// list prints the entries as they are read: there may be millions.
func (b *backup) list(ctx context.Context, p *printer, paths []string) error {
	paths, err := b.Select(paths)
	if err != nil {
		return err
	}
	write := b.listRow
	if p.json {
		write = b.listJSON()
		p.printf("{\"items\": [")
	}
	for _, path := range paths {
		err := b.Walk(ctx, path, func(e *archive.Entry) error {
			write(p, e)
			return p.err
		})
		if err != nil {
			return err
		}
	}
	if p.json {
		p.printf("\n]}\n")
	}
	return p.err
}

func (b *backup) listJSON() func(*printer, *archive.Entry) {
	separator := "\n"
	return func(p *printer, e *archive.Entry) {
		line, err := json.Marshal(describeEntry(e))
		if err != nil && p.err == nil {
			p.err = err
		}
		p.printf("%s  %s", separator, line)
		separator = ",\n"
	}
}

func (b *backup) listRow(p *printer, e *archive.Entry) {
	text := printable(e.Path)
	switch e.Kind {
	case entry.Symlink:
		text += " -> " + printable(e.LinkTarget)
	case entry.Hardlink:
		text += " = " + printable(e.LinkTarget)
	}
	if names := flagNames(e.Flags &^ entry.Parts); len(names) > 0 {
		if e.Code != "" {
			names = append(names, string(e.Code))
		}
		text += "  [" + strings.Join(names, ", ") + "]"
	}
	p.printf("%s %14s  %s  %s\n", modeText(e), count(e.Size), when(e.ModTime), text)
}

// modeText shows kind and permissions as ls does.
func modeText(e *archive.Entry) string {
	text := []byte{"?-dl-bps"[min(int(e.Kind), 7)]}
	for shift := 6; shift >= 0; shift -= 3 {
		for i, c := range []byte("rwx") {
			if e.Mode>>shift&(4>>i) == 0 {
				c = '-'
			}
			text = append(text, c)
		}
	}
	for bit, at := range map[uint32]int{0o4000: 3, 0o2000: 6, 0o1000: 9} {
		if e.Mode&bit == 0 {
			continue
		}
		c := byte('s')
		if at == 9 {
			c = 't'
		}
		if text[at] == '-' {
			c -= 'a' - 'A'
		}
		text[at] = c
	}
	return string(text)
}
