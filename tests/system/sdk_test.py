"""npm `cloudflare` (the official TypeScript SDK, its exact version in tests/sdk/package.json) against the real
service.  The steps are in tests/sdk/scenario.mjs; it is installed by `npm ci` into build/sdk."""
# run: waits seconds=52
import fcntl
import json
import os
import shutil
import subprocess
import unittest

import clients
import faults
import harness
import openapi

SOURCE = harness.ROOT / "tests" / "sdk"
INSTALLED = harness.ROOT / "build" / "sdk"
VERSION = "7.3.0"


def installed_version():
    try:
        text = (INSTALLED / "node_modules" / "cloudflare" / "package.json").read_text(encoding="utf-8")
        same_lock = (INSTALLED / "package-lock.json").read_bytes() == (SOURCE / "package-lock.json").read_bytes()
        return json.loads(text)["version"] if same_lock else None
    except (OSError, ValueError):
        return None


def install():
    """npm ci, once, however many variants are tested at the same time."""
    INSTALLED.mkdir(parents=True, exist_ok=True)
    with open(INSTALLED / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if installed_version() != VERSION:
            for name in ("package.json", "package-lock.json"):
                shutil.copyfile(SOURCE / name, INSTALLED / name)
            harness.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=INSTALLED, timeout=300)
        shutil.copyfile(SOURCE / "scenario.mjs", INSTALLED / "scenario.mjs")


class SdkTest(faults.FaultCase):
    @classmethod
    def setUpClass(cls):
        if not shutil.which("node"):
            raise unittest.SkipTest("node is not installed")
        install()

    def environment(self, service):
        other = "a" * 32
        service.csrctl("account", "add", other, "--name", "somebody else")
        reader = service.csrctl("token", "create", "--name", "reader", "--account", service.account + ":read")["token"]
        return harness.clean_environment(
            CSRD_URL=service.url, CSRD_TOKEN=service.token, CSRD_EMAIL=service.email, CSRD_KEY=service.key,
            CSRD_ACCOUNT=service.account, CSRD_ZONE=service.zone, CSRD_READ_TOKEN=reader, CSRD_OTHER_ACCOUNT=other,
            NO_COLOR="1")

    def node(self, name, environment):
        return subprocess.Popen(["node", "scenario.mjs", name], cwd=INSTALLED, env=environment, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def finish(self, process, steps):
        out, err = process.communicate(timeout=harness.PATIENCE * 6)
        self.assertEqual(process.returncode, 0, out + err)
        self.assertEqual(len([line for line in out.splitlines() if line.startswith("step: ")]), steps, out)

    def play(self, name, steps):
        service = self.service().start()
        self.finish(self.node(name, self.environment(service)), steps)
        service.stop()

    def test_version(self):
        self.assertEqual(installed_version(), VERSION)
        self.assertNotIn("http", (SOURCE / "package-lock.json").read_text(encoding="utf-8"))

    def test_create(self):
        """F399: besides, each body that the SDK sends is one that the OpenAPI document permits."""
        service = self.service().start()
        relay = clients.Relay(service.address)
        self.addCleanup(relay.close)
        url = "http://%s:%d/client/v4" % relay.address
        self.finish(self.node("create", {**self.environment(service), "CSRD_URL": url}), 11)
        check = openapi.document().schema({"$ref": "#/components/schemas/CustomCsrCreate"})
        bodies = [body for seen in relay.seen for body in clients.bodies(bytes(seen))]
        self.assertEqual(len(bodies), len(service.rows()) + 1, "one was a dry run")
        for body in bodies:
            self.assertIsNone(openapi.json_fault(check, body), body)
        service.stop()

    def test_list(self):
        self.play("list", 3)

    def test_delete(self):
        self.play("delete", 1)

    def delete_over_a_slow_signer(self, number, timeout, rule):
        service = self.shim_service(settings={"http": {"request_timeout": timeout}}).start()
        ids = [service.create().result["id"] for _ in range(number)]
        service.shim.set(rule)
        process = self.node("deletes", {**self.environment(service), "CSRD_IDS": " ".join(ids)})
        self.addCleanup(process.kill)
        self.finish(process, 2)
        service.shim.clear()
        service.wait_settled()
        service.check_sane(self, gone=ids)
        self.assertEqual(list(service.rows("destroyed")), list(service.rows()))
        service.stop()

    def test_delete_that_times_out(self):
        """F139: 503, not settled yet; the SDK's repeat finds it settled or settles it."""
        self.delete_over_a_slow_signer(1, "2s", "C_DestroyObject sleep 3s once")

    def test_hundred_deletes(self):
        """F139: two threads take longer for all of them than any of them has."""
        self.delete_over_a_slow_signer(100, "4s", "C_DestroyObject sleep 50ms")

    def test_errors(self):
        self.play("errors", 5)

    def test_verify(self):
        self.play("verify", 2)

    def test_limited(self):
        """F367"""
        service = self.service(settings={"limits": {"reads_per_principal": "1/3s"}})
        service.start_csrd()
        self.finish(self.node("limited", self.environment(service)), 2)

    def test_signer_down(self):
        service = self.service().start()
        environment = self.environment(service)
        service.hsm.kill()
        service.wait_ready(status=503)
        self.finish(self.node("down", environment), 1)

        process = self.node("comeback", environment)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), "step: waiting\n")
        service.start_hsm()
        self.finish(process, 1)


if __name__ == "__main__":
    unittest.main()
