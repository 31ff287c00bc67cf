#!/usr/bin/python3
"""Measures csrd beside its references, in one run and interleaved, and says which goals hold (doc/bench.md).

    run.py --build build/release [--quick] [--only SECTION,…] [--out build/bench] [--work FOLDER] [--keep]
    run.py --publish [--out build/bench]      the last full run into doc/bench.md and doc/bench.svg

Writes OUT.json, OUT.md and OUT.svg.  Exit status: 0 every row was measured or is not available, 1 some row could not
be measured, 2 wrong usage.  A missed goal is said in the table and changes nothing of the exit status, unless --strict.
"""
import argparse
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parent.parent
HERE = ROOT / "bench"

SUBJECT = {"country": "US", "state": "California", "locality": "San Francisco", "organization": "Example, Inc.",
           "common_name": "example.com", "sans": ["example.com", "www.example.com"]}
NO_POOL = "not available: this csrd has no key pool"
MIB = 1024.0
PER_PAGE = 50  # of an account


# ---- how long -------------------------------------------------------------------------------


class Plan:
    """Rounds and seconds of one round, for the whole and for the quick run."""

    def __init__(self, quick):
        self.quick = quick
        self.rounds = 1 if quick else 5
        self.few_rounds = 1 if quick else 3
        self.rsa_seconds = 3 if quick else 12  # about 100 keys a round: their times differ widely
        self.p256_seconds = 1 if quick else 2.5
        self.http_seconds = 1 if quick else 2
        self.rows = [1000, 10000] if quick else [1000, 10000, 100000, 1000000]
        self.walk_rows = 10000 if quick else 100000
        self.keys = [0, 300] if quick else [0, 1000, 2500, 5000, 10000]
        self.creates = 60 if quick else 120
        self.by_hand = 3 if quick else 8
        self.pool = {"pool_rsa2048": 40, "pool_p256v1": 200} if quick else {"pool_rsa2048": 250, "pool_p256v1": 1200}
        self.pool_far = {"pool_p256v1": 60}
        # Never more than the pool holds: what is measured is a warm one.
        self.pool_one = 10 if quick else 40
        self.pool_burst = {"rsa2048": 25, "p256v1": 180} if quick else {"rsa2048": 220, "p256v1": 1000}


# ---- rows of the table ------------------------------------------------------------------------


class Row:
    """One line of the table.

    kind  rate     ratio = ours / reference, the goal is a least ratio
          times    ratio = reference / ours (of two times), the goal is a least ratio
          within   ratio = ours / reference (of two times), the goal is a greatest ratio
          least    no reference, the goal is a least value
          most     no reference, the goal is a greatest value
    """

    def __init__(self, section, name, unit, kind, goal=None, goal_text=None):
        self.section, self.name, self.unit, self.kind, self.goal = section, name, unit, kind, goal
        self.goal_text = goal_text or self.default_goal_text()
        self.clear()

    def clear(self, note="not run"):
        self.ours = self.reference = self.ratio = self.met = None
        self.rounds = {}
        self.note = note
        self.failed = False

    def default_goal_text(self):
        if self.goal is None:
            return "none"
        number = "{:,g}".format(self.goal)
        return {"rate": "≥ %s ×", "times": "≥ %s ×", "within": "≤ %s ×", "least": "≥ %s", "most": "≤ %s"}[self.kind] % number

    def set(self, ours, reference=None, note=""):
        """Values of the rounds: numbers or lists of numbers, whose medians count."""
        self.rounds = {name: list(values) if isinstance(values, (list, tuple)) else [values]
                       for name, values in (("ours", ours), ("reference", reference)) if values is not None}
        self.ours = statistics.median(self.rounds["ours"])
        self.reference = statistics.median(self.rounds["reference"]) if reference is not None else None
        self.note = note
        if self.reference is not None:
            top, bottom = (self.reference, self.ours) if self.kind == "times" else (self.ours, self.reference)
            self.ratio = top / bottom if bottom else None
        judged = self.ours if self.kind in ("least", "most") else self.ratio
        if self.goal is not None and judged is not None:
            self.met = judged <= self.goal if self.kind in ("within", "most") else judged >= self.goal

    def verdict(self):
        if self.ours is None:
            return self.note
        if self.met is None:
            return self.note
        return ("holds" if self.met else "MISSED") + (", " + self.note if self.note else "")

    def as_json(self):
        return {"name": self.name, "ours": self.ours, "reference": self.reference, "unit": self.unit, "ratio": self.ratio,
                "goal": self.goal_text, "met": self.met, "note": self.note, "rounds": self.rounds}


