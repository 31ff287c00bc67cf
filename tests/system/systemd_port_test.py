"""The port under systemd: another user who takes it first gets no callers for good, and with csrd.socket cannot take it
at all (F130, F132); both addresses of localhost (F131)."""
# run: waits seconds=32 variants=release
import socket
import unittest

import harness
import sdbox

SQUATTER = "import socket, sys, time; s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET); " \
           "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((sys.argv[1], 8080)); s.listen(); " \
           "print('mine', flush=True); time.sleep(600)"


class PortTest(sdbox.Case):
    def squatter(self, box, address):
        """Another user's process on the port, and what it said first: "mine", or why not."""
        process = self.begin(box, "setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "python3", "-c",
                             SQUATTER, address)
        lines = [process.stdout.readline()]
        while lines[0].startswith("Traceback") and lines[-1]:
            lines.append(process.stdout.readline())
        return process, "".join(lines)

    def assert_held(self, box):
        for address in ("127.0.0.1", "::1", "0.0.0.0"):
            self.assertIn("Address already in use", self.squatter(box, address)[1], address)

    def readyz_at(self, box, address):
        with box.network():
            return harness.http_request((address, sdbox.PORT), "GET", "/readyz").status

    def test_f130_a_port_that_somebody_has(self):
        """Each address alone: csrd says so, serves none of them, and takes over when it is free."""
        box = self.box()
        for address, name in (("127.0.0.1", "127.0.0.1:8080"), ("::1", r"[::1]:8080")):
            with self.subTest(address):
                squatter, said = self.squatter(box, address)
                self.assertEqual(said, "mine\n")
                box.systemctl("start", "--no-block", "csrd")
                box.wait_status("csrd", "another process has an address or the store")
                self.assertIn("cannot listen on '%s': another process has it" % name, box.messages("csrd"))
                harness.wait_for("a second try", lambda: int(box.show("csrd", "NRestarts")) > 0, every=0.2)
                self.assertNotEqual(box.show("csrd", "ActiveState"), "failed")
                box.run("pkill", "-u", "nobody", "python3")
                squatter.wait(harness.PATIENCE)
                box.wait_show("csrd", "ActiveState", "active")
                self.assertEqual(box.create().status, 201)
                box.systemctl("stop", "csrd")

    def test_f130_a_pause_can_be_ended(self):
        box = self.box()
        self.squatter(box, "127.0.0.1")
        box.systemctl("start", "--no-block", "csrd")
        box.wait_status("csrd", "another process has")
        box.systemctl("stop", "csrd")
        self.assertEqual(box.show("csrd", "ActiveState"), "inactive")

    def test_f132_a_held_port_is_never_free(self):
        box = self.box()
        box.start("csrd.socket")
        self.assertEqual(box.show("csrd", "ActiveState"), "inactive")
        self.assert_held(box)
        # a request waits, and starts nothing
        with box.network(), socket.create_connection(("127.0.0.1", sdbox.PORT)) as waiting:
            waiting.settimeout(harness.PATIENCE)
            waiting.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            box.wait_show("csrd-port.service", "ActiveState", "active")
            self.assertTrue(sdbox.holds_for(2, lambda: box.show("csrd", "ActiveState") == "inactive"))
            box.start("csrd")
            self.assertIn(b" 200 ", waiting.recv(4096))
        self.assertEqual(box.create().status, 201)
        for address in ("127.0.0.1", "::1"):
            self.assertEqual(self.readyz_at(box, address), 200)
        self.assertRegex(box.messages("csrd"), r"listening on '\[::1\]:8080', a socket of the service manager")
        before = box.pid("csrd")
        box.systemctl("restart", "csrd")
        self.assertNotEqual(box.pid("csrd"), before)
        self.assertEqual(box.create_soon().status, 201)
        box.systemctl("stop", "csrd")
        self.assert_held(box)
        # nor does a csrd that cannot start give it away, however many ask
        box.write_config(extra="[http]\nnonsense = 1\n")
        with box.network():
            waiting = [socket.create_connection(("127.0.0.1", sdbox.PORT)) for _ in range(5)]
        box.systemctl("start", "csrd", check=False)
        self.assertEqual(box.show("csrd", "ActiveState"), "failed")
        self.assertTrue(sdbox.holds_for(3, lambda: box.show("csrd", "ActiveState") == "failed"))
        self.assert_held(box)
        self.assertTrue(box.is_active("csrd.socket"))
        for connection in waiting:
            connection.close()
        box.write_config()
        box.start("csrd")
        self.assertEqual(box.create_soon().status, 201)
        # it can be given up, and taken again
        box.systemctl("stop", "csrd", "csrd.socket")
        self.assertEqual(self.squatter(box, "127.0.0.1")[1], "mine\n")
        box.run("pkill", "-u", "nobody", "python3")
        harness.wait_for("a socket", lambda: box.systemctl("start", "csrd.socket", check=False).returncode == 0)
        box.start("csrd")
        self.assertEqual(box.create_soon().status, 201)

    def test_f131_a_machine_without_ipv6(self):
        box = self.box()
        for key in ("all", "default", "lo"):
            box.run("sh", "-c", "mount -o remount,rw /proc/sys 2>/dev/null; echo 1 >/proc/sys/net/ipv6/conf/%s/disable_ipv6" % key)
        box.start("csrd")
        self.assertEqual(box.create().status, 201)
        self.assertIn("not listening on '[::1]:8080', which this machine does not have", box.messages("csrd"))
        box.systemctl("stop", "csrd")
        box.start("csrd.socket", "csrd")
        self.assertEqual(box.create().status, 201)


if __name__ == "__main__":
    unittest.main()
