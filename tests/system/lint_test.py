"""tools/lint.sh finds what it is for: breaks are planted in a copy of the tree."""
# run: seconds=20
import shutil
import subprocess
import unittest

import harness

# (checks, file, text to append, what lint must say)
BREAKS = [
    ("layers", "api/route.c", "#include <event2/http.h>\n", "<event2/http.h>"),
    ("layers", "api/route.c", "#include <sqlite3.h>\n", "<sqlite3.h>"),
    ("layers", "api/route.c", '#include "daemon/http.h"\n', "api/ may not include"),
    ("layers", "base/buf.c", '#include "config/config.h"\n', "base/ may not include"),
    ("layers", "hsm/hsm.c", '#include "hsm/signer/key/key.h"\n', "hsm/ may not include"),
    ("layers", "hsm/wire.c", '#include "store/store.h"\n', "hsm/ may not include"),
    ("layers", "store/store.c", '#include "hsm/hsm.h"\n', "store/ may not include"),
    ("layers", "hsm/signer/key/key.c", '#  include "hsm/hsm.h"\n', "the signer is the other end"),
    ("layers", "hsm/signer/token/object.c", '#include "hsm/signer/key/probe.h"\n', "hsm/signer/token/ may not include"),
    ("layers", "hsm/signer/token/session.c", '#include "hsm/signer/key/key_map.h"\n', "hsm/signer/token/ may not include"),
    ("layers", "hsm/signer/token/session.c", '#include "hsm/signer/journal/journal.h"\n', "hsm/signer/token/ may not include"),
    ("layers", "hsm/signer/key/inventory.c", '#include "hsm/signer/stock/stock.h"\n', "hsm/signer/key/ may not include"),
    ("layers", "hsm/signer/csr/csr_build.c", '#include "hsm/signer/token/session.h"\n', "hsm/signer/csr/ may not include"),
    ("layers", "hsm/signer/csr/csr_verify.c", '#include "hsm/signer/csr/csr_build.h"\n', "is to know nothing of"),
    ("layers", "hsm/signer/key/key.c", '#include "hsm/signer/serve/job.h"\n', "hsm/signer/key/ may not include"),
    ("layers", "hsm/signer/serve/workers.c", "#include <p11-kit/pkcs11.h>\n", "<p11-kit/pkcs11.h>"),
    ("layers", "daemon/main.c", "#include <p11-kit/pkcs11.h>\n", "<p11-kit/pkcs11.h>"),
    ("layers", "hsm/signer/key/key.c", "#include <libp11.h>\n", "<libp11.h>"),
    ("layers", "store/store.c", "#include <sqlite3.h>\n", "<sqlite3.h>"),
    ("layers", "api/route.c", "#include <json-c/json.h>\n", "<json-c/json.h>"),
    ("layers", "api/validate.c", "#include <idn2.h>\n", "<idn2.h>"),
    ("layers", "base/utf8.c", "#include <unictype.h>\n", "<unictype.h>"),
    ("layers", "api/validate.c", '#include "utf8_class.inc"\n', "without its folder"),
    ("banned", "base/buf.c", "void f(char *a, const char *b) { strcpy(a, b); }\n", "strcpy()"),
    ("banned", "hsm/signer/key/key.c", "int f(void) { return fork (); }\n", "fork()"),
    ("banned", "api/json.c", "void *f(const char *a) { return json_tokener_parse(a); }\n", "json_tokener_parse()"),
    ("banned", "hsm/signer/csr/csr_build.c", "int f(void) { return X509V3_EXT_conf_nid(0, 0, 0, 0) != 0; }\n",
     "X509V3_EXT_conf_nid()"),
    ("banned", "api/route.c", "long f(void *p) { return getrandom(p, 8, 0); }\n", "getrandom()"),
    ("banned", "api/csr_create.c", "void f(struct hsm *h) { hsm_destroy_key(h, 0, 0, 0, 0); }\n", "hsm_destroy_key()"),
    ("banned", "daemon/main.c", "void f(struct hsm *h) { hsm_destroy_key(h, 0, 0, 0, 0); }\n", "hsm_destroy_key()"),
    ("banned", "cli/cmd_csr_delete.c", "void f(struct store *s) { store_csr_move(s, 0, 0, 0); }\n", "store_csr_move()"),
    ("banned", "api/reconcile.c", "void f(struct store *s) { store_csr_leftover(s, 0, 0, 0, 0, 0); }\n",
     "store_csr_leftover()"),
    ("banned", "daemon/reload.c", "int f(void) { return pthread_create(0, 0, 0, 0); }\n", "pthread_create()"),
    ("banned", "base/fd.c", "int f(void) { return pthread_cond_timedwait(0, 0, 0); }\n", "pthread_cond_timedwait()"),
    ("banned", "store/sqlite/sqlite_check.c", "int f(sqlite3_stmt *row) { return sqlite3_column_int(row, 2); }\n",
     "sqlite3_column_int()"),
    ("text", "base/buf.c", "int a; \n", "trailing blank"),
    ("text", "base/buf.c", "/* " + "long " * 30 + "*/\n", "columns, at most 110"),
    ("text", "base/buf.c", "/* see /" + "work/ */\n", "is not for this tree"),
    ("shell", "tools/lint.sh", "rm -rf $1/*\n", "tools/lint.sh"),
    ("python", "tests/run.py", "def broken(:\n", "tests/run.py"),
    ("headers", "base/err.h", "struct err_extra { size_t n; };\n", "base/err.h"),
]
# What tools/lint_dialect.py finds, planted all at once: (file, text to append, what lint must say)
DIALECT_BREAKS = [
    ("base/planted.c", "int planted;\n", "begins with /* SPDX"),
    ("base/buf.c", "int f(char *a)\n{\n\tif (a == NULL)\n\t\treturn 1;\n\treturn 0;\n}\n", "'a == NULL' is '!x'"),
    ("base/str.c", "int f(char *a)\n{\n\treturn a != NULL && *a;\n}\n", "'a != NULL' is 'x'"),
    ("base/fd.c", "int f(char *a)\n{\n\twhile ((a = g(a)) != NULL)\n\t\th(a);\n}\n", "NULL' is 'x'"),
    ("base/csr.c", "int f(void)\n{\n\tenum err e = g();\n\n\tif (e)\n\t\treturn 1;\n\treturn 0;\n}\n", "'e': an enum err"),
    ("base/key.c", "int f(void)\n{\n\treturn !number_parse(\"1\", 1, NULL);\n}\n", "an enum err is compared: '== E_OK'"),
    ("base/random.c", "int f(void)\n{\n\tenum err e;\n\n\treturn g() && (e = h()) ? 1 : 2;\n}\n", "'(e = …)': an enum err"),
    ("base/log.c", "struct planted planted = {};\n", "'{}' is not C"),
    ("base/clock.c", "void f(void)\n{\n\tstruct tm t;\n\n\tmemset(&t, 0, sizeof(t));\n}\n", "'t' is declared and then cleared"),
    ("api/page.c", "static void planted(void)\n{\n}\n", "planted() is in api/route.c too"),
    ("api/route.c", "static void planted(void)\n{\n}\n", "planted() is in api/page.c too"),
    ("api/reply.c", "void planted_long(void)\n{\n" + "\tg();\n" * 81 + "}\n", "planted_long() has 81 lines, at most 80"),
    ("api/reply.h", "void planted_wide(int a, int b, int c, int d, int e, int f);\n", "planted_wide() has 6 parameters"),
    ("base/uuid.c", "struct planted {\n\tint n;\n\tstruct planted *next;\n};\n", "a list of one's own"),
    ("api/auth.c", '#include "store/call.h"\n', '"store/call.h" is private to store/'),
    ("daemon/http.c", '#include "daemon/conn_private.h"\n', "is private to conn.c and conn_host.c and conn_set.c"),
    ("base/attr.h", "/* Private to the base. */\n", "private to what?"),
]
# These look like breaks and are none.
FINE = [
    ("banned", "base/buf.c", '/* strcpy(a, b) */ const char *f = "strcpy(a, b)"; // fork()\n'),
    ("banned", "base/buf.c", "int f(struct x *x) { return x->system(1) + my_fork(2); }\n"),
    ("layers", "tests/unit/planted.c", "#include <sqlite3.h>\n"),
    ("layers", "daemon/main.c", "#include <event2/event.h>\n"),
    ("dialect", "base/buf.c", "bool f(char *a)\n{\n\treturn a != NULL;\n}\n"),
    ("dialect", "base/buf.c", "/* if (a == NULL) */\nconst char *f = \"a == NULL\";\n"),
    ("dialect", "base/buf.c", "int f(int e)\n{\n\tif (e)\n\t\treturn 1;\n\treturn 0;\n}\n"),
    ("dialect", "api/page.c", "void f(void)\n{\n" + "\tg();\n" * 80 + "}\n"),
    ("dialect", "api/page.h", "void f(const char *format, int b, int c, int d, int e, ...);\n"),
    ("dialect", "base/buf.c", "struct a {\n\tvoid (*done)(struct a *a);\n\tstruct b *next;\n};\n"),
    ("dialect", "store/sqlite/sqlite.c", '#include "store/call.h"\n'),
]


