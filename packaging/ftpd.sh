#!/bin/bash
# Unpacks the three FTP servers that tests read from: vsftpd, ProFTPD, pure-ftpd.
# As packages they conflict, so they are not installed but unpacked, with the
# libraries that the machine lacks, into a folder of the user's cache; that needs no
# root. Nothing happens if all is there already. XVAULT_CACHE_DIR names another cache.
set -euo pipefail

cache=${XVAULT_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/xvault}
root=$cache/ftpd
[ -e "$root/complete" ] && exit 0

for tool in apt-get apt-cache dpkg-deb dpkg-query; do
	if ! command -v "$tool" >/dev/null; then
		echo "The FTP servers for tests come from Debian's packages, and there is no $tool here." >&2
		exit 1
	fi
done

mkdir -p "$cache"
exec 9>"$cache/ftpd.lock"
flock 9
[ -e "$root/complete" ] && exit 0

work=$(mktemp -d "$cache/ftpd.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/debs" "$work/root"

# download PACKAGE: gets it from where the machine gets its packages.
download() {
	(cd "$work/debs/$1" && apt-get -q -o APT::Sandbox::User=root download "$1") >"$work/log" 2>&1
}

# fetch PACKAGE...: downloads and unpacks those that were not yet.
fetch() {
	local package
	for package in "$@"; do
		[ -e "$work/debs/$package" ] && continue
		mkdir "$work/debs/$package"
		if ! download "$package"; then
			if [ "$(id -u)" -ne 0 ] || ! apt-get update -q >"$work/log" 2>&1 || ! download "$package"; then
				cat "$work/log" >&2
				echo "Could not download $package (as root, \`apt-get update\` may help)." >&2
				exit 1
			fi
		fi
		dpkg-deb -x "$work/debs/$package/"*.deb "$work/root"
	done
}

# missing PROGRAM...: which libraries they lack.
missing() {
	local library_path
	library_path=$(find "$work/root" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
	LD_LIBRARY_PATH=$library_path ldd "$@" | sed -n 's/^[[:space:]]*\(.*\) => not found$/\1/p'
}

servers=(vsftpd proftpd-core proftpd-mod-crypto pure-ftpd pure-ftpd-common)
fetch "${servers[@]}"
programs=("$work"/root/usr/sbin/{vsftpd,proftpd,pure-ftpd} "$work/root/usr/bin/pure-pw" "$work/root/usr/lib/proftpd/mod_tls.so")
todo=("${servers[@]}")
for _ in 1 2 3; do
	[ -n "$(missing "${programs[@]}")" ] || break
	next=()
	for library in $(apt-cache depends --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "${todo[@]}" |
		sed -n 's/^ *|\?Depends: \(lib[^ ]*\)$/\1/p' | sort -u); do
		if [ "$(dpkg-query -W -f '${db:Status-Status}' "$library" 2>/dev/null)" != installed ]; then
			next+=("$library")
		fi
	done
	[ ${#next[@]} -gt 0 ] || break
	fetch "${next[@]}"
	todo=("${next[@]}")
done
if [ -n "$(missing "${programs[@]}")" ]; then
	echo "The FTP servers for tests lack libraries: $(missing "${programs[@]}" | sort -u | paste -sd' ')" >&2
	exit 1
fi

rm -rf "$root"
mv "$work/root" "$root"
touch "$root/complete"
