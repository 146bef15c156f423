package sshexec

// command is what the login shell gets. Between the single quotes there is no single
// quote, no line break, no exclamation mark and no doubled backslash, so that csh and
// fish read them as a Bourne shell does.
const command = `exec /bin/sh -c 'IFS= read -r s && eval "$s"'`

// script is the line that it reads. It reads three more: the marker that ends what start
// files print, the program with its arguments as Line writes them, and the program's
// input. A printf that is no part of the shell would show the input on its command line.
// The leash waits for the end of the channel, which closes with the connection, then asks
// the program to end, so that it can tell its server, and makes it.
const script = `case $(command -v printf) in printf) ;; *) echo "/bin/sh has no printf of its own" >&2; exit 126;; esac; ` +
	`IFS= read -r m && IFS= read -r c && IFS= read -r i || exit 126; ` +
	`eval "set -- $(printf %b "$c")" || exit 126; ` +
	`exec 3<&0 </dev/null; ` +
	`printf "\n%s\n" "$m"; printf "\n%s\n" "$m" >&2; ` +
	`printf %b "$i" | env -i PATH="$PATH" HOME=/nonexistent LC_ALL=C TZ=UTC "$@" 3<&- & t=$!; ` +
	`(while IFS= read -r i; do :; done <&3; kill -TERM $t; n=0; ` +
	`while kill -0 $t && [ $n -lt 3 ]; do sleep 1; n=$((n+1)); done; kill -KILL $t) >/dev/null 2>&1 & w=$!; ` +
	`exec 3<&- >/dev/null 2>&1; ` +
	`wait $t; s=$?; kill -KILL $w; exit $s`

// preamble is what both read.
func (c *Command) preamble(marker string) (string, error) {
	line, err := Line(append([]string{c.Program}, c.Args...)...)
	if err != nil {
		return "", err
	}
	return script + "\n" + marker + "\n" + encode([]byte(line)) + "\n" + encode(c.Input) + "\n", nil
}
