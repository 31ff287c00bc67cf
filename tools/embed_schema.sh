#!/bin/sh
# Turns store/schema/NNN_name.sql files (arguments, in order) into the entries
# of a C table: { version, "name", "text" },
set -eu

expected=1
for file in "$@"; do
	base=$(basename "$file" .sql)
	number=${base%%_*}
	name=${base#*_}
	if [ "$number" != "$(printf '%03d' "$expected")" ]; then
		echo "embed_schema.sh: '$file': expected number $(printf '%03d' "$expected")" >&2
		exit 1
	fi
	printf '{\n\t%d, "%s",\n' "$expected" "$name"
	sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/\t"/' -e 's/$/\\n"/' "$file"
	printf '},\n'
	expected=$((expected + 1))
done
