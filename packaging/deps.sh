#!/bin/bash
# Installs the programs that tests and demo need, and only those that are not
# there. As root it uses apt; otherwise it says what to install. With the
# argument "bench" also those that xVault is compared with.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
missing=()

# need PACKAGE PROGRAM...: the package is missing when one of its programs is.
need() {
	local package=$1 program
	shift
	for program in "$@"; do
		if ! PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$program" >/dev/null; then
			missing+=("$package")
			return
		fi
	done
}

need age age age-keygen
need zstd zstd
need tar tar
need openssh-server sshd
need openssh-client ssh ssh-keygen sftp
need redis-server redis-server
need mariadb-server mariadbd mariadb-install-db
need mariadb-client mariadb mariadb-dump
need php-cli php
need busybox busybox
need strace strace
need jq jq
need gcc gcc
need libc6-dev gcc
need git git
if [ "${1-}" = bench ]; then
	need rsync rsync
	need rclone rclone
	need lftp lftp
fi
if ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && ! command -v initdb >/dev/null; then
	missing+=(postgresql)
fi
if ! command -v php >/dev/null || ! php -m | grep -qx mysqli; then
	missing+=(php-mysql)
fi
# The race detector links against the C library.
if [ ! -e /usr/include/stdlib.h ] && [[ " ${missing[*]-} " != *" libc6-dev "* ]]; then
	missing+=(libc6-dev)
fi

# The FTP servers conflict as packages, and WordPress would bring a web server: they are
# unpacked in private.
unpack() {
	"$here/ftpd.sh"
	"$here/wordpress.sh"
}

if [ ${#missing[@]} -eq 0 ]; then
	unpack
	exit 0
fi

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
	echo "Please install: ${missing[*]}" >&2
	echo "(as root on Debian or Ubuntu: apt-get install ${missing[*]})" >&2
	exit 1
fi

echo "Installing ${missing[*]} ..." >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Packages of servers start them; a policy of "no" keeps the machine as it was.
if [ ! -e /usr/sbin/policy-rc.d ]; then
	printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
	chmod 755 /usr/sbin/policy-rc.d
	trap 'rm -f "$log" /usr/sbin/policy-rc.d' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update -q && apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
	tail -n 40 "$log" >&2
	echo "Could not install ${missing[*]}." >&2
	exit 1
fi
unpack
