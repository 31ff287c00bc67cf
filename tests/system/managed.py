"""Programs under a service manager that is a socket of the test's (NOTIFY_SOCKET), which may also watch them, hand them
sockets (inherit.py), and stand in for journald."""
import re
import socket
import sys
import threading
import time

import faults
import harness

INHERIT = harness.ROOT / "tests" / "system" / "inherit.py"
SLOW = faults.SLOW
WATCHDOG = 2 * SLOW  # seconds

# The folder $1 is /run/systemd/journal to the program, whose standard error passes for a stream to the journal.
JOURNAL = """mount -t tmpfs none /run && mkdir -p /run/systemd/journal && mount --bind "$1" /run/systemd/journal || exit
shift
JOURNAL_STREAM=$(stat -L -c %d:%i /dev/stderr) exec "$@"
"""


class Manager:
    """The socket of NOTIFY_SOCKET, and what came in: dictionaries of the assignments, in order."""

    def __init__(self, path):
        self.path = path
        self.messages = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.stalled = threading.Event()  # set: it reads no more
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            text = self.socket.recv(65536).decode("utf-8")
            message = dict(line.split("=", 1) for line in text.split("\n"))
            message["at"] = time.monotonic()
            self.messages.append(message)
            if self.stalled.is_set():
                return

    def find(self, key, pattern="", since=0):
        """The first message past index `since` in which `key` matches."""
        for message in self.messages[since:]:
            if key in message and re.search(pattern, message[key]):
                return message
        return None

    def wait(self, key, pattern="", since=0, seconds=harness.PATIENCE):
        try:
            return harness.wait_for("%s=%s" % (key, pattern), lambda: self.find(key, pattern, since), seconds)
        except AssertionError as error:
            raise AssertionError("%s\n%s" % (error, "\n".join(map(str, self.messages)))) from None

    def mark(self):
        return len(self.messages)

    def status(self):
        """The status that stands."""
        return next((m["STATUS"] for m in reversed(self.messages) if "STATUS" in m), None)

    def fed_after(self, at):
        return [m for m in self.messages if "WATCHDOG" in m and m["at"] > at]


class ManagedService(faults.ShimService):
    """csrd and csrd-hsm, each with a manager of its own."""

    def default_settings(self):
        self.managers = {name: Manager(self.folder / (name + ".notify")) for name in ("csrd", "csrd-hsm")}
        self.watchdog = {}   # program → seconds
        self.inherited = {}  # program → arguments of inherit.py
        self.journals = {}   # program → folder that is /run/systemd/journal to it
        return super().default_settings()

    def environment(self, program=None):
        environment = super().environment(program)
        if program in self.managers:
            environment["NOTIFY_SOCKET"] = str(self.managers[program].path)
        if program in self.watchdog:
            environment["WATCHDOG_USEC"] = str(int(self.watchdog[program] * 1000000))
        return environment

    def command(self, program, *arguments):
        command = super().command(program, *arguments)
        if program in self.inherited:
            command = [sys.executable, INHERIT, *self.inherited[program], "--", *command]
        if program in self.journals:
            command = ["unshare", "-m", "sh", "-c", JOURNAL, "sh", self.journals[program], *command]
        return command


class ManagedCase(harness.Case):
    """self.s: both programs; self.csrd, self.hsm: what their managers were told."""

    def setUp(self):
        super().setUp()
        folder = self.folder / "s"
        folder.mkdir()
        self.s = ManagedService(self, folder, self.logs())
        self.csrd, self.hsm = self.s.managers["csrd"], self.s.managers["csrd-hsm"]

    def start(self):
        self.s.start()
        self.csrd.wait("READY")
        self.hsm.wait("READY")

    def health(self):
        return harness.http_request(self.s.address, "GET", "/healthz")