ROWS = {
    "rsa4": Row("rsa", "create rsa2048, no pool, 4 threads", "CSR/s", "rate", 0.95, "≥ 0.95 × raw"),
    "p256_4": Row("p256", "create p256v1, no pool, 4 threads", "CSR/s", "rate", 0.92, "≥ 0.92 × raw"),
    "p256_8": Row("p256", "create p256v1, no pool, 8 threads", "CSR/s", "rate", 0.92, "≥ 0.92 × raw"),
    "pool_p50": Row("pool", "create rsa2048, warm pool, one caller, p50", "ms", "most", 1.5),
    "pool_times": Row("pool", "the same below no pool", "ms", "times", 50),
    "pool_p256": Row("pool", "create p256v1, warm pool, 16 callers", "CSR/s", "rate", 0.60, "≥ 0.60 × raw relabel + sign"),
    "pool_rsa": Row("pool", "create rsa2048, warm pool, 16 callers", "CSR/s", "rate", 0.75, "≥ 0.75 × raw relabel + sign"),
    "far": Row("far", "create p256v1, warm pool, module that takes 2 ms a call, one caller, p50", "ms", "most", 5.5),
    "get": Row("get", "get by id, 16 connections", "req/s", "rate", 0.40, "≥ 0.40 × bare evhttp"),
    "fake": Row("fake", "creates through HTTP and store, fake signer", "CSR/s", "least", 8000),
    "rows_get": Row("rows", "get by id, 10³ → 10⁶ rows, p99", "ms", "within", 1.3),
    "rows_list": Row("rows", "first list page, 10³ → 10⁶ rows, p99", "ms", "within", 1.3),
    "rows_page": Row("rows", "list page in the middle, far from any that was read, at 10⁶ rows, p99", "ms", "within", 2),
    "walk": Row("walk", "walk of 10⁵ CSRs by the SDK", "s", "most"),
    "walk_page": Row("walk", "the same, last tenth of its pages against the first, p50 of a page", "ms", "within", 1.3),
    "get_busy": Row("fake", "get by id while 16 callers create, p99", "ms", "within", 1.5),
    "keys": Row("keys", "create p256v1, 0 → 10,000 keys on the token, p50", "ms", "within", 1.2),
    "memory_idle": Row("memory", "memory of csrd, idle", "MiB", "most", 20),
    "memory_rows": Row("rows", "memory of csrd at 10⁶ rows", "MiB", "most", 40),
    "memory_peak": Row("rows", "its peak since start, keys of all rows compared", "MiB", "most"),
    "by_hand_rsa": Row("pool", "by-hand way: rsa2048, warm pool, one caller", "CSR/s", "rate", 20),
    "by_hand_p256": Row("by_hand", "by-hand way: p256v1, no pool, 16 callers", "CSR/s", "rate"),
    "cfssl_p256": Row("cfssl", "create p256v1 against cfssl newkey (software keys)", "CSR/s", "rate"),
    "cfssl_rsa": Row("cfssl", "create rsa2048 against cfssl newkey (software keys)", "CSR/s", "rate"),
}


# ---- programs ---------------------------------------------------------------------------------


def say(text):
    print("bench: " + text, file=sys.stderr, flush=True)


class Case:
    """What harness.Service wants of a test."""

    def __init__(self):
        self.processes = []

    def assertEqual(self, left, right, what=""):  # the name is unittest's
        if left != right:
            raise AssertionError("%s is not %s: %s" % (left, right, what))

    def end_all(self):
        for process in reversed(self.processes):
            process.kill()
        self.processes = []


def status_mib(pid, field):
    """A size of /proc/PID/status, VmRSS or VmHWM."""
    text = pathlib.Path("/proc/%d/status" % pid).read_text(encoding="ascii")
    return int(re.search(r"^%s:\s+(\d+) kB" % field, text, re.M).group(1)) / MIB


def cpu_seconds(pid):
    fields = pathlib.Path("/proc/%d/stat" % pid).read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_quiet(process, seconds=120):
    """Until it uses next to no processor time: what it does at its start, or to fill its pool, is over."""
    deadline = time.monotonic() + seconds
    before = cpu_seconds(process.pid) - 1
    while cpu_seconds(process.pid) - before > 0.015:
        if time.monotonic() > deadline:
            raise AssertionError("'%s' is still at work after %d s" % (process.name, seconds))
        before = cpu_seconds(process.pid)
        time.sleep(0.5)


