"""tools/lint.sh finds what it is for: breaks are planted one by one in a copy of the tree."""
# run: seconds=16
import pathlib
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
    ("layers", "hsm/signer/csr/csr_build.c", '#include "hsm/signer/token/session.h"\n', "hsm/signer/csr/ may not include"),
    ("layers", "hsm/signer/csr/csr_verify.c", '#include "hsm/signer/csr/csr_build.h"\n', "is to know nothing of"),
    ("layers", "hsm/signer/key/key.c", '#include "hsm/signer/serve/job.h"\n', "hsm/signer/key/ may not include"),
    ("layers", "hsm/signer/serve/worker.c", "#include <p11-kit/pkcs11.h>\n", "<p11-kit/pkcs11.h>"),
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
    ("text", "base/buf.c", "int a; \n", "trailing blank"),
    ("text", "base/buf.c", "/* " + "long " * 30 + "*/\n", "columns, at most 110"),
    ("text", "base/buf.c", "/* see /" + "work/ */\n", "is not for this tree"),
    ("shell", "tools/lint.sh", "rm -rf $1/*\n", "tools/lint.sh"),
    ("python", "tests/run.py", "def broken(:\n", "tests/run.py"),
    ("headers", "base/err.h", "struct err_extra { size_t n; };\n", "base/err.h"),
]
# These look like breaks and are none.
FINE = [
    ("banned", "base/buf.c", '/* strcpy(a, b) */ const char *f = "strcpy(a, b)"; // fork()\n'),
    ("banned", "base/buf.c", "int f(struct x *x) { return x->system(1) + my_fork(2); }\n"),
    ("layers", "tests/unit/planted.c", "#include <sqlite3.h>\n"),
    ("layers", "daemon/main.c", "#include <event2/event.h>\n"),
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

    def planted(self, name, text, checks):
        path = pathlib.Path(self.tree / name)
        before = path.read_bytes() if path.exists() else None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((before or b"") + text.encode())
        try:
            return self.lint(checks)
        finally:
            path.write_bytes(before) if before is not None else path.unlink()

    def test_clean(self):
        done = self.lint("layers banned text shell python headers")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_breaks(self):
        for checks, name, text, said in BREAKS:
            with self.subTest(name, text=text):
                self.assertTrue((self.tree / name).exists())
                done = self.planted(name, text, checks)
                self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
                lines = [line for line in done.stdout.splitlines() if name in line]
                self.assertTrue(any(said in line for line in lines), done.stdout)

    def test_fine(self):
        for checks, name, text in FINE:
            with self.subTest(name, text=text):
                done = self.planted(name, text, checks)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_wrong_usage(self):
        self.assertEqual(self.lint("no-such-check").returncode, 2)


if __name__ == "__main__":
    unittest.main()
