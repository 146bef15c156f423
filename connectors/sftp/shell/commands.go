package shell

// The commands, as the user's login shell gets them. Between the single quotes
// there is no single quote, no line break and no exclamation mark, so that csh and
// fish read them as a Bourne shell does. Each reads the marker from its input,
// prints it with what the program calls itself, marks its error output as well, and
// leaves the rest of the input to the program.
const (
	begin = `exec /bin/sh -c 'IFS= read -r m || exit 1; ` +
		`unset TAR_OPTIONS POSIXLY_CORRECT FIND_BLOCK_SIZE; LC_ALL=C; export LC_ALL; set -f; `

	// findBegin takes absolute paths to start from.
	findBegin = begin + `set -- $(find --version 2>/dev/null); ` +
		`printf "\n%s %s %s %s\n" "$m" "$2" "$3" "$4"; printf "\n%s\n" "$m" >&2; ` +
		`xargs -0 -r /bin/sh -c "exec find -H \"\$@\" `
	findEnd = `-printf \"%y%d %m %s %T@ %D %i %n %U %G\0%f\0%l\0%H\0\"" sh; ` +
		`printf "E%d\0%s\0\0\0" $? "$m"'`

	commandFindAll  = findBegin + findEnd
	commandFindHere = findBegin + `-maxdepth 1 ` + findEnd

	// commandTar takes the absolute paths of files. Names stay as they are, nothing
	// below them is stored, a further name of a file is stored as a file, and times
	// have whole seconds, which spares two blocks for each file.
	commandTar = begin + `set -- $(tar --version 2>/dev/null); ` +
		`printf "\n%s %s %s %s\n" "$m" "$2" "$3" "$4"; printf "\n%s\n" "$m" >&2; ` +
		`exec tar --null --verbatim-files-from --no-unquote --no-recursion --absolute-names --hard-dereference ` +
		`--ignore-failed-read --quoting-style=escape --format=posix --pax-option=delete=atime,delete=ctime,delete=mtime ` +
		`--blocking-factor=64 -cf - -T -'`
)

// record is the length of tar's blocks of output: so much it may hold back.
const (
	blocking = 64
	record   = blocking * block
	block    = 512
)