class Bench:
    """The programs under measurement, and the folder that they work in."""

    def __init__(self, given, harness):
        self.harness = harness
        self.plan = Plan(given.quick)
        self.build = pathlib.Path(given.build).resolve()
        self.case = Case()
        work = pathlib.Path(given.work or self.build.parent).resolve()
        work.mkdir(parents=True, exist_ok=True)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir=work))
        self.sockets = pathlib.Path(tempfile.mkdtemp(prefix="csrd-bench-"))  # a socket's path must be short
        self.made = 0
        self.plot = {"keys": [], "rows": []}
        self.bodies = {kind: self.write("body.%s" % kind, json.dumps({**SUBJECT, "key_type": kind, "name": "bench"}))
                       for kind in ("rsa2048", "p256v1")}

    def close(self, keep):
        self.case.end_all()
        shutil.rmtree(self.sockets, ignore_errors=True)
        if keep:
            say("the work folder is %s" % self.folder)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def new_folder(self, name):
        self.made += 1
        folder = self.folder / ("%03d-%s" % (self.made, name))
        folder.mkdir()
        return folder

    def settings(self, folder, threads=4, **token):
        # request_timeout: with a slow token a create of many callers waits long
        return {"log": {"level": "info"}, "http": {"request_timeout": "120s"},
                "token default": {"threads": threads, "socket": self.sockets / (folder.name + ".sock"), **token}}

    def service(self, name, threads=4, **token):
        """A fresh token and store, and csrd and csrd-hsm over them, ready."""
        service = self.prepare(name, threads, **token)
        service.start()
        return service

    def prepare(self, name, threads=4, populate=True, **token):
        folder = self.new_folder(name)
        service = self.harness.Service(self.case, folder, folder, self.settings(folder, threads, **token), populate)
        if populate:
            self.write_token(service)
        return service

    def write_token(self, service):
        service.token_path = service.folder / "api-token"
        service.token_path.write_text(service.token, encoding="ascii")

    def spawn(self, name, *command):
        folder = self.new_folder(name)
        process = self.harness.Process(command, folder / "log", self.harness.clean_environment(), cwd=folder)
        self.case.processes.append(process)
        return process

    def start_on_fake(self, service, keys=None):
        """csrd over the fake signer instead of csrd-hsm."""
        socket = service.settings["token default"]["socket"]
        more = ["--keys", keys] if keys else []
        fake = self.spawn("fake", self.build / "bench" / "fake_signer", "--socket", socket, "--der", self.der(), *more)
        fake.wait_log("listening")
        service.fake = fake
        service.start_csrd()
        service.wait_ready(seconds=120)
        return service

    def der(self):
        """One well-formed request for the fake signer to answer with."""
        path = self.folder / "canned.der"
        if not path.exists():
            key, pem = self.folder / "canned.key", self.folder / "canned.pem"
            self.harness.run(["openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", key])
            self.harness.run(["openssl", "req", "-new", "-key", key, "-subj", SUBJECT_TEXT, "-addext", NAMES_TEXT, "-out",
                              pem])
            self.harness.run(["openssl", "req", "-in", pem, "-outform", "DER", "-out", path])
        return path

    def pem(self):
        self.der()
        return self.folder / "canned.pem"

    def stop(self, *services):
        """The folders stay until the end of the run: while ext4 still sees inodes as deleted a moment ago, it takes several
        times as long to make a file, and the next to be measured, ours or the reference, would pay for that."""
        for service in services:
            for process in (service.csrd, service.hsm, getattr(service, "fake", None)):
                if process:
                    process.popen.terminate()
                    process.wait()

    # -- one measurement

    def program(self, name, *arguments, env=None, timeout=600):
        done = self.harness.run([self.build / "bench" / name, *map(str, arguments)], timeout=timeout,
                                env=env or self.harness.clean_environment())
        return json.loads(done.stdout)

    def http(self, port, path, *arguments):
        result = self.program("http_load", "--port", port, "--path", path, *arguments)
        if result["unexpected"]:
            raise AssertionError("%d answers were not as expected, the first with status %d" %
                                 (result["unexpected"], result["first_unexpected"]))
        if not result["count"]:
            raise AssertionError("no answer came in time")
        return result

    def load(self, service, kind, connections, *arguments):
        """kind: get, list (with what stands behind the path), or a key type to create."""
        path = "/client/v4" + service.scope_path()
        arguments = ["--token-file", service.token_path, "--connections", connections, *arguments]
        if kind == "get":
            return self.http(service.address[1], path + "/%", *arguments)
        if kind.startswith("list"):
            return self.http(service.address[1], path + kind.removeprefix("list"), *arguments)
        return self.http(service.address[1], path, "--method", "POST", "--body", self.bodies[kind], "--expect", 201,
                         *arguments)

    def load_for(self, service, kind, connections, seconds, *arguments):
        before = [cpu_seconds(p.pid) for p in (service.csrd, service.hsm) if p]
        result = self.load(service, kind, connections, "--seconds", seconds, "--warm-up", min(0.5, seconds / 4), *arguments)
        after = [cpu_seconds(p.pid) for p in (service.csrd, service.hsm) if p]
        say("    %s, %d connections: %.0f/s, p50 %.2f ms, p99 %.2f ms; processor ms a request: %s, load %.3f" % (
            kind, connections, result["rate"], result["p50_us"] / 1e3, result["p99_us"] / 1e3,
            ", ".join("%s %.3f" % (name, (b - a) * 1e3 / (result["rate"] * (seconds + min(0.5, seconds / 4))))
                      for name, a, b in zip(("csrd", "csrd-hsm"), before, after)),
            result["cpu_seconds"] * 1e3 / result["count"]))
        return result

    def raw(self, *arguments):
        """raw_p11 on a fresh token."""
        folder = self.new_folder("raw")
        token = self.harness.Token(folder)
        pin = folder / "pin"
        pin.write_text(token.PIN, encoding="ascii")
        result = self.program("raw_p11", "--module", token.module, "--token", token.label, "--pin-file", pin, *arguments,
                              env=self.harness.clean_environment(**token.environment))
        given = dict(zip(arguments[::2], arguments[1::2]))
        say("    raw %s: %.1f/s, p50 %.2f ms; processor ms each: %.3f" % (
            " ".join(map(str, arguments[1:])), result["rate"], result["p50_us"] / 1e3,
            result["loop_cpu_seconds"] * 1e3 / (result["rate"] * (given["--seconds"] + given["--warm-up"]))))
        return result["rate"]


