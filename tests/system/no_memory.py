"""Memory that runs out (F88): tests/fakes/no_memory.c lets the n-th call of malloc(3) and its like fail in csrd or in
csrd-hsm, as if the machine had none left.

A call is told by its place, the frames that lead to it: of ten thousand calls that read a list of suffixes, one is let
fail.  Calls of the PKCS#11 module never fail: SoftHSM ends its process.
"""
import mmap
import os
import random
import re
import signal
import struct

import harness

LIBRARY = harness.BIN.parent / "tests" / "fakes" / "no_memory.so"
SIZE = 8192
WHERE = 40  # its offset in struct order

SEED = int(os.environ.get("CSRD_SEED", "88"))

# What a program ends with when it cannot start for lack of memory, so that it is started again.
START_ENDS = {69, 70, 71, 75}

# Libraries that do not look whether they got memory, where they are told to at a start: the process is ended by a signal,
# or by the loader with 127, and started again.
CARELESS = re.compile(r"libp11|nss|ld-linux|getpwnam")


class Order:
    """The struct that the library maps."""

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(SIZE))
        self.calls_path = path.with_name(path.name + ".calls")
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), SIZE)

    def environment(self):
        return {"LD_PRELOAD": str(LIBRARY), "CSRD_NO_MEMORY_FILE": str(self.path)}

    def get(self, index):
        return struct.unpack_from("<Q", self.map, 8 * index)[0]

    def put(self, index, value):
        struct.pack_into("<Q", self.map, 8 * index, value)

    @property
    def calls(self):
        return self.get(0)

    @property
    def failed(self):
        return self.get(3)

    def reset(self):
        """For a process to come, whose calls are counted from 1."""
        for index in range(5):
            self.put(index, 0)

    def fail(self, number, times=1, begin=None):
        """The call of that number from now on, and those behind it."""
        begin = self.calls if begin is None else begin
        self.map[WHERE:SIZE] = bytes(SIZE - WHERE)
        self.put(3, 0)
        self.put(2, begin + number + times)
        self.put(1, begin + number)

    def clear(self):
        self.put(1, 0)

    def where(self):
        text = self.map[WHERE:SIZE].split(b"\0", 1)[0].decode()
        return [line for line in text.splitlines() if "no_memory" not in line]

    def learn(self):
        """From here on each call is noted, in processes that start after this."""
        self.calls_path.write_bytes(b"")
        self.put(4, 1)

    def places(self, begin=0):
        """The first call of each place, counted from `begin`."""
        self.put(4, 0)
        notes = self.calls_path.read_bytes()
        first = {}
        for number, place in struct.iter_unpack("<QQ", notes[:len(notes) // 16 * 16]):
            if number > begin:
                first.setdefault(place, number - begin)
        assert first, "no call was noted"
        return sorted(first.values())


class NoMemoryCase(harness.Case):
    # A connection for which libevent has got no memory to tell of is cut off in a second.
    SETTINGS = {"token default": {"threads": 2}, "log": {"level": "info"},
                "http": {"idle_timeout": "1s"}, "policy": {"reconcile_interval": "1s"}}

    def setUp(self):
        super().setUp()
        self.random = random.Random(SEED)
        self.orders = {}
        self.live, self.gone = [], []

    def no_memory_service(self):
        s = self.s = self.service(settings=self.SETTINGS)
        original = s.environment

        def environment(program=None):
            values = original(program)
            if program in ("csrd", "csrd-hsm"):
                values.update(self.order(program).environment())
            return values
        s.environment = environment
        return s

    def order(self, program):
        if program not in self.orders:
            self.orders[program] = Order(self.s.folder / ("no-memory." + program))
            self.orders[program].calls_path.write_bytes(b"")
        return self.orders[program]

    def some(self, places, count):
        """Of them that many, or all."""
        return places if count is None or count >= len(places) else sorted(self.random.sample(places, count))

    def describe(self, program, number):
        where = "\n    ".join(self.order(program).where()[:12])
        return "seed %d, %s, call %d:\n    %s\n" % (SEED, program, number, where)

    # -- at work

    def create(self):
        answer = self.s.create()
        if answer.status == 201:
            self.live.append(answer.result["id"])
        return answer

    def list(self):
        return self.s.request("GET", self.s.scope_path() + "?per_page=5")

    def read(self):
        return self.s.get(self.live[-1])

    def delete(self):
        csr_id = self.live.pop()
        answer = self.s.delete(csr_id)
        if answer.status == 200:
            self.gone.append(csr_id)
        return answer

    def create_ok(self):
        harness.wait_for("a create that works", lambda: self.create().status == 201)

    def at_work(self, program, flow, count=None):
        """Each place of one request, or `count` of them: it is answered as ever, or with 503, or csrd hangs up; the
        next create works, in the same process."""
        order = self.order(program)
        process = self.s.csrd if program == "csrd" else self.s.hsm
        for _ in range(2):
            self.create_ok()
        self.s.wait_confirmed()
        order.learn()
        begin = order.calls
        self.assertLess(flow().status, 300)
        for number in self.some(order.places(begin), count):
            with self.subTest(program=program, flow=flow.__name__, number=number):
                while len(self.live) < 2:
                    self.create_ok()
                order.fail(number)
                try:
                    answer = flow()
                    self.assertIn(answer.status, (200, 201, 503), (answer, self.describe(program, number)))
                    if answer.status == 503:
                        self.assertGreater(int(answer.headers["Retry-After"]), 0)
                except harness.GoneAway:
                    self.assertEqual(program, "csrd", self.describe(program, number))
                finally:
                    order.clear()
                self.create_ok()
                self.assertTrue(process.is_running(), self.describe(program, number) + process.tail())

    def check_sane(self):
        self.s.wait_settled()
        self.s.check_sane(self, self.live, self.gone)

    # -- at start

    def start_once(self, program, number):
        """Serves and ends in order, or ends with an exit status after which it is started again, and says why."""
        order = self.order(program)
        order.reset()
        order.fail(number, begin=0)
        process = self.s.spawn(program, "-c", self.s.config_path)
        pattern = r"listening on '127|serving token "
        harness.wait_for("end or service of " + program,
                         lambda: not process.is_running() or re.search(pattern, process.log()) or order.failed)
        harness.wait_for("end or service of " + program,
                         lambda: not process.is_running() or re.search(pattern, process.log()))
        if process.is_running():
            process.signal(signal.SIGTERM)
        status = process.wait()
        what = self.describe(program, number) + process.tail()
        if status < 0 or status == 127:
            self.assertRegex("\n".join(order.where()[:6]), CARELESS, "status %d, %s" % (status, what))
        elif status != 0:
            self.assertIn(status, START_ENDS, what)
            self.assertRegex(process.log(), r"error", what)
        else:
            self.assertNotRegex(process.log(), "makes no usable|keeps no data objects", what)

    def learn_start(self, program):
        order = self.order(program)
        order.reset()
        order.learn()
        process = self.s.spawn(program, "-c", self.s.config_path)
        process.wait_log(r"listening on '127|serving token ")
        places = order.places()
        self.assertEqual(process.terminate(), 0, process.tail())
        return places
