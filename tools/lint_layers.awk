# Who may include whom (doc/architecture.md).  Prints "FILE:LINE: what is wrong".
#
# A folder not named here, such as tests/, may include everything.

BEGIN {
	# folder → folders whose headers it may include
	may["base"] = "base"
	may["systemd"] = "base systemd"
	may["config"] = "base config"
	may["tls"] = "base tls"
	may["ossl"] = "base ossl"
	may["loop"] = "base loop"
	may["tlog"] = "base tlog"
	may["hsm"] = "base loop hsm"
	may["hsm/signer/token"] = "base hsm hsm/signer/token"
	may["hsm/signer/journal"] = "base tlog hsm/signer/token hsm/signer/journal"
	may["hsm/signer/key"] = "base ossl hsm hsm/signer/token hsm/signer/key"
	may["hsm/signer/csr"] = "base ossl hsm hsm/signer/key hsm/signer/csr"
	may["hsm/signer/stock"] = "base hsm hsm/signer/token hsm/signer/journal hsm/signer/key hsm/signer/stock"
	may["hsm/signer/serve"] = may["hsm/signer/stock"] " systemd config hsm/signer/csr hsm/signer/serve"
	may["hsm/signer"] = may["hsm/signer/serve"] " ossl"
	may["store"] = "base store store/sqlite"
	may["store/sqlite"] = "base store store/sqlite"
	may["api"] = "base ossl config hsm store api"
	may["cli"] = "base ossl config loop hsm store api tls cli"
	may["daemon"] = "base systemd config loop hsm store api tls daemon"

	# file → header of a folder above its own
	may_also["hsm/signer/token/judge.c"] = "hsm/signer/key/probe.h" # it is well if it makes a key
	may_also["hsm/signer/token/module.c"] = "hsm/signer/key/key_kind.h" # a table

	# file → header of its own folder that it is not to know
	may_not["hsm/signer/csr/csr_verify.c"] = "hsm/signer/csr/csr_build.h" # a mistake in the one is not to be one in both

	# generated beside the objects → folder that includes it
	generated["store_schema.inc"] = "store"
	generated["openapi_frame.inc"] = "api"
	generated["utf8_class.inc"] = "base"

	# library header → where it may be known; a folder ends in '/'
	library("event2/", "loop/ daemon/ hsm/hsm_link.c hsm/hsm_private.h cli/loop.c")
	library("event.h", "")
	library("evhttp.h", "")
	library("sqlite3.h", "store/sqlite/")
	library("libpq-fe.h", "store/pgsql/")
	library("json-c/", "api/json.c")
	library("libp11.h", "hsm/signer/token/module.c")
	library("p11-kit/", "hsm/signer/token/ hsm/signer/key/key_kind.h hsm/signer/serve/inspect.c")
	library("pkcs11.h", "")
	library("openssl/", "ossl/ api/ daemon/ tls/ tlog/tree_hash.c tlog/note_key.c hsm/signer/token/ hsm/signer/journal/ hsm/signer/key/ hsm/signer/csr/ cli/digest.c")
	library("ini.h", "config/config.c")
	library("libpsl.h", "api/san_suffixes.c")
	library("idn2.h", "api/san_host.c")
	library("unictype.h", "")
	library("systemd/sd-", "systemd/")
}

function library(prefix, where)
{
	libraries[prefix] = where
}

function folder_of(path)
{
	if (!match(path, /\/[^\/]*$/))
		return ""
	return substr(path, 1, RSTART - 1)
}

function complain(text)
{
	printf "%s:%d: %s\n", FILENAME, FNR, text
}

function in_words(word, words)
{
	return index(" " words " ", " " word " ") > 0
}

function check_own(header, folder, to)
{
	to = folder_of(header)
	if (to == "") {
		if (!(header in generated) || folder != generated[header])
			complain("\"" header "\" is included without its folder")
		return
	}
	if (!in_words(to, may[folder]) && !(FILENAME in may_also && may_also[FILENAME] == header))
		complain(folder "/ may not include \"" header "\"")
	else if (FILENAME in may_not && may_not[FILENAME] == header)
		complain("\"" header "\" is what this file is to know nothing of")
	else if (index(folder "/", "hsm/signer/") == 1 && header == "hsm/hsm.h")
		complain("the signer is the other end of \"" header "\"")
}

function check_library(header, prefix, places, n, i)
{
	for (prefix in libraries) {
		if (index(header, prefix) != 1)
			continue
		n = split(libraries[prefix], places, " ")
		for (i = 1; i <= n; i++)
			if (FILENAME == places[i] || (places[i] ~ /\/$/ && index(FILENAME, places[i]) == 1))
				return
		complain("<" header "> may be included by " (n ? libraries[prefix] : "nobody") " only")
		return
	}
}

/^[ \t]*#[ \t]*include[ \t]*[<"]/ {
	folder = folder_of(FILENAME)
	if (!(folder in may))
		next
	header = $0
	sub(/^[ \t]*#[ \t]*include[ \t]*/, "", header)
	quote = substr(header, 1, 1)
	header = substr(header, 2)
	sub(/[>"].*$/, "", header)
	check_library(header)
	if (quote == "\"")
		check_own(header, folder)
}