SUBJECT_TEXT = "/C=US/ST=California/L=San Francisco/O=Example, Inc./CN=example.com"
NAMES_TEXT = "subjectAltName=DNS:example.com,DNS:www.example.com"


def interleave(rounds, ours, reference):
    """Calls both once a round, the other one first each time; two lists."""
    results = ([], [])
    for number in range(rounds):
        order = [(0, ours), (1, reference)]
        for index, function in order if number % 2 == 0 else reversed(order):
            results[index].append(function())
    return results


# ---- sections: each fills its rows ------------------------------------------------------------------


def fresh_create_rate(bench, kind, threads, seconds):
    """Of a service that is not used before or after: tokens get slower as they fill."""
    service = bench.service("create", threads)
    rate = bench.load_for(service, kind, 16, seconds)["rate"]
    bench.stop(service)
    return rate


def create_rows(bench, key, kind, threads, rounds, seconds):
    ours, reference = interleave(
        rounds, lambda: fresh_create_rate(bench, kind, threads, seconds),
        lambda: bench.raw("--mode", "pair", "--key", kind, "--threads", threads, "--seconds", seconds, "--warm-up",
                          min(0.5, seconds / 4)))
    ROWS[key].set(ours, reference)


def section_rsa(bench):
    create_rows(bench, "rsa4", "rsa2048", 4, bench.plan.rounds, bench.plan.rsa_seconds)


def section_p256(bench):
    create_rows(bench, "p256_4", "p256v1", 4, bench.plan.rounds, bench.plan.p256_seconds)
    create_rows(bench, "p256_8", "p256v1", 8, bench.plan.rounds, bench.plan.p256_seconds)


def has_pool(bench):
    """Does the configuration take the options of a pool?"""
    service = bench.prepare("try", populate=False, **bench.plan.pool)
    done = subprocess.run([bench.harness.BIN / "csrd", "-c", service.config_path, "-t"], capture_output=True, check=False)
    return done.returncode == 0


def wait_warm(bench, service, seconds=180):
    """Until the signer says that all its pools are full.  Another process is not to look at the token meanwhile: SoftHSM
    reads again what another one may have changed."""
    def ready():
        levels = service.csrctl("status")["tokens"][0]["pool"]
        return levels and all(level["ready"] >= level["target"] for level in levels)
    bench.harness.wait_for("full pools", ready, seconds, every=1)
    wait_quiet(service.hsm, seconds)


