#!/usr/bin/python3
"""Runs every test of one build variant: the test programs given as arguments,
then each tests/system/*_test.py, several at a time and the longest first.

A job is one program or one file.  Its output goes to LOGS/<job>.log; what is
printed is one line a job (seconds, those of the processor), the tail of each failure, every skip by name, and
last of all "N passed, N failed, N skipped".

Exit status: 0 all passed, 1 something failed or nothing ran, 2 wrong usage.

A system test, or a test program's source, may say in comment lines of its own how it wants to be run:
    # run: seconds=90     about how long it takes (for the order; the last run's time wins)
    # run: timeout=300    when to give it up (default 180, a program 300), three times that under sanitizers
    # run: alone          with nothing beside it (it measures time)
    # run: rare           slow, and what it looks at changes seldom: only with --rare, or named by --only
    # run: named          slower still: only named by --only
    # run: waits          it waits more than it computes: may run beside as many others as there are jobs
    # run: variants=release   not of a sanitized variant: no skip there, but not run at all
                          (a unit's seccomp filter and MemoryDenyWriteExecute= end a sanitizer)
"""
import argparse
import json
import os
import pathlib
import re
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SYSTEM = ROOT / "tests" / "system"
TAIL_LINES = 60
PROGRAM_TIMEOUT = 300
SYSTEM_TIMEOUT = 180
SKIP_EXIT_CODE = 77
WAITING_PLACES = 3  # of four such jobs, each computes for a quarter of its time
MAKE_VARIABLES = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "B", "V", "SANITIZE", "COVERAGE", "FAILPOINTS",
                  "WERROR", "RUN_DIR", "PORT", "JOBS", "ONLY", "DESTDIR", "PREFIX")

# Skips that are no failure under CI=true: "job:test" or "job" → reason.
ALLOWED_SKIPS = {
}


class Job:
    def __init__(self, name, command, timeout, seconds, alone, result_path, waits=False):
        self.name = name
        self.command = command
        self.timeout = timeout
        self.seconds = seconds      # expected
        self.alone = alone
        self.waits = waits
        self.result_path = result_path  # where a unittest file leaves its JSON; None for programs
        self.log_path = None
        self.took = 0.0
        self.computed = 0.0         # seconds of processor time, without what it left to others to wait for
        self.passed = 0
        self.failed = []            # names
        self.skipped = []           # (name, reason)
        self.problem = None         # what went wrong with the job as a whole


# ---- what to run -------------------------------------------------------------


def run_hints(path):
    hints = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        match = re.match(r"(?:#| \*)\s*run:\s*(.+)$", line)
        if match:
            for word in match.group(1).split():
                key, _, value = word.partition("=")
                hints[key] = value
    return hints


def program_name(path, build):
    try:
        return str(path.resolve().relative_to((build / "tests").resolve()))
    except ValueError:
        return path.name


def program_source(path, build):
    return ROOT / "tests" / (program_name(path, build) + ".c")


def program_job(path, build, times, factor):
    name = program_name(path, build)
    return hinted_job(name, [str(path)], run_hints(program_source(path, build)), times, factor,
                      {"timeout": PROGRAM_TIMEOUT, "seconds": 5})


def system_name(path):
    return "system/" + path.stem


def system_job(path, logs, times, factor):
    name = system_name(path)
    result = logs / ("system." + path.stem + ".json")
    command = [sys.executable, str(pathlib.Path(__file__).resolve()), "--unittest", str(path), "--result", str(result)]
    return hinted_job(name, command, run_hints(path), times, factor, {"timeout": SYSTEM_TIMEOUT, "seconds": 10}, result)


def hinted_job(name, command, hints, times, factor, defaults, result=None):
    hints = {**defaults, **hints}
    seconds = times.get(name, float(hints["seconds"]))
    return Job(name, command, float(hints["timeout"]) * factor, seconds, "alone" in hints, result, "waits" in hints)


