# Completes the scdoc source of a manual page:
#
#   @VERSION@      the variable `version`
#   @EXIT_STATUS@  doc/man/exit_status.inc
#   @KEYS@         every section and key of config/csrd.conf, with its comment
#
# awk -v version=1.2.3 -f tools/man.awk doc/man/PAGE.scd
#
# So the sample configuration and csrd.conf(5) are one text.  In that file a
# key that is commented out shows its default, or an example where its comment
# says "Default:"; one that is not is required.

# Characters that scdoc would read as markup.
function plain(text)
{
	gsub(/[\\*_#|\[\]]/, "\\\\&", text)
	return text
}

function flush_keys(i, reload, what)
{
	if (keys == 0)
		return
	reload = sub(/ *\[reload\]/, "", comment)
	gsub(/  +/, " ", comment)
	for (i = 1; i <= keys; i++) {
		what = required[i] ? "required, an example" : comment ~ /Default:/ ? "an example" : "default"
		printf "*%s* = _%s_ (%s)%s\n", plain(key[i]), plain(value[i]), what, i < keys ? "++" : ""
	}
	printf "\t%s%s\n\n", plain(comment), reload ? " A reload applies it." : ""
	keys = 0
	comment = ""
}

function put_section(name)
{
	printf "## %s\n\n", name ~ /^token / ? "[token NAME]" : "[" name "]"
	if (sections++ > 0 && comment != "") # the first comment is about the file
		printf "%s\n\n", plain(comment)
	comment = ""
}

function put_key(text, is_required)
{
	keys++
	required[keys] = is_required
	key[keys] = text
	sub(/ *=.*/, "", key[keys])
	value[keys] = text
	sub(/^[^=]*= */, "", value[keys])
}

function put_conf(file, line)
{
	while ((getline line <file) > 0) {
		if (line ~ /^#?[a-z0-9_]+ = /) {
			put_key(substr(line, line ~ /^#/ ? 2 : 1), line !~ /^#/)
			continue
		}
		flush_keys()
		if (line ~ /^\[.*\]$/)
			put_section(substr(line, 2, length(line) - 2))
		else if (line ~ /^# /)
			comment = comment (comment == "" ? "" : " ") substr(line, 3)
	}
	flush_keys()
	close(file)
	if (sections == 0) {
		printf "man.awk: no section in %s\n", file >"/dev/stderr"
		exit 1
	}
}

function put_file(file, line)
{
	while ((getline line <file) > 0)
		print line
	close(file)
}

/^@KEYS@$/ { put_conf("config/csrd.conf"); next }
/^@EXIT_STATUS@$/ { put_file("doc/man/exit_status.inc"); next }
{ gsub(/@VERSION@/, version); print }