def section_pool(bench):
    if not has_pool(bench):
        for row in ROWS.values():
            if row.section == "pool":
                row.note = NO_POOL
        return
    plan = bench.plan
    cold = bench.service("cold")
    cold_ms = [bench.load(cold, "rsa2048", 1, "--requests", 8 if plan.quick else 25)["p50_us"] / 1e3]
    bench.stop(cold)
    service = bench.service("pool", **plan.pool)
    warm_ms, ours, raw, warm_rate = [], {"rsa2048": [], "p256v1": []}, {"rsa2048": [], "p256v1": []}, []
    # Nothing is measured while the pool fills up again, the raw loop neither.
    for _ in range(plan.few_rounds):
        wait_warm(bench, service)
        one = bench.load(service, "rsa2048", 1, "--requests", plan.pool_one)
        warm_ms.append(one["p50_us"] / 1e3)
        warm_rate.append(one["rate"])
        for kind, requests in plan.pool_burst.items():
            wait_warm(bench, service)
            raw[kind].append(bench.raw("--mode", "ready", "--key", kind, "--threads", 4, "--keys", 8, "--seconds", 1,
                                       "--warm-up", 0.2))
            ours[kind].append(bench.load(service, kind, 16, "--requests", requests)["rate"])
    bench.stop(service)
    ROWS["pool_p50"].set(warm_ms)
    ROWS["pool_times"].set(warm_ms, cold_ms)
    ROWS["pool_rsa"].set(ours["rsa2048"], raw["rsa2048"])
    ROWS["pool_p256"].set(ours["p256v1"], raw["p256v1"])
    ROWS["by_hand_rsa"].set(warm_rate, [by_hand_rate(bench, "rsa:2048")])


def section_far(bench):
    """An HSM behind a network: SoftHSM, and 2 ms more for each call that has a session."""
    plan = bench.plan
    service = bench.prepare("far", **plan.pool_far)
    rules = service.folder / "rules"
    rules.write_text("answer-after 2ms\n", encoding="ascii")
    shim = {"P11SHIM_MODULE": service.p11.module, "P11SHIM_RULES": str(rules), "P11SHIM_TRACE": "/dev/null",
            "P11SHIM_STATE": str(service.folder / "shim-state")}
    service.settings["token default"]["module"] = bench.build / "tests" / "p11shim.so"
    service.write_config()
    plain = service.environment
    service.environment = lambda program=None: {**plain(program), **shim}
    service.start()
    times = []
    for _ in range(plan.few_rounds):
        wait_warm(bench, service)
        times.append(bench.load(service, "p256v1", 1, "--requests", plan.pool_one)["p50_us"] / 1e3)
    bench.stop(service)
    ROWS["far"].set(times)


def section_get(bench):
    service = bench.start_on_fake(bench.prepare("get"))
    ids = service.folder / "ids"
    bench.load(service, "p256v1", 16, "--requests", 1000, "--save-ids", ids)
    first = ids.read_text(encoding="ascii").split()[0]
    size = len(service.get(first).body)
    bare = bench.spawn("bare", bench.build / "bench" / "bare_evhttp", "--body-bytes", str(size))
    port = int(bare.wait_log(r"listening (\d+)").group(1))
    seconds = bench.plan.http_seconds
    ours, reference = interleave(
        bench.plan.rounds, lambda: bench.load_for(service, "get", 16, seconds, "--ids", ids)["rate"],
        lambda: bench.http(port, "/", "--connections", 16, "--seconds", seconds, "--warm-up", 0.3)["rate"])
    bare.kill()
    bench.stop(service)
    ROWS["get"].set(ours, reference)


def section_fake(bench):
    rates, alone, busy = [], [], []
    seconds = bench.plan.http_seconds
    for _ in range(bench.plan.rounds):
        service = bench.start_on_fake(bench.prepare("fake"))
        ids = service.folder / "ids"
        bench.load(service, "p256v1", 16, "--requests", 200, "--save-ids", ids)
        alone.append(bench.load_for(service, "get", 1, seconds, "--ids", ids)["p99_us"] / 1e3)
        creates = threading.Thread(target=bench.load, args=(service, "p256v1", 16, "--seconds", seconds + 2))
        creates.start()
        busy.append(bench.load_for(service, "get", 1, seconds, "--ids", ids)["p99_us"] / 1e3)
        creates.join()
        rates.append(bench.load_for(service, "p256v1", 64, seconds)["rate"])
        bench.stop(service)
    ROWS["fake"].set(rates, note="64 callers")
    ROWS["get_busy"].set(busy, alone, note="one caller, with two processors for all")


def fill_store(bench, service, number):
    """Brings the account to that many CSRs; files of their keys and ids."""
    keys, ids = service.folder / ("keys.%d" % number), service.folder / ("ids.%d" % number)
    began = time.monotonic()
    bench.harness.run([sys.executable, HERE / "fill_store.py", service.store_path, service.account, str(number), bench.pem(),
                       "--keys", keys, "--ids", ids], timeout=600)
    say("    %d rows in %.1f s, %.0f MiB" % (number, time.monotonic() - began, service.store_path.stat().st_size / MIB / MIB))
    return keys, ids


