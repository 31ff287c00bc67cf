#!/bin/sh
# The rules of this project that a program can check.
#
#   tools/lint.sh [CHECK …]     all of them without arguments:
#   tools/lint.sh --mend        changes what format and dialect can mend by themselves
#
#   layers    who may include whom, and which file may know which library
#   banned    functions that this project does not call
#   text      trailing blanks, long lines, mixed indentation, forbidden words
#   format    clang-format 14 (Debian 12's) has nothing to change
#   dialect   NULL and error tests, initialisers, names of statics, length of functions, parameters,
#             lists, private headers (tools/lint_dialect.py)
#   shell     shellcheck over every shell script
#   python    every Python file compiles
#   headers   every header compiles alone
#   build     everything compiles with warnings as errors
#
# It looks at what git would commit, or at every file when there is no git.
# Exit status: 0 clean, 1 something was found, 2 wrong usage.
set -u
cd "$(dirname "$0")/.." || exit 2

ALL="layers banned text format dialect shell python headers build"
DIALECT="spdx null error init statics length parameters list private"
mend=false
if [ "${1:-}" = --mend ]; then
	mend=true
	shift
fi
checks=${*:-$ALL}
failed=0
list=$(mktemp) || exit 2
found=$(mktemp) || exit 2
trap 'rm -rf "$list" "$found"' EXIT
trap 'exit 2' HUP INT TERM

list_files() {
	if [ -e .git ] && git rev-parse --git-dir >/dev/null 2>&1; then
		git ls-files -co --exclude-standard
	else
		find . \( -name .git -o -name node_modules -o -name __pycache__ -o -path ./build -o -path ./run \) -prune \
			-o -type f ! -name '*.o' -print | sed 's,^\./,,'
	fi | LC_ALL=C sort -u | while IFS= read -r file; do
		[ -f "$file" ] && printf '%s\n' "$file"
	done
}

c_files() {
	grep -E '\.[ch]$' "$list"
}

# Prints what a check found, and remembers that it did.
finish() {
	if [ -s "$found" ]; then
		sed "s/^/lint: $1: /" "$found"
		failed=1
	fi
	: >"$found"
}

check_layers() {
	c_files | xargs awk -f tools/lint_layers.awk >"$found"
	finish layers
}

check_banned() {
	c_files | LC_ALL=C xargs awk -f tools/lint_banned.awk >"$found"
	finish banned
}

check_text() {
	c_files | LC_ALL=C xargs awk -f tools/lint_text.awk >"$found"
	# Put together here, so that this file does not hold them.
	for word in "../""shared" "/""work/" "registry"".npmjs" "FIX""ME" "TO""DO"; do
		# -I: not in binary files
		xargs grep -nIF -e "$word" <"$list" /dev/null | sed "s/\$/  ← '$(printf '%s' "$word" | sed 's,/,\\/,g')' is not for this tree/" >>"$found"
	done
	finish text
}

# Each release of clang-format has a mind of its own: the one of Debian 12 decides.
FORMAT_VERSION=14

check_format() {
	if ! version=$(${CLANG_FORMAT:-clang-format} --version 2>/dev/null); then
		echo "clang-format is missing: tools/install-deps.sh test installs it" >"$found"
	elif ! expr "$version" : ".*version $FORMAT_VERSION\." >/dev/null; then
		printf 'lint: format: not looked at: clang-format %s decides, and this is %s\n' "$FORMAT_VERSION" "$version" >&2
	else
		c_files | xargs "${CLANG_FORMAT:-clang-format}" --dry-run 2>&1 |
			sed -n 's/^\([^:]*:[0-9]*\):[0-9]*: \(warning\|error\): .*/\1: make format changes it/p' | uniq >"$found"
	fi
	finish format
}

mend_files() {
	c_files | xargs /usr/bin/python3 tools/lint_dialect.py --fix spdx null error init --
	c_files | xargs "${CLANG_FORMAT:-clang-format}" -i
}

check_dialect() {
	# shellcheck disable=SC2086 # rules are words
	c_files | xargs /usr/bin/python3 tools/lint_dialect.py $DIALECT -- >"$found" 2>&1
	finish dialect
}

check_shell() {
	scripts=$(while IFS= read -r file; do
		case $file in
		*.sh) printf '%s\n' "$file" ;;
		*) head -n 1 "$file" | LC_ALL=C grep -aqE '^#!.*[/ ](ba|da)?sh( |$)' && printf '%s\n' "$file" ;;
		esac
	done <"$list")
	printf '%s\n' "$scripts" | xargs shellcheck --format gcc >"$found" 2>&1
	finish shell
}

check_python() {
	grep -E '\.py$' "$list" | xargs env PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -c '
import sys
for name in sys.argv[1:]:
    try:
        with open(name, encoding="utf-8") as source:
            compile(source.read(), name, "exec")
    except (SyntaxError, ValueError) as error:
        print("%s: %s" % (name, error))
' >"$found" 2>&1
	finish python
}

check_headers() {
	flags=$(make -s print-flags WERROR=1) || exit 2
	grep -E '\.h$' "$list" | while IFS= read -r header; do
		# shellcheck disable=SC2086 # flags are words
		${CC:-cc} $flags -fsyntax-only -x c "$header" 2>&1
	done >"$found"
	finish headers
}

check_build() {
	make -s -j"${JOBS:-2}" B=build/lint WERROR=1 FAILPOINTS=1 all test-programs >"$found" 2>&1 && : >"$found"
	finish build
}

for check in $checks; do
	case " $ALL " in
	*" $check "*) ;;
	*)
		printf 'lint: no check is called %s; there are: %s\n' "'$check'" "$ALL" >&2
		exit 2
		;;
	esac
done

list_files >"$list"
if ! c_files >/dev/null; then
	printf 'lint: found no C file to look at\n' >&2
	exit 2
fi
if $mend; then
	mend_files
	exit
fi
for check in $checks; do
	case $check in
	layers) check_layers ;;
	banned) check_banned ;;
	text) check_text ;;
	format) check_format ;;
	dialect) check_dialect ;;
	shell) check_shell ;;
	python) check_python ;;
	headers) check_headers ;;
	build) check_build ;;
	esac
done
if [ "$failed" -eq 0 ]; then
	printf 'lint: clean: %s\n' "$checks"
fi
exit "$failed"