class LintTest(harness.Case):
    def setUp(self):
        super().setUp()
        self.tree = self.folder / "tree"
        ignore = shutil.ignore_patterns(".git", "build", "run", "node_modules", "__pycache__")
        shutil.copytree(harness.ROOT, self.tree, ignore=ignore)

    def lint(self, checks):
        return subprocess.run(["sh", "tools/lint.sh", *checks.split()], cwd=self.tree, env=harness.clean_environment(),
                              capture_output=True, text=True, timeout=120, check=False)

    def plant(self, breaks):
        """Appends each (file, text); files that are not there yet are made."""
        for name, text in breaks:
            path = self.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(text)

    def restore(self, breaks):
        for name, _ in breaks:
            if (harness.ROOT / name).exists():
                shutil.copy(harness.ROOT / name, self.tree / name)
            else:
                (self.tree / name).unlink()

    def lint_planted(self, checks, breaks):
        self.plant(breaks)
        done = self.lint(checks)
        self.restore(breaks)
        return done

    def test_breaks(self):
        """All that one check is to find is planted at once: many checks of the whole tree take a minute."""
        for checks in {checks: None for checks, *_ in BREAKS}:
            breaks = [(name, text, said) for of, name, text, said in BREAKS if of == checks]
            done = self.lint_planted(checks, [(name, text) for name, text, _ in breaks])
            self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
            for name, text, said in breaks:
                with self.subTest(name, text=text):
                    self.assertTrue((harness.ROOT / name).exists())
                    lines = [line for line in done.stdout.splitlines() if name in line]
                    self.assertTrue(any(said in line for line in lines), done.stdout)

    def test_dialect_breaks(self):
        done = self.lint_planted("dialect", [(name, text) for name, text, _ in DIALECT_BREAKS])
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        for name, text, said in DIALECT_BREAKS:
            with self.subTest(name, text=text):
                lines = [line for line in done.stdout.splitlines() if line.startswith("lint: dialect: %s:" % name)]
                self.assertTrue(any(said in line for line in lines), done.stdout)

    def test_format(self):
        done = self.lint_planted("format", [("base/buf.c", "int f( void ) { return 1; }\n")])
        if " 14." not in subprocess.run(["clang-format", "--version"], capture_output=True, text=True, check=True).stdout:
            self.assertIn("not looked at", done.stderr)  # Debian 13's formats otherwise
            return
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("base/buf.c", done.stdout)

    def test_mend(self):
        path = self.tree / "base" / "buf.c"
        fine = path.read_text() + "\nbool f(char *a)\n{\n\treturn !a || a[0];\n}\n"
        path.write_text(fine.replace("!a ||", "(a == NULL) ||"))
        self.assertEqual(self.lint("--mend").returncode, 0)
        if self.lint("format").stderr == "":
            self.assertEqual(path.read_text().count("return !a || a[0];"), 1)
            self.assertEqual(self.lint("format").returncode, 0)

    def test_fine(self):
        for checks in {checks: None for checks, *_ in FINE}:
            done = self.lint_planted(checks, [(name, text) for of, name, text in FINE if of == checks])
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_wrong_usage(self):
        self.assertEqual(self.lint("no-such-check").returncode, 2)


if __name__ == "__main__":
    unittest.main()
