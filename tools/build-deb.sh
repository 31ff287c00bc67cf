#!/bin/sh
# Builds the Debian packages of this tree, in a copy of it.
#
#   tools/build-deb.sh VERSION FOLDER
#
# The copy is FOLDER/csrd-VERSION; the packages are in FOLDER afterwards, and
# nothing else of it is kept.  What is built depends on the sources and on
# debian/changelog alone, not on the time or the place.
set -eu

[ $# -eq 2 ] || {
	echo 'usage: tools/build-deb.sh VERSION FOLDER' >&2
	exit 64
}
version=$1
folder=$2
tree=$folder/csrd-$version

said=$(dpkg-parsechangelog -S Version)
if [ "$said" != "$version" ]; then
	echo "build-deb: debian/changelog says $said, the Makefile $version" >&2
	exit 1
fi

# What git would commit, or everything when there is no git.
list_files()
{
	if [ -e .git ] && git rev-parse --git-dir >/dev/null 2>&1; then
		git ls-files -co --exclude-standard
	else
		find . \( -name .git -o -name node_modules -o -name __pycache__ -o -path ./build -o -path ./run \) -prune \
			-o -type f -print
	fi | while IFS= read -r file; do
		[ ! -f "$file" ] || printf '%s\n' "$file"
	done
}

rm -rf "$folder"
mkdir -p "$tree"
list_files | tar -cf - -T - | tar -xf - -C "$tree"

log=$folder/build.log
# Of the make that called this, nothing reaches the package's own.
if ! (cd "$tree" && env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES -u B -u V -u DESTDIR -u PREFIX \
	dpkg-buildpackage -b -us -uc "-j${JOBS:-2}") >"$log" 2>&1; then
	tail -n 40 "$log" >&2
	echo "build-deb: failed, all of it is in $log" >&2
	exit 1
fi
rm -rf "$tree"
ls "$folder"/*.deb
