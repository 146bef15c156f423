package cmd

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"xvault/internal/apiclient"
)

// maxFilesPage bounds one page of a listing: a thousand paths at their longest.
const maxFilesPage = 128 << 20

// listedFile is one line of a worker's listing.
type listedFile struct {
	Path    string     `json:"path"`
	Type    string     `json:"type"`
	Size    int64      `json:"size"`
	Mode    string     `json:"mode"`
	ModTime *time.Time `json:"mtime"`
	Link    string     `json:"link_target"`
	Stored  bool       `json:"stored"`
	Code    string     `json:"code"`
	Changed bool       `json:"changed_while_read"`
}

func newSnapshotFilesCommand() *cobra.Command {
	var opts clientOptions
	var search string
	var limit int
	c := &cobra.Command{
		Use:   "files SNAPSHOT [PATH]",
		Short: "List or search the files of a snapshot",
		Long: `Lists what is directly in PATH, or with --search everything at or below it that has
the text in its path. The worker that holds the snapshot answers: the hub does not
know the names of files.`,
		Args: cobra.RangeArgs(1, 2), ValidArgsFunction: opts.completion(snaps),
		RunE: opts.run(func(ctx context.Context, s *session, args []string) error {
			id, err := s.resolve(ctx, "snapshot", snaps, args[0])
			if err != nil {
				return err
			}
			address, err := s.FilesAddress(ctx, id)
			if err != nil {
				return err
			}
			path := ""
			if len(args) > 1 {
				path = args[1]
			}
			return listFiles(ctx, s, address, path, search, limit)
		}),
	}
	opts.addFlags(c)
	c.Flags().StringVar(&search, "search", "", "only what has this in its path, at any depth")
	c.Flags().IntVarP(&limit, "limit", "n", 0, "how many; 0: all")
	return c
}

func listFiles(ctx context.Context, s *session, address, path, search string, limit int) error {
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("address of files: %w", err)
	}
	query := u.Query()
	switch {
	case utf8.ValidString(path):
		query.Set("path", path)
	default:
		query.Set("path_base64", base64.StdEncoding.EncodeToString([]byte(path)))
	}
	query.Set("search", search)
	query.Set("limit", strconv.Itoa(1000))
	raws := []json.RawMessage{}
	for {
		u.RawQuery = query.Encode()
		items, next, err := filesPage(ctx, s, u.String())
		if err != nil {
			return err
		}
		raws = append(raws, items...)
		if limit > 0 && len(raws) >= limit {
			raws = raws[:limit]
			break
		}
		if next == "" {
			break
		}
		query.Set("cursor", next)
	}
	return printFiles(s, raws)
}

func filesPage(ctx context.Context, s *session, address string) ([]json.RawMessage, string, error) {
	fetcher := &apiclient.Fetcher{AllowPlainHTTP: s.opts.allowPlainHTTP, UserAgent: "xvault/" + buildVersion()}
	stream, err := fetcher.Open(ctx, address)
	if err != nil {
		return nil, "", err
	}
	raw, err := io.ReadAll(io.LimitReader(stream, maxFilesPage))
	if closeErr := stream.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, "", fmt.Errorf("list files: %w", err)
	}
	var page struct {
		Items      []json.RawMessage `json:"items"`
		NextCursor string            `json:"next_cursor"`
	}
	if err := json.Unmarshal(raw, &page); err != nil {
		return nil, "", fmt.Errorf("decode list of files: %w", err)
	}
	return page.Items, page.NextCursor, nil
}

func printFiles(s *session, raws []json.RawMessage) error {
	if s.out.json {
		return s.out.object(map[string]any{"items": raws})
	}
	rows := make([][]string, len(raws))
	for i, raw := range raws {
		var f listedFile
		if err := json.Unmarshal(raw, &f); err != nil {
			return fmt.Errorf("decode list of files: %w", err)
		}
		rows[i] = []string{f.Mode, f.Type, size(f.Size), whenMaybe(f.ModTime), f.shown()}
	}
	return s.out.table([]string{"MODE", "TYPE", "SIZE", "CHANGED", "PATH"}, rows)
}

// shown is the path with what there is to say of it.
func (f listedFile) shown() string {
	text := f.Path
	if f.Link != "" {
		text += " -> " + f.Link
	}
	switch {
	case f.Code != "":
		text += " [" + f.Code + "]"
	case !f.Stored:
		text += " [not stored]"
	case f.Changed:
		text += " [changed while read]"
	}
	return text
}