def filled_services(bench):
    """One csrd for each number of rows; they differ in nothing else.  The store grows and is copied on its way."""
    services = []
    origin = bench.prepare("rows")
    for number in bench.plan.rows:
        keys, ids = fill_store(bench, origin, number)
        service = bench.prepare("rows-%d" % number, populate=False)
        service.token = origin.token
        bench.write_token(service)
        if number == bench.plan.rows[-1]:
            shutil.move(origin.store_path, service.store_path)
        else:
            shutil.copy(origin.store_path, service.store_path)
        began = time.monotonic()
        bench.start_on_fake(service, keys)
        ready = time.monotonic() - began
        wait_quiet(service.csrd)
        say("    ready after %.1f s, rows and keys compared after %.1f s" % (ready, time.monotonic() - began))
        services.append((number, service, ids))
    return services


def section_rows(bench):
    plan = bench.plan
    services = filled_services(bench)
    most, middle = plan.rows[-1], "list?page=%d" % (plan.rows[-1] // PER_PAGE // 2)
    p99 = {"get": {}, "list": {}, middle: {}}
    bench.load(services[-1][1], middle, 1, "--requests", 1)  # sets the fences
    for _ in range(plan.rounds):
        for number, service, ids in services:
            pages = [(middle, [])] if number == most else []
            for kind, more in [("get", ["--ids", ids]), ("list", []), *pages]:
                took = bench.load_for(service, kind, 4, plan.http_seconds / 2, *more)["p99_us"] / 1e3
                p99[kind].setdefault(number, []).append(took)
    for number, service, _ in services:
        made = bench.load(service, "p256v1", 1, "--requests", plan.creates)
        bench.plot["rows"].append((number, made["p50_us"] / 1e3, made["p99_us"] / 1e3))
    fewest = plan.rows[0]
    note = "" if most == 1000000 else "only to %d rows" % most
    ROWS["rows_get"].set(p99["get"][most], p99["get"][fewest], note)
    ROWS["rows_list"].set(p99["list"][most], p99["list"][fewest], note)
    ROWS["rows_page"].set(p99[middle][most], p99["list"][most], note)
    largest = services[-1][1].csrd
    ROWS["memory_rows"].set(status_mib(largest.pid, "VmRSS"), note=note)
    ROWS["memory_peak"].set(status_mib(largest.pid, "VmHWM"), note=note)
    bench.stop(*[service for _, service, _ in services])
    for _, service, _ in services:  # a few large files
        shutil.rmtree(service.folder, ignore_errors=True)


def install_sdk(bench):
    """The folder that the SDK is in, as for its tests; None: it cannot be had, and the rows say why."""
    import sdk_test  # like harness, it reads CSRD_BIN when it is loaded
    try:
        if not shutil.which("node"):
            raise FileNotFoundError("node is not installed")
        sdk_test.install()
    except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)
        why = "node is not installed" if not shutil.which("node") else "npm cannot install the SDK"
        for row in ROWS.values():
            if row.section == "walk":
                row.note = "not run: " + why
        return None
    shutil.copyfile(HERE / "walk.mjs", sdk_test.INSTALLED / "walk.mjs")
    return sdk_test.INSTALLED


def section_walk(bench):
    sdk = install_sdk(bench)
    if not sdk:
        return
    number = bench.plan.walk_rows
    service = bench.prepare("walk")
    keys, _ = fill_store(bench, service, number)
    bench.start_on_fake(service, keys)
    wait_quiet(service.csrd)
    environment = bench.harness.clean_environment(CSRD_URL=service.url, CSRD_TOKEN=service.token,
                                                  CSRD_ACCOUNT=service.account)
    walks = []
    for _ in range(bench.plan.few_rounds):
        done = bench.harness.run(["node", "walk.mjs", str(number), str(PER_PAGE)], cwd=sdk, env=environment, timeout=600)
        walks.append(json.loads(done.stdout))
        say("    %(pages)d pages in %(seconds).1f s; a page %(start_ms).2f ms at the start, %(end_ms).2f ms at the end" %
            walks[-1])
    bench.stop(service)
    shutil.rmtree(service.folder, ignore_errors=True)  # a few large files
    note = "" if number == 100000 else "only %d" % number
    ROWS["walk"].set([walk["seconds"] for walk in walks], note=note)
    ROWS["walk_page"].set([walk["end_ms"] for walk in walks], [walk["start_ms"] for walk in walks], note)


def section_keys(bench):
    plan = bench.plan
    few, many = bench.service("keys-few"), bench.service("keys-many")
    have = 0
    for number in plan.keys:
        if number > have:
            began = time.monotonic()
            bench.load(many, "p256v1", 16, "--requests", number - have)
            say("    from %d to %d keys in %.1f s" % (have, number, time.monotonic() - began))
        made = bench.load(many, "p256v1", 1, "--requests", plan.creates)
        bench.plot["keys"].append((number, made["p50_us"] / 1e3, made["p99_us"] / 1e3))
        have = number + plan.creates
    ours, reference = interleave(
        plan.rounds, lambda: bench.load(many, "p256v1", 1, "--requests", plan.creates)["p50_us"] / 1e3,
        lambda: bench.load(few, "p256v1", 1, "--requests", plan.creates)["p50_us"] / 1e3)
    ROWS["keys"].set(ours, reference, "" if plan.keys[-1] == 10000 else "only to %d keys" % plan.keys[-1])
    bench.stop(few, many)


