#!/bin/sh
# Installs the Debian packages that csrd needs and that are missing.
#
#   tools/install-deps.sh run    to build csrd and run it on SoftHSM
#   tools/install-deps.sh test   that, and what the tests need
#   tools/install-deps.sh core   that, and what tests/unit, tests/contract and the test of the package need
#   tools/install-deps.sh fuzz   what "make fuzz" needs
#   tools/install-deps.sh bench  what "make bench" needs
#   tools/install-deps.sh deb    what "make deb" needs
#   tools/install-deps.sh kryoptic   what "make kryoptic" needs, in Debian 13
#   tools/install-deps.sh schemathesis   what "make schemathesis" needs besides "test"
#   tools/install-deps.sh debian13   what "make test-debian13" needs on the machine where it is given
#
# The names are Debian 12's; Debian 13 has some of them with "t64" at the end.
#
# As root it installs them; as somebody else through sudo, when that needs no
# password or there is a terminal to ask on; else it prints the command to
# give and exits with 1.
set -eu

run_packages='gcc make pkgconf libc6-dev libssl-dev libp11-dev libp11-kit-dev libevent-dev libjson-c-dev
	libinih-dev libsqlite3-dev libsystemd-dev libpsl-dev libidn2-dev libunistring-dev publicsuffix softhsm2 openssl
	curl'
core_packages='libcmocka-dev opensc openssl libtpm2-pkcs11-1 libtss2-tcti-swtpm0 swtpm opencryptoki p11-kit
	p11-kit-modules libnss3 python3 man-db systemd iproute2 procps'
test_packages='libengine-pkcs11-openssl gnutls-bin python3-cryptography python3-jsonschema python3-yaml golang-cfssl sqlite3 shellcheck zsh
	wget python3-requests golang-go golang-golang-x-mod-dev default-jdk-headless haproxy nginx clang-format prometheus'
deb_packages='build-essential debhelper dpkg-dev lintian scdoc'
debian13_packages='debootstrap debian-archive-keyring iproute2 util-linux wget'
kryoptic_packages='cargo libclang-dev libssl-dev libsqlite3-dev pkgconf'
fuzz_packages='clang libclang-rt-dev llvm'
schemathesis_packages='python3-venv'
bench_packages='opensc libengine-pkcs11-openssl python3 golang-cfssl gnuplot-nox'

usage()
{
	echo 'usage: tools/install-deps.sh run|test|core|fuzz|bench|deb|debian13|kryoptic|schemathesis' >&2
	exit 64
}

is_installed()
{
	for name in "$1" "$1t64"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" != installed ] || return 0
	done
	return 1
}

# version 18 or newer, from wherever
has_node()
{
	major=$(node --version 2>/dev/null | sed -n 's/^v\([0-9]*\)\..*/\1/p')
	[ -n "$major" ] && [ "$major" -ge 18 ]
}

# The SDK is brought by npm, once (tests/system/sdk_test.py).
sdk_packages()
{
	has_node || echo nodejs
	[ -d "$(dirname "$0")/../build/sdk/node_modules" ] || command -v npm >/dev/null 2>&1 || echo npm
}

[ $# -eq 1 ] || usage
case $1 in
run)
	packages=$run_packages
	;;
test)
	packages="$run_packages $core_packages $test_packages $deb_packages $(sdk_packages)"
	;;
core)
	packages="$run_packages $core_packages $deb_packages"
	;;
fuzz)
	packages="$run_packages $fuzz_packages"
	;;
bench)
	packages="$run_packages $bench_packages $(sdk_packages)"
	;;
deb)
	packages="$run_packages $deb_packages"
	;;
kryoptic)
	packages=$kryoptic_packages
	;;
schemathesis)
	packages=$schemathesis_packages
	;;
debian13)
	packages=$debian13_packages
	;;
*)
	usage
	;;
esac

missing=
for package in $packages; do
	is_installed "$package" || missing="$missing $package"
done
missing=${missing# }
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	echo "install-deps: not a Debian system; missing packages: $missing" >&2
	exit 1
fi

if [ "$(id -u)" -eq 0 ]; then
	as_root='env'
elif command -v sudo >/dev/null 2>&1 && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
	as_root='sudo env'
else
	echo 'install-deps: Debian packages are missing; install them as root with' >&2
	echo "  apt-get update && apt-get install -y --no-install-recommends $missing" >&2
	exit 1
fi

# Daemons that come with them stay off: the tests start their own, on ports of their own.
daemons=
if [ -d /run/systemd/system ]; then
	for package in $missing; do
		case $package in
		haproxy | nginx | prometheus) daemons="$daemons $package.service" ;;
		esac
	done
fi

echo "install-deps: installing $missing"
# $as_root, $missing and $daemons are lists of words.
# shellcheck disable=SC2086
[ -z "$daemons" ] || $as_root systemctl --quiet --runtime mask $daemons
# shellcheck disable=SC2086
if ! $as_root DEBIAN_FRONTEND=noninteractive apt-get -q update; then
	echo 'install-deps: apt-get update failed; trying with the lists at hand' >&2
fi
status=0
# shellcheck disable=SC2086
$as_root DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $missing || status=$?
# shellcheck disable=SC2086
if [ -n "$daemons" ]; then
	$as_root systemctl --quiet --runtime unmask $daemons
	$as_root systemctl --quiet disable $daemons || status=1
fi
exit "$status"
