package shell

// The commands, as the user's login shell gets them. Between the single quotes
// there is no single quote, no line break and no exclamation mark, so that csh and
// fish read them as a Bourne shell does. Each reads the marker from its input,
// prints it with what the program calls itself, marks its error output as well, and
// leaves the rest of the input to the program.
const (
	begin = `exec /bin/sh -c 'IFS= read -r m || exit 1; ` +
		`unset TAR_OPTIONS POSIXLY_CORRECT FIND_BLOCK_SIZE; LC_ALL=C; export LC_ALL; set -f; `

	// sayFind and sayTar print the marker with what the program calls itself, and
	// markErrors marks the error output.
	sayFind    = `set -- $(find --version 2>/dev/null); ` + say
	sayTar     = `set -- $(tar --version 2>/dev/null); ` + say
	say        = `printf "\n%s %s %s %s\n" "$m" "$2" "$3" "$4"; `
	markErrors = `printf "\n%s\n" "$m" >&2; `

	// findBegin takes absolute paths to start from.
	findBegin = `xargs -0 -r /bin/sh -c "exec find -H \"\$@\" `
	findEnd   = `-printf \"%y%d %m %s %T@ %D %i %n %U %G\0%f\0%l\0%H\0\"" sh; ` +
		`printf "E%d\0%s\0\0\0" $? "$m"`
	findAll  = findBegin + findEnd
	findHere = findBegin + `-maxdepth 1 ` + findEnd

	// runTar takes the absolute paths of files. Names stay as they are, nothing below
	// them is stored, a further name of a file is stored as a file, and times have
	// whole seconds, which spares two blocks for each file.
	runTar = `exec tar --null --verbatim-files-from --no-unquote --no-recursion --absolute-names --hard-dereference ` +
		`--ignore-failed-read --quoting-style=escape --format=posix --pax-option=delete=atime,delete=ctime,delete=mtime ` +
		`--blocking-factor=64 -cf - -T -`

	commandFindAll  = begin + sayFind + markErrors + findAll + `'`
	commandFindHere = begin + sayFind + markErrors + findHere + `'`
	commandTar      = begin + sayTar + markErrors + runTar + `'`

	// Both in one command are found by a shell that was started once. How many bytes
	// the paths for find have comes before them; head leaves all else to tar.
	bothBegin       = begin + `IFS= read -r n || exit 1; ` + sayTar + sayFind + markErrors + `head -c "$n" | `
	commandBothAll  = bothBegin + findAll + `; ` + markErrors + runTar + `'`
	commandBothHere = bothBegin + findHere + `; ` + markErrors + runTar + `'`
)

// record is the length of tar's blocks of output: so much it may hold back.
const (
	blocking = 64
	record   = blocking * block
	block    = 512
)
