package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"xvault/internal/apiclient"
)

// printer writes results: tables for people, JSON for programs. Its first error
// is kept, so that a command checks once, at the end.
type printer struct {
	w    io.Writer
	json bool
	err  error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// object prints v as indented JSON.
func (p *printer) object(v any) error {
	e := json.NewEncoder(p.w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// table prints rows under a heading, in columns. Cells may come from anyone:
// what a terminal would act on is shown escaped.
func (p *printer) table(heading []string, rows [][]string) error {
	tw := tabwriter.NewWriter(p.w, 0, 8, 2, ' ', 0)
	for _, row := range append([][]string{heading}, rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = printable(cell)
		}
		if _, err := fmt.Fprintln(tw, strings.TrimRight(strings.Join(cells, "\t"), "\t ")); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// fields prints one object as lines of name and value; empty ones are left out.
func (p *printer) fields(pairs ...string) error {
	tw := tabwriter.NewWriter(p.w, 0, 8, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			continue
		}
		if _, err := fmt.Fprintf(tw, "%s\t%s\n", pairs[i], printable(pairs[i+1])); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// view is how one noun looks in a table and alone.
type view[T any] struct {
	heading []string
	row     func(T) []string
	fields  func(T) []string
	// more is what show has to say beside that; may be nil.
	more func(*printer, T) error
}

func printList[T any](p *printer, v view[T], items []apiclient.Item[T]) error {
	if p.json {
		return p.object(struct {
			Items []apiclient.Item[T] `json:"items"`
		}{items})
	}
	rows := make([][]string, len(items))
	for i, item := range items {
		rows[i] = v.row(item.Value)
	}
	return p.table(v.heading, rows)
}

func printItem[T any](p *printer, v view[T], item apiclient.Item[T]) error {
	if p.json {
		return p.object(item)
	}
	return p.fields(v.fields(item.Value)...)
}

// printable escapes what is not plain text: line ends, terminal sequences,
// invisible and bidirectional characters.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		quoted := strconv.QuoteToGraphic(s)
		return quoted[1 : len(quoted)-1]
	}
	return s
}

// size shows bytes in decimal units, as disks are sold.
func size(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	f := float64(n)
	for _, unit := range []string{"kB", "MB", "GB", "TB"} {
		f /= 1000
		if f < 999.5 || unit == "TB" {
			return fmt.Sprintf("%.*f %s", decimals(f), f, unit)
		}
	}
	return ""
}

// decimals keeps three digits in all.
func decimals(f float64) int {
	switch {
	case f < 10:
		return 2
	case f < 100:
		return 1
	default:
		return 0
	}
}

// count shows a number with its thousands apart.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// when shows a time as this machine's clock would.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func whenMaybe(t *time.Time) string {
	if t == nil {
		return ""
	}
	return when(*t)
}

// took shows a duration as precisely as a person cares.
func took(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func upper(s string) string { return strings.ToUpper(s) }