def load_times(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


# ---- one unittest file, in a process of its own --------------------------------


class JsonResult(unittest.TextTestResult):
    """As unittest's own with -v, and keeps the names for the parent."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.names_passed = []

    def addSuccess(self, test):
        super().addSuccess(test)
        self.names_passed.append(short_name(test))


def short_name(test):
    return test.id().split(".", 1)[-1]


def hear_interrupts():
    """Whoever started us may ignore or block signals (the background of a script does so with SIGINT), and what a test
    starts and then interrupts would inherit that.  SIGHUP stays ignored under nohup, where it is our own business."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGQUIT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)


def unittest_main(path, result_path, only):
    hear_interrupts()
    path = pathlib.Path(path).resolve()
    sys.path.insert(0, str(path.parent))
    loader = unittest.TestLoader()
    if only:
        loader.testNamePatterns = ["*%s*" % only]
    suite = loader.loadTestsFromName(path.stem)
    runner = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=JsonResult)
    result = runner.run(suite)
    bad = [short_name(test) for test, _ in result.failures + result.errors]
    bad += [short_name(test) for test in result.unexpectedSuccesses]
    document = {
        "passed": result.names_passed + [short_name(test) for test, _ in result.expectedFailures],
        "failed": sorted(set(bad)),
        "skipped": [[short_name(test), reason] for test, reason in result.skipped],
    }
    if result_path:
        pathlib.Path(result_path).write_text(json.dumps(document), encoding="utf-8")
    ran = document["passed"] or document["failed"] or document["skipped"]
    return 0 if ran and not bad else 1


# ---- running a job -------------------------------------------------------------


def kill_group(process):
    for sig, wait in ((signal.SIGTERM, 5), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, sig)
        except ProcessLookupError:
            return
        try:
            process.wait(wait)
            break
        except subprocess.TimeoutExpired:
            continue
    try:
        os.killpg(process.pid, signal.SIGKILL)  # what the leader left behind
    except ProcessLookupError:
        pass


def wait_for_end(process, timeout):
    """Exit status and processor seconds; (None, 0) when it has not ended in time."""
    watch = os.pidfd_open(process.pid)
    try:
        if not select.select([watch], [], [], timeout)[0]:
            return None, 0.0
    finally:
        os.close(watch)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_utime + usage.ru_stime


