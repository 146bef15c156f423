package main

import "context"

// benchCase is one thing to measure; it gives rows of the table.
type benchCase struct {
	name  string
	about string
	run   func(context.Context, *lab) ([]row, error)
}

// column is a source of the four that everything is measured on.
type column struct {
	name  string
	about string
	path  func(context.Context, *lab) (string, error)
	// tree: it has many files. What is restored of it stays until there is one that
	// has not.
	tree bool
	// restores is how many pairs restore it.
	restores int
}

// columns in the order of the table.
func columns() []column {
	return []column{
		{"go", "Go's own tree", func(ctx context.Context, _ *lab) (string, error) { return goRoot(ctx) }, true, 5},
		{"share", "/usr/share", func(context.Context, *lab) (string, error) { return "/usr/share", nil }, true, 5},
		{"text", "one file of 1 GiB that compresses as logs and source code do", func(ctx context.Context, l *lab) (string, error) { return l.data.text(ctx) }, false, 3},
		{"random", "one file of 1 GiB that does not compress", func(ctx context.Context, l *lab) (string, error) { return l.data.random(ctx) }, false, 3},
	}
}

// cases lists everything, in the order in which it runs.
func cases() []benchCase {
	var all []benchCase
	for _, c := range columns() {
		all = append(all, benchCase{"ssh/" + c.name, c.about + ", source type ssh, against ssh tar | zstd | age", sshColumn(c)})
	}
	all = append(all,
		benchCase{"sftp/go", "Go's own tree, source type sftp, against rclone, sftp -r, rsync, lftp and the least that it takes", sftpTree},
		benchCase{"20ms/small-ssh", "3,000 files of 4 KiB at 20 ms, source type ssh, against ssh tar | zstd | age", smallOverSSH},
		benchCase{"20ms/small-sftp", "3,000 files of 4 KiB at 20 ms, source type sftp, against rclone", smallOverSFTP},
		benchCase{"80ms/tree", "20,000 files of 4 to 32 KiB at 80 ms, source type ssh, against ssh tar | zstd | age", treeOverSSH},
		benchCase{"20ms/file", "one file of 256 MiB at 20 ms, both types, against one ssh cat", distantFile(near20)},
		benchCase{"80ms/file", "one file of 256 MiB at 80 ms, both types, against one ssh cat", distantFile(near80)},
	)
	for _, c := range columns() {
		all = append(all, benchCase{"restore/" + c.name, "restore of " + c.about + " against age -d | zstd -d | tar x", restoreColumn(c)})
	}
	return append(all,
		benchCase{"postgres", "a database of 1 GiB against pg_dump -Fc -Z0 | zstd | age", databaseCase(startPostgres)},
		benchCase{"mysql", "a database of 1 GiB against mariadb-dump | zstd | age", databaseCase(startMariaDB)},
		benchCase{"onefile", "one file of 10 KB out of an artifact of 4 GiB", oneFile},
		benchCase{"million/ssh", "a million empty and tiny files, source type ssh", million("ssh")},
		benchCase{"million/sftp", "a million empty and tiny files, source type sftp", million("sftp")},
	)
}
