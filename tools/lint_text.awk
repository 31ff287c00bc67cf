# How C files look.  Run with LC_ALL=C; columns are characters, a tab goes to
# the next multiple of 8.  Prints "FILE:LINE: what is wrong".

function columns(line, n, i, parts)
{
	gsub(/[\200-\277]/, "", line) # what follows the first byte of a UTF-8 character
	n = split(line, parts, "\t")
	total = 0
	for (i = 1; i <= n; i++) {
		total += length(parts[i])
		if (i < n)
			total += 8 - total % 8
	}
	return total
}

/\r$/ { printf "%s:%d: carriage return\n", FILENAME, FNR }
/[ \t]$/ { printf "%s:%d: trailing blank\n", FILENAME, FNR }
/^[\t]* +\t/ { printf "%s:%d: space before tab\n", FILENAME, FNR }
length($0) > 55 && columns($0) > 110 { printf "%s:%d: %d columns, at most 110\n", FILENAME, FNR, columns($0) }
