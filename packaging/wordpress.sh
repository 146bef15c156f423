#!/bin/bash
# Unpacks the WordPress that tests install sites of, with a theme, from Debian's
# packages into a folder of the user's cache: as a package it would bring a web server
# and change the machine. Needs no root. Nothing happens if it is there already.
# XVAULT_CACHE_DIR names another cache.
set -euo pipefail

cache=${XVAULT_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/xvault}
root=$cache/wordpress
[ -e "$root/complete" ] && exit 0

for tool in apt-get dpkg-deb; do
	if ! command -v "$tool" >/dev/null; then
		echo "The WordPress for tests comes from Debian's packages, and there is no $tool here." >&2
		exit 1
	fi
done

mkdir -p "$cache"
exec 9>"$cache/wordpress.lock"
flock 9
[ -e "$root/complete" ] && exit 0

work=$(mktemp -d "$cache/wordpress.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/debs" "$work/root"

download() {
	(cd "$work/debs" && apt-get -q -o APT::Sandbox::User=root download wordpress wordpress-theme-twentytwentythree) >"$work/log" 2>&1
}

if ! download && { [ "$(id -u)" -ne 0 ] || ! apt-get update -q >"$work/log" 2>&1 || ! download; }; then
	cat "$work/log" >&2
	echo "Could not download wordpress (as root, \`apt-get update\` may help)." >&2
	exit 1
fi
for package in "$work"/debs/*.deb; do
	dpkg-deb -x "$package" "$work/root"
done

# What the package takes from others it has as links, which lead nowhere here: none of
# it is needed for a site to answer. Debian's own wp-config.php is not needed either.
site=$work/root/usr/share/wordpress
find "$site" -xtype l -delete
rm -f "$site/wp-config.php"
rm -rf "$root"
mv "$site" "$root"
touch "$root/complete"
