# Functions that are not called here, each with its reason.  Comments, strings
# and character constants do not count.  Tests may call what only the product
# may not.  Prints "FILE:LINE: what is wrong".

BEGIN {
	everywhere("gets", "has no bound")
	everywhere("strtok", "keeps state: use strtok_r or a scan of your own")
	everywhere("atoi atol atoll atof", "has no error: use the parsers of base/str.h")
	everywhere("alloca", "takes stack without a bound")
	everywhere("tmpnam tempnam mktemp", "races: use mkstemp")
	everywhere("asctime ctime gmtime localtime", "shares a static result: use base/clock.h or the _r form")
	everywhere("X509V3_EXT_conf X509V3_EXT_conf_nid X509V3_EXT_nconf X509V3_EXT_nconf_nid X509V3_EXT_add_conf",
		"reads a config text that names can inject into: build GENERAL_NAMEs")
	everywhere("PKCS11_generate_key", "ignores its algorithm and template: use C_GenerateKeyPair")
	everywhere("PKCS11_enumerate_keys PKCS11_open_session", "locks up or moves handles: use the function list")
	everywhere("json_tokener_parse json_tokener_parse_ex json_tokener_parse_verbose json_object_from_file",
		"judges JSON in another way in each release: use json_read")
	permitted("json_tokener_parse_ex", "tests/fuzz/json_fuzz.c") # which compares
	product("strcpy strcat stpcpy sprintf vsprintf", "has no bound: use struct buf or snprintf")
	product("strncpy strncat", "may leave no NUL: use struct buf, snprintf or memcpy")
	product("system popen fork vfork", "starts a process: a loaded PKCS#11 module does not survive it")
	permitted("fork", "cli/cmd_backup.c") # csrctl loads no module
	product("rand srand random srandom drand48", "is no source of secrets: use base/random.h")
	product("getrandom getentropy arc4random RAND_bytes RAND_priv_bytes uuid_generate uuid_generate_random",
		"may wait, fall short or fall back: use base/random.h")
	permitted("getrandom", "base/random.c")
	product("longjmp setjmp", "leaves cleanup behind")
	product("hsm_destroy_key", "ends a key without its row: use api/settle.h")
	permitted("hsm_destroy_key", "hsm/hsm.h")
	permitted("hsm_destroy_key", "hsm/hsm.c")
	permitted("hsm_destroy_key", "api/settle.c")
	product("store_csr_move store_csr_failed store_csr_leftover", "ends a row without its key: use api/settle.h")
	permitted("store_csr_move", "store/store.h")
	permitted("store_csr_move", "store/csr.c")
	permitted("store_csr_move", "api/settle.c")
	permitted("store_csr_failed", "store/store.h")
	permitted("store_csr_failed", "store/csr.c")
	permitted("store_csr_failed", "api/settle.c")
	permitted("store_csr_leftover", "store/store.h")
	permitted("store_csr_leftover", "store/csr.c")
	permitted("store_csr_leftover", "api/settle.c")
	product("pthread_create", "takes signals that are another thread's: use thread_start")
	permitted("pthread_create", "base/thread.c")
	permitted("pthread_create", "hsm/signer/") # whose threads run a module, which may start programs
	product("pthread_cond_timedwait pthread_condattr_setclock",
		"moves with the clock on the wall: use thread_cond_wait_until")
	permitted("pthread_cond_timedwait", "base/thread.c")
	permitted("pthread_condattr_setclock", "base/thread.c")
	columns = "sqlite3_column_int sqlite3_column_int64 sqlite3_column_text sqlite3_column_blob"
	product(columns, "reads a column by its number: use sql_int, or sqlite_file_number, and the like")
	permitted("sqlite3_column_int64", "store/sqlite/sqlite.c") # where names become numbers
	permitted("sqlite3_column_text", "store/sqlite/sqlite.c")
	permitted("sqlite3_column_blob", "store/sqlite/sqlite.c")
	permitted("sqlite3_column_int64", "store/sqlite/sqlite_file.c")
	permitted("sqlite3_column_text", "store/sqlite/sqlite_file.c")
	permitted("sqlite3_column_text", "store/sqlite/sqlite_open.c") # of pragmas, which have one
}

function everywhere(names, why, n, list, i)
{
	n = split(names, list, " ")
	for (i = 1; i <= n; i++)
		reason[list[i]] = why
}

function product(names, why, n, list, i)
{
	n = split(names, list, " ")
	for (i = 1; i <= n; i++)
		reason_product[list[i]] = why
}

# A folder ends in '/'.
function permitted(name, where)
{
	exception[where, name] = 1
}

function is_permitted(name, part)
{
	part = FILENAME
	while (part != "") {
		if ((part, name) in exception)
			return 1
		if (!match(part, /[^\/]*\/?$/))
			break
		part = substr(part, 1, RSTART - 1)
	}
	return 0
}

FNR == 1 {
	in_comment = 0
	is_test = FILENAME ~ /^(tests|bench)\//
}

# The line without comments and with literals emptied.
function bare(line, out, c, two, quote)
{
	out = ""
	while (line != "") {
		two = substr(line, 1, 2)
		c = substr(line, 1, 1)
		if (in_comment) {
			if (!match(line, /\*\//))
				return out
			line = substr(line, RSTART + 2)
			in_comment = 0
		} else if (two == "/*") {
			in_comment = 1
			line = substr(line, 3)
		} else if (two == "//") {
			return out
		} else if (c == "\"" || c == "'") {
			quote = c
			line = substr(line, 2)
			while (line != "" && substr(line, 1, 1) != quote)
				line = substr(line, substr(line, 1, 1) == "\\" ? 3 : 2)
			line = substr(line, 2)
			out = out quote quote
		} else if (match(line, /^[^\/"']+/)) {
			out = out substr(line, 1, RLENGTH)
			line = substr(line, RLENGTH + 1)
		} else {
			out = out c
			line = substr(line, 2)
		}
	}
	return out
}

{
	text = bare($0)
	while (match(text, /[A-Za-z_][A-Za-z_0-9]*[ \t]*\(/)) {
		name = substr(text, RSTART, RLENGTH)
		before = RSTART > 1 ? substr(text, RSTART - 1, 1) : ""
		text = substr(text, RSTART + RLENGTH)
		sub(/[ \t]*\($/, "", name)
		if (before ~ /[.>0-9]/)
			continue # a member, not the function
		if (name in reason && !is_permitted(name))
			printf "%s:%d: %s() %s\n", FILENAME, FNR, name, reason[name]
		else if (!is_test && (name in reason_product) && !is_permitted(name))
			printf "%s:%d: %s() %s\n", FILENAME, FNR, name, reason_product[name]
	}
}
