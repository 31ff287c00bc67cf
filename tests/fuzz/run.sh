#!/bin/sh
# tests/fuzz/run.sh fuzz NAME SECONDS   lets libFuzzer run, from the corpus of the tree and what earlier runs found
# tests/fuzz/run.sh merge NAME          makes the corpus of the tree anew, with what was found
# tests/fuzz/run.sh coverage NAME…      what the corpora reach, file by file
# The targets of the Makefile build what these run.
set -eu

build=build/fuzz
corpus=tests/fuzz/corpus
CORPUS_BYTES_MAX=51200
CORPUS_FILES_MAX=120

export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1

case $1 in
fuzz)
	mkdir -p "$build/corpus/$2" "$build/found/$2" "$corpus/$2"
	dictionary=
	[ ! -f "tests/fuzz/$2.dict" ] || dictionary=-dict=tests/fuzz/$2.dict
	echo "== $2, $3 s"
	# $dictionary is one word or none.
	# shellcheck disable=SC2086
	"$build/tests/fuzz/$2_fuzz" -max_total_time="$3" -timeout=10 -rss_limit_mb=1024 -max_len=8192 \
		-artifact_prefix="$build/found/$2/" -print_final_stats=1 $dictionary "$build/corpus/$2" "$corpus/$2" \
		>"$build/found/$2.log" 2>&1 || {
		tail -n 40 "$build/found/$2.log" >&2
		echo "fuzz: $2: a finding, in $build/found/$2" >&2
		exit 1
	}
	grep 'stat::number_of_executed_units' "$build/found/$2.log"
	;;
merge)
	fresh=$build/merged/$2
	rm -rf "$fresh"
	mkdir -p "$fresh" "$build/corpus/$2" "$corpus/$2"
	"$build/tests/fuzz/$2_fuzz" -merge=1 -max_len=2048 "$fresh" "$corpus/$2" "$build/corpus/$2" >"$build/found/$2.merge.log" 2>&1
	# What was a finding stays: found-ROW-….
	find "$corpus/$2" -type f ! -name 'found-*' -delete
	# In the order of their names, which are hashes, so large and small ones, up to the limits.
	total=0
	for file in $(find "$fresh" -type f -printf "%f\n" | sort | head -n $CORPUS_FILES_MAX); do
		size=$(wc -c <"$fresh/$file")
		total=$((total + size))
		[ "$total" -le $CORPUS_BYTES_MAX ] || break
		cp "$fresh/$file" "$corpus/$2/"
	done
	printf '%s: %d files\n' "$2" "$(find "$corpus/$2" -type f | wc -l)"
	;;
coverage)
	shift
	build=build/fuzz-coverage
	objects=
	for target in "$@"; do
		LLVM_PROFILE_FILE=$build/$target.profraw "$build/tests/fuzz/${target}_fuzz" >/dev/null 2>&1
		objects="$objects -object $build/tests/fuzz/${target}_fuzz"
	done
	llvm-profdata merge -o $build/all.profdata $build/*.profraw
	# $objects is a list of words.
	# shellcheck disable=SC2086
	llvm-cov report $objects -instr-profile=$build/all.profdata \
		-ignore-filename-regex='tests/|/gen/' -show-region-summary=false -show-functions=false
	;;
*)
	echo 'usage: tests/fuzz/run.sh fuzz NAME SECONDS | merge NAME | coverage NAME…' >&2
	exit 64
	;;
esac