def section_memory(bench):
    service = bench.service("idle")
    wait_quiet(service.csrd)
    ROWS["memory_idle"].set(status_mib(service.csrd.pid, "VmRSS"))
    say("    csrd-hsm: %.1f MiB" % status_mib(service.hsm.pid, "VmRSS"))
    bench.stop(service)


def by_hand_rate(bench, key_type):
    """One request after the other with the usual commands, on a fresh token."""
    folder = bench.new_folder("by-hand")
    token = bench.harness.Token(folder, "byhand")
    environment = bench.harness.clean_environment(**token.environment, PKCS11_MODULE_PATH=token.module)
    began = time.monotonic()
    for number in range(bench.plan.by_hand):
        token.tool("--keypairgen", "--key-type", key_type, "--label", "key-%d" % number, "--id", "%02x" % (number + 1))
        key = "pkcs11:token=byhand;object=key-%d;type=private;pin-value=%s" % (number, token.PIN)
        bench.harness.run(["openssl", "req", "-new", "-engine", "pkcs11", "-keyform", "engine", "-key", key, "-subj",
                           SUBJECT_TEXT, "-addext", NAMES_TEXT, "-out", folder / "request.pem"], env=environment)
    rate = bench.plan.by_hand / (time.monotonic() - began)
    bench.harness.run(["openssl", "req", "-in", folder / "request.pem", "-verify", "-noout"])
    say("    by hand, %s: %.1f/s" % (key_type, rate))
    return rate


def section_by_hand(bench):
    ours, reference = interleave(bench.plan.few_rounds,
                                 lambda: fresh_create_rate(bench, "p256v1", 4, bench.plan.p256_seconds),
                                 lambda: by_hand_rate(bench, "EC:prime256v1"))
    ROWS["by_hand_p256"].set(ours, reference, "for comparison")


def start_cfssl(bench):
    port = bench.harness.free_port()
    process = bench.spawn("cfssl", shutil.which("cfssl") or "cfssl", "serve", "-address", "127.0.0.1", "-port", str(port))

    def answers():
        if not process.is_running():
            raise AssertionError("cfssl serve ended\n" + process.tail())
        try:
            bench.harness.http_request(("127.0.0.1", port), "GET", "/", timeout=5)
            return True
        except (OSError, bench.harness.GoneAway):
            return False
    bench.harness.wait_for("cfssl serve", answers)
    return process, port


def section_cfssl(bench):
    process, port = start_cfssl(bench)
    plan = bench.plan
    algorithms = {"p256v1": {"algo": "ecdsa", "size": 256}, "rsa2048": {"algo": "rsa", "size": 2048}}
    for kind, row in (("p256v1", "cfssl_p256"), ("rsa2048", "cfssl_rsa")):
        body = bench.write("cfssl.%s" % kind, json.dumps({
            "CN": "example.com", "hosts": SUBJECT["sans"], "key": algorithms[kind],
            "names": [{"C": "US", "ST": "California", "L": "San Francisco", "O": "Example, Inc."}]}))
        seconds = plan.p256_seconds if kind == "p256v1" else plan.rsa_seconds / 2
        ours, reference = interleave(
            plan.few_rounds, lambda: fresh_create_rate(bench, kind, 4, seconds),
            lambda: bench.http(port, "/api/v1/cfssl/newkey", "--method", "POST", "--body", body, "--connections", 16,
                               "--seconds", seconds, "--warm-up", 0.3)["rate"])
        ROWS[row].set(ours, reference, "for comparison")
    process.kill()


SECTIONS = {"rsa": section_rsa, "p256": section_p256, "pool": section_pool, "far": section_far, "get": section_get,
            "fake": section_fake, "rows": section_rows, "walk": section_walk, "keys": section_keys, "memory": section_memory,
            "by_hand": section_by_hand, "cfssl": section_cfssl}


# ---- what comes out ---------------------------------------------------------------------------------


def number_text(value):
    if value is None:
        return "–"
    return "{:,.0f}".format(value) if abs(value) >= 100 else "%.3g" % value


def table_rows():
    yield ["row", "unit", "csrd", "reference", "ratio", "goal", ""]
    for row in ROWS.values():
        yield [row.name, row.unit, number_text(row.ours), number_text(row.reference),
               "–" if row.ratio is None else "%.2f" % row.ratio, row.goal_text, row.verdict()]