def run_job(job, logs, environment):
    job.log_path = logs / (job.name.replace("/", ".") + ".log")
    if job.result_path:
        job.result_path.unlink(missing_ok=True)
    environment = dict(environment, CSRD_TEST_LOGS=str(logs / (job.name.replace("/", ".") + ".d")))
    started = time.monotonic()
    # Of our own terminal, input and signals nothing is left to a job: make test may run under nohup, from a script's
    # background, without a terminal, with its input closed.
    command = ["env", "--default-signal", *job.command]
    with open(job.log_path, "wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                   cwd=ROOT, env=environment, start_new_session=True)
        try:
            status, job.computed = wait_for_end(process, job.timeout)
            if status is None:
                job.problem = "gave up after %.0f s" % job.timeout
        except BaseException:
            kill_group(process)
            raise
        kill_group(process)
    job.took = time.monotonic() - started
    read_outcome(job, status)


def read_outcome(job, status):
    if job.result_path:
        read_unittest(job, status)
    else:
        read_tap(job, status)
    if status is not None and status < 0:
        job.problem = "died of %s" % signal_name(-status)
    elif status not in (None, 0, SKIP_EXIT_CODE) and not job.failed:
        job.problem = "exit status %d" % status
    if job.problem and not job.failed:
        job.failed.append("(%s)" % job.problem)
    if not (job.passed or job.failed or job.skipped):
        job.failed.append("(no test ran)")


def signal_name(number):
    try:
        return signal.Signals(number).name
    except ValueError:
        return "signal %d" % number


def read_unittest(job, status):
    try:
        document = json.loads(job.result_path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        if status == 0:
            job.problem = "left no result"
        return
    job.passed = len(document["passed"])
    job.failed = list(document["failed"])
    job.skipped = [tuple(item) for item in document["skipped"]]


def read_tap(job, status):
    """cmocka's TAP lines.  A program that prints none counts as one test."""
    text = job.log_path.read_text(encoding="utf-8", errors="replace")
    for line in text.splitlines():
        match = re.match(r"(ok|not ok) \d+ (- |# SKIP )?(.*)$", line)
        if not match:
            continue
        verdict, mark, name = match.groups()
        if mark == "# SKIP ":  # cmocka 1.1.5 says "not ok" of these
            job.skipped.append((name, "skipped by the program"))
        elif verdict == "not ok":
            job.failed.append(name)
        else:
            job.passed += 1
    if status == SKIP_EXIT_CODE and not job.failed:
        job.passed = 0
        lines = [line for line in text.splitlines() if line.strip()]
        job.skipped = [("(all)", lines[-1] if lines else "exit status 77")]
    elif status == 0 and not (job.passed or job.failed or job.skipped):
        job.passed = 1


# ---- the report ------------------------------------------------------------------


def strict_skips(job):
    """Under CI a skip that nobody allowed is a failure."""
    if os.environ.get("CI") != "true":
        return
    kept = []
    for name, reason in job.skipped:
        allowed = ALLOWED_SKIPS.get("%s:%s" % (job.name, name)) or ALLOWED_SKIPS.get(job.name)
        if allowed:
            kept.append((name, "%s (allowed: %s)" % (reason, allowed)))
        else:
            job.failed.append("%s (skipped, which CI does not allow: %s)" % (name, reason))
    job.skipped = kept


def report(job, lock):
    with lock:
        word = "FAIL" if job.failed else "ok" if job.passed else "skip"
        extra = ", %d failed" % len(job.failed) if job.failed else ""
        extra += ", %d skipped" % len(job.skipped) if job.skipped else ""
        print("%-4s %7.1f s %7.1f s  %-34s %d passed%s" % (word, job.took, job.computed, job.name, job.passed, extra))
        for name, reason in job.skipped:
            print("       skipped: %s: %s: %s" % (job.name, name, reason))
        for name in job.failed:
            print("       failed: %s: %s" % (job.name, name))
        if job.failed:
            print_tail(job.log_path)
        sys.stdout.flush()


def print_tail(path):
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if len(lines) > TAIL_LINES:
        print("       | … %d lines before, see %s" % (len(lines) - TAIL_LINES, path))
    for line in lines[-TAIL_LINES:]:
        print("       | " + line)


class Board:
    """Hands out the jobs: first what may run side by side, then each of the lonely ones."""

    def __init__(self, jobs, logs, environment, workers):
        self.together = sorted((j for j in jobs if not j.alone), key=lambda j: -j.seconds)
        self.lonely = sorted((j for j in jobs if j.alone), key=lambda j: -j.seconds)
        self.logs = logs
        self.environment = environment
        self.workers = workers
        self.lock = threading.Lock()
        self.stopped = False

    def worker(self, waiting_only=False):
        while True:
            with self.lock:
                fitting = [j for j in self.together if j.waits] if waiting_only else self.together
                if not fitting or self.stopped:
                    return
                job = fitting[0]
                self.together.remove(job)
            self.run_one(job)

    def run_one(self, job):
        try:
            run_job(job, self.logs, self.environment)
        except OSError as error:
            job.log_path.write_text(str(error) + "\n", encoding="utf-8")
            job.failed.append("(%s)" % error)
        except Exception:
            job.failed.append("(the runner broke: %s)" % traceback.format_exc().strip().splitlines()[-1])
        strict_skips(job)
        report(job, self.lock)

    def run(self):
        threads = [threading.Thread(target=self.worker, daemon=True) for _ in range(self.workers)]
        if self.workers > 1:  # more places for those that leave the processors to others
            threads += [threading.Thread(target=self.worker, args=(True,), daemon=True) for _ in range(WAITING_PLACES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.5)
        for job in self.lonely:
            self.run_one(job)


def test_environment(build, sanitize):
    environment = dict(os.environ)
    for name in MAKE_VARIABLES:  # make exports what it was given: a test that calls make starts afresh
        environment.pop(name, None)
    environment["CSRD_BIN"] = str((build / "bin").resolve())
    environment["CSRD_SANITIZE"] = sanitize
    environment["CMOCKA_MESSAGE_OUTPUT"] = "TAP"
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    environment["PYTHONUNBUFFERED"] = "1"
    environment["LC_ALL"] = "C.UTF-8"
    if sanitize:
        # The system tests add a log_path of their own for the programs they start.
        environment["ASAN_OPTIONS"] = "detect_leaks=1:abort_on_error=0:exitcode=99:strict_string_checks=1"
        environment["UBSAN_OPTIONS"] = "print_stacktrace=1:halt_on_error=1"
        environment["TSAN_OPTIONS"] = "halt_on_error=0:exitcode=99"
    return environment


def parse_arguments():
    parser = argparse.ArgumentParser(description="Runs the tests of one build variant.")
    parser.add_argument("--build", type=pathlib.Path, help="the variant's folder, with bin/ and tests/")
    parser.add_argument("--sanitize", default="", help="the sanitizers it was built with")
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("JOBS") or 2))
    parser.add_argument("--no-system", action="store_true", help="programs only")
    parser.add_argument("--only", metavar="TEXT", help="jobs whose name contains this, or one of several, with commas")
    parser.add_argument("--rare", action="store_true", help="the jobs that are marked as rare, and no other")
    parser.add_argument("--unittest", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--result", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("-k", metavar="TEXT", help="with --unittest: cases whose name contains this")
    parser.add_argument("programs", nargs="*", type=pathlib.Path)
    arguments = parser.parse_args()
    if not arguments.unittest and not arguments.build:
        parser.error("--build is required")
    if arguments.jobs < 1:
        parser.error("--jobs must be at least 1")
    return arguments


def wanted(name, hints, arguments):
    if arguments.sanitize and hints.get("variants") == "release":
        return False
    if arguments.only:
        return any(text in name for text in arguments.only.split(","))
    return "named" not in hints and arguments.rare == ("rare" in hints)


def collect(arguments, logs, times):
    factor = 3 if arguments.sanitize else 1
    jobs = [program_job(path, arguments.build, times, factor) for path in arguments.programs
            if wanted(program_name(path, arguments.build), run_hints(program_source(path, arguments.build)), arguments)]
    if not arguments.no_system:
        jobs += [system_job(path, logs, times, factor) for path in sorted(SYSTEM.glob("*_test.py"))
                 if wanted(system_name(path), run_hints(path), arguments)]
    return jobs


def main():
    arguments = parse_arguments()
    if arguments.unittest:
        return unittest_main(arguments.unittest, arguments.result, arguments.k)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # jobs inherit it
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, the kernel would keep no exit status for us
    logs = (arguments.build / "test-logs").resolve()
    logs.mkdir(parents=True, exist_ok=True)
    times_path = logs / "times.json"
    times = load_times(times_path)
    jobs = collect(arguments, logs, times)
    started = time.monotonic()
    Board(jobs, logs, test_environment(arguments.build, arguments.sanitize), arguments.jobs).run()
    times.update({job.name: round(job.took, 1) for job in jobs if not job.problem})
    times_path.write_text(json.dumps(times, indent=1, sort_keys=True), encoding="utf-8")
    print("%.0f s, logs in %s" % (time.monotonic() - started, logs))
    passed, failed, skipped = (sum(job.passed for job in jobs), sum(len(job.failed) for job in jobs),
                               sum(len(job.skipped) for job in jobs))
    print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
