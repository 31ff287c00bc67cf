#!/bin/sh
# Builds kryoptic as a PKCS#11 module: FOLDER/release/libkryoptic_pkcs11.so.
#
#   tests/kryoptic/build.sh FOLDER
#
# crates.lock is Cargo.lock without the line in each entry that says where the
# crate is from: that is wherever this machine's cargo gets its crates.
set -eu

[ $# -eq 1 ] || {
	echo 'usage: tests/kryoptic/build.sh FOLDER' >&2
	exit 64
}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/source"
folder=$(cd "$1" && pwd)
export CARGO_HOME="$folder/cargo"

cp "$here/Cargo.toml" "$here/lib.rs" "$folder/source"
cd "$folder/source"
rm -f Cargo.lock
cargo generate-lockfile --quiet
from=$(sed -n '/^source = /{p;q;}' Cargo.lock)
awk -v from="$from" '/^checksum = / { print from } { print }' "$here/crates.lock" >Cargo.lock.new
mv Cargo.lock.new Cargo.lock
cargo build --release --locked --target-dir "$folder"