def print_table():
    rows = list(table_rows())
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [cell.rjust(width) if 2 <= i <= 4 else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths))]
        print("  ".join(cells + row[-1:]).rstrip())


def machine():
    model = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    version = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "softhsm2"], capture_output=True, text=True, check=False)
    return {"processor": model, "processors": len(os.sched_getaffinity(0)), "kernel": platform.release(),
            "softhsm2": version.stdout.strip(), "load_before": round(os.getloadavg()[0], 2)}


def write_markdown(path, about):
    lines = ["%s, %d processors, Linux %s, SoftHSM %s%s; load before the run %.2f; %.0f s." % (
        about["processor"], about["processors"], about["kernel"], about["softhsm2"],
        "; one short round" if about["quick"] else "", about["load_before"], about["seconds"]), ""]
    for index, row in enumerate(table_rows()):
        lines.append("| " + " | ".join(row) + " |")
        if index == 0:
            lines.append("|---|---|--:|--:|--:|---|---|")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def draw(bench, path):
    """Create latency against keys and rows; nothing when either was not measured."""
    if not bench.plot["keys"] or not bench.plot["rows"]:
        return
    for name, points in bench.plot.items():
        bench.write("plot.%s" % name, "".join("%d %.4f %.4f\n" % point for point in points))
    bench.harness.run(["gnuplot", "-e", "keys='%s'; rows='%s'; image='%s'" % (
        bench.folder / "plot.keys", bench.folder / "plot.rows", path), HERE / "plot.gp"])


def publish(out):
    page = ROOT / "doc" / "bench.md"
    about = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))["about"]
    if about["quick"] or about["sections"] != list(SECTIONS):
        sys.exit("bench: the last run was not a full one")
    text = page.read_text(encoding="utf-8")
    begin, end = "<!-- table -->\n", "<!-- end of table -->\n"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    table = out.with_suffix(".md").read_text(encoding="utf-8")
    page.write_text(before + begin + table + end + after, encoding="utf-8")
    shutil.copy(out.with_suffix(".svg"), ROOT / "doc" / "bench.svg")


# ---- all --------------------------------------------------------------------------------------------


def run_section(bench, name):
    say(name)
    began = time.monotonic()
    try:
        SECTIONS[name](bench)
    except Exception as error:  # the other sections are still worth their time
        traceback.print_exc()
        for row in ROWS.values():
            if row.section == name and row.ours is None:
                row.failed = True
                row.note = "failed: " + (str(error).strip().splitlines() or ["?"])[0][:80]
        bench.case.end_all()
    say("%s took %.0f s" % (name, time.monotonic() - began))


def parse():
    parser = argparse.ArgumentParser(description="measures csrd beside its references")
    parser.add_argument("--build", default=ROOT / "build" / "release", help="folder of the built variant")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "bench", help="path of the results, no suffix")
    parser.add_argument("--work", help="where tokens and stores are made (a disk, not memory); needs 6 GiB")
    parser.add_argument("--only", help="sections with commas: " + ",".join(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--keep", action="store_true", help="keep the work folder")
    parser.add_argument("--strict", action="store_true", help="exit status 1 when a goal is missed")
    parser.add_argument("--publish", action="store_true", help="put the last full run into doc/")
    given = parser.parse_args()
    given.sections = given.only.split(",") if given.only else list(SECTIONS)
    if not set(given.sections) <= set(SECTIONS):
        parser.error("sections are " + ",".join(SECTIONS))
    return given


def main():
    given = parse()
    if given.publish:
        publish(given.out)
        return 0
    os.environ["CSRD_BIN"] = str(pathlib.Path(given.build).resolve() / "bin")
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(ROOT / "tests" / "system"))
    import harness  # it reads CSRD_BIN when it is loaded

    about = {**machine(), "quick": given.quick, "sections": given.sections}
    bench = Bench(given, harness)
    began = time.monotonic()
    try:
        for name in given.sections:
            run_section(bench, name)
        about["seconds"] = time.monotonic() - began
        draw(bench, given.out.with_suffix(".svg"))
    finally:
        bench.close(given.keep)
    given.out.with_suffix(".json").write_text(json.dumps(
        {"rows": [row.as_json() for row in ROWS.values()], "about": about, "plot": bench.plot}, indent=1,
        ensure_ascii=False) + "\n", encoding="utf-8")
    write_markdown(given.out.with_suffix(".md"), about)
    print_table()
    print("%.0f s; %s.json" % (about["seconds"], given.out))
    if any(row.failed for row in ROWS.values()):
        return 1
    return 1 if given.strict and any(row.met is False for row in ROWS.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
